"""Law 4: what the anatomy calls a head, a group or a neuron is one for the unmodified Hugging Face module."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from takeback.anatomy import Anatomy, Region, anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.component import Component

MOVED: Final = 1e-6
"""A change above this share of the largest value is one; of what nothing feeds not even rounding changes."""

NEAR: Final = 1e-4
"""How near logits of the same computation in another order are, as a share of the largest."""


class BrokenLaw(Exception):
    """Says in one line which law does not hold, where, and by how much."""


def logits(model: PreTrainedModel, rows: int = 2, length: int = 7, **more: Any) -> Tensor:
    """Return a model's logits on fixed random tokens, (rows, length, vocabulary)."""
    return _run(model, rows, length, **more).logits


def check_heads(model: PreTrainedModel) -> str:
    """Try every head, every key/value group and what they leave to `ATTN`; return what was tried.

    A head's output columns, zeroed, are the head's output zeroed by a hook. Whatever else it owns feeds this
    head and no other: in what the output projection reads, and in the attention that the module reports. A
    group feeds its heads and no other. No stretch of what no head owns feeds one head alone. Where the block
    gives the gains of a norm to heads one by one, the norm spans them, and its scale is held meanwhile.

    Raises:
        BrokenLaw: one of these is not so.
    """
    anatomy = anatomy_of(model)
    layers = sorted({one.layer for one in anatomy.universe if one.kind == "H" and one.layer is not None})
    if not layers:
        return ""
    tried, whole = [_Layer.of(model, anatomy, layer) for layer in layers], logits(model)
    seen = sum(one.check(whole) for one in tried)
    heads = sum(one.heads for one in tried)
    held = " (scales of norms across them held)" if any(one.norms for one in tried) else ""
    return f"{heads} heads, {seen} of them by the attention that the module reports{held}"


def check_neurons(model: PreTrainedModel) -> str:
    """Try the first, the sixth and the last neuron of each MLP as `check_heads` tries heads.

    Raises:
        BrokenLaw: a neuron is not one.
    """
    anatomy = anatomy_of(model, "neurons")
    counts: dict[int, int] = {}
    for one in anatomy.universe:
        if one.kind == "N" and one.layer is not None:
            counts[one.layer] = counts.get(one.layer, 0) + 1
    tried = moved = 0
    whole = logits(model)
    for layer, count in counts.items():
        places = sorted({0, min(5, count - 1), count - 1})
        slots = [_Slots.of(model, anatomy, Component("N", layer, place), count) for place in places]
        for one in slots:
            one.check_columns(whole, may_be_idle=True)
        with _held(model, _spanning(model, anatomy, layer, ("N",), 1)):
            before = slots[0].read()
            moved += sum(one.rows_move(before, one.rows, idle=True) for one in slots)
        tried += len(slots)
    if tried and not moved:
        raise BrokenLaw("the rows of no neuron move what its MLP's output projection reads")
    return f"{tried} neurons" if tried else ""


