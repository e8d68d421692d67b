"""Explaining a set: everything that taking it back does to behaviour, situation by situation."""

from takeback.findings.explanation import show as show
from takeback.findings.explanation import show_texts as show_texts
from takeback.findings.explanation.explanation import Explanation as Explanation
from takeback.findings.explanation.explanation import explain as explain
from takeback.findings.explanation.texts import TextExplanation as TextExplanation
