"""Readouts of policy networks: every number of one by hand, and equal to the slow way in the endgames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import networks
from takeback.anatomy import anatomy_of
from takeback.arenas import arena
from takeback.checkpoint import Network, NetworkConfig
from takeback.hybrid.walk import path_of
from takeback.measure.effects import effects
from takeback.measure.measures import measures
from takeback.policies.load import load_policy
from takeback.policies.network import NetworkPlan, NetworkPolicy
from takeback.policies.network.plan import OutcomeMasses
from takeback.policies.policy import read
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from toy_arena import Place, ToyArena

TOY = ToyArena()
PLACES = [Place(0), Place(1), Place(2), Place(3)]
LN2 = math.log(2)


def network(hidden: Sequence[Sequence[float]], above: Sequence[Sequence[float]], **more: object) -> Network:
    """Make a 2-2-7 relu network of rows (weights, then bias); outputs are in powers of two."""
    tensors = {}
    for place, rows in enumerate((torch.tensor(hidden), torch.tensor(above, dtype=torch.float64) * LN2)):
        tensors[f"policy.{place}.weight"] = rows[:, :2].float()
        tensors[f"policy.{place}.bias"] = rows[:, 2].float()
    config = NetworkConfig.model_validate({"activation": "relu", **more})
    return Network.of(tensors, config, ["policy.0", "policy.1"]).eval()


# In places 0 to 3 it sees (0, 0), (1, 0), (0, 1) and (1, 1). Tuned's hidden units are relu(x) and
# relu(1 - y), so (0, 1), (1, 1), (0, 0) and (1, 0). Base's are relu(y) and relu(x - 1) = 0.
TUNED_HIDDEN = [[1.0, 0.0, 0.0], [0.0, -1.0, 1.0]]
BASE_HIDDEN = [[0.0, 1.0, 0.0], [1.0, 0.0, -1.0]]
# Outputs are    a          b          c          ab         ba         cc         abc
TUNED_OUTPUTS = [[1, 3, 0], [0, 0, 1], [2, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 2], [0, 2, 0]]
BASE_OUTPUTS = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
TUNED = network(TUNED_HIDDEN, TUNED_OUTPUTS)
BASE = network(BASE_HIDDEN, BASE_OUTPUTS)

Outcomes = dict[str, Fraction]


def parts(whole: int, **of: int) -> Outcomes:
    assert sum(of.values()) == whole
    return {name: Fraction(part, whole) for name, part in of.items()}


#   weights     a   b  c  ab ba cc abc
# place 0:      8   2  1  4  2  4  4    of 25;  a and ab are legal
# place 1:      16  2  4  4  4  4  4    of 38;  b, ba and cc
# place 2:      1   2  1  2  1  4  1    of 12;  c
# place 3:      2   2  4  2  2  4  1    of 17;  nothing
BY_HAND = {
    "": [
        parts(25, a=8, ab=4, unparsable=4, short=2 + 1, long=2 + 4),
        parts(38, b=2, ba=4, cc=4, unparsable=4, short=16 + 4, long=4),
        parts(12, c=1, unparsable=1, short=1 + 2, long=2 + 1 + 4),
        parts(17, unparsable=1, short=2 + 2 + 4, long=2 + 2 + 4),
    ],
    # The first unit is relu(y): hidden (0, 1), (0, 1), (1, 0), (1, 0); places 0 and 3 are as before.
    "L0.U0": [
        parts(25, a=8, ab=4, unparsable=4, short=2 + 1, long=2 + 4),
        parts(25, b=2, ba=2, cc=4, unparsable=4, short=8 + 1, long=4),
        parts(17, c=4, unparsable=1, short=2 + 2, long=2 + 2 + 4),
        parts(17, unparsable=1, short=2 + 2 + 4, long=2 + 2 + 4),
    ],
    # The output cc has weight 2 everywhere, instead of 4.
    "L1.U5": [
        parts(23, a=8, ab=4, unparsable=4, short=2 + 1, long=2 + 2),
        parts(36, b=2, ba=4, cc=2, unparsable=4, short=16 + 4, long=4),
        parts(10, c=1, unparsable=1, short=1 + 2, long=2 + 1 + 2),
        parts(15, unparsable=1, short=2 + 2 + 4, long=2 + 2 + 2),
    ],
    # All outputs are base's: cc has weight 2 and the others 1, whatever is seen.
    "L1.*": [
        parts(8, a=1, ab=1, unparsable=1, short=2, long=1 + 2),
        parts(8, b=1, ba=1, cc=2, unparsable=1, short=2, long=1),
        parts(8, c=1, unparsable=1, short=2, long=1 + 1 + 2),
        parts(8, unparsable=1, short=3, long=1 + 1 + 2),
    ],
    # The second unit is 0: hidden (0, 0), (1, 0), (0, 0), (1, 0).
    "L0.U1 L1.U5": [
        parts(10, a=1, ab=2, unparsable=1, short=2 + 1, long=1 + 2),
        parts(15, b=2, ba=2, cc=2, unparsable=1, short=2 + 4, long=2),
        parts(10, c=1, unparsable=1, short=1 + 2, long=2 + 1 + 2),
        parts(15, unparsable=1, short=2 + 2 + 4, long=2 + 2 + 2),
    ],
}
GREEDY = ["a", None, None, None]
"""The heaviest outputs of tuned are a, a, cc, and c before cc."""


def assert_reads(readouts: Readouts, expected: Sequence[Outcomes]) -> None:
    for place, found, outcomes in zip(PLACES, readouts, expected, strict=True):
        wanted = {name: float(outcomes.get(name, 0)) for name in (*TOY.legal(place), *TOY.kinds)}
        assert {**found.legal, **found.illegal} == pytest.approx(wanted, rel=1e-6)
    assert not readouts.undecided.any()
    assert not readouts.errors.any()
    assert not readouts.lower_bound.any()


def test_a_readout_by_hand() -> None:
    readouts = read(NetworkPolicy(TUNED), TOY, PLACES)
    assert_reads(readouts, BY_HAND[""])
    assert [one.greedy for one in readouts] == GREEDY
    assert readouts.situations == ("s0", "s1", "s2", "s3")
    assert readouts.clusters == ("0", "0", "1", "1")


def test_measures_by_hand() -> None:
    table = measures(read(NetworkPolicy(TUNED), TOY, PLACES), TOY).set_index("measure")["value"]
    quarter = Fraction(1, 4)
    worth = [
        Fraction(8, 25) * quarter + Fraction(4, 25),
        Fraction(4, 38) / 2 + Fraction(4, 38),
        Fraction(1, 12) / 2,
        Fraction(0),
    ]
    assert worth == [Fraction(6, 25), Fraction(6, 38), Fraction(1, 24), 0]
    entropies = [
        -(8 * math.log(8 / 25) + 2 * 4 * math.log(4 / 25) + 3 * math.log(3 / 25) + 6 * math.log(6 / 25)) / 25,
        -(2 * math.log(2 / 38) + 4 * 4 * math.log(4 / 38) + 20 * math.log(20 / 38)) / 38,
        -(2 * math.log(1 / 12) + 3 * math.log(3 / 12) + 7 * math.log(7 / 12)) / 12,
        -(math.log(1 / 17) + 2 * 8 * math.log(8 / 17)) / 17,
    ]
    expected = {
        "legal": (12 / 25 + 10 / 38 + 1 / 12) / 4,
        "legal, greedy": 1 / 4,
        "illegal, unparsable": (4 / 25 + 4 / 38 + 1 / 12 + 1 / 17) / 4,
        "illegal, short": (3 / 25 + 20 / 38 + 3 / 12 + 8 / 17) / 4,
        "illegal, long": (6 / 25 + 4 / 38 + 7 / 12 + 8 / 17) / 4,
        "utility first": float(sum(worth) / 4),
        "utility even": float((worth[0] + worth[2]) / 2),
        "utility first, if legal": (6 / 12 + 6 / 10 + 1 / 2) / 3,
        "entropy": sum(entropies) / 4,
        "two, if legal": (4 / 12 + 8 / 10) / 2,
    }
    for name, value in expected.items():
        assert table[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("source", ["network", "tensors"])
def test_takebacks_by_hand(source: str) -> None:
    policy, base = NetworkPolicy(TUNED), NetworkPolicy(BASE)
    anatomy, plan = anatomy_of(TUNED), policy.prepare(TOY, PLACES)
    hybrids = policy.hybrids(base if source == "network" else dict(BASE.state_dict()))
    views = [(hybrids, path_of(anatomy.parse(text))) for text in BY_HAND]
    found, steps = policy.read_hybrids(plan, views)
    assert steps is None
    for readouts, expected in zip(found, BY_HAND.values(), strict=True):
        assert_reads(readouts, expected)
    assert_reads(policy.read(plan), BY_HAND[""])
    everything = [(hybrids, path_of(anatomy.parse("*")))]
    assert_reads(policy.read_hybrids(plan, everything)[0][0], BY_HAND["L1.*"])


def test_effects_by_hand() -> None:
    policy = NetworkPolicy(TUNED)
    plan = policy.prepare(TOY, PLACES)
    hybrids = policy.hybrids(NetworkPolicy(BASE))
    found = {}
    for text in ("L0.U0", "L1.*"):
        view = (hybrids, path_of(anatomy_of(TUNED).parse(text)))
        (after,), _ = policy.read_hybrids(plan, [view])
        found[text] = effects(policy.read(plan), after, TOY, "tuned").set_index("measure")["effect"]
    unit, outputs = found["L0.U0"], found["L1.*"]
    assert unit["legal"] == pytest.approx((8 / 25 - 10 / 38 + 4 / 17 - 1 / 12) / 4, rel=1e-5)
    assert unit["utility first"] == pytest.approx((5 / 25 - 6 / 38 + 2 / 17 - 1 / 24) / 4, rel=1e-5)
    moved = (
        (abs(2 / 25 - 2 / 38) + abs(2 / 25 - 4 / 38) + abs(4 / 25 - 4 / 38) * 2)
        + (abs(9 / 25 - 20 / 38) + abs(4 / 25 - 4 / 38))
        + (abs(4 / 17 - 1 / 12) + abs(1 / 17 - 1 / 12) + abs(4 / 17 - 3 / 12) + abs(8 / 17 - 7 / 12))
    )
    assert unit["total variation"] == pytest.approx(moved / 2 / 4, rel=1e-5)
    assert outputs["legal"] == pytest.approx(
        (2 / 8 - 12 / 25 + 4 / 8 - 10 / 38 + 1 / 8 - 1 / 12) / 4, rel=1e-5
    )
    gained = (1.25 / 8 - 6 / 25) + (2.5 / 8 - 6 / 38) + (0.5 / 8 - 1 / 24)
    assert outputs["utility first"] == pytest.approx(gained / 4, rel=1e-5)


def test_outputs_that_are_values_by_hand() -> None:
    """The largest outputs are a, a, cc and c: with exploration 0.28 they have 0.72 + 0.04, others 0.04."""
    policy = NetworkPolicy(network(TUNED_HIDDEN, TUNED_OUTPUTS, outputs="values", exploration=0.28))
    readouts = read(policy, TOY, PLACES)
    expected = [
        parts(25, a=19, ab=1, unparsable=1, short=1 + 1, long=1 + 1),
        parts(25, b=1, ba=1, cc=1, unparsable=1, short=19 + 1, long=1),
        parts(25, c=1, unparsable=1, short=1 + 1, long=1 + 1 + 19),
        parts(25, unparsable=1, short=1 + 1 + 19, long=1 + 1 + 1),
    ]
    assert_reads(readouts, expected)
    assert [one.greedy for one in readouts] == GREEDY


# Against the slow way


ENDGAMES = arena("endgames")


@pytest.fixture(scope="module")
def shipped() -> NetworkPolicy:
    policy = load_policy("endgame-mlp", ENDGAMES)
    assert isinstance(policy, NetworkPolicy)
    return policy


def slowly(policy: NetworkPolicy, situations: Sequence[object]) -> list[dict[str, float]]:
    """One softmax over all outputs for each situation, each output judged by the arena."""
    found = []
    for situation in situations:
        seen = torch.from_numpy(ENDGAMES.observe([situation]))
        with torch.no_grad():
            outputs = policy.model(seen)[0].double()
        config = policy.model.network
        if config.outputs == "logits":
            chances = torch.softmax(outputs, 0)
        else:
            chances = torch.full_like(outputs, config.exploration / len(outputs))
            chances[outputs.argmax()] += 1 - config.exploration
        masses = dict.fromkeys((*ENDGAMES.legal(situation), *ENDGAMES.kinds), 0.0)
        for text, chance in zip(ENDGAMES.outputs, chances.tolist(), strict=True):
            verdict = ENDGAMES.classify(situation, text)
            masses[text if verdict == "legal" else verdict] += chance
        best = ENDGAMES.outputs[int(outputs.argmax())]
        found.append({**masses, "greedy": best if ENDGAMES.classify(situation, best) == "legal" else None})
    return found


@pytest.mark.parametrize("outputs", ["logits", "values"])
def test_readouts_equal_a_dense_softmax(outputs: str, shipped: NetworkPolicy) -> None:
    policy = shipped
    if outputs == "values":
        model = networks.build((320, 5, 4184), 0, "tanh", outputs="values", exploration=0.1)
        policy = NetworkPolicy(model)
    situations = ENDGAMES.situations("held-out", 3, 0)
    readouts = read(policy, ENDGAMES, situations)
    for found, expected in zip(readouts, slowly(policy, situations), strict=True):
        assert found.greedy == expected.pop("greedy")
        assert {**found.legal, **found.illegal} == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert sum(found.legal.values()) + sum(found.illegal.values()) == pytest.approx(1, abs=1e-12)


def test_blocks_of_any_size_and_order_give_the_same(shipped: NetworkPolicy) -> None:
    situations = ENDGAMES.situations("held-out", 20, 1)
    plan = NetworkPlan.prepare(ENDGAMES, situations)
    with torch.no_grad():
        outputs = shipped.model(plan.observations)
    whole = shipped.read(plan)
    rows = np.random.default_rng(0).permutation(20)
    for size in (1, 3, 20):
        tally = OutcomeMasses(plan, shipped.model.network)
        for start in range(0, 20, size):
            some = rows[start : start + size]
            tally.put(some, outputs[torch.from_numpy(some)])
        found = tally.readouts(64, 0)
        np.testing.assert_allclose(found.probabilities, whole.probabilities, rtol=1e-6)
        np.testing.assert_allclose(found.masses, whole.masses, rtol=1e-5, atol=1e-12)
        np.testing.assert_array_equal(found.greedy, whole.greedy)
    other = tally.copy()
    other.put(np.arange(3), torch.zeros(3, 4184))
    np.testing.assert_array_equal(tally.readouts(64, 0).probabilities, found.probabilities)
    assert not np.array_equal(other.probabilities, tally.probabilities)


def test_situations_read_alone_are_read_as_among_others(shipped: NetworkPolicy) -> None:
    situations = ENDGAMES.situations("held-out", 7, 2)
    together = read(shipped, ENDGAMES, situations)
    for situation, one in zip(situations, together, strict=True):
        alone = read(shipped, ENDGAMES, [situation])[0]
        assert alone.legal == pytest.approx(one.legal, rel=1e-5)
        assert alone.illegal == pytest.approx(one.illegal, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("outputs", ["logits", "values"])
def test_actions_are_drawn_by_their_probabilities(outputs: str) -> None:
    weights = [8, 2, 1, 4, 2, 4, 4]
    model = network(TUNED_HIDDEN, TUNED_OUTPUTS, outputs=outputs, exploration=0.28)
    if outputs == "values":
        weights = [19, 1, 1, 1, 1, 1, 1]
    policy, n = NetworkPolicy(model), 4000
    drawn = policy.choose(TOY, [Place(0)] * n, torch.Generator().manual_seed(1))
    counts = [drawn.count(text) for text in TOY.outputs]
    assert chisquare(counts, [n * weight / 25 for weight in weights]).pvalue > 0.01
    again = policy.choose(TOY, [Place(0)] * n, torch.Generator().manual_seed(1))
    assert drawn == again != policy.choose(TOY, [Place(0)] * n, torch.Generator().manual_seed(2))


def test_several_sources_are_read_in_the_order_asked_for() -> None:
    policy, plan = NetworkPolicy(TUNED), NetworkPlan.prepare(TOY, PLACES)
    anatomy = anatomy_of(TUNED)
    back, grafted = policy.hybrids(NetworkPolicy(BASE)), NetworkPolicy(BASE).hybrids(policy)
    names = ["L1.*", "L0.U0", "L1.U5"]
    views = [(back, path_of(anatomy.parse(name))) for name in names]
    views.insert(1, (grafted, path_of(anatomy.parse(""))))
    views.append((grafted, path_of(anatomy.parse("*"))))
    found, _ = policy.read_hybrids(plan, views)
    for readouts, name in zip(found, ["L1.*", "L1.*", "L0.U0", "L1.U5", ""], strict=True):
        assert_reads(readouts, BY_HAND[name])


# What does not fit


def refusal(policy: NetworkPolicy, place: object = TOY, situations: object = PLACES) -> str:
    with pytest.raises(TakebackError) as caught:
        policy.prepare(place, situations)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_the_arena_is_told_in_one_line(tmp_path) -> None:
    assert "reads: 3, where arena toy has 2" in refusal(NetworkPolicy(networks.build((3, 4, 7), 0)))
    assert "has outputs: 6, where arena toy has 7" in refusal(NetworkPolicy(networks.build((2, 4, 6), 0)))
    assert "no situations" in refusal(NetworkPolicy(TUNED), situations=[])
    networks.build((2, 4, 7), 0).save_pretrained(tmp_path)
    assert isinstance(load_policy(tmp_path, TOY), NetworkPolicy)
    with pytest.raises(TakebackError, match="has outputs: 7, where arena endgames has 4184; it was made for"):
        load_policy(tmp_path, ENDGAMES)


def test_a_legal_action_without_an_output_is_told() -> None:
    class Poor(ToyArena):
        outputs = ("a", "b", "c", "ab", "ba", "abc")

    told = refusal(NetworkPolicy(networks.build((2, 4, 6), 0)), Poor())
    assert told == "arena toy has no output for its legal action 'cc'"


def test_networks_are_unlike_what_reads_or_gives_something_else() -> None:
    policy = NetworkPolicy(TUNED)
    assert policy.unlike(NetworkPolicy(BASE)) is None
    assert policy.unlike(NetworkPolicy(networks.build((2, 9, 9, 7), 0, "tanh"))) is None
    for widths, outputs in (((3, 4, 7), "logits"), ((2, 4, 6), "logits"), ((2, 4, 7), "values")):
        other = NetworkPolicy(networks.build(widths, 0, outputs=outputs))
        assert policy.unlike(other) == "other inputs or outputs"


def test_a_language_model_is_another_kind() -> None:
    language = load_policy("endgame-base", ENDGAMES)
    assert NetworkPolicy(TUNED).unlike(language) == "another kind of policy"
    assert language.unlike(NetworkPolicy(TUNED)) is not None
    with pytest.raises(TakebackError, match="come from another network"):
        NetworkPolicy(TUNED).hybrids(language)
