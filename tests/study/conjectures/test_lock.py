import json
import re
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kill import run_and_kill
from made_up import conjecture
from takeback.run.errors import TakebackError
from takeback.study.conjectures import lock, read_lock
from takeback.study.conjectures.conjecture import check_conjectures, digest_of
from takeback.study.conjectures.lock import ADDED, LOCK, standings

TWO = [conjecture("first"), conjecture("second", probability=0.3)]


def write_plan(run, conjectures):
    run.mkdir(exist_ok=True)
    fields = {"arms": {}, "conjectures": [one.model_dump(mode="json") for one in conjectures]}
    (run / "plan.yaml").write_text(yaml.safe_dump(fields))


def test_a_lock_holds_every_text_a_hash_and_the_time(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    told = json.loads(lock(TWO, tmp_path).read_text())
    assert before <= datetime.fromisoformat(told["time"]) <= datetime.now(UTC)
    assert check_conjectures(told["conjectures"]) == tuple(TWO)
    assert re.fullmatch("[0-9a-f]{64}", told["sha256"])
    assert read_lock(tmp_path).late is False


def test_a_lock_is_made_once(tmp_path):
    path = lock(TWO, tmp_path)
    before = path.read_bytes()
    lock([conjecture("third")], tmp_path)
    assert path.read_bytes() == before


def test_conjectures_in_the_run_folder_are_locked_with_the_plan_s(tmp_path):
    (tmp_path / ADDED).write_text(yaml.safe_dump([conjecture("third").model_dump(mode="json")]))
    lock(TWO, tmp_path)
    assert [one.name for one in read_lock(tmp_path).conjectures] == ["first", "second", "third"]


def test_two_of_one_name_are_refused_and_nothing_is_locked(tmp_path):
    (tmp_path / ADDED).write_text(yaml.safe_dump([conjecture("first", author="Bob").model_dump(mode="json")]))
    with pytest.raises(TakebackError, match="two conjectures are named 'first'"):
        lock(TWO, tmp_path)
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("field", ["sentence", "rule", "probability", "author"])
def test_what_is_changed_after_the_lock_shows_with_both_texts(field, tmp_path):
    write_plan(tmp_path, TWO)
    lock(TWO, tmp_path)
    assert {one.edit for one in standings(tmp_path)} == {"as locked"}
    new = {"sentence": "No games.", "rule": "count(games) > 4", "probability": 0.81, "author": "Bob"}[field]
    write_plan(tmp_path, [conjecture("first", **{field: new}), TWO[1]])
    changed, same = standings(tmp_path)
    assert (changed.edit, same.edit, same.now) == ("changed", "as locked", "")
    assert getattr(changed.conjecture, field) == getattr(TWO[0], field)
    assert json.loads(changed.now)[field] == new
    assert changed.counts


def test_what_is_removed_or_added_after_the_lock_shows(tmp_path):
    lock(TWO, tmp_path)
    write_plan(tmp_path, [TWO[0]])
    (tmp_path / ADDED).write_text(yaml.safe_dump([conjecture("third").model_dump(mode="json")]))
    assert [(one.conjecture.name, one.edit, one.counts) for one in standings(tmp_path)] == [
        ("first", "as locked", True),
        ("second", "removed", True),
        ("third", "added after", False),
    ]


@pytest.mark.parametrize("begun", ["arms", "base", "behaviour"])
def test_a_lock_made_after_the_run_began_says_so_and_counts_nothing(begun, tmp_path):
    (tmp_path / begun).mkdir()
    write_plan(tmp_path, TWO)
    lock(TWO, tmp_path)
    assert [(one.edit, one.counts) for one in standings(tmp_path)] == [("locked late", False)] * 2


def test_an_edited_lock_is_refused(tmp_path):
    path = lock(TWO, tmp_path)
    path.write_text(path.read_text().replace("0.3", "0.9"))
    with pytest.raises(TakebackError, match="was edited"):
        read_lock(tmp_path)
    path.write_text("{")
    with pytest.raises(TakebackError, match="can't be read as a lock"):
        read_lock(tmp_path)
    path.unlink()
    with pytest.raises(TakebackError, match=r"has no conjectures\.lock\.json"):
        read_lock(tmp_path)


@given(
    st.permutations(
        [conjecture(name, probability=p) for name, p in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)]
    )
)
def test_the_hash_does_not_depend_on_the_order(conjectures):
    assert digest_of(conjectures) == digest_of(sorted(conjectures, key=lambda one: one.name))


@given(st.sampled_from(["name", "sentence", "author"]), st.text(min_size=1).map(str.strip).filter(bool))
def test_the_hash_depends_on_every_text(field, text):
    one = conjecture()
    other = one.model_copy(update={field: text})
    assert (digest_of([one]) == digest_of([other])) == (getattr(one, field) == text)


@pytest.mark.slow
def test_a_killed_lock_is_whole_or_not_there(tmp_path):
    code = (
        "import itertools\nfrom takeback.study.conjectures import Conjecture, lock\n"
        f"one = Conjecture.model_validate({TWO[0].model_dump()!r})\n"
        "many = [one.model_copy(update={'name': str(n)}) for n in range(300)]\n"
        f"for n in itertools.count():\n    lock(many, {str(tmp_path)!r} + f'/{{n}}')\n"
    )
    run_and_kill(code, (tmp_path / "5" / LOCK).exists, tmp_path / "log.txt")
    made = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    for run in made:
        if (run / LOCK).exists():
            assert len(read_lock(run).conjectures) == 300
        else:
            lock(TWO, run)
            assert len(read_lock(run).conjectures) == 2
        assert not [path for path in run.iterdir() if path.name != LOCK and not path.name.endswith(".part")]
