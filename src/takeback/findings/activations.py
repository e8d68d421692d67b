"""Activations put from one model into another while it runs: an activation patch, which is not a hybrid.

A hybrid computes with base's weights on whatever reaches them; a patch puts there what base computes, with
its own weights on its own inputs. Where the two differ, what matters is what reaches the component.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from takeback.anatomy import Anatomy, Region, anatomy_of
from takeback.component import Component, ComponentSet
from takeback.hybrid.heads import hooked
from takeback.hybrid.replay import CACHES
from takeback.run.errors import TakebackError

Model = TypeVar("Model", bound=nn.Module)

Kept: TypeAlias = dict[str, Tensor]
"""What a source computed in its last pass, by module: inputs of projections, outputs of the rest."""


@dataclass(frozen=True, eq=False)
class _WrittenBy:
    """A module that writes what a component computes: all of its output, or what some of its inputs give.

    Attributes:
        name: of the module.
        inputs: for a head, where it stands in what the output projection reads.
    """

    name: str
    inputs: slice | None = None

    def part(self, module: nn.Module, values: Tensor) -> Tensor:
        """Return what these inputs add to the module's output."""
        assert self.inputs is not None
        weight: Any = module.weight
        columns = weight[:, self.inputs] if isinstance(module, nn.Linear) else weight[self.inputs].T
        return nn.functional.linear(values[..., self.inputs], columns)

    def written(self, model: nn.Module, kept: Kept) -> Tensor:
        """Return what the component wrote in a model's last pass."""
        values = kept[self.name]
        return values if self.inputs is None else self.part(model.get_submodule(self.name), values)


