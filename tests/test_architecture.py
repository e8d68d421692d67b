"""The tree keeps its order: arrows go one way, no circles of imports, a class name means one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tree import ORDER, Tree

FILE_LINES = 600


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree.read()


def test_no_two_files_import_each_other(tree: Tree) -> None:
    assert tree.circles() == []


def test_a_package_imports_only_what_stands_before_it(tree: Tree) -> None:
    assert tree.backward() == []


def test_every_package_has_its_place_in_the_order(tree: Tree) -> None:
    assert {module.package for module in tree.modules.values()} - {"", "__main__"} == set(ORDER)


def test_a_class_name_is_used_once(tree: Tree) -> None:
    assert tree.classes_used_twice() == {}


def test_no_file_is_too_long(tree: Tree) -> None:
    assert {module.name: module.lines for module in tree.modules.values() if module.lines > FILE_LINES} == {}


def made(folder: Path, **files: str) -> Tree:
    """Write a source folder called takeback and read it."""
    for name, text in files.items():
        path = folder / "takeback" / Path(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    return Tree.read(folder / "takeback")


def test_a_circle_is_seen_where_only_types_need_it_and_through_a_package(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from takeback.run import One\n"
    init = "from takeback.run.one import One as One\n"
    (tmp_path / "takeback" / "run").mkdir(parents=True)
    found = made(tmp_path, run__one="from takeback.run.two import Two\nclass One: ...\n", run__two=typed)
    assert found.circles() == []
    (tmp_path / "takeback" / "run" / "__init__.py").write_text(init, encoding="utf-8")
    assert Tree.read(tmp_path / "takeback").circles() == [("takeback.run.one", "takeback.run.two")]


def test_an_arrow_back_and_a_name_used_twice_are_seen(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        measure__bench="def later():\n    from takeback.study.plan import Plan\n",
        study__plan="class Plan: ...\n",
        report__view="class Plan: ...\nimport takeback.cli.main\n",
        cli__main="",
    )
    assert found.backward() == [
        ("takeback.measure.bench", "takeback.study.plan"),
        ("takeback.report.view", "takeback.cli.main"),
    ]
    assert found.classes_used_twice() == {"Plan": ["takeback.report.view", "takeback.study.plan"]}
