"""Policies of Stable-Baselines3 as network checkpoints, read without running any code that the zip holds."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from takeback.checkpoint.forms.pickled import is_plain
from takeback.run.archives import read_members
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.files import atomic_file, cache_folder, in_turn
from takeback.run.json_text import parse_json
from takeback.run.reading import Unreadable, open_regular, own_path

if TYPE_CHECKING:
    import torch

ACTIVATIONS: Mapping[str, str] = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "LeakyReLU": "leaky_relu",
    "Sigmoid": "sigmoid",
}
"""Classes of torch.nn, with their default arguments, and what a network checkpoint calls them."""

_FORMAT = 1
_SUPPORTED = "MlpPolicy of PPO, A2C or DQN with a Discrete action space is supported"
_TENSORS = "policy.pth"
_ACTOR = re.compile(r"(?:mlp_extractor\.(?:shared|policy)_net|action_net)(?:\.|$)")
_VALUES = re.compile(r"q_net\.q_net\.")
_FOREIGN: tuple[tuple[str, str], ...] = (
    (r"lstm", "a recurrent policy"),
    (r"quantile_net\.", "a QR-DQN policy"),
    (r"features_extractor\.extractors\.", "a MultiInputPolicy"),
    (r"features_extractor\.cnn\.", "a CnnPolicy"),
    (r"features_extractor\.", "a features extractor with weights of its own"),
    (r"^(?:actor|critic)\.", "an actor and critics as in SAC, TD3 and DDPG"),
    (r"log_std$", "a policy of continuous actions"),
)
"""What tensor names give away, the first that fits."""


@dataclass(frozen=True)
class _Saved:
    """Holds what of a zip is read: its plain settings, the policy's tensors and the version that wrote it."""

    file: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    version: str


def sb3_network(zip_path: str | Path) -> Path:
    """Write the policy of a Stable-Baselines3 zip as a network checkpoint in the cache and return its path.

    Nothing is unpickled: of `data` only plain JSON is read, and `policy.pth` only as far as torch allows with
    `weights_only`. The file holds the policy alone: PPO's and A2C's actor (`logits`), DQN's network
    (`values`, with the zip's own rate of exploration). The critic, the target network and the optimizer are
    no part of it. Observations that were normalised in training (VecNormalize keeps its means elsewhere) must
    be normalised when it is used. A second call finds the file that the first one wrote.

    Raises:
        TakebackError: the zip is not whole or not of Stable-Baselines3, or holds another kind of policy.
    """
    from safetensors.torch import save_file

    file = own_path(str(zip_path))
    try:
        with open_regular(file) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
    except (OSError, Unreadable) as error:
        raise TakebackError(f"could not read {file}: {getattr(error, 'why', error)}") from error
    target = cache_folder("sb3") / f"{digest}-{_FORMAT}.safetensors"
    if target.is_file():
        return target
    saved = _read(file)
    _check_kind(saved)
    algorithm = _algorithm(saved)
    layers, originals = _layers(saved, _VALUES if algorithm == "DQN" else _ACTOR)
    network: dict[str, Any] = {
        "activation": _activation(saved, "relu" if algorithm == "DQN" else "tanh"),
        "outputs": "values" if algorithm == "DQN" else "logits",
    }
    if algorithm == "DQN":
        network["exploration"] = _exploration(saved)
    source = {"algorithm": algorithm, "version": saved.version, "tensors": originals}
    metadata = {"takeback_network": json.dumps(network), "takeback_sb3": json.dumps(source)}
    with in_turn(target):
        if not target.is_file():
            with atomic_file(target) as draft:
                save_file(layers, draft, metadata)
    return target


def _read(file: Path) -> _Saved:
    about = ("data", "_stable_baselines3_version")
    try:
        raw = read_members(file, (*about, _TENSORS))
    except Unreadable as error:
        raise TakebackError(f"{file}: {error.why}; fetch or save it again") from error
    if not raw.keys() >= {*about}:
        raise TakebackError(f"{file} is a zip, but not of Stable-Baselines3: it has no data and version")
    if _TENSORS not in raw:
        raise TakebackError(f"{file} has no {_TENSORS}; save the model again with its save()")
    version = raw["_stable_baselines3_version"].decode("utf-8", "replace").strip()
    return _Saved(file, _settings(file, raw["data"]), _tensors(file, raw[_TENSORS], version), version)


def _settings(file: Path, data: bytes) -> dict[str, Any]:
    try:
        settings = parse_json(data, file)
    except Unreadable as error:
        told = f"{file} is not of Stable-Baselines3: its data is no JSON ({error.why})"
        raise TakebackError(told) from error
    if not isinstance(settings, dict):
        raise TakebackError(f"{file} is not of Stable-Baselines3: its data is no table of settings")
    return cast("dict[str, Any]", settings)