@dataclass(frozen=True, slots=True)
class _Slots:
    """A component that fills one of equal slots in what a projection reads."""

    model: PreTrainedModel
    component: Component
    projection: nn.Module
    count: int
    output: Region
    rows: tuple[Region, ...]

    @classmethod
    def of(cls, model: PreTrainedModel, anatomy: Anatomy, component: Component, count: int) -> _Slots:
        regions = anatomy.regions(component)
        outputs = [region for region in regions if _is_read(model, region)]
        if len(outputs) != 1:
            names = ", ".join(region.tensor for region in outputs) or "none"
            raise BrokenLaw(
                f"{component} must own columns of one output projection; it owns those of {names}"
            )
        rows = tuple(region for region in regions if region is not outputs[0])
        if not rows:
            raise BrokenLaw(f"{component} owns columns of {outputs[0].tensor} and no rows that feed it")
        return cls(model, component, _owner(model, outputs[0]), count, outputs[0], rows)

    @property
    def place(self) -> int:
        return self.component.index or 0

    def read(self) -> Tensor:
        """Return what the projection reads, (…, slots, width)."""
        return _inputs(self.model, [self.projection])[self.projection].unflatten(-1, (self.count, -1))

    def check_columns(self, whole: Tensor, *, may_be_idle: bool = False) -> None:
        """Check that its columns are its output, and that the logits without it are not `whole`."""
        with hooked(*self._silenced()):
            expected = logits(self.model)
        with altered(self.model, [self.output], torch.zeros_like):
            off = distance(logits(self.model), expected)
        if off > NEAR:
            raise BrokenLaw(
                f"{self.component}: zeroing {_named(self.output)} is not zeroing its output: "
                f"the logits are off by {off:.1e} of the largest"
            )
        if not may_be_idle and distance(whole, expected) <= MOVED:
            raise BrokenLaw(f"{self.component}: zeroing its output changes no logit")

    def check_rows(self, before: Tensor) -> None:
        """Check that each of its rows feeds its slot of what the projection reads, `before`, and no other."""
        for region in self.rows:
            self.rows_move(before, [region], idle=len(self.model.get_parameter(region.tensor).shape) == 1)

    def rows_move(self, before: Tensor, regions: Sequence[Region], *, idle: bool) -> bool:
        """Check that rows feed this slot, or nothing if they may be idle; return whether they do."""
        with altered(self.model, regions, perturbed):
            found = moved_slots(before, self.read())
        _check_moved(self.component, regions, found, {self.place}, idle)
        return bool(found)

    def _silenced(self) -> list[RemovableHandle]:
        """Zero the slot wherever the projection's weight is used."""

        def zero(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            changed = inputs[0].clone().unflatten(-1, (self.count, -1))
            changed[..., self.place, :] = 0.0
            return (changed.flatten(-2), *inputs[1:])

        weight = self.projection.weight
        sharing = [one for one in self.model.modules() if getattr(one, "weight", None) is weight]
        return [one.register_forward_pre_hook(zero) for one in sharing]


@dataclass(frozen=True, slots=True)
class _Layer:
    """The attention of one layer."""

    model: PreTrainedModel
    anatomy: Anatomy
    number: int
    slots: tuple[_Slots, ...]
    groups: int
    norms: tuple[nn.Module, ...]

    @classmethod
    def of(cls, model: PreTrainedModel, anatomy: Anatomy, layer: int) -> _Layer:
        there = [one for one in anatomy.universe if one.layer == layer]
        heads = [one for one in there if one.kind == "H"]
        slots = tuple(_Slots.of(model, anatomy, head, len(heads)) for head in heads)
        width = slots[0].read().shape[-1]
        norms = _spanning(model, anatomy, layer, ("H", "KV"), width)
        return cls(model, anatomy, layer, slots, sum(one.kind == "KV" for one in there), norms)

    @property
    def heads(self) -> int:
        return len(self.slots)

    def check(self, whole: Tensor) -> int:
        """Check this layer; return how many heads were seen in the attention that the module reports."""
        for slots in self.slots:
            slots.check_columns(whole)
        with _held(self.model, self.norms):
            before = self.slots[0].read()
            for slots in self.slots:
                slots.check_rows(before)
            for group in range(self.groups):
                self._check_group(before, Component("KV", self.number, group))
            for kind in ("ATTN", "LATENT"):
                self._check_shared(before, kind)
            return self._check_attention()

    def _check_group(self, before: Tensor, group: Component) -> None:
        share, place = self.heads // self.groups, group.index or 0
        readers = set(range(place * share, (place + 1) * share))
        for region in self.anatomy.regions(group):
            with altered(self.model, [region], perturbed):
                found = moved_slots(before, self.slots[0].read())
            idle = len(self.anatomy.shapes[region.tensor]) == 1  # a bias of keys may cancel in the softmax
            _check_moved(group, [region], found, readers, idle)

    def _check_shared(self, before: Tensor, kind: str) -> None:
        """Raise where a stretch that no head owns feeds one head alone, though there are several."""
        rest = Component(kind, self.number)
        if rest not in self.anatomy.universe or self.heads < 2:
            return
        for region in self.anatomy.regions(rest):
            for axis, length in enumerate(self.anatomy.shapes[region.tensor]):
                if length % self.heads:
                    continue
                stretch = Region(region.tensor, axis, 0, length // self.heads)
                with altered(self.model, [stretch], perturbed):
                    found = moved_slots(before, self.slots[0].read())
                if len(found) == 1:
                    raise BrokenLaw(f"{_named(stretch)}, which {rest} owns, feeds head {min(found)} alone")

    def _check_attention(self) -> int:
        """Check heads by the attention that the module itself reports, if it does for each of its layers."""
        before = self._attention()
        if before is None:
            return 0
        for slots in self.slots:
            with altered(self.model, list(slots.rows), perturbed):
                after = self._attention()
            assert after is not None
            found = moved_slots(*(one.transpose(1, 2) for one in (before, after)))
            if found != {slots.place}:
                raise BrokenLaw(
                    f"{slots.component}: its rows change the attention of {_listed(found)}, "
                    "and should change that of its head alone"
                )
        return self.heads

    def _attention(self) -> Tensor | None:
        given = _run(self.model, output_attentions=True).get("attentions")
        if not given or len(given) != self.anatomy.layers or not isinstance(given[self.number], Tensor):
            return None
        found = given[self.number]
        return found if found.dim() == 4 and found.shape[1] == self.heads else None


def _run(model: PreTrainedModel, rows: int = 2, length: int = 7, **more: Any) -> Any:
    vocabulary = model.config.get_text_config().vocab_size
    tokens = torch.randint(3, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False, **more)


def perturbed(part: Tensor) -> Tensor:
    """Return values plus what grows from 0.5 to 1, so that no two are moved alike."""
    return part + torch.linspace(0.5, 1.0, part.numel()).reshape(part.shape)


@contextmanager
def altered(
    model: nn.Module, regions: Iterable[Region], change: Callable[[Tensor], Tensor]
) -> Generator[None]:
    """Change regions of a model until the block ends."""
    tensors, regions = parameters_of(model), list(regions)
    before = {region.tensor: tensors[region.tensor].detach().clone() for region in regions}
    with torch.no_grad():
        for region in regions:
            part = tensors[region.tensor][region.index]
            part.copy_(change(part))
        try:
            yield
        finally:
            for name, values in before.items():
                tensors[name].copy_(values)


def moved_slots(before: Tensor, after: Tensor) -> set[int]:
    """Return which slots of (…, slots, width) differ."""
    scale = max(1.0, float(before.abs().max()))
    moved = ((before - after).abs() > MOVED * scale).any(-1).flatten(0, -2).any(0)
    return set(moved.nonzero().flatten().tolist())


def _check_moved(
    component: Component, regions: Sequence[Region], found: set[int], wanted: set[int], idle: bool
) -> None:
    if found == wanted or (idle and not found):
        return
    names = ", ".join(map(_named, regions))
    should = _listed(wanted)
    raise BrokenLaw(f"{component}: {names} feeds {_listed(found)}, and should feed {should} alone")


def _listed(places: set[int]) -> str:
    if not places:
        return "nothing"
    shown = ", ".join(map(str, sorted(places)[:8]))
    return f"slot{'s' if len(places) > 1 else ''} {shown}{' …' if len(places) > 8 else ''}"


def _named(region: Region) -> str:
    if region.axis is None:
        return region.tensor
    return f"{region.tensor}[{':, ' * region.axis}{region.start}:{region.stop}]"


def distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-9))