@contextmanager
def with_activations(
    model: Model, source: nn.Module, components: ComponentSet, anatomy: Anatomy | None = None
) -> Generator[Model]:
    """Yield `model` in which some components write what they write in `source` on the same inputs.

    A head's activation is its part of the output projection's sum (without the bias), that of all else the
    output of its modules (of a norm, what it gives to the next one; of the unembedding, the logits). Before
    each pass of the model the source is run on the same arguments. Weights stay as they are.

    >>> from takeback.checkpoint import load_model, open_checkpoint
    >>> one, other = (load_model(open_checkpoint("endgame-base")) for _ in range(2))
    >>> _ = torch.nn.init.normal_(other.model.embed_tokens.weight)
    >>> tokens, embedding = torch.tensor([[3, 4, 5]]), anatomy_of(one).parse("EMBED")
    >>> with torch.no_grad(), with_activations(one, other, embedding):
    ...     torch.equal(one(tokens, use_cache=False).logits, other(tokens, use_cache=False).logits)
    True

    Args:
        model: what is run.
        source: a model of the same architecture, which is left as it is.
        components: the ones whose activations are put in.
        anatomy: the model's, where the caller has it.

    Raises:
        TakebackError: a component writes nothing of its own, but through others, or a pass reads a cache.
    """
    writers = _writers(model, components, anatomy)
    kept: Kept = {}

    def first(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        _run_source(source, writers, kept, (args, kwargs))

    hooks = [model.register_forward_pre_hook(first, with_kwargs=True)] if writers else []
    with hooked(*hooks, *_replacing(model, source, writers, kept)):
        yield model


@contextmanager
def with_paths(
    model: Model, source: nn.Module, components: ComponentSet, reader: str, anatomy: Anatomy | None = None
) -> Generator[Model]:
    """Yield `model` in which one module alone reads some components as `source` writes them: a path patch.

    All else reads what the model's own components write. What the module reads has to be the residual
    stream, to which components add what they write as it is (no norm behind them); a test of an
    architecture is that patching all components before the module makes it read what it reads in `source`.
    After Wang et al. 2022 (arXiv 2211.00593).

    >>> from takeback.checkpoint import load_model, open_checkpoint
    >>> one, other = (load_model(open_checkpoint("endgame-base")) for _ in range(2))
    >>> _ = torch.nn.init.normal_(other.model.embed_tokens.weight)
    >>> tokens, embedding = torch.tensor([[3, 4, 5]]), anatomy_of(one).parse("EMBED")
    >>> with torch.no_grad(), with_paths(one, other, embedding, "model.norm"):
    ...     torch.equal(one(tokens, use_cache=False).logits, other(tokens, use_cache=False).logits)
    False

    Args:
        model: what is run.
        source: a model of the same architecture, which is left as it is.
        components: those that stand before the reader.
        reader: the name of a module that reads the residual stream, as a norm does.
        anatomy: the model's, where the caller has it.

    Raises:
        TakebackError: a component writes nothing of its own, or a pass reads a cache.
    """
    writers = _writers(model, components, anatomy)
    theirs: Kept = {}
    own: Kept = {}

    def first(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        _run_source(source, writers, theirs, (args, kwargs))

    def read(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        moved = [one.written(source, theirs) - one.written(model, own) for one in writers]
        return (sum(moved, inputs[0]), *inputs[1:])

    place = model.get_submodule(reader)
    hooks = (model.register_forward_pre_hook(first, with_kwargs=True), place.register_forward_pre_hook(read))
    with hooked(*_recording(model, writers, own), *hooks):
        yield model


@contextmanager
def ablated(model: Model, components: ComponentSet, anatomy: Anatomy | None = None) -> Generator[Model]:
    """Yield `model` in which some components write zeros; see `with_activations`.

    Raises:
        TakebackError: a component writes nothing of its own.
    """
    writers = _writers(model, components, anatomy)
    with hooked(*_replacing(model, None, writers, {})):
        yield model


def _run_source(
    source: nn.Module, writers: Sequence[_WrittenBy], kept: Kept, call: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    """Run the source as the model is called, and keep what it computes."""
    args, kwargs = call
    if given := next((name for name in CACHES if kwargs.get(name) is not None), None):
        raise TakebackError(f"a patch needs whole passes, as the source has no such cache; leave {given} out")
    kept.clear()
    with torch.no_grad(), hooked(*_recording(source, writers, kept)):
        source(*args, **{**kwargs, "use_cache": False})


def _writers(model: nn.Module, components: ComponentSet, anatomy: Anatomy | None) -> list[_WrittenBy]:
    anatomy = anatomy_of(model, components.resolution) if anatomy is None else anatomy
    owners = _owners(anatomy)
    return [writer for component in components for writer in _of(model, anatomy, owners, component)]


def _of(
    model: nn.Module, anatomy: Anatomy, owners: dict[str, set[Component]], component: Component
) -> Sequence[_WrittenBy]:
    """Return what writes a component's activation.

    Raises:
        TakebackError: nothing does.
    """
    if component.kind == "H":
        (read,) = (region for region in anatomy.regions(component) if _is_read(model, region))
        return [_WrittenBy(read.tensor.rpartition(".")[0], slice(read.start, read.stop))]
    mine = [name for name, own in owners.items() if own == {component}]
    largest = [name for name in mine if not any(name.startswith(f"{other}.") for other in mine)]
    tensors = {region.tensor for region in anatomy.regions(component)}
    if not largest or any(not _below(tensor, largest) for tensor in tensors):
        raise TakebackError(
            f"{component} writes nothing of its own: it acts through other components, or within one module "
            "beside them; take back its weights, or patch what it acts through"
        )
    return [_WrittenBy(name) for name in largest]


def _owners(anatomy: Anatomy) -> dict[str, set[Component]]:
    """Return whose tensors stand below each module, by its name; tied ones stand in one place."""
    found: dict[str, set[Component]] = {}
    for tensor in anatomy.shapes:
        steps = tensor.split(".")
        for end in range(1, len(steps)):
            owners = {component for component, _ in anatomy.of_tensor(tensor)}
            found.setdefault(".".join(steps[:end]), set()).update(owners)
    return found


def _below(tensor: str, modules: Sequence[str]) -> bool:
    return any(tensor.startswith(f"{name}.") for name in modules)


def _is_read(model: nn.Module, region: Region) -> bool:
    """Return whether a region is of the inputs of a linear layer's weight."""
    module = model.get_submodule(region.tensor.rpartition(".")[0])
    return region.tensor.endswith(".weight") and region.axis == int(isinstance(module, nn.Linear))


def _recording(source: nn.Module, writers: Sequence[_WrittenBy], kept: Kept) -> list[RemovableHandle]:
    hooks: list[RemovableHandle] = []
    for name in dict.fromkeys(one.name for one in writers):
        part = any(one.name == name and one.inputs is not None for one in writers)

        def keep(
            _: nn.Module, inputs: tuple[Any, ...], output: Any, name: str = name, part: bool = part
        ) -> None:
            kept[name] = inputs[0] if part else _tensor(output, name)

        hooks.append(source.get_submodule(name).register_forward_hook(keep))
    return hooks


def _replacing(
    model: nn.Module, source: nn.Module | None, writers: Sequence[_WrittenBy], kept: Kept
) -> list[RemovableHandle]:
    """Hook the model's modules so that they give the source's activations, or without one zeros."""
    hooks: list[RemovableHandle] = []
    for name in dict.fromkeys(one.name for one in writers):
        heads = [one for one in writers if one.name == name and one.inputs is not None]

        def give(
            module: nn.Module,
            inputs: tuple[Any, ...],
            output: Any,
            name: str = name,
            heads: Sequence[_WrittenBy] = heads,
        ) -> Tensor:
            if not heads:
                return torch.zeros_like(_tensor(output, name)) if source is None else kept[name]
            for one in heads:
                output = output - one.part(module, inputs[0])
                if source is not None:
                    output = output + one.part(source.get_submodule(name), kept[name])
            return output

        hooks.append(model.get_submodule(name).register_forward_hook(give))
    return hooks


def _tensor(output: Any, name: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise TakebackError(f"{name} gives {type(output).__name__}, not one tensor; it can't be patched")
    return output
