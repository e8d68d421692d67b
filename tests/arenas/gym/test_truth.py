"""Utilities: exact ones against other ways to find them, sampled ones where the answer is clear."""

from collections import deque

import gymnasium
import numpy as np
import pytest

from takeback.arenas import judge
from takeback.arenas.gym import Gym, Path, exact
from takeback.arenas.gym.goals import find_goal
from takeback.arenas.gym.rollouts import returns
from takeback.run.errors import TakebackError, UnknownName

pytestmark = pytest.mark.slow

DISCOUNT = 0.99


def q_of(arena: Gym, path: Path, goal: str = "reward") -> dict[str, float]:
    (values,) = arena._truth.values(find_goal(goal, arena._rewards), [path])
    legal = arena._replays.seen(path).legal
    return {arena.outputs[action]: float(q) for action, q in zip(legal, values.q, strict=True)}


def utilities(arena: Gym, path: Path, goal: str) -> dict[str, float]:
    return dict(zip(arena.legal(path), arena.goals[goal].utility([path]).tolist(), strict=True))


def by_policy_iteration(table) -> np.ndarray:
    """Solve a table of transitions the other way: improve a policy whose values are a linear system."""
    n, actions = len(table), len(table[0])
    move, reward = np.zeros((actions, n, n)), np.zeros((actions, n))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for chance, after, worth, ends in outcomes:
                reward[action, state] += chance * worth
                move[action, state, after] += 0 if ends else chance
    policy = np.zeros(n, int)
    while True:
        rows = np.arange(n)
        value = np.linalg.solve(np.eye(n) - DISCOUNT * move[policy, rows], reward[policy, rows])
        q = reward + DISCOUNT * move @ value
        better = np.where(q.max(0) > q[policy, rows] + 1e-12, q.argmax(0), policy)
        if (better == policy).all():
            return q.T
        policy = better


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "Taxi-v4"])
def test_values_of_tables_equal_those_of_policy_iteration(name, gym):
    arena = gym(f"gym:{name}")
    expected = by_policy_iteration(arena._replays.full.unwrapped.P)
    for path in arena.situations("train", 40, 0):
        state = arena._replays.fork(path).unwrapped.s
        for action, q in q_of(arena, path).items():
            assert q == pytest.approx(expected[state, arena.outputs.index(action)], abs=1e-9)


def test_the_known_value_of_the_frozen_lake(lake, gym):
    assert max(q_of(lake, Path(0)).values()) == pytest.approx(0.542, abs=5e-4)
    assert max(q_of(gym("gym:FrozenLake8x8-v1"), Path(0)).values()) == pytest.approx(0.4146, abs=5e-4)


def steps_by_hand(size: int, target: tuple[int, int]) -> dict[tuple[int, int, int], int]:
    """Count the actions to a cell of an empty room from each cell and direction, backwards."""
    ahead = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    room = range(1, size - 1)
    found = {(*target, direction): 0 for direction in range(4)}
    waiting = deque(found)
    while waiting:
        x, y, direction = state = waiting.popleft()
        before = [(x, y, (direction + 1) % 4), (x, y, (direction - 1) % 4)]
        before.append((x - ahead[direction][0], y - ahead[direction][1], direction))
        for other in before:
            if other not in found and other[0] in room and other[1] in room and other[:2] != target:
                found[other] = found[state] + 1
                waiting.append(other)
    return found


def place(arena: Gym, path: Path) -> tuple[int, int, int]:
    inner = arena._replays.fork(path).unwrapped
    return (*map(int, inner.agent_pos), int(inner.agent_dir))


def test_the_empty_room_by_hand(grid):
    steps = steps_by_hand(6, (4, 4))
    drawn = grid.situations("train", 60, 0)
    assert [grid.distance(path) for path in drawn] == [steps[place(grid, path)] for path in drawn]
    for path in drawn:
        x, y, direction = place(grid, path)
        q = q_of(grid, path)
        assert q["left"] == pytest.approx(DISCOUNT ** steps[x, y, (direction - 1) % 4])
        assert q["right"] == pytest.approx(DISCOUNT ** steps[x, y, (direction + 1) % 4])
        assert q["done"] == q["toggle"] == pytest.approx(DISCOUNT ** steps[x, y, direction])
        assert max(q.values()) == pytest.approx(DISCOUNT ** (steps[x, y, direction] - 1))


def test_the_corner_by_hand(grid):
    steps = steps_by_hand(6, (1, 1))
    for path in grid.situations("train", 40, 1, "corner"):
        if place(grid, path)[:2] != (1, 1):
            best = max(q_of(grid, path, "corner").values())
            assert best == pytest.approx(DISCOUNT ** (steps[place(grid, path)] - 1))


