"""See what a fine-tune changed inside a model, and take it back.

The public names are imported when they are first used, so that `import takeback` loads no torch. Six calls
have the names of their packages and are imported from those, as `takeback.diff.diff` is: `diff`, `hybrid`,
`localise`, `explain`, `course` and `compare`.

>>> import takeback
>>> str(takeback.Component("H", layer=3, index=5))
'L3.H5'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from takeback.component import Component as Component
from takeback.component import ComponentSet as ComponentSet
from takeback.errors import TakebackError as TakebackError
from takeback.errors import UnknownName as UnknownName

if TYPE_CHECKING:
    from takeback.anatomy import Anatomy as Anatomy
    from takeback.anatomy import Region as Region
    from takeback.anatomy import anatomy_of as anatomy_of
    from takeback.arenas import Arena as Arena
    from takeback.arenas import arena as arena
    from takeback.attribution import Attribution as Attribution
    from takeback.attribution import attribute as attribute
    from takeback.behaviour import Policy as Policy
    from takeback.behaviour import Readouts as Readouts
    from takeback.behaviour import agency as agency
    from takeback.behaviour import effects as effects
    from takeback.behaviour import load_policy as load_policy
    from takeback.behaviour import measures as measures
    from takeback.behaviour import most_changed as most_changed
    from takeback.behaviour import policy_agency as policy_agency
    from takeback.behaviour import read as read
    from takeback.behaviour.language import LanguagePolicy as LanguagePolicy
    from takeback.behaviour.network import NetworkPolicy as NetworkPolicy
    from takeback.checkpoint import Checkpoint as Checkpoint
    from takeback.checkpoint import Network as Network
    from takeback.checkpoint import NetworkConfig as NetworkConfig
    from takeback.checkpoint import Pair as Pair
    from takeback.checkpoint import open_checkpoint as open_checkpoint
    from takeback.checkpoint import open_pair as open_pair
    from takeback.diff import Diff as Diff
    from takeback.explain import Explanation as Explanation
    from takeback.gauge import aligned as aligned
    from takeback.gauge import regauged as regauged
    from takeback.hybrid import Hybrid as Hybrid
    from takeback.hybrid import grafted as grafted
    from takeback.hybrid import taken_back as taken_back
    from takeback.hybrid import write_hybrid as write_hybrid
    from takeback.localise import Answers as Answers
    from takeback.localise import Ask as Ask
    from takeback.localise import Question as Question
    from takeback.localise import answer as answer
    from takeback.localise import question_of as question_of
    from takeback.planning.conjectures import Conjecture as Conjecture
    from takeback.report import write_report as write_report
    from takeback.study import Plan as Plan
    from takeback.study import load_plan as load_plan
    from takeback.study import run_plan as run_plan
    from takeback.study import study_status as study_status
    from takeback.sweep import Sweep as Sweep
    from takeback.sweep import probe_hybrids as probe_hybrids
    from takeback.training import load_recipe as load_recipe
    from takeback.training import train as train

_HOMES = {
    "anatomy": ("Anatomy", "Region", "anatomy_of"),
    "arenas": ("Arena", "arena"),
    "attribution": ("Attribution", "attribute"),
    "behaviour": (
        "Policy",
        "Readouts",
        "agency",
        "effects",
        "load_policy",
        "measures",
        "most_changed",
        "policy_agency",
        "read",
    ),
    "behaviour.language": ("LanguagePolicy",),
    "behaviour.network": ("NetworkPolicy",),
    "checkpoint": ("Checkpoint", "Network", "NetworkConfig", "Pair", "open_checkpoint", "open_pair"),
    "diff": ("Diff",),
    "explain": ("Explanation",),
    "gauge": ("aligned", "regauged"),
    "hybrid": ("Hybrid", "grafted", "taken_back", "write_hybrid"),
    "localise": ("Answers", "Ask", "Question", "answer", "question_of"),
    "planning.conjectures": ("Conjecture",),
    "report": ("write_report",),
    "study": ("Plan", "load_plan", "run_plan", "study_status"),
    "sweep": ("Sweep", "probe_hybrids"),
    "training": ("load_recipe", "train"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'takeback' has no attribute {name!r}")
    return getattr(import_module(f"takeback.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
