from datetime import date

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from takeback.planning.predictions import Predicted, predict, read_events, read_predictions, resolve
from takeback.planning.predictions.event import parse_events
from takeback.run.errors import TakebackError
from takeback.study.conjectures import brier, log_score, scores

DAY = date(2026, 1, 5)


def prediction(name, **changes):
    told = {"name": name, "statement": f"{name} happens.", "about": "Bob", "by": "Ada", "probability": 0.8}
    return Predicted.model_validate({**told, "predicted": DAY, **changes})


@pytest.fixture
def file(tmp_path):
    """Three predictions, the first true, the second false, the third open."""
    path = tmp_path / "predictions.yaml"
    for name, p in (("one", 0.8), ("two", 0.4), ("three", 0.6)):
        predict(prediction(name, probability=p), path)
    resolve(path, "one", True, date(2026, 1, 6), "He said so.")
    resolve(path, "two", False, date(2026, 1, 7))
    return path


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, text
    path.write_text(text.replace(old, new))


def edits(path):
    table = read_predictions(path).predictions
    return dict(zip(table["name"], table["edit"], strict=True))


def test_scores_are_those_of_conjectures(file):
    found = read_predictions(file)
    told = pd.DataFrame({"author": "Ada", "probability": [0.8, 0.4, 0.6], "outcome": [True, False, None]})
    pd.testing.assert_frame_equal(found.scores, scores(told.astype({"outcome": "boolean"})))
    assert found.predictions["brier"].tolist()[:2] == [brier(0.8, True), brier(0.4, False)]
    assert found.predictions["log_score"].tolist()[:2] == [log_score(0.8, True), log_score(0.4, False)]
    assert found.scores["unresolved"].tolist() == [1]
    assert set(edits(file).values()) == {"as made"}


def test_a_prediction_is_settled_once(file):
    before = file.read_bytes()
    with pytest.raises(TakebackError, match="'one' was settled as true on 2026-01-06; that is done once"):
        resolve(file, "one", False, date(2026, 1, 8))
    assert file.read_bytes() == before
    with pytest.raises(TakebackError, match="did you mean 'three'"):
        resolve(file, "thre", True, date(2026, 1, 8))


def test_adding_leaves_what_is_there_as_it_is(file):
    file.write_bytes(b"# ours\r\n" + file.read_bytes() + b"# a thought")
    before = file.read_bytes()
    predict(prediction("four"), file)
    resolve(file, "four", True, DAY)
    assert file.read_bytes().startswith(before)
    assert set(edits(file).values()) == {"as made"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("probability: 0.8", "probability: 0.95"),
        ("statement: one happens.", "statement: one may happen."),
        ("name: one\n  kind: feedback", "name: one\n  kind: project"),
    ],
)
def test_a_prediction_that_was_changed_shows_and_is_not_scored(old, new, file):
    edit(file, old, new)
    assert edits(file) == {"one": "changed", "two": "as made", "three": "as made"}
    assert read_predictions(file).scores["n"].tolist() == [1]


def test_an_outcome_that_was_changed_shows_and_is_not_scored(file):
    edit(file, "outcome: false", "outcome: true")
    assert edits(file)["two"] == "outcome changed"
    assert read_predictions(file).predictions["brier"].isna().tolist() == [False, True, True]


def test_what_was_removed_shows_at_what_came_after_it(file):
    second, third = [line for one, line in read_events(file) if isinstance(one, Predicted)][1:]
    lines = file.read_text().splitlines(keepends=True)
    keep = "".join([*lines[: second - 1], *lines[third - 1 :]])
    file.write_text(keep[: keep.index("- resolved: 2026-01-07")])
    assert edits(file) == {"one": "as made", "three": "what was before it is gone"}
    assert read_predictions(file).scores["n"].tolist() == [1]


def test_a_prediction_written_by_hand_is_shown_and_not_scored(file):
    text = "- {predicted: 2026-01-05, name: hand, statement: a, about: b, by: Eve, probability: 0.9}\n"
    file.write_text(file.read_text() + text)
    resolve(file, "hand", True, date(2026, 1, 8))
    assert edits(file)["hand"] == "by hand"
    assert read_predictions(file).scores["author"].tolist() == ["Ada"]
    edit(file, "by: Eve", "by: Mallory")
    assert edits(file)["one"] == "as made"


FIRST = "- predicted: 2026-01-05\n  name: a\n  statement: s\n  about: b\n  by: c\n  probability: 0.5\n"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a: 1\n", 1, "are a list"),
        (f"{FIRST}- [\n", 8, "YAML"),
        (f"{FIRST}- name: a\n", 7, "either predicted: DATE or resolved: DATE"),
        (f"{FIRST}{FIRST}", 7, "named 'a' is there already"),
        (FIRST.replace("0.5", "1"), 1, "probability: Input should be less than 1"),
        (FIRST.replace("by: c", "by: c\n  whom: d"), 1, "whom: Extra inputs"),
        (
            f"{FIRST}- {{resolved: 2026-01-06, name: b, outcome: true}}\n",
            7,
            "not predicted before it is settled",
        ),
        (f"{FIRST}- {{resolved: 2026-01-04, name: a, outcome: true}}\n", 7, "before the day"),
        (
            f"{FIRST}- {{resolved: 2026-01-06, name: a, outcome: 1}}\n",
            7,
            "outcome: Input should be a valid boolean",
        ),
        (f"{FIRST}" + "- {resolved: 2026-01-06, name: a, outcome: true}\n" * 2, 8, "was settled at line 7"),
    ],
)
def test_errors_name_the_file_and_the_line(text, line, told):
    with pytest.raises(TakebackError, match=told) as caught:
        parse_events(text, "p.yaml")
    assert str(caught.value).startswith(f"p.yaml:{line}: ")
    assert "\n" not in str(caught.value)


TEXT = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
)


@pytest.mark.slow
@settings(deadline=None)
@example([("0", "0\x850", 0.5, "feedback")])
@given(
    st.lists(
        st.tuples(TEXT, TEXT, st.floats(0.001, 0.999), st.sampled_from(["feedback", "project"])), max_size=4
    )
)
def test_any_words_read_back_as_they_were_written(tmp_path_factory, told):
    path = tmp_path_factory.mktemp("any") / "p.yaml"
    made = [
        predict(prediction(f"p{k}", statement=a, by=b, probability=p, kind=kind), path)
        for k, (a, b, p, kind) in enumerate(told)
    ]
    assert [one for one, _ in read_events(path)] == made if made else not path.exists()


def test_the_page_draws_calibration_and_the_terminal_tells_what_was_changed(file, tmp_path, capsys):
    edit(file, "probability: 0.6", "probability: 0.7")
    found = read_predictions(file)
    found.write(tmp_path / "out")
    page = (tmp_path / "out" / "predictions.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "how many predictions of Ada came true" in page
    found.print()
    printed = capsys.readouterr().out
    assert "3 predictions: 1 true, 1 false, 1 open." in printed
    assert "Not as made: three (changed)." in printed
