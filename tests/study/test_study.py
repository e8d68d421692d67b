import hashlib
import json

import pytest

from kill import run_and_kill
from takeback.checkpoint import open_checkpoint
from takeback.report import run_plan
from takeback.run.errors import TakebackError
from takeback.run.jobs import Job, run_jobs
from takeback.run.progress import Report
from takeback.run.tables import read_table
from takeback.study.conjectures import read_lock
from takeback.study.plan import check_plan

ARM = {"method": "rl", "goal": "win", "steps": 4, "learning_rate": 1e-3, "prompts": 4, "completions": 4}
FIELDS = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {
        "rl-win": {**ARM, "snapshots": [2], "save_every": 2},
        "sft-win": {"method": "sft", "goal": "win", "steps": 4, "learning_rate": 1e-3, "batch": 16},
    },
    "situations": 8,
    "games": 4,
    "moves": 6,
    "sets": ["heads of each layer", "each kind"],
    "controls": 1,
    "localise": {"sft-win": ["shares"]},
    "localise_situations": 8,
    "contrasts": {"optimiser": {"rl-win": 1, "sft-win": -1}},
    "conjectures": [
        {
            "name": "games",
            "sentence": "Every policy plays.",
            "rule": "count(games) == 12",
            "probability": 0.9,
            "author": "Ada",
        },
        {
            "name": "typo",
            "sentence": "It mates.",
            "rule": 'share(games.result == "maet") > 0.5',
            "probability": 0.1,
            "author": "Ada",
        },
    ],
}

STEPS = "readouts/*-seed-0/*/*.steps.json"
"""Once this is there a sweep has begun."""


def tables(run):
    """Digest every table and checkpoint of a run, leaving out what tells of the process."""
    kept = [path for path in sorted(run.rglob("*")) if path.suffix in {".parquet", ".safetensors"}]
    kept += [run / "plan.yaml", run / "behaviour" / "examples.json"]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    run_plan(check_plan(FIELDS), out, workers=2)
    return out


@pytest.mark.slow
def test_a_run_leaves_the_whole_record(unbroken):
    policies = read_table(unbroken / "behaviour" / "policies.parquet")
    assert set(policies["arm"]) == {"base", "rl-win", "sft-win"}
    assert policies.groupby("arm")["step"].unique().map(sorted).to_dict() == {
        "base": [0],
        "rl-win": [2, 4],
        "sft-win": [4],
    }
    shifts = read_table(unbroken / "behaviour" / "shifts.parquet")
    assert set(shifts["relative_to"]) == {"base"}
    games = read_table(unbroken / "behaviour" / "games.parquet")
    assert games.groupby("arm").size().to_dict() == {"base": 4, "rl-win": 4, "sft-win": 4}
    assert len(json.loads((unbroken / "behaviour" / "examples.json").read_text())["rl-win-seed-0"]) == 8
    manifest = json.loads((unbroken / "manifest.json").read_text())
    final = open_checkpoint(unbroken / "arms" / "rl-win" / "seed-0" / "final")
    assert manifest["checkpoints"]["rl-win/seed-0"] == final.digest
    assert manifest["checkpoints"]["base"] == open_checkpoint("endgame-base").digest
    report = (unbroken / "report.html").read_text(encoding="utf-8")
    assert len(report) > 50_000
    localised = unbroken / "localise" / "sft-win-seed-0"
    told = json.loads((localised / "explain.json").read_text(encoding="utf-8"))["sections"]
    assert told[0]["title"] in report
    outcomes = read_table(localised / "outcomes.parquet")
    assert outcomes.groupby("item")["after"].sum().tolist() == pytest.approx([1.0] * 8)
    assert not (unbroken / "localise" / "rl-win-seed-0").exists()
    conjectures = read_table(unbroken / "conjectures.parquet").set_index("name")
    assert conjectures["state"].to_dict() == {"games": "resolved", "typo": "broken"}
    assert (conjectures.loc["games", "outcome"], conjectures.loc["games", "why"]) == (
        True,
        "12 == 12 is true",
    )
    assert conjectures.loc["games", "locked"] == read_lock(unbroken).sha256
    assert "12 == 12 is true" in report


@pytest.mark.slow
def test_a_run_killed_with_its_workers_at_work_ends_with_the_same_tables(unbroken, tmp_path):
    broken = tmp_path / "run"
    code = (
        "from takeback.report import run_plan\nfrom takeback.study.plan import check_plan\n"
        f"if __name__ == '__main__':\n    run_plan(check_plan({FIELDS!r}), {str(broken)!r}, workers=2)"
    )
    run_and_kill(
        code,
        lambda: any(len(list(one.parent.glob("*.parquet"))) > 1 for one in broken.glob(STEPS)),
        tmp_path / "log.txt",
    )
    assert not (broken / "report.html").exists()
    run_plan(check_plan(FIELDS), broken, workers=1)
    assert tables(broken) == tables(unbroken)


@pytest.mark.parametrize(
    ("localise", "told"),
    [({"rl-lose": ["shares"]}, "arm to localise"), ({"rl-win": ["shares", "sharez"]}, "part")],
)
def test_what_is_localised_is_checked_before_anything_runs(localise, told, tmp_path):
    with pytest.raises(TakebackError, match=f"unknown {told}"):
        run_plan(check_plan({**FIELDS, "localise": localise}), tmp_path / "run")
    assert not (tmp_path / "run" / "arms").exists()


@pytest.mark.slow
def test_a_run_of_another_plan_is_refused(unbroken):
    before = tables(unbroken)
    with pytest.raises(TakebackError, match="holds a run of another plan: games was 4 and is 5"):
        run_plan(check_plan({**FIELDS, "games": 5}), unbroken)
    assert tables(unbroken) == before


def fails(report: Report) -> None:
    report("failing", 0, 1)
    raise TakebackError("no such thing; make one")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_job_s_error_comes_through_as_it_is(workers):
    with pytest.raises(TakebackError, match=r"^no such thing; make one$"):
        run_jobs([Job("one", fails, ()), Job("two", fails, ())], workers)
