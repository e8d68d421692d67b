"""The notebook's widget: the same messages, through the kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from takeback.lab import server
from takeback.lab.lab import Lab
from takeback.lab.widget import widget_of
from takeback.run.errors import TakebackError


def test_a_widget_speaks_as_a_page_does(shown: Lab, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    widget = widget_of(shown)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(widget, "send", told.append, raising=False)
    widget._handle_custom_msg({"type": "hello", "id": 0}, [])
    widget._handle_custom_msg({"type": "select", "id": 1, "set": "L0.H0", "situation": 0}, [])
    end = time.monotonic() + 60
    while not told or told[-1].get("id") != 1 or told[-1]["type"] != "done":
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [told[0]["type"], told[2]["type"]] == ["scene", "answer"]
    widget.close()


def test_a_widget_needs_the_page(shown: Lab, page: Path) -> None:
    (server.PAGE / "widget.js").unlink()
    with pytest.raises(TakebackError, match="not built"):
        widget_of(shown)
