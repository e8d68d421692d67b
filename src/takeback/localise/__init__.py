"""What a change is made of: how much of it each set of components carries, and how they work together.

The calls for one finding each have the names of their modules and are imported from those, such as
`takeback.localise.curves.curves`; `localise` runs any of them by name.
"""

from takeback.localise.across import Across as Across
from takeback.localise.across import across as across
from takeback.localise.localise import DEFAULT as DEFAULT
from takeback.localise.localise import PARTS as PARTS
from takeback.localise.localise import Settings as Settings
from takeback.localise.localise import localise as localise
from takeback.localise.question import Answers as Answers
from takeback.localise.question import Ask as Ask
from takeback.localise.question import Question as Question
from takeback.localise.question import answer as answer
from takeback.localise.question import question_of as question_of
from takeback.localise.shares import NoChange as NoChange
