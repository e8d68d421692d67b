"""Conjectures: sentences with a rule and a probability, locked before a run, decided and scored after it."""

from takeback.study.conjectures import show as show
from takeback.study.conjectures.add import add as add
from takeback.study.conjectures.conjecture import Conjecture as Conjecture
from takeback.study.conjectures.conjecture import load_conjectures as load_conjectures
from takeback.study.conjectures.judge import Verdict as Verdict
from takeback.study.conjectures.judge import judge as judge
from takeback.study.conjectures.lock import lock as lock
from takeback.study.conjectures.lock import read_lock as read_lock
from takeback.study.conjectures.resolve import Resolution as Resolution
from takeback.study.conjectures.resolve import decided as decided
from takeback.study.conjectures.resolve import resolve as resolve
from takeback.study.conjectures.resolve import resolve_at_end as resolve_at_end
from takeback.study.conjectures.rule import Rule as Rule
from takeback.study.conjectures.rule import parse_rule as parse_rule
from takeback.study.conjectures.scores import brier as brier
from takeback.study.conjectures.scores import calibration as calibration
from takeback.study.conjectures.scores import log_score as log_score
from takeback.study.conjectures.scores import scores as scores