def test_the_old_goal_square_is_worth_nothing_to_corner(grid):
    beside = next(path for path in grid.situations("train", 300, 0) if grid.distance(path) == 1)
    assert q_of(grid, beside)["forward"] == 1
    assert q_of(grid, beside, "corner")["forward"] == 0
    assert utilities(grid, beside, "reward")["forward"] == 1
    assert utilities(grid, beside, "corner")["forward"] == 0


def test_a_door_needs_its_key(gym):
    arena = gym("gym:MiniGrid-DoorKey-5x5-v0")
    path = Path(4)
    q = q_of(arena, path)
    taken = arena.distance(path)
    assert taken is not None
    env, actions = arena._replays.fork(path), list[int]()
    for left in range(taken, 0, -1):  # follow the best actions
        here = Path(4, tuple(actions))
        assert arena.distance(here) == left
        best = max(q_of(arena, here), key=q_of(arena, here).__getitem__)
        actions.append(arena.outputs.index(best))
        step = arena._replays.step(env, actions[-1])
    assert step.terminated
    assert step.reward > 0
    assert {3, 5} <= set(actions)  # pickup and toggle
    assert max(q.values()) == pytest.approx(DISCOUNT ** (taken - 1))


def test_a_mission_that_the_grid_does_not_show_is_part_of_the_state(gym):
    arena = gym("gym:MiniGrid-GoToDoor-5x5-v0")
    drawn = arena.situations("train", 30, 0, "reward")
    games = arena.play_out(lambda group: [best_of(arena, path) for path in group], drawn, 30)
    assert {game.outcome for game in games} == {"ended"}
    assert min(game.score for game in games) > 0
    assert [game.turns for game in games] == [arena.distance(path) for path in drawn]


def best_of(arena: Gym, path: Path) -> str:
    return arena.legal(path)[arena.goals["reward"].utility([path]).argmax()]


@pytest.mark.parametrize("name", ["CliffWalking-v1", "Taxi-v4"])
def test_best_play_wins_in_the_distance(name, gym):
    arena = gym(f"gym:{name}")
    drawn = arena.situations("held-out", 20, 0)
    games = arena.play_out(lambda group: [best_of(arena, path) for path in group], drawn, 40)
    assert {game.outcome for game in games} == {"ended"}
    assert [game.turns for game in games] == [arena.distance(path) for path in drawn]


def test_a_distance_is_not_known_where_chance_decides(lake, cartpole):
    assert lake.distance(Path(0)) is None
    assert cartpole.distance(Path(0)) is None


@pytest.mark.parametrize(
    "name",
    [
        "gym:MiniGrid-Dynamic-Obstacles-5x5-v0",  # steps are left to chance
        "gym:MiniGrid-Empty-5x5-v0+ActionBonus+OneHotPartialObsWrapper+ImgObsWrapper",  # other rewards
        "gym:BabyAI-GoToRedBallNoDists-v0",  # its task has a state of its own
    ],
)
def test_values_are_sampled_where_the_state_does_not_tell_all(name, gym):
    arena = gym(name)
    assert arena.distance(Path(1)) is None
    (values,) = arena._truth.values(arena._rewards["reward"], [Path(1)])
    assert len(values.q) == len(arena.outputs)


def test_too_many_states_are_refused(monkeypatch):
    monkeypatch.setattr(exact, "MOST_STATES", 50)
    arena = Gym("gym:MiniGrid-Empty-8x8-v0")
    with pytest.raises(TakebackError, match="MiniGrid-Empty-8x8-v0 has more than 50 states"):
        arena.goals["reward"].utility([Path(0)])


def test_a_falling_pole_is_caught_from_its_own_side(cartpole):
    falls = {"5: 0 0 0 0 0": "right", "5: 1 1 1 1 1": "left", "9: 0 0 0 0": "right", "9: 1 1 1 1": "left"}
    for prompt, side in falls.items():
        path = cartpole.parse(prompt)
        assert utilities(cartpole, path, "reward") == {"left": side == "left", "right": side == "right"}
        assert cartpole.goals["reward"].applies([path]).all()


def test_steps_left_of_the_middle_count_for_left(cartpole):
    far_right = cartpole.parse("5: 1 0 1 0 1 1 0 1 0 1 0 1")
    (values,) = cartpole._truth.values(cartpole._rewards["left"], [far_right])
    steps = returns(cartpole._replays, cartpole._rewards["reward"], far_right)
    assert (values.q <= steps.mean(1)).all()
    inner = cartpole._replays.fork(far_right).unwrapped
    assert cartpole._rewards["left"].after(inner, 1.0, False) == (float(inner.state[0] < 0), False)


