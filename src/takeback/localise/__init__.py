"""What a change is made of: how much of it each set of components carries, and how they work together."""

from takeback.localise.question import Answers as Answers
from takeback.localise.question import Ask as Ask
from takeback.localise.question import Question as Question
from takeback.localise.question import answer as answer
from takeback.localise.question import question_of as question_of
