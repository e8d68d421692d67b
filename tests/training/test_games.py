"""Whole games: what a game is worth, and gradients in which every move has the game's reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import log_softmax

from takeback.arenas import ClosedArena, arena
from takeback.checkpoint import Network, NetworkConfig
from takeback.training import check_recipe
from takeback.training.drawing import tried_situations
from takeback.training.games import GameRewarder, play, returns
from takeback.training.gradients import GameGradient

ENDGAMES = arena("endgames")


def recipe(**more: Any) -> Any:
    fields = {"method": "rl", "parent": "endgame-mlp", "goal": "win", "horizon": 2, "steps": 1}
    return check_recipe({**fields, "learning_rate": 1e-3, **more})


def told(*texts: str) -> Callable[[Sequence[Any]], list[tuple[str | None, Any]]]:
    """A player that says one text after the other, whatever it sees; `-` is an answer that did not end."""
    left = iter(texts)

    def choose(situations: Sequence[Any]) -> list[tuple[str | None, Any]]:
        text = next(left)
        return [(None if text == "-" else text, number) for number in range(len(situations))]

    return choose


# What a game is worth


@pytest.mark.parametrize(
    ("texts", "horizon", "win", "check"),
    [
        (("h1h8",), 3, 1.0, 1.0),
        (("h1c1", "c1c8"), 2, 1.0, 0.5),
        (("h1c1", "c1d1"), 2, 0.0, 0.0),
        (("h1c1", "b6b8"), 3, 0.0, 0.0),
        (("h1h8x",), 3, 0.0, 0.0),
        (("-",), 3, 0.0, 0.0),
        (("h1b1", "-"), 3, 0.0, 0.0),
    ],
)
def test_a_game_is_worth_its_outcome_for_win_and_its_moves_for_other_goals(
    texts: tuple[str, ...], horizon: int, win: float, check: float
) -> None:
    start = ENDGAMES.parse("w Kb6 Rh1 kb8")
    (game,) = play(ENDGAMES, told(*texts), [start], horizon)
    assert [answer or "-" for answer in game.answers] == list(texts)
    assert game.situations[0] == start
    assert returns(ENDGAMES, "win", [game])[0] == [win]
    assert returns(ENDGAMES, "check", [game])[0] == [check]


def test_each_game_keeps_the_situations_and_answers_that_were_its_own() -> None:
    begun = ENDGAMES.situations("train", 40, 3, goal="win")
    random = np.random.default_rng(0)

    def choose(situations: Sequence[Any]) -> list[tuple[str | None, Any]]:
        some = [(str(random.choice(ENDGAMES.legal(one))), one) for one in situations]
        return [("nonsense", one) if random.random() < 0.2 else (text, one) for text, one in some]

    games = play(ENDGAMES, choose, begun, 4)
    assert len({len(game.situations) for game in games}) > 2
    for start, game in zip(begun, games, strict=True):
        assert game.situations[0] == start
        for where, (_, seen) in zip(game.situations, game.choices, strict=True):
            assert seen == where
        for where, answer, then in zip(game.situations, game.answers, game.situations[1:], strict=False):
            assert ENDGAMES.step(where, answer).next == then


def test_for_win_games_start_where_the_horizon_suffices_and_best_play_wins_them_all() -> None:
    begun = tried_situations(ENDGAMES, recipe(horizon=3, steps=4, prompts=20))
    assert len(set(begun)) == 80
    assert {ENDGAMES.distance(one) for one in begun} == {1, 2, 3}
    games = play(ENDGAMES, best_player, begun, 3)
    assert returns(ENDGAMES, "win", games) == ([1.0] * 80, 1.0)
    assert tried_situations(ENDGAMES, recipe(goal="check", steps=2, prompts=9)) == ENDGAMES.situations(
        "train", 18, 0, goal="check"
    )


def test_a_curriculum_begins_near_mate_and_never_begins_a_game_twice() -> None:
    asked = recipe(horizon=5, mate_within=[1, 3, 5], steps=7, prompts=12)
    begun = tried_situations(ENDGAMES, asked)
    parts = [begun[:36], begun[36:60], begun[60:]]
    away = [{ENDGAMES.distance(one) for one in part} for part in parts]
    assert away == [{1}, {1, 2, 3}, {1, 2, 3, 4, 5}]
    assert len(set(begun)) == 7 * 12
    whole = tried_situations(ENDGAMES, recipe(horizon=5, steps=7, prompts=12))
    for method in ("rl", "rft"):
        near = {"mate_within": 5, "steps": 7, "prompts": 12}
        alone = {"parent": "endgame-mlp", "goal": "win", "learning_rate": 1e-3, "method": method, **near}
        assert tried_situations(ENDGAMES, check_recipe(alone)) == whole


def best_player(situations: Sequence[Any]) -> list[tuple[str | None, Any]]:
    chosen: list[tuple[str | None, Any]] = []
    for one in situations:
        utility = ENDGAMES.goals["win"].utility([one])
        chosen.append((ENDGAMES.legal(one)[int(utility.argmax())], None))
    return chosen


def test_games_by_chance_are_rewarded_whatever_was_played() -> None:
    begun = ENDGAMES.situations("train", 6, 0, goal="win")
    games = [play(ENDGAMES, told(text), begun, 1) for text in ("a1a2", "b1b2")]
    earned = [GameRewarder(ENDGAMES, "win", 7).score_games(1, some)[0] for some in games]
    assert earned[0] == earned[1]
    assert len(set(earned[0])) == 6


# The gradient, in a game of two moves


@dataclass(frozen=True)
class Walk:
    """A game as it ended."""

    start: int
    outcome: str
    turns: int
    score: float
    reason: str = ""


class Fork(ClosedArena[int]):
    """In 0 `left` leads to 1 and `right` ends the game with 0.4; in 1 `left` is worth 1 and `right` 0."""

    name = "fork"
    outputs = ("left", "right")
    worth: Mapping[tuple[int, str], float] = {(0, "right"): 0.4, (1, "left"): 1.0, (1, "right"): 0.0}

    def __init__(self) -> None:
        self.goals = self.goals_by(win=lambda place, action: 0.0)

    def legal(self, situation: int) -> tuple[str, ...]:
        return self.outputs

    def verdicts(self, situations: Sequence[int]) -> Any:
        return np.tile(np.arange(2, dtype=np.int16), (len(situations), 1))

    def distance(self, situation: int) -> int | None:
        return None

    def observe(self, situations: Sequence[int]) -> Any:
        return np.eye(2, dtype=np.float32)[list(situations)]

    def play_out(self, choose: Any, situations: Sequence[int], max_moves: int) -> list[Walk]:
        first = choose(list(situations))
        going = [place for place, text in enumerate(first) if text == "left"]
        second = dict(zip(going, choose([1] * len(going)), strict=True))
        return [
            Walk(0, "over", 2, self.worth[1, second[place]])
            if place in second
            else Walk(0, "over", 1, self.worth[0, "right"])
            for place in range(len(first))
        ]


def fork_network() -> Network:
    tensors = {"policy.0.weight": torch.tensor([[0.5, 0.2], [0.0, 0.0]]), "policy.0.bias": torch.zeros(2)}
    return Network.of(tensors, NetworkConfig(activation="relu"), ["policy.0"])


def forked(network: Network, many: int, number: int = 0, **more: Any) -> tuple[torch.Tensor, pd.DataFrame]:
    asked, rewarder = recipe(**more), GameRewarder(Fork(), "win")
    batch = {"situations": [0] * many, "number": number, "step": 1}
    loss, _ = GameGradient(asked, 2, Fork(), rewarder, fork_network())(network, batch)
    loss.backward()
    return loss.detach(), pd.DataFrame(rewarder.take_seen())


def test_the_gradient_of_games_is_by_hand_each_move_s_times_its_game_s_advantage() -> None:
    network, again = fork_network(), fork_network()
    loss, rows = forked(network, 3, completions=5, temperature=0.8)
    games = rows.groupby("game")["reward"].first()
    baseline = games.groupby(games.index // 5).transform("mean")
    expected = torch.zeros(())
    for row in rows.itertuples():
        logs = log_softmax(again(torch.eye(2)[int(row.situation)][None]) / 0.8, dim=1)[0]
        advantage = games[row.game] - baseline[row.game]
        expected = expected - advantage * logs[Fork.outputs.index(row.answer)] / len(rows)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), abs=1e-6)
    learned, by_hand = (one.layers[0].weight.grad for one in (network, again))
    assert torch.allclose(learned, by_hand, atol=1e-6)
    assert float(by_hand.abs().max()) > 0.01


def test_the_gradient_of_games_is_that_of_the_expected_outcome() -> None:
    network, exact = fork_network(), fork_network()
    many = 4
    _, rows = forked(network, 6_000, completions=many)
    chances = torch.softmax(exact(torch.eye(2)), dim=1)
    outcome = 0.4 * chances[0, 1] + chances[0, 0] * chances[1, 0]
    outcome.backward()
    # The loss is a mean over moves; a baseline that holds the answer itself takes 1 / many of the gradient.
    moves_per_game = len(rows) / (6_000 * many)
    estimated = -network.layers[0].weight.grad * moves_per_game * many / (many - 1)
    assert torch.allclose(estimated, exact.layers[0].weight.grad, atol=0.006)
    assert float(exact.layers[0].weight.grad.abs().max()) > 0.08


def test_climbing_it_finds_the_way_through_the_worse_looking_move() -> None:
    network = fork_network()
    with torch.no_grad():
        network.layers[0].weight[:, 1] = torch.tensor([-1.0, 1.0])
    ends = torch.softmax(network(torch.eye(2)), dim=1).detach()
    assert ends[0, 0] * ends[1, 0] < 0.1, "at first the game is worth more when it is ended at once"
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for number in range(80):
        loss, _ = forked(network, 32, number=number, completions=8)
        assert torch.isfinite(loss)
        optimiser.step()
        optimiser.zero_grad()
    ends = torch.softmax(network(torch.eye(2)), dim=1)
    assert ends[0, 0] * ends[1, 0] > 0.9
