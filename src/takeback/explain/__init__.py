"""Explaining a set: everything that taking it back does to behaviour, situation by situation."""

from takeback.explain.explain import Explanation as Explanation
from takeback.explain.explain import explain as explain
