"""Language models as policies: exact readouts of what they answer, token by token."""

from takeback.behaviour.language.plan import ReadoutPlan as ReadoutPlan
from takeback.behaviour.language.policy import LanguagePolicy as LanguagePolicy
from takeback.behaviour.language.read import read_plan as read_plan
