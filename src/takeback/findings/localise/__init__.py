"""What a change is made of: how much of it each set of components carries, and how they work together.

The calls for one finding each have the names of their modules and are imported from those, such as
`takeback.findings.localise.curves.curves`; `localise` runs any of them by name.
"""

from takeback.findings.localise import show_shares as show_shares
from takeback.findings.localise.across import Across as Across
from takeback.findings.localise.across import across as across
from takeback.findings.localise.localise import DEFAULT as DEFAULT
from takeback.findings.localise.localise import PARTS as PARTS
from takeback.findings.localise.localise import Settings as Settings
from takeback.findings.localise.localise import localise as localise
from takeback.findings.localise.shares import NoChange as NoChange
from takeback.measure.question import Answers as Answers
from takeback.measure.question import Ask as Ask
from takeback.measure.question import Question as Question
from takeback.measure.question import answer as answer
from takeback.measure.question import question_of as question_of