def _tensors(file: Path, data: bytes, version: str) -> dict[str, torch.Tensor]:
    import torch

    try:
        if data.startswith(b"PK"):
            read_members(data, (), _TENSORS)  # torch unpacks whatever it declares
        found: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can be broken in as many ways as there are exceptions
        reason = " ".join(str(error).split())[:160]
        raise TakebackError(
            f"{file}: {_TENSORS} (of version {version}) is not plain tensors and was not opened ({reason})"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise TakebackError(f"{file}: {_TENSORS} is not a table of tensors")
    for name, tensor in found.items():
        if not isinstance(name, str) or not is_plain(tensor):
            raise TakebackError(f"{file}: {_TENSORS} holds {name!r}, which is no plain tensor of numbers")
    return cast("dict[str, torch.Tensor]", found)


def _check_kind(saved: _Saved) -> None:
    for pattern, kind in _FOREIGN:
        name = next((name for name in saved.tensors if re.search(pattern, name)), None)
        if name is not None:
            raise TakebackError(f"{saved.file} holds {kind} ({name}); {_SUPPORTED}")
    module = _text(saved, "policy_class", "__module__")
    if module is not None and not module.startswith("stable_baselines3."):
        raise TakebackError(f"{saved.file} holds a policy class of {module}; {_SUPPORTED}")
    space = _text(saved, "action_space", ":type:")
    if space is not None and not space.endswith(".Discrete'>"):
        raise TakebackError(f"{saved.file} has the action space {space}; {_SUPPORTED}")


def _algorithm(saved: _Saved) -> str:
    """Tell by the tensors and by which settings there are: the zip does not name it."""
    if any(_VALUES.match(name) for name in saved.tensors):
        return "DQN"
    if "action_net.weight" not in saved.tensors:
        some = ", ".join(list(saved.tensors)[:3]) or "none"
        raise TakebackError(f"{saved.file} has no action_net and no q_net, but {some}; {_SUPPORTED}")
    if "cg_max_steps" in saved.settings:
        raise TakebackError(f"{saved.file} holds a policy of TRPO; {_SUPPORTED}")
    return "PPO" if "clip_range" in saved.settings else "A2C"


def _layers(saved: _Saved, wanted: re.Pattern[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the linear layers by their new names, and what each was called before."""
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in saved.tensors if wanted.match(name)))
    modules.sort(key=_order)
    layers: dict[str, torch.Tensor] = {}
    originals: dict[str, str] = {}
    width: int | None = None
    for number, module in enumerate(modules):
        weight, bias = (saved.tensors.get(f"{module}.{part}") for part in ("weight", "bias"))
        if (
            weight is None
            or bias is None
            or weight.ndim != 2
            or tuple(bias.shape) != (weight.shape[0],)
            or width not in (None, weight.shape[1])
        ):
            raise TakebackError(f"{saved.file}: {module} is no linear layer that fits the one before it")
        width = weight.shape[0]
        for part, tensor in (("weight", weight), ("bias", bias)):
            layers[f"policy.{number}.{part}"] = tensor.detach().clone().contiguous()
            originals[f"policy.{number}.{part}"] = f"{module}.{part}"
    return layers, originals


def _order(module: str) -> tuple[int, int]:
    """Sort a module by where it comes in the network: shared layers, the policy's own, the last one."""
    parts = ("mlp_extractor.shared_net", "mlp_extractor.policy_net", "q_net.q_net", "action_net")
    stem, _, number = module.rpartition(".") if module != "action_net" else (module, "", "0")
    return parts.index(stem) if stem in parts else len(parts), int(number) if number.isdigit() else 0


def _activation(saved: _Saved, default: str) -> str:
    named = _text(saved, "policy_kwargs", "activation_fn")
    if named is None:
        return default
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", named)
    if match is None or match[1] not in ACTIVATIONS:
        raise unknown_name("activation of a policy", match[1] if match else named, ACTIVATIONS)
    return ACTIVATIONS[match[1]]


def _exploration(saved: _Saved) -> float:
    for name in ("exploration_rate", "exploration_final_eps"):
        value = saved.settings.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
    raise TakebackError(f"{saved.file} does not say how often its DQN explores (exploration_rate)")


def _text(saved: _Saved, setting: str, key: str) -> str | None:
    """Return the readable text that a setting has beside what is pickled, if there is one."""
    table: Any = saved.settings.get(setting)
    value: Any = cast("dict[str, Any]", table).get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else None
