import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.arenas.gym import Gym, Path, replay
from takeback.arenas.gym.paths import SEEDS, draw_seed, split_of
from takeback.run.errors import TakebackError, UnknownName

pytestmark = pytest.mark.slow

NAMES = ["gym:CartPole-v1", "gym:FrozenLake-v1", "gym:MiniGrid-Empty-Random-6x6-v0", "gym:Taxi-v4"]


@given(st.integers(0, 10**9 - 1), st.lists(st.integers(0, 999), max_size=30))
def test_paths_parse_back(seed, actions):
    path = Path(seed, tuple(actions))
    assert Path.parse(str(path)) == path


@pytest.mark.parametrize(
    "text", ["", "17", "17 0 1", "17:0", "-1: 0", "a: 0", "17: 0 x", "17: 0,1", "17: -1"]
)
def test_other_texts_are_refused(text, cartpole):
    with pytest.raises(TakebackError, match="is no situation: write a seed and actions"):
        cartpole.parse(text)


def state_of(env):
    """Everything that a state of these environments is, randomness included."""
    inner = env.unwrapped
    parts = [inner.np_random.bit_generator.state]
    if hasattr(inner, "grid"):
        parts += [inner.grid.encode().tolist(), [int(x) for x in inner.agent_pos], int(inner.agent_dir)]
        parts += [inner.step_count, inner.carrying]
    else:
        parts += [np.asarray(inner.s if hasattr(inner, "s") else inner.state).tolist()]
    if isinstance(env, gymnasium.wrappers.TimeLimit):
        parts.append(env._elapsed_steps)
    return parts


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=st.lists(st.integers(0, 2**20), max_size=25))
def test_replaying_a_prompt_gives_the_state_of_the_stepped_environment(name, seed, choices):
    arena = Gym(name) if name not in MADE else MADE[name]
    MADE[name] = arena
    env = gymnasium.make(name.removeprefix("gym:"))
    _, info = env.reset(seed=seed)
    actions: list[int] = []
    for choice in choices:
        legal = np.flatnonzero(info.get("action_mask", np.ones(env.action_space.n)))
        _, _, terminated, truncated, info = env.step(int(legal[choice % len(legal)]))
        if terminated or truncated:
            env.reset(seed=seed)
            for action in actions:
                env.step(action)
            break
        actions.append(int(legal[choice % len(legal)]))
    prompt = arena.prompt(Path(seed, tuple(actions)))
    stood = arena._replays.fork(arena.parse(prompt))
    assert state_of(stood) == state_of(env)


MADE: dict[str, Gym] = {}


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_fresh_replays_agree(name, gym, monkeypatch):
    drawn = gym(name).situations("train", 20, 3)
    monkeypatch.setattr(replay, "_can_be_copied", lambda env: False)
    slow = Gym(name)
    assert not slow._replays.copies
    assert slow.situations("train", 20, 3) == drawn
    assert (slow.observe(drawn) == gym(name).observe(drawn)).all()
    assert state_of(slow._replays.fork(drawn[5])) == state_of(gym(name)._replays.fork(drawn[5]))


def test_an_environment_that_cannot_be_copied_is_replayed(gym):
    arena = gym("gym:Uncopied-v0")
    drawn = arena.situations("train", 10, 0)
    assert not arena._replays.copies
    assert [row[0] // 1 for row in arena.observe(drawn)] == [len(path.actions) for path in drawn]
    assert arena.goals["reward"].utility(drawn).reshape(10, 3).argmax(1).tolist() == [2] * 10


def test_splits_are_apart_and_a_fifth_is_held_out():
    rng = np.random.default_rng(0)
    for split in ("train", "held-out"):
        assert {split_of(draw_seed(split, rng)) for _ in range(200)} == {split}
    share = np.mean([split_of(seed) == "held-out" for seed in range(20000)])
    assert share == pytest.approx(0.2, abs=0.01)


def test_the_split_is_fixed_for_ever():
    # A changed split would leak held-out seeds into policies that are already trained.
    assert [seed for seed in range(40) if split_of(seed) == "held-out"] == [
        *(5, 7, 14, 15, 18, 21, 23, 27, 28, 30, 31, 33, 37),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_drawing_repeats_itself_and_nothing_in_it(name, gym):
    drawn = gym(name).situations("held-out", 40, 5)
    assert drawn == Gym(name).situations("held-out", 40, 5)
    assert drawn != gym(name).situations("held-out", 40, 6)
    assert len(set(drawn)) == 40
    assert {split_of(path.seed) for path in drawn} == {"held-out"}
    assert max(path.seed for path in drawn) < SEEDS
    assert [gym(name).parse(gym(name).prompt(path)) for path in drawn] == drawn


def test_times_are_drawn_evenly_along_an_episode(gym):
    times = [len(path.actions) for path in gym("gym:Toy-v0").situations("train", 1000, 0)]
    assert np.bincount(times) / 1000 == pytest.approx([0.2] * 5, abs=0.04)


def test_situations_that_look_alike_are_one_cluster(lake):
    drawn = lake.situations("train", 60, 0)
    shown = lake.observe(drawn).argmax(1)
    clusters = [lake.cluster(path) for path in drawn]
    assert len(set(clusters)) == len(set(shown.tolist())) == len(set(zip(clusters, shown, strict=True)))
    assert all(0 <= cluster < 2**63 for cluster in clusters)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("5: 0 2", "action 2 at place 2 is not one of 0, 1"),
        ("5:" + " 0" * 12, "its episode is over after 1?[0-9] actions"),
    ],
)
def test_paths_that_cannot_be_walked_are_refused(prompt, message, cartpole):
    with pytest.raises(TakebackError, match=message):
        cartpole.parse(prompt)


def test_a_masked_action_is_no_part_of_a_path(taxi):
    masked = next(i for i in range(6) if i not in taxi._replays.seen(Path(3)).legal)
    with pytest.raises(TakebackError, match=f"action {masked} at place 1 is not one of"):
        taxi.parse(f"3: {masked}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "heldout"}, "unknown split 'heldout': did you mean 'held-out'"),
        ({"goal": "rewrad"}, "unknown goal 'rewrad': did you mean 'reward'"),
    ],
)
def test_unknown_names_are_named(arguments, message, cartpole):
    with pytest.raises(UnknownName, match=message):
        cartpole.situations(**{"split": "train", "n": 1, "seed": 0, **arguments})


def test_with_a_goal_only_where_it_applies(grid, cartpole):
    for arena, goal in ((grid, "corner"), (cartpole, "reward")):
        drawn = arena.situations("train", 15, 1, goal)
        assert len(set(drawn)) == 15
        assert arena.goals[goal].applies(drawn).all()


def test_a_goal_that_never_applies_is_given_up(gym):
    with pytest.raises(
        TakebackError, match=r"only 0 of 100 situations drawn .* and the goal gym_toys:flat applies"
    ):
        gym("gym:Toy-v0").situations("train", 3, 0, "gym_toys:flat")


def test_an_arena_can_be_sent_to_another_process(grid):
    again = pickle.loads(pickle.dumps(grid))
    assert (again.name, again.outputs) == (grid.name, grid.outputs)


def test_the_module_loads_without_the_library():
    code = (
        "import sys; sys.modules['gymnasium'] = None; from takeback.arenas.gym import Gym\n"
        "try: Gym('gym:CartPole-v1')\n"
        "except ValueError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told == "gymnasium is not installed: pip install 'takeback[sb3]'\n"
