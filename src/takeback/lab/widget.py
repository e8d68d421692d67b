"""The lab in a notebook: the same page, which speaks through the widget in place of a socket."""

from __future__ import annotations

from typing import Any

from takeback.arenas import Arena
from takeback.arenas import arena as arena_of
from takeback.checkpoint import Pair, open_pair
from takeback.lab import server
from takeback.lab.desk import Desk
from takeback.lab.lab import Lab
from takeback.lab.stage import Message
from takeback.lab.views import view_of_pair
from takeback.policies.load import home_of
from takeback.run.errors import TakebackError
from takeback.run.extras import needed

MODULE, STYLE = "widget.js", "lab.css"
"""The built page as a module for notebooks, and its style."""


def lab(
    base: str | Pair,
    tuned: str | None = None,
    arena: str | Arena[Any] | None = None,
    situations: int = 192,
    seed: int = 0,
) -> Any:
    """Show a pair in a notebook: click a head, and see what the model does without it.

    Args:
        base: the checkpoint before tuning, or an open pair.
        tuned: the checkpoint after tuning.
        arena: where they act; by default the one that base was made for.
        situations: how many held-out situations.
        seed: that these are drawn with.

    Returns:
        A widget for Jupyter, VS Code and marimo.

    Raises:
        TakebackError: the pair can't be opened, or the extra `lab` is not installed.
    """
    if isinstance(base, str) and tuned is None:
        raise TakebackError("name two checkpoints, base and tuned, or give a pair")
    pair = base if isinstance(base, Pair) else open_pair(base, str(tuned))
    place = arena_of(arena) if isinstance(arena, str) else arena or home_of(pair.base)
    return widget_of(Lab([view_of_pair(pair, place, (situations, seed))]))


def widget_of(shown: Lab) -> Any:
    """Return a widget that shows a lab."""
    anywidget = needed("anywidget", "lab")
    module, style = server.PAGE / MODULE, server.PAGE / STYLE
    if not module.exists():
        raise TakebackError(f"the lab's page is not built: {module} is missing; run make page")

    class LabWidget(anywidget.AnyWidget):  # type: ignore[misc]
        """The page, and a desk of its own."""

        _esm = module.read_text(encoding="utf-8")
        _css = style.read_text(encoding="utf-8") if style.exists() else ""

        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.desk = Desk(shown)
            tab = self.desk.enter(self._tell)

            def heard(_: Any, message: Any, __: Any) -> None:
                if isinstance(message, dict):
                    self.desk.ask(tab, message)

            self.on_msg(heard)

        def _tell(self, message: Message) -> None:
            self.send(message)

        def close(self) -> None:
            """Let the desk's thread end."""
            self.desk.close()
            super().close()

    return LabWidget()
