"""See what a fine-tune changed inside a model, and take it back.

The public names are imported when they are first used, so that `import takeback` loads no torch.

>>> import takeback
>>> str(takeback.Component("H", layer=3, index=5))
'L3.H5'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from takeback.component import Component as Component
from takeback.component import ComponentSet as ComponentSet
from takeback.run.errors import TakebackError as TakebackError
from takeback.run.errors import UnknownName as UnknownName
from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback import anatomy as anatomy
    from takeback import arenas as arenas
    from takeback import checkpoint as checkpoint
    from takeback import findings as findings
    from takeback import gauge as gauge
    from takeback import measure as measure
    from takeback import policies as policies
    from takeback import study as study
    from takeback import training as training
    from takeback import weights as weights
    from takeback.anatomy import Anatomy as Anatomy
    from takeback.anatomy import Region as Region
    from takeback.anatomy import anatomy_of as anatomy_of
    from takeback.arenas import Arena as Arena
    from takeback.arenas import arena as arena
    from takeback.checkpoint import Checkpoint as Checkpoint
    from takeback.checkpoint import Network as Network
    from takeback.checkpoint import NetworkConfig as NetworkConfig
    from takeback.checkpoint import Pair as Pair
    from takeback.checkpoint import open_checkpoint as open_checkpoint
    from takeback.checkpoint import open_pair as open_pair
    from takeback.findings.attribution import Attribution as Attribution
    from takeback.findings.attribution import attribute as attribute
    from takeback.findings.explanation import Explanation as Explanation
    from takeback.findings.explanation import explain as explain
    from takeback.findings.localise import localise as localise
    from takeback.findings.repair import Repairing as Repairing
    from takeback.findings.repair import Trade as Trade
    from takeback.findings.repair import repair as repair
    from takeback.findings.sweep import Sweep as Sweep
    from takeback.findings.sweep import probe_hybrids as probe_hybrids
    from takeback.findings.sweep import sweep as sweep
    from takeback.findings.trajectory import course as course
    from takeback.gauge import aligned as aligned
    from takeback.gauge import regauged as regauged
    from takeback.hybrid import Hybrid as Hybrid
    from takeback.hybrid import grafted as grafted
    from takeback.hybrid import hybrid as hybrid
    from takeback.hybrid import taken_back as taken_back
    from takeback.hybrid import write_hybrid as write_hybrid
    from takeback.hybrid import write_patch as write_patch
    from takeback.lab import lab as lab
    from takeback.measure import effects as effects
    from takeback.measure import measures as measures
    from takeback.measure import most_changed as most_changed
    from takeback.measure.agency import agency as agency
    from takeback.measure.agency import policy_agency as policy_agency
    from takeback.measure.bench import Answers as Answers
    from takeback.measure.bench import Bench as Bench
    from takeback.measure.read import Ask as Ask
    from takeback.measure.setup import Setup as Setup
    from takeback.policies import Policy as Policy
    from takeback.policies import Readouts as Readouts
    from takeback.policies import load_policy as load_policy
    from takeback.policies import read as read
    from takeback.policies.language import LanguagePolicy as LanguagePolicy
    from takeback.policies.network import NetworkPolicy as NetworkPolicy
    from takeback.report import run_plan as run_plan
    from takeback.report import write_report as write_report
    from takeback.study import Plan as Plan
    from takeback.study import load_plan as load_plan
    from takeback.study import study_status as study_status
    from takeback.study.comparison import compare as compare
    from takeback.study.conjectures import Conjecture as Conjecture
    from takeback.training import load_recipe as load_recipe
    from takeback.training import train as train
    from takeback.weights import Diff as Diff
    from takeback.weights import diff as diff
    from takeback.weights import pack as pack

lazy_names(__name__)
