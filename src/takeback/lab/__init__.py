"""The lab: a live page of a pair or a run, its static bundle, and the notebook widget."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.lab.export import export as export
    from takeback.lab.lab import Lab as Lab
    from takeback.lab.runs import lab_of_run as lab_of_run
    from takeback.lab.server import serve as serve
    from takeback.lab.views import view_of_pair as view_of_pair
    from takeback.lab.widget import lab as lab
    from takeback.lab.widget import widget_of as widget_of

lazy_names(__name__)
