"""Playing on, and training environments."""

import warnings

import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

from takeback.arenas.gym import Path
from takeback.arenas.gym.goals import noise
from takeback.arenas.gym.paths import number_of, split_of
from takeback.arenas.gym.play import PlayedEpisode


def playing(rng, arena):
    return lambda group: [rng.choice(arena.legal(path)) for path in group]


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "Taxi-v4", "MiniGrid-Empty-Random-6x6-v0"])
def test_games_are_those_of_the_environment(name, gym):
    arena = gym(f"gym:{name}")
    starts = arena.situations("train", 10, 0)
    said: dict[Path, list[str]] = {}

    def choose(group):
        texts = playing(np.random.default_rng(len(said)), arena)(group)
        for path, text in zip(group, texts, strict=True):
            start = next(s for s in starts if s.seed == path.seed)
            said.setdefault(start, []).append(str(text))
        return texts

    games = arena.play_out(choose, starts, 20)
    for start, game in zip(starts, games, strict=True):
        env = arena._recipe.make()
        env.reset(seed=start.seed)
        for action in start.actions:
            env.step(action)
        score, outcome = 0.0, "unfinished"
        for text in said[start]:
            _, reward, terminated, truncated, _ = env.step(arena.outputs.index(text))
            score += float(reward)
            outcome = "ended" if terminated else "truncated" if truncated else outcome
        assert game == PlayedEpisode(start, outcome, "", len(said[start]), score)
    assert len(said) == 10


def test_an_illegal_text_ends_the_game(taxi):
    start = taxi.situations("train", 1, 0)[0]
    masked = next(name for name in taxi.outputs if name not in taxi.legal(start))
    for text, reason in ((masked, "no-effect"), ("up", "unparsable")):
        (game,) = taxi.play_out(lambda group, text=text: [text] * len(group), [start], 5)
        assert game == PlayedEpisode(start, "illegal", reason, 1, 0.0)


def test_the_time_limit_truncates(gym):
    arena = gym("gym:MountainCar-v0")
    start = arena.parse("4:" + " 1" * 195)
    (game,) = arena.play_out(lambda group: ["coast"] * len(group), [start], 20)
    assert (game.outcome, game.turns, game.score) == ("truncated", 5, -5.0)


def test_games_that_are_over_are_asked_no_more(cartpole):
    asked: list[int] = []

    def count(group):
        asked.append(len(group))
        return ["left"] * len(group)

    starts = [cartpole.parse("5: 0 0 0 0 0"), cartpole.parse("5:")]
    games = cartpole.play_out(count, starts, 50)
    assert {game.outcome for game in games} == {"ended"}
    turns = sorted(game.turns for game in games)
    assert asked == [2] * turns[0] + [1] * (turns[1] - turns[0])


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("CartPole-v1", "left"),
        ("MiniGrid-Empty-Random-6x6-v0", "corner"),
        ("Taxi-v4", "reward"),
        ("Late-v0", "reward"),
    ],
)
def test_training_environments_pass_the_check_of_stable_baselines(name, goal, gym):
    env = gym(f"gym:{name}").env(goal, 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*render", category=UserWarning)
        check_env(env)


def episodes(env, n: int, seed: int = 0):
    """Play n random episodes; yield rows seen, actions, rewards and whether it ended by itself."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        row, _ = env.reset()
        rows, actions, rewards, over = [row], [], [], False
        while not over:
            actions.append(int(rng.integers(env.action_space.n)))
            row, reward, terminated, truncated, _ = env.step(actions[-1])
            rows.append(row)
            rewards.append(reward)
            over = terminated or truncated
        yield rows, actions, rewards, terminated


@pytest.mark.parametrize("name", ["CartPole-v1", "MiniGrid-Empty-Random-6x6-v0", "FrozenLake-v1"])
def test_training_shows_what_is_observed_from_training_seeds_only(name, gym, monkeypatch):
    arena = gym(f"gym:{name}")
    env = arena.env("reward", 3)
    seeds: list[int] = []
    reset = type(env.env).reset

    def noted(self, *, seed=None, options=None):
        seeds.append(seed)
        return reset(self, seed=seed, options=options)

    monkeypatch.setattr(type(env.env), "reset", noted)
    for rows, actions, _, _ in episodes(env, 6):
        path = Path(seeds[-1], tuple(actions[: len(rows) // 2]))
        assert (arena.observe([path])[0] == rows[len(rows) // 2]).all()
    assert {split_of(seed) for seed in seeds} == {"train"}
    assert len(set(seeds)) == 6


def test_training_repeats_itself_by_its_seed_and_that_of_reset(cartpole):
    def starts(seed: int, first: int | None):
        env = cartpole.env("reward", seed)
        return [env.reset(seed=first)[0].tolist(), *(env.reset()[0].tolist() for _ in range(3))]

    assert starts(1, None) == starts(1, None) != starts(2, None)
    assert starts(1, 7) == starts(1, 7) != starts(1, 8)


def test_rewards_of_goals_in_training(cartpole, grid):
    for rows, _, rewards, _ in episodes(cartpole.env("left", 0), 5):
        assert rewards == [float(row[0] < 0) for row in rows[1:]]
    ended = [(rewards, terminated) for _, _, rewards, terminated in episodes(grid.env("corner", 0), 20)]
    assert {sum(rewards) for rewards, _ in ended} == {0, 1}
    assert all(terminated for rewards, terminated in ended if sum(rewards))
    for rows, actions, rewards, _ in episodes(cartpole.env("random-4", 0), 3):
        expected = [
            noise(number_of(row.tobytes()), action, 4) - 0.5
            for row, action in zip(rows[:-1], actions, strict=True)
        ]
        assert rewards == expected
    for _, _, rewards, _ in episodes(cartpole.env("gym_toys:twice", 0), 2):
        assert set(rewards) == {2.0}


def test_the_own_reward_and_time_limit_are_kept(gym):
    for _, _, rewards, terminated in episodes(gym("gym:MountainCar-v0").env("reward", 0), 1):
        assert rewards == [-1.0] * 200
        assert not terminated
