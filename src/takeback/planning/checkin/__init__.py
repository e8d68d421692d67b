"""Check-ins: a project's answers to questions, in a file edited by hand, beside what its runs say."""

from takeback.planning.checkin import show as show
from takeback.planning.checkin.check import AnswerChange as AnswerChange
from takeback.planning.checkin.check import Check as Check
from takeback.planning.checkin.check import check as check
from takeback.planning.checkin.hats import Hat as Hat
from takeback.planning.checkin.hats import add_hat as add_hat
from takeback.planning.checkin.hats import read_answers as read_answers
from takeback.planning.checkin.hats import read_hat as read_hat
from takeback.planning.checkin.heuristics import Heuristic as Heuristic
from takeback.planning.checkin.heuristics import Heuristics as Heuristics
from takeback.planning.checkin.heuristics import load_heuristics as load_heuristics
from takeback.planning.checkin.known import RunFacts as RunFacts
from takeback.planning.checkin.known import facts_of as facts_of
from takeback.planning.checkin.project import DatedEntry as DatedEntry
from takeback.planning.checkin.project import Project as Project
from takeback.planning.checkin.project import add_note as add_note
from takeback.planning.checkin.project import new_project as new_project
from takeback.planning.checkin.project import parse_project as parse_project
from takeback.planning.checkin.project import read_project as read_project