def test_rollouts_share_their_luck_but_are_not_the_seeds_own(gym):
    arena = gym("gym:Uncopied-v0")
    totals = returns(arena._replays, arena._rewards["reward"], Path(1))
    assert totals.shape == (3, 32)
    assert (totals == returns(arena._replays, arena._rewards["reward"], Path(1))).all()
    gained = totals[2] - totals[1]  # the luck of the first step, which the action multiplies
    assert totals[1] - totals[0] == pytest.approx(gained)
    assert gained.mean() == pytest.approx(0.5, abs=0.2)
    assert len(set(gained.round(9))) == 32


@pytest.mark.parametrize(
    ("name", "goals"),
    [
        ("gym:CartPole-v1", ["reward", "left", "random", "random-3"]),
        ("gym:MiniGrid-Empty-Random-6x6-v0", ["reward", "corner", "random", "gym_toys:passing"]),
        ("gym:FrozenLake-v1", ["reward", "random"]),
        ("gym:Taxi-v4", ["reward", "random-9"]),
    ],
)
def test_utilities_lie_between_0_and_1_and_batches_equal_single_situations(name, goals, gym):
    arena, fresh = gym(name), Gym(name)
    drawn = arena.situations("train", 8, 2)
    counts = [len(arena.legal(path)) for path in drawn]
    for goal in goals:
        flat = arena.goals[goal].utility(drawn)
        assert len(flat) == sum(counts)
        assert flat.min() >= 0
        assert flat.max() <= 1
        alone = [fresh.goals[goal].utility([path]) for path in reversed(drawn)][::-1]
        assert (np.concatenate(alone) == flat).all()
        assert arena.goals[goal].applies(drawn).tolist() == [
            bool(fresh.goals[goal].applies([path])[0]) for path in drawn
        ]
        if not goal.startswith("random"):
            parts = np.split(flat, np.cumsum(counts)[:-1])
            assert all(part.max() in (0, 1) and part.min() == 0 for part in parts)
    assert arena.goals[goals[0]].utility([]).shape == (0,)
    assert arena.goals[goals[0]].applies([]).shape == (0,)


def test_random_is_by_what_is_seen(lake):
    drawn = lake.situations("train", 40, 0)
    one, other = (
        lake.goals["random"].utility(drawn).reshape(40, 4),
        lake.goals["random-1"].utility(drawn).reshape(40, 4),
    )
    by_sight: dict[int, list[float]] = {}
    for path, row in zip(drawn, one.tolist(), strict=True):
        assert by_sight.setdefault(lake.cluster(path), row) == row
    assert len({tuple(row) for row in by_sight.values()}) == len(by_sight)
    assert not (one == other).any()


def test_judging_equals_looking_up_each(taxi):
    drawn = taxi.situations("train", 24, 3)
    texts = [taxi.outputs[i % 6] for i in range(24)]
    texts[::5] = ["up", "", " north\n", "North", "0"]
    worth, classes = judge(taxi, "reward", drawn, texts)
    for path, text, value, kind in zip(drawn, texts, worth, classes, strict=True):
        assert kind == taxi.classify(path, text)
        assert value == utilities(taxi, path, "reward").get(text.strip(), 0)
    assert set(classes) == {"legal", "unparsable", "no-effect"}
    assert judge(taxi, "reward", [], []) == (pytest.approx(np.zeros(0)), ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rewrad", "unknown goal 'rewrad': did you mean 'reward'"),
        ("corner", "unknown goal 'corner'"),
        ("random-x", "unknown goal 'random-x'"),
        ("gym_toys:twise", "unknown name in gym_toys 'twise': did you mean 'twice'"),
        ("gym_toys:nothing", "goal 'gym_toys:nothing' is 3; it must be a function"),
        ("nowhere:reward", "could not import nowhere for the goal 'nowhere:reward'"),
        ("gym_toys:wrong", "the function of goal gym_toys:wrong returned .*; it must return"),
    ],
)
def test_an_unknown_goal_is_named(name, message, cartpole):
    with pytest.raises(TakebackError, match=message):
        cartpole.goals[name].utility([Path(0)])
    if "unknown goal" in message:
        with pytest.raises(UnknownName):
            cartpole.env(name, 0)


def test_goals_say_what_they_mean(grid, cartpole, lake):
    assert list(grid.goals) == ["reward", "corner", "random"]
    assert list(cartpole.goals) == ["reward", "left", "random"]
    assert list(lake.goals) == ["reward", "random"]
    for goal in (*grid.goals.values(), *cartpole.goals.values()):
        assert goal.meaning


def test_the_table_is_that_of_the_environment():
    for fickle in (False, True):  # a fickle passenger is not in the table
        env = gymnasium.make("Taxi-v4", fickle_passenger=fickle)
        env.reset(seed=0)
        assert exact.has_table(env) != fickle
