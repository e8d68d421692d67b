"""What policies see and may do: encodings, names, legality, errors of environments."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecTransposeImage

from takeback.arenas import Board, Styled, able
from takeback.arenas.gym import Gym, Path
from takeback.arenas.gym.encoding import encoder_of
from takeback.run.errors import TakebackError

SPACES = [
    spaces.Box(-np.inf, np.inf, (4,), np.float32),
    spaces.Box(-5, 5, (2, 3), np.float64),
    spaces.Box(0, 255, (7, 6, 3), np.uint8),
    spaces.Box(0, 255, (8, 7, 1), np.uint8),
    spaces.Box(0, 255, (3, 6, 7), np.uint8),
    spaces.Box(0, 255, (30, 31, 20), np.uint8),
    spaces.Box(0, 255, (12,), np.uint8),
    spaces.Box(0, 9, (5, 5, 3), np.uint8),
    spaces.Discrete(6),
    spaces.MultiDiscrete([2, 5, 3]),
    spaces.MultiBinary(4),
    spaces.MultiBinary((2, 3)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_rows_are_what_an_mlp_policy_of_stable_baselines_reads(space):
    encoder = encoder_of(space, "gym:Any-v0")
    space.seed(0)
    for _ in range(3):
        seen, told = space.sample(), space
        row = encoder.encode(seen)
        if is_image_space(space) and space.shape[0] > 3:  # as its algorithms wrap channels-last images
            seen, told = VecTransposeImage.transpose_image(seen), VecTransposeImage.transpose_space(space)
        read = preprocess_obs(torch.as_tensor(np.asarray(seen)[None]), told)
        expected = FlattenExtractor(told)(read)[0].numpy()
        assert row.dtype == np.float32
        assert encoder.width == len(row)
        assert row.tolist() == expected.tolist()


def test_discrete_values_may_begin_anywhere():
    assert encoder_of(spaces.Discrete(3, start=-1), "x").encode(-1).tolist() == [1, 0, 0]
    assert encoder_of(spaces.MultiDiscrete([2, 2], start=[5, 0]), "x").encode([6, 0]).tolist() == [0, 1, 1, 0]


def test_minigrid_shows_the_agents_view_one_hot(grid):
    (row,) = grid.observe([Path(3)])
    assert row.shape == (7 * 7 * 20,)
    assert (row.reshape(7, 7, 20).sum(2) == 3).all()
    env = gymnasium.make("MiniGrid-Empty-Random-6x6-v0")
    view = env.reset(seed=3)[0]["image"]
    assert (row.reshape(7, 7, 20)[:, :, :11].argmax(2) == view[:, :, 0]).all()


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("gym:MiniGrid-Empty-5x5-v0+ImgObsWrapper", 147),
        ("gym:MiniGrid-Empty-5x5-v0+FullyObsWrapper+ImgObsWrapper", 75),
        ("gym:MiniGrid-Empty-5x5-v0+FlatObsWrapper", 2835),
        ("gym:Blackjack-v1+FlattenObservation", 45),
        ("gym:CartPole-v1+TimeAwareObservation+FrameStackObservation", None),
        ("gym_toys:Late-v0", 1),
    ],
)
def test_named_wrappers_show_what_they_show(name, width, gym):
    if width is None:
        with pytest.raises(TakebackError, match="FrameStackObservation does not fit CartPole-v1"):
            Gym(name)
        return
    arena = gym(name)
    (path, *_) = drawn = arena.situations("train", 5, 0)
    assert arena.observe(drawn).shape == (5, width)
    env = arena._recipe.make()
    raw, _ = env.reset(seed=path.seed)
    for action in path.actions:
        raw, *_ = env.step(arena._replays._first + action)
    assert (encoder_of(env.observation_space, name).encode(raw) == arena.observe([path])[0]).all()


def test_observing_nothing_has_the_width(cartpole):
    assert cartpole.observe([]).shape == (0, 4)
    assert cartpole.verdicts([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("gym:CartPole-v1", ("left", "right")),
        ("gym:FrozenLake-v1", ("left", "down", "right", "up")),
        ("gym:CliffWalking-v1", ("up", "right", "down", "left")),
        ("gym:Taxi-v4", ("south", "north", "east", "west", "pickup", "dropoff")),
        ("gym:MountainCar-v0", ("left", "coast", "right")),
        ("gym:MiniGrid-Empty-5x5-v0", ("left", "right", "forward", "pickup", "drop", "toggle", "done")),
        ("gym:MiniGrid-Dynamic-Obstacles-5x5-v0", ("left", "right", "forward")),
        ("gym:Toy-v0", ("0", "1", "2")),
        ("gym:Late-v0", ("0", "1")),
    ],
)
def test_actions_have_names(name, outputs, gym):
    assert gym(name).outputs == outputs


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("CliffWalking-v1", {"up": 24, "right": 36, "left": 36, "down": 36}),
        ("FrozenLake8x8-v1", {"left": 0, "up": 0, "right": 1, "down": 8}),
    ],
)
def test_names_of_directions_are_true(name, moves, gym):
    arena = gym(f"gym:{name}")
    for action, square in moves.items():
        outcomes = arena._replays.full.unwrapped.P[36 if "Cliff" in name else 0][arena.outputs.index(action)]
        assert square in {after for _, after, *_ in outcomes}


def test_masked_actions_have_no_effect(taxi):
    for path in taxi.situations("train", 30, 0):
        inner = taxi._replays.fork(path).unwrapped
        still = {i for i in range(6) if inner.P[inner.s][i][0][1] == inner.s}
        names = [taxi.outputs[i] for i in range(6) if i not in still]
        assert taxi.legal(path) == tuple(sorted(names))
        for i, name in enumerate(taxi.outputs):
            assert taxi.classify(path, f" {name}\n") == ("no-effect" if i in still else "legal")
    assert taxi.classify(path, "North") == "unparsable"


def test_verdicts_say_the_same_as_words(taxi):
    drawn = taxi.situations("train", 30, 1)
    for path, row in zip(drawn, taxi.verdicts(drawn), strict=True):
        legal = taxi.legal(path)
        for name, verdict in zip(taxi.outputs, row, strict=True):
            kind = taxi.classify(path, name)
            assert verdict == (legal.index(name) if kind == "legal" else -1 - taxi.kinds.index(kind))


def test_features_tell_which_action(taxi):
    drawn = taxi.situations("train", 10, 1)
    flat = [name for path in drawn for name in taxi.legal(path)]
    features = taxi.features(drawn)
    assert list(features) == [f"takes {name}" for name in taxi.outputs]
    for name in taxi.outputs:
        assert features[f"takes {name}"].tolist() == [name == other for other in flat]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gym:", "names no environment"),
        ("gym:CartPole-v1+", "names no environment"),
        ("gym:CartPole-v9", "unknown environment 'CartPole-v9': did you mean 'CartPole-v1'"),
        ("gym:CatPole-v1", "unknown environment 'CatPole-v1': did you mean 'CartPole-v1'"),
        ("gym:MiniGrid-Emty-5x5-v0", "did you mean 'MiniGrid-Empty-5x5-v0'"),
        ("gym:Taxi-v3", "could not make the environment Taxi-v3: .*deprecated"),
        ("gym:nowhere:Any-v0", "could not make the environment nowhere:Any-v0: .*nowhere"),
        ("gym:CartPole-v1+FlatenObservation", "unknown wrapper 'FlatenObservation': did you mean 'FlattenOb"),
        ("gym:CartPole-v1+ImgObsWrapper", "ImgObsWrapper does not fit CartPole-v1"),
        ("gym:Pendulum-v1", r"has the action space Box\(-2.0, 2.0, \(1,\), float32\); only Discrete"),
        ("gym:Pairs-v0", r"has the action space MultiDiscrete\(\[2 3\]\); only Discrete"),
        ("gym:Table-v0", "has observations of the kind Dict with a, b; Box, Discrete"),
        ("gym:Tuple-v0", "has observations of the kind Tuple; Box"),
        ("gym:Text-v0", "has observations of the kind Text; Box"),
        ("gym:MiniGrid-Empty-5x5-v0+FullyObsWrapper", "kind Dict with direction, image, mission; Box"),
        ("gym:Large-v0", "images of 96x96x3, which need a convolutional network; at most 64x64"),
        ("gym:Wild-v0", "does not show the same again"),
        ("gym:CartPole-v1+NormalizeObservation", "does not show the same again"),
        ("gym:Broken-v0", "could not play gym:Broken-v0: KeyError: "),
    ],
)
def test_what_is_not_supported_is_told_in_one_line(name, message):
    with pytest.raises(TakebackError, match=message) as caught:
        Gym(name)
    assert "\n" not in str(caught.value)


def test_old_versions_are_made_without_a_warning():
    assert Gym("gym:CartPole-v0").outputs == ("left", "right")


def test_the_prefix_may_be_left_out_and_there_are_no_styles_and_boards(cartpole):
    assert Gym("CartPole-v1").name == cartpole.name == "gym:CartPole-v1"
    assert not isinstance(cartpole, Styled | Board)
    with pytest.raises(TakebackError, match="gym:CartPole-v1 has no boards to draw \\(it lacks board\\)"):
        able(cartpole, Board)
