"""The examples, in a smaller form."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from takeback import cli

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_small_worlds_run_and_are_drawn(tmp_path):
    command = [sys.executable, str(EXAMPLES / "small-worlds" / "run.py"), "--tiny", "--workers", "1"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    for name in ("mlp", "agent"):
        assert "<svg" in (tmp_path / name / "report.html").read_text(encoding="utf-8")
    page = (tmp_path / "compare" / "compare.html").read_text(encoding="utf-8")
    assert "pursuit share" in page
    assert "rl-win −" in done.stdout


def test_the_trees_of_problems_are_what_the_commands_make(tmp_path, monkeypatch, capsys):
    """Run the commands of `examples/plan/README.md` in order, and compare with the files that are there."""
    folder = tmp_path / "examples" / "plan"
    shutil.copytree(EXAMPLES / "plan", folder)
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```console\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(commands) == 9
    for name in ("merged.md", "tree.md"):
        Path(name).unlink()
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, capsys.readouterr().err
    for name in ("merged.md", "merged.proposals.txt", "tree.md"):
        assert Path(name).read_bytes() == (EXAMPLES / "plan" / name).read_bytes()
    for name in ("tree.html", "tree.svg"):
        assert "untested: nothing-carries-agency in runs/findings/endgame" in Path(name).read_text("utf-8")
    told = capsys.readouterr().out
    assert "75 problems, named 88 times by newcomer and reader" in told
    copy = Path("copy.md").read_text(encoding="utf-8")
    assert "extends: merged.md" in copy
    assert len(Path("newcomer-extends.md").read_text(encoding="utf-8")) > len(copy)


def test_conjectures_that_the_trees_name_are_those_of_the_core_design():
    from takeback.planning.conjectures import load_conjectures
    from takeback.planning.trees import read_tree

    names = {one.name for one in load_conjectures(EXAMPLES / "endgame" / "conjectures.yaml")}
    linked = {
        link.name for node in read_tree(EXAMPLES / "plan" / "tree.md").walk() for link in node.own.links
    }
    assert "nothing-carries-agency" in linked
    assert linked <= names