def _owner(model: nn.Module, region: Region) -> nn.Module:
    return model.get_submodule(region.tensor.rpartition(".")[0])


def _is_read(model: nn.Module, region: Region) -> bool:
    """Return whether a region is of the inputs of a linear layer's weight."""
    module = _owner(model, region)
    if not region.tensor.endswith(".weight") or region.axis is None:
        return False
    return (
        region.axis == 1 if isinstance(module, nn.Linear) else isinstance(module, Conv1D) and not region.axis
    )


def _spanning(
    model: nn.Module, anatomy: Anatomy, layer: int, kinds: tuple[str, ...], width: int
) -> tuple[nn.Module, ...]:
    """Return the norms whose gains the block gives to several heads (or neurons), and that span several."""
    found: dict[nn.Module, None] = {}
    for name, cuts in anatomy.cuts.items():
        split = any(cut.layer == layer and cut.kind in kinds and cut.count > 1 for cut in cuts)
        if split and len(anatomy.shapes[name]) == 1 and name.endswith(".weight"):
            module = model.get_submodule(name.rpartition(".")[0])
            if "norm" in type(module).__name__.lower() and anatomy.shapes[name][0] > width:
                found[module] = None
    return tuple(found)


class _Enough(Exception):
    """Ends a forward pass of which the rest is not needed."""


def _inputs(model: PreTrainedModel, modules: Sequence[nn.Module]) -> dict[nn.Module, Tensor]:
    """Return what modules read, the first time where a block is run again."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(module, inputs[0].clone())
        if len(seen) == len(modules):
            raise _Enough

    with hooked(*(module.register_forward_pre_hook(keep) for module in modules)), suppress(_Enough):
        logits(model)
    return seen


@contextmanager
def hooked(*hooks: RemovableHandle) -> Generator[None]:
    """Remove hooks when the block ends."""
    with ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        yield


@contextmanager
def _held(model: PreTrainedModel, norms: Iterable[nn.Module]) -> Generator[None]:
    """Hold the mean and the scale of norms at what they are now, by hooks.

    A norm that spans heads divides them all by one number for each token. A change of one head's rows reaches
    the others through it; held, through nothing else.
    """
    norms = list(norms)
    seen = _inputs(model, norms) if norms else {}
    hooks: list[RemovableHandle] = []
    for norm, values in seen.items():
        centred = isinstance(norm, nn.LayerNorm)
        eps = next((getattr(norm, key) for key in ("variance_epsilon", "eps") if hasattr(norm, key)), 1e-6)

        def measured(values: Tensor, centred: bool = centred, eps: float = eps) -> tuple[Tensor, Tensor]:
            mean = values.mean(-1, keepdim=True) if centred else torch.zeros_like(values[..., :1])
            return mean, torch.rsqrt((values - mean).pow(2).mean(-1, keepdim=True) + eps)

        def held(
            norm: nn.Module,
            inputs: tuple[Tensor, ...],
            output: Tensor,
            before: tuple[Tensor, Tensor] = measured(values),
            measured: Callable[[Tensor], tuple[Tensor, Tensor]] = measured,
        ) -> Tensor:
            (mean, scale), (_, now) = before, measured(inputs[0])
            if not isinstance(norm, nn.LayerNorm):
                return output * (scale / now)
            found = (inputs[0] - mean) * scale * norm.weight
            bias = getattr(norm, "bias", None)
            return found if bias is None else found + bias

        hooks.append(norm.register_forward_hook(held))
    with hooked(*hooks):
        yield
