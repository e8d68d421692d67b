"""Conjectures: sentences with a rule and a probability, locked before a run, decided and scored after it."""

from takeback.planning.conjectures.add import add as add
from takeback.planning.conjectures.conjecture import Conjecture as Conjecture
from takeback.planning.conjectures.conjecture import load_conjectures as load_conjectures
from takeback.planning.conjectures.judge import Verdict as Verdict
from takeback.planning.conjectures.judge import judge as judge
from takeback.planning.conjectures.lock import lock as lock
from takeback.planning.conjectures.lock import read_lock as read_lock
from takeback.planning.conjectures.resolve import Resolution as Resolution
from takeback.planning.conjectures.resolve import resolve as resolve
from takeback.planning.conjectures.resolve import resolve_at_end as resolve_at_end
from takeback.planning.conjectures.rule import Rule as Rule
from takeback.planning.conjectures.rule import parse_rule as parse_rule
from takeback.planning.conjectures.scores import brier as brier
from takeback.planning.conjectures.scores import calibration as calibration
from takeback.planning.conjectures.scores import log_score as log_score
from takeback.planning.conjectures.scores import scores as scores
