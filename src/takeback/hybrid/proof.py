"""Laws 1 to 4 tried on a tiny random model of a config: is what a family's block says true of its module?"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from takeback.anatomy import Anatomy, anatomy_of
from takeback.anatomy.families import known_family
from takeback.anatomy.region import RESOLUTIONS
from takeback.anatomy.source import parameters_of
from takeback.anatomy.tensors import TENSORS
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.component import ComponentSet
from takeback.hybrid.disk import write_hybrid
from takeback.hybrid.heads import BrokenLaw, check_heads, check_neurons, logits
from takeback.hybrid.hybrid import hybrid
from takeback.hybrid.live import taken_back
from takeback.hybrid.mixers import check_mixers
from takeback.run.errors import TakebackError

MOST: Final = 2_000_000
"""Most entries of a model on which laws are tried."""

Both = tuple[PreTrainedModel, PreTrainedModel]


@dataclass(frozen=True, slots=True)
class LawTried:
    """Says whether one law held on one model.

    Attributes:
        number: its number in the design, 1 to 4.
        name: what it says, in a word.
        holds: whether it held.
        told: what was counted where it held, else the first thing that did not hold, with its numbers.
    """

    number: int
    name: str
    holds: bool
    told: str

    def __str__(self) -> str:
        return f"law {self.number} ({self.name}) {'holds' if self.holds else 'FAILS'}: {self.told}"


@dataclass(frozen=True, slots=True)
class Proof:
    """Holds what became of each law on a tiny random model of a type.

    Attributes:
        model_type: the type of the config.
        family: the name of the block, or `TENSORS` where no block describes it: there is no law 4 then.
        laws: those that were tried; after one that fails no further one is.
    """

    model_type: str
    family: str
    laws: tuple[LawTried, ...]

    @property
    def holds(self) -> bool:
        """Whether all four laws held."""
        return len(self.laws) == len(_TRIED) and all(law.holds for law in self.laws)

    @property
    def broken(self) -> LawTried | None:
        """The law that fails, if one does."""
        return next((law for law in self.laws if not law.holds), None)

    def __str__(self) -> str:
        word = "refuted" if self.broken else "all laws hold" if self.holds else "laws 1 to 3 hold"
        block = "tensors" if self.family == TENSORS else f"the block {self.family}"
        head = f"{self.model_type} by {block}: {word}"
        return "\n".join([head, *(f"  {law}" for law in self.laws)])


def prove(config: Any, seed: int = 0) -> Proof:
    """Try laws 1 to 4 on two random models of a config, which should be tiny; see `takeback.hybrid.tiny`.

    Every parameter is random, gains and biases too, so that nothing is right by being 1 or 0.

    Raises:
        UnknownName: the config's model type is one that is not read.
        TakebackError: transformers can't build its model.
    """
    pair = random_model(config, 2 * seed), random_model(config, 2 * seed + 1)
    known = known_family(pair[0].config.model_type)
    family = TENSORS if known is None else known.name
    laws: list[LawTried] = []
    for number, (name, tried) in enumerate(_TRIED if known else _TRIED[:3], start=1):
        try:
            laws.append(LawTried(number, name, True, tried(pair)))
        except (BrokenLaw, TakebackError) as error:
            laws.append(LawTried(number, name, False, str(error)))
            break
    return Proof(config.model_type, family, tuple(laws))


def random_model(config: Any, seed: int) -> PreTrainedModel:
    """Build a config's model in fp32 with every parameter, and every buffer that files hold, random.

    Raises:
        TakebackError: transformers can't, or the model has more than `MOST` entries.
    """
    try:
        with torch.device("meta"):
            entries = sum(parameter.numel() for parameter in _built(config).parameters())
        model = _built(config) if entries <= MOST else None
        if model is not None:
            logits(model)
    except Exception as error:  # whatever the code of so many architectures raises
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise TakebackError(
            f"transformers can't build a {config.model_type} of this config: {why}"
        ) from error
    if model is None:
        raise TakebackError(f"a {config.model_type} of this config has {entries:,} parameters; make it tiny")
    generator = torch.Generator().manual_seed(seed)
    kept = model.state_dict()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        for name, buffer in model.named_buffers():
            if name in kept and buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, generator=generator) * 0.01)
    return model


def _built(config: Any) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


def _partition(pair: Both) -> str:
    model, known = pair[0], parameters_of(pair[0])
    owned = {id(parameter) for parameter in known.values()}
    if missing := [name for name, one in model.named_parameters() if id(one) not in owned]:
        raise BrokenLaw(f"no component owns anything of {missing[0]}")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored = open_checkpoint(folder)
        for resolution in (TENSORS,) if anatomy_of(model).family == TENSORS else RESOLUTIONS:
            anatomy, there = anatomy_of(model, resolution), stored.anatomy(resolution)
            if odd := known.keys() ^ anatomy.shapes.keys():
                raise BrokenLaw(f"no component owns anything of {min(odd)}")
            for name in anatomy.shapes:
                _owned_once(anatomy, name)
            if odd := {*map(str, there.universe)} ^ {*map(str, anatomy.universe)}:
                raise BrokenLaw(f"on disk and live the components differ: {min(odd)}")
            for component in anatomy.universe:
                counts = there.parameters(component), anatomy.parameters(component)
                if len({*counts}) > 1:
                    raise BrokenLaw(f"{component} has {counts[0]} entries on disk and {counts[1]} live")
    anatomy = anatomy_of(model)
    entries = sum(map(math.prod, anatomy.shapes.values()))
    return f"{entries:,} entries, {len(anatomy.universe)} components, each owned once, live and on disk"


def _owned_once(anatomy: Anatomy, name: str) -> None:
    owners = torch.zeros(anatomy.shapes[name], dtype=torch.int16)
    for component in {component for component, _ in anatomy.of_tensor(name)}:
        for region in anatomy.regions(component):
            if region.tensor == name:
                owners[region.index] += 1
    if odd := int((owners != 1).sum()):
        raise BrokenLaw(f"{odd} of {owners.numel()} entries of {name} have not one owner")


def _ends(pair: Both) -> str:
    model, base = pair
    universe = anatomy_of(model).universe
    mine, theirs = _copy(model), _copy(base)
    with taken_back(model, base, universe):
        _same(_copy(model), theirs, "taking everything back in memory")
    with taken_back(model, base, universe - universe):
        _same(_copy(model), mine, "taking nothing back in memory")
    _same(_copy(model), mine, "putting back in memory")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "tuned")
        base.save_pretrained(folder / "base")
        opened = open_pair(str(folder / "base"), str(folder / "tuned"))
        everything = opened.anatomy().universe
        for word, components, end in (
            ("everything", everything, opened.base),
            ("nothing", everything - everything, opened.tuned),
        ):
            written = write_hybrid(hybrid(opened, components), folder / word)
            if open_checkpoint(str(written)).digest != end.digest:
                raise BrokenLaw(f"taking {word} back on disk is not bit for bit {end.ref}")
        loaded = type(base).from_pretrained(folder / "everything", attn_implementation="eager")
        _same(_copy(loaded), theirs, "loading what was written with everything taken back")
        if not torch.equal(logits(loaded.eval()), logits(base)):
            raise BrokenLaw("what is loaded with everything taken back has other logits than base")
    return f"both ends, in memory and on disk, {len(mine)} tensors bit for bit, and base's logits when loaded"


def _algebra(pair: Both) -> str:
    model, base = pair
    universe, mine = anatomy_of(model).universe, _copy(model)
    draw = random.Random(0)
    members = list(universe)
    for _ in range(3):
        one, other = (
            ComponentSet(draw.sample(members, max(1, len(members) // 2)), universe) for _ in range(2)
        )
        with taken_back(model, base, one | other):
            both = _copy(model)
        for first, second in ((one, other), (other, one)):
            with taken_back(model, base, first), taken_back(model, base, second):
                _same(_copy(model), both, f"{first} and then {second}")
    try:
        with taken_back(model, base, universe):
            raise InterruptedError
    except InterruptedError:
        _same(_copy(model), mine, "an exception inside")
    return (
        "3 pairs of random halves in both orders equal their union; an exception leaves the model as it was"
    )


def _heads(pair: Both) -> str:
    model = pair[0]
    told = [told for told in (check_heads(model), check_neurons(model), check_mixers(model)) if told]
    return "; ".join(told) or "no heads, neurons or mixers"


_TRIED: tuple[tuple[str, Callable[[Both], str]], ...] = (
    ("partition", _partition),
    ("bit-exact ends", _ends),
    ("algebra", _algebra),
    ("a head is a head", _heads),
)


def _copy(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(found: dict[str, Tensor], wanted: dict[str, Tensor], what: str) -> None:
    for name, value in wanted.items():
        if not torch.equal(found[name], value):
            odd = int((found[name] != value).sum())
            raise BrokenLaw(f"{what}: {odd} of {value.numel()} entries of {name} are others")
