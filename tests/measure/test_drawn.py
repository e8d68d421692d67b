"""Law 12 for answers drawn anew: values are those of all answers, and effects share their luck."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tiny_answers
from takeback.arenas import Asked, arena
from takeback.arenas.rows import DrawnRows, rows_arena
from takeback.checkpoint import load_model, load_tokenizer, open_pair
from takeback.hybrid import taken_back
from takeback.measure.bench import Bench
from takeback.measure.effects import effects
from takeback.measure.measures import measure_values
from takeback.measure.setup import Setup
from takeback.policies.drawn import DrawnReadouts
from takeback.run.errors import UnknownName
from takeback.run.identity import identity
from takeback.run.stats import mean_estimate

PROMPTS, DRAWS = 32, 24
TAKEN = "L0.*"
ALL = tiny_answers.Enumerated.all()


class Drawn:
    """A bench that reads by drawing, and the exact values of base, tuned and a hybrid."""

    def __init__(self, folder: Path) -> None:
        tiny_answers.save_pair(folder, PROMPTS)
        self.pair = open_pair(str(folder / "base"), str(folder / "tuned"))
        self.place = DrawnRows(arena(tiny_answers.arena_text(folder)), DRAWS)
        self.rows = self.place.situations("held-out", PROMPTS, 0)
        self.out = folder / "out"
        self.bench = Bench(self.pair, self.place, self.rows, ["utility good"], Setup(out=self.out))
        part = self.bench.anatomy.parse(TAKEN)
        self.readouts = {**self.bench.ends, "hybrid": self.bench.read([part])[0]}
        base, tuned = load_model(self.pair.base), load_model(self.pair.tuned)
        words = load_tokenizer(self.pair.tuned)
        prompts = [words.encode(row.shown, add_special_tokens=True) for row in self.rows]
        logs = {"base": ALL.logprobs(base, prompts), "tuned": ALL.logprobs(tuned, prompts)}
        with taken_back(tuned, base, part):
            logs["hybrid"] = ALL.logprobs(tuned, prompts)
        kinds = np.array(ALL.kinds)
        self.exact = {
            name: {
                "utility good": np.exp(one) @ ALL.worth,
                "length": np.exp(one) @ ALL.lengths,
                "kind, cut off": np.exp(one)[:, kinds == "cut off"].sum(axis=1),
            }
            for name, one in logs.items()
        }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("drawn"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base", "tuned", "hybrid"])
def test_drawn_values_are_those_of_all_answers(drawn: Drawn, name: str) -> None:
    values = measure_values(drawn.readouts[name], drawn.bench.context)
    for measure, truth in drawn.exact[name].items():
        off = mean_estimate(values[measure].numbers - truth, drawn.bench.clusters, 0.999)
        assert off.low <= 0 <= off.high, (name, measure, off)


def test_effects_share_their_luck(drawn: Drawn) -> None:
    tuned, hybrid = drawn.readouts["tuned"], drawn.readouts["hybrid"]
    table = effects(tuned, hybrid, drawn.place, "tuned", drawn.bench.context).set_index("measure")
    truth = drawn.exact["hybrid"]["utility good"] - drawn.exact["tuned"]["utility good"]
    told = table.loc["utility good"]
    assert abs(told["effect"] - truth.mean()) < 3.5 * told["se"]
    assert isinstance(tuned, DrawnReadouts)
    assert isinstance(hybrid, DrawnReadouts)
    paired = (hybrid.worth - tuned.worth).var()
    assert paired < 0.7 * (hybrid.worth.var() + tuned.worth.var()), "luck in common goes out of an effect"
    assert 0 < table.loc["answers changed", "value"] < 0.6


def test_what_was_drawn_is_kept_and_not_drawn_again(drawn: Drawn) -> None:
    again = Bench(drawn.pair, drawn.place, drawn.rows, ["utility good"], Setup(out=drawn.out))
    part = again.anatomy.parse(TAKEN)
    found = again.read([part, again.nothing])
    assert again.store.reads == []
    for one, other in zip(found, (drawn.readouts["hybrid"], drawn.readouts["tuned"]), strict=True):
        assert isinstance(one, DrawnReadouts)
        assert isinstance(other, DrawnReadouts)
        for name in DrawnReadouts.NUMBERS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    fewer = Bench(drawn.pair, DrawnRows(drawn.place.open, 3), drawn.rows, ["length"], Setup(out=drawn.out))
    (few,) = fewer.read([part])
    assert isinstance(few, DrawnReadouts)
    assert isinstance(found[0], DrawnReadouts)
    np.testing.assert_array_equal(few.answers, found[0].answers[:, :3])


def test_some_prompts_alone_get_the_same_answers(drawn: Drawn) -> None:
    alone = Bench(drawn.pair, drawn.place, [drawn.rows[5], drawn.rows[2]], ["length"])
    (found,) = alone.read([alone.nothing])
    whole = drawn.readouts["tuned"]
    assert isinstance(found, DrawnReadouts)
    assert isinstance(whole, DrawnReadouts)
    np.testing.assert_array_equal(found.answers, whole.answers[[5, 2]])
    some = whole[[5, 2]]
    assert isinstance(some, DrawnReadouts)
    np.testing.assert_array_equal(some.worth, found.worth)


def test_kinds_are_asked_for_by_name_and_tables_hold_every_answer(drawn: Drawn) -> None:
    bench = drawn.bench.about("kind, with b", "answers changed")
    answers = bench.answer([bench.anatomy.parse(TAKEN)])
    shares = answers.of(bench.anatomy.parse(TAKEN), "kind, with b")
    table = drawn.readouts["hybrid"].to_frame()
    assert len(table) == PROMPTS * DRAWS
    with_b = table["answer"].str.split().map(lambda words: "b" in words)
    np.testing.assert_allclose(with_b.groupby(table["item"]).mean().to_numpy(), shares)
    counted = table["answer"].str.count("a") - 0.25 * table["answer"].str.count("d")
    np.testing.assert_allclose(table["reward good"].astype(float), counted)
    with pytest.raises(UnknownName):
        _ = drawn.bench.about("margin good").asked


def test_what_is_drawn_has_one_identity(tmp_path: Path) -> None:
    def told(prompt: str = "", reward: str = "", draws: int = 2, **more: str) -> str:
        tiny_answers.save_pair(tmp_path, 1)
        file, rows = tmp_path / "reward.py", tmp_path / "prompts.jsonl"
        rows.write_text(json.dumps({"prompt": "a " * 50 + prompt}), encoding="utf-8")
        file.write_text(tiny_answers.REWARD.replace("0.25", reward or "0.25"), encoding="utf-8")
        text = tiny_answers.arena_text(tmp_path, **more).replace("kinds: ", "reference: prompt, kinds: ")
        place = DrawnRows(rows_arena(text), draws)
        return identity(Asked(place, place.situations("held-out", 1, 0)))

    given = [told(), told("b"), told(reward="0.5"), told(draws=3), told(seed="1"), told(temperature="0.5")]
    assert len(set(given)) == len(given)
    assert told() == given[0]
