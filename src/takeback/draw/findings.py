"""What still draws itself, until its class is a `takeback.draw.result.Result`; this module then goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pandas as pd

from takeback.draw.page import Section, fragment
from takeback.draw.result import Results as Findings


class Finding(Protocol):
    """What one measure found: tables by name, what their columns mean, and ways to show them."""

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the name of their file."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """What each column means."""
        ...

    def section(self) -> Section:
        """Show it on a page."""
        ...

    def print(self) -> None:
        """Show it on the terminal."""
        ...

    def _repr_html_(self) -> str:
        return fragment(self.section())


__all__ = ["Finding", "Findings"]
