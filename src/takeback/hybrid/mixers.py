"""Law 4 beyond heads: mixers, latents and experts act through what the module makes of them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from takeback.anatomy import Anatomy, Region, anatomy_of
from takeback.component import Component
from takeback.hybrid.heads import MOVED, NEAR, BrokenLaw, altered, distance, hooked, logits, perturbed

OUTPUTS: Final = (
    *("out_proj", "o_proj", "output", "linear_out", "dense", "dense_4h_to_h"),
    *("down_proj", "output_linear", "w2", "c_proj"),
)
"""What the last projection of attention, of a mixer or of an MLP may be called."""

_WORDS: Final = {"DELTA": "delta layers", "MIXER": "mixers", "SHARED": "shared experts"}


def check_mixers(model: PreTrainedModel) -> str:
    """Try every delta layer, mixer, shared expert, latent and expert; return what was tried.

    Zeroing the output projection of a mixer or a shared expert is hooking its output to zero, and while
    that is hooked nothing else in the component has an effect. Nothing of a latent has, while what the heads
    of its layer give is hooked to zero. An expert of no weight is one whose output projection is zero, and
    nothing else in it has an effect then.

    Raises:
        BrokenLaw: one of these is not so.
    """
    anatomy, whole = anatomy_of(model), logits(model)
    tried: Counter[str] = Counter()
    heard = 0
    for component in anatomy.universe:
        regions = anatomy.regions(component)
        if component.kind in _WORDS:
            _check_mixer(model, component, regions, whole)
            tried[_WORDS[component.kind]] += 1
        elif component.kind == "LATENT":
            _check_latent(model, anatomy, component)
            tried["latents"] += 1
        elif component.kind == "E" and (hook := _unheard(model, anatomy, component)) is not None:
            outputs = [one for one in regions if _last_word(one.tensor).startswith(OUTPUTS)]
            heard += _is_through(model, component, (outputs, regions), [hook], whole)
            tried["experts"] += 1
    if tried["experts"] and not heard:
        raise BrokenLaw("no expert without weight changes a logit")
    return ", ".join(f"{count} {word}" for word, count in tried.items())


def _check_mixer(
    model: PreTrainedModel, component: Component, regions: Sequence[Region], whole: Tensor
) -> None:
    output = _output(component, regions)
    last = [one for one in regions if _stem(one.tensor) == _stem(output.tensor)]
    block = model.get_submodule(_stem(output.tensor).rpartition(".")[0])
    if not _is_through(model, component, (last, regions), [_silenced(block)], whole):
        raise BrokenLaw(f"{component}: zeroing its output changes no logit")


def _check_latent(model: PreTrainedModel, anatomy: Anatomy, component: Component) -> None:
    """Check that a latent acts through the heads of its layer alone."""
    output = _output(component, anatomy.regions(Component("H", component.layer, 0)))
    with hooked(_silenced(model.get_submodule(_stem(output.tensor)))):
        expected = logits(model)
        with altered(model, anatomy.regions(component), perturbed):
            _check_same(component, logits(model), expected, "acts beside the heads of its layer")


def _is_through(
    model: PreTrainedModel,
    component: Component,
    parts: tuple[Sequence[Region], Sequence[Region]],
    hooks: Iterable[RemovableHandle],
    whole: Tensor,
) -> bool:
    """Check that zeroing the output parts is what hooks do, and that they leave nothing of all parts."""
    outputs, regions = parts
    with hooked(*hooks):
        expected = logits(model)
        with altered(model, regions, perturbed):
            _check_same(component, logits(model), expected, "has parts that act beside its output")
    with altered(model, outputs, torch.zeros_like):
        _check_same(component, logits(model), expected, "with a zero output projection is not without output")
    return distance(whole, expected) > MOVED


def _check_same(component: Component, found: Tensor, expected: Tensor, what: str) -> None:
    if (off := distance(found, expected)) > NEAR:
        raise BrokenLaw(f"{component} {what}: the logits are off by {off:.1e} of the largest")


def _output(component: Component, regions: Iterable[Region]) -> Region:
    """Return the region that is the weight of an output projection."""
    names = [one for one in regions if one.tensor.endswith(".weight") and _last_word(one.tensor) in OUTPUTS]
    if len(names) != 1:
        told = ", ".join(one.tensor for one in names) or "none"
        raise BrokenLaw(f"{component} must have one output projection ({', '.join(OUTPUTS)}); it has {told}")
    return names[0]


def _stem(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _last_word(tensor: str) -> str:
    """Return what a tensor's layer is called, or the tensor where it is no weight or bias of one."""
    return tensor.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]


def _silenced(module: nn.Module) -> RemovableHandle:
    """Let a module give zeros."""

    def zero(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return (torch.zeros_like(output[0]), *output[1:])

    return module.register_forward_hook(zero)


def _unheard(model: PreTrainedModel, anatomy: Anatomy, component: Component) -> RemovableHandle | None:
    """Take an expert's weight away, where experts are one module of which the form is known."""
    tensor = anatomy.regions(component)[0].tensor
    experts, place = model.get_submodule(_stem(tensor)), component.index or 0
    count = anatomy.shapes[tensor][0]
    given: list[tuple[Any, ...]] = []
    with hooked(experts.register_forward_pre_hook(lambda _, inputs: given.append(inputs))):
        logits(model)

    def unweighted(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        states, chosen, weights = inputs
        return states, chosen, weights.masked_fill(chosen == place, 0.0)

    def silent(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        changed = output.clone().unflatten(0, (count, -1))
        changed[place] = 0.0
        return changed.flatten(0, 1)

    if given and len(given[0]) == 3:
        return experts.register_forward_pre_hook(unweighted)
    if given and len(given[0]) == 1:  # every expert sees every token, side by side
        return experts.register_forward_hook(silent)
    return None
