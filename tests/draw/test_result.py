"""One face: a result knows its tables, its picture is registered beside it, what prints is a section."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

import takeback
from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import number, percent, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import Result, Results, as_table, section_of
from takeback.draw.terminal import print_section


@dataclass(frozen=True, eq=False, repr=False)
class Norms(Result):
    """A result of two tables and a number."""

    name = "norms"
    table: pd.DataFrame = field(metadata=as_table("norms", {"norm": "of a tensor"}))
    total: float
    steps: pd.DataFrame = field(metadata=as_table("norm_steps", {"step": "when"}))


@section_of.register
def _(found: Norms) -> Section:
    shown = table_of(found.table, Column("tensor"), Column("norm", number))
    picture = Figure.of("Norms", "<svg></svg>")
    return Section("How large", ("Two tensors.",), (picture,), (shown,), (("All", shown),))


@pytest.fixture
def found() -> Norms:
    table = pd.DataFrame({"tensor": ["wte", "wpe"], "norm": pd.array([0.5, None], "Float64")})
    return Norms("a → b", table, 0.5, pd.DataFrame({"step": [1, 2, 3]}))


def test_tables_and_meanings_are_those_of_its_fields(found: Norms) -> None:
    assert list(found.tables) == ["norms", "norm_steps"]
    assert dict(found.columns) == {"norm": "of a tensor", "step": "when"}
    assert repr(found) == "Norms of 'a → b': norms 2 rows, norm_steps 3 rows"


def test_it_draws_itself_in_a_notebook_and_prints_its_section(
    found: Norms, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "<svg></svg>" in found._repr_html_()
    found.print()
    told = capsys.readouterr().out
    assert told.splitlines() == [
        "How large",
        "Two tensors.",
        "tensor   norm",
        "wte     0.500",
        "wpe         –",
    ]


def test_it_writes_itself_as_a_command_would(found: Norms, tmp_path: Path) -> None:
    found.write(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"norms.parquet", "norm_steps.parquet", "norms.html", "norms.json"}
    manifest = json.loads((tmp_path / "norms.json").read_text(encoding="utf-8"))
    assert manifest["title"] == "a → b"
    assert Section.of(manifest["sections"][0]) == section_of(found)
    told = json.loads(found.to_json())
    assert told["norms"]["norms"] == [{"tensor": "wte", "norm": 0.5}, {"tensor": "wpe", "norm": None}]
    assert told == json.loads(Results("a → b", (), {"norms": found}, "norms").to_json())


def test_what_nothing_draws_is_told() -> None:
    with pytest.raises(TypeError, match="nothing draws a int"):
        section_of(3)


def test_a_column_takes_the_values_it_names() -> None:
    rows = [
        {"set": "L0.*", "gain": 0.25, "low": 0.1, "n": 3},
        {"set": "L1.*", "gain": None, "low": None, "n": 0},
    ]
    shown = (
        Column("set"),
        Column("gain", signed, digits=2),
        Column("of", "{} ({})".format, "set", "n"),
        Column("at least", percent, "low", words=True),
    )
    table = table_of(rows, *shown)
    assert table.head == ("set", "gain", "of", "at least")
    assert table.rows == (("L0.*", "+0.25", "L0.* (3)", "10%"), ("L1.*", "–", "L1.* (0)", "–"))
    assert table.words == ("set", "at least")
    assert table.only("gain", "set") == Table(
        ("gain", "set"), (("+0.25", "L0.*"), ("–", "L1.*")), table.words
    )


def test_a_section_may_show_other_things_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(("a", "b"), (("1", "2"),))
    section = Section(
        "t", ("words",), tables=(table,), terminal=("other words", "\n♔ ·\n· ♚", table.only("b"))
    )
    print_section(section)
    assert capsys.readouterr().out.splitlines() == ["t", "other words", "", "♔ ·", "· ♚", "b", "2"]
    assert "terminal" not in section.plain()


def test_a_terminal_without_unicode_shows_letters() -> None:
    raw = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(raw, encoding="ascii")) as out:
        print_section(Section("a → b", ("• −0.5 of ‖Δ‖",), terminal=("• −0.5 of ‖Δ‖", "\n8 · ♔")))
        out.flush()
    assert raw.getvalue().decode().splitlines() == ["a -> b", "- -0.5 of ???", "", "8 . K"]


def _kinds(kind: type[Result] = Result) -> Iterator[type[Result]]:
    for one in kind.__subclasses__():
        yield from (one, *_kinds(one))


def test_every_result_is_drawn_once_its_module_is_imported() -> None:
    """The package of a result imports, when it is imported itself, the module that draws it."""
    for module in pkgutil.walk_packages(takeback.__path__, "takeback."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    own = [kind for kind in _kinds() if kind.__module__.startswith("takeback.")]
    assert len(own) > 15
    for kind in own:
        drawn = section_of.dispatch(kind)
        assert drawn is not section_of.dispatch(object), f"nothing draws {kind.__name__}"
        package = importlib.import_module(kind.__module__.rpartition(".")[0])
        lines = Path(str(package.__file__)).read_text(encoding="utf-8").splitlines()
        home, _, name = drawn.__module__.rpartition(".")
        assert f"from {home} import {name} as {name}" in lines, f"{package.__name__} does not import {name}"
