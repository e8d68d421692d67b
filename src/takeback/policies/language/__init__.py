"""Language models as policies: exact readouts of what they answer, token by token."""

from takeback.policies.language.plan import ReadoutPlan as ReadoutPlan
from takeback.policies.language.policy import LanguagePolicy as LanguagePolicy
from takeback.policies.language.read import read_plan as read_plan
