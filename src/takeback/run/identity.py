"""What a result depends on, as one hash: the key of every cache, every resumed work and every done-mark.

`identity` takes whatever a result is made of: plain values, checkpoints, an arena with its situations, users'
functions. What a value says of itself is told by type, with `told`, beside the type:

    @told.register(Pair)
    def _(pair: Pair) -> Any:
        return [pair.base, pair.tuned]

gives values that are told in turn. Without a registration a dataclass is its fields, an array its bytes, and
any other object what pickling would write of it. A function is the text of the file that it stands in, its
compiled code, its defaults, what it closes over, and the globals that it uses; functions, classes and modules
of a user's own are followed from there, those of libraries are their names and versions. What can't be told
(a lock, a generator, an object from C that keeps its state to itself) makes an identity that no other one
equals, so that nothing is taken for a result of it, and one line on standard error says why.

Files, variables of the environment and servers that a function turns to while it runs are not seen.
"""

from __future__ import annotations

import copyreg
import dataclasses
import dis
import hashlib
import importlib
import json
import linecache
import sys
import uuid
from collections.abc import Iterator, Mapping
from functools import cache, cached_property, singledispatch
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

from takeback.run.tables import SCHEMA

_LIBRARIES: Final = ("takeback", "torch", "transformers", "numpy")
"""Packages whose versions results depend on."""

_NAMED: Final = (FunctionType, type, ModuleType)
"""What is told once, however often it is met."""

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)


class _Unknowable(Exception):
    """Something whose state can't be read."""


def identity(*what: Any, versions: bool = True) -> str:
    """Return a hash of all that a result depends on: the SHA-256 in hexadecimal digits.

    Values that are equal have one identity; sets and dicts have no order, and a tuple is a list. One that
    can't be told has another identity at each call, and a line on standard error says why.

    Args:
        what: what the result is made of; see the module for what is told of which type.
        versions: whether the result is another one with another version of takeback, of its tables or of the
            libraries that compute. A training run stays the same run: what is measured on it is keyed by its
            weights.

    >>> identity({"a": 1, "b": [2]}) == identity({"b": (2,), "a": 1}), identity(1) == identity(1.0)
    (True, False)
    >>> def worth(bonus): return lambda text: len(text) + bonus
    >>> identity(worth(1)) == identity(worth(1)), identity(worth(1)) == identity(worth(2))
    (True, False)
    """
    made_of = [*what, {"tables": SCHEMA, **_versions()}] if versions else list(what)
    try:
        text = json.dumps(_plain(made_of, {}, ()))
    except (_Unknowable, RecursionError) as why:
        _say(str(why))
        text = uuid.uuid4().hex
    return hashlib.sha256(text.encode()).hexdigest()


@singledispatch
def told(value: Any) -> Any:
    """Return what a value is made of, as values that are told in turn; types register what they say."""
    kind = type(value)
    if dataclasses.is_dataclass(value):
        return [kind, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}]
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return [str(value.dtype), list(value.shape), raw.numpy().tobytes()]
    try:
        array = memoryview(value)
        if array.format != "O":
            return [kind, array.format, array.shape, array.tobytes()]
    except (TypeError, ValueError, BufferError):
        pass
    try:
        written = copyreg.dispatch_table.get(kind) if _is_library(kind.__module__) else None
        made: Any = written(value) if written else value.__reduce_ex__(2)
    except Exception as error:  # each type has its own way to say that it can't be pickled
        raise _Unknowable(f"a {kind.__module__}.{kind.__qualname__}") from error
    if isinstance(made, str):
        return [kind, made]
    call, arguments, state, items, pairs = (*made, None, None, None)[:5]
    if isinstance(state, dict):
        state = {name: held for name, held in state.items() if not _is_cached(kind, name)} or None
    return [kind, call, arguments, state, list(items or ()), list(pairs or ())]


@told.register(FunctionType)
def _(function: FunctionType) -> Any:
    held = [function.__defaults__, function.__kwdefaults__, _closed_over(function)]
    if _is_library(function.__module__):
        return [_library(function.__module__), function.__qualname__, *held]
    text = _text(function.__code__.co_filename, function.__globals__)
    return [text, function.__code__, *held, _uses(function)]


@told.register(CodeType)
def _(code: CodeType) -> Any:
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    return [code.co_code, code.co_exceptiontable, code.co_consts, names, counts]


@told.register(type)
def _(kind: type) -> Any:
    if _is_library(kind.__module__):
        return [_library(kind.__module__), kind.__qualname__]
    module = sys.modules.get(kind.__module__)
    text = _text(getattr(module, "__file__", None) or "", vars(module) if module else {})
    return [kind.__qualname__, text, kind.__bases__, dict(_own(vars(kind)))]


@told.register(ModuleType)
def _(module: ModuleType) -> Any:
    if _is_library(module.__name__):
        return _library(module.__name__)
    return [_text(module.__file__ or "", vars(module)), dict(_own(vars(module)))]


@told.register(MethodType)
def _(method: MethodType) -> Any:
    return [method.__func__, method.__self__]


@told.register(BuiltinFunctionType)
def _(function: BuiltinFunctionType) -> Any:
    owner = function.__self__
    return [function.__module__, function.__qualname__, None if isinstance(owner, ModuleType) else owner]


@told.register(staticmethod)
@told.register(classmethod)
def _(method: Any) -> Any:
    return [type(method), method.__func__]


@told.register(property)
def _(one: property) -> Any:
    return [one.fget, one.fset, one.fdel]


@told.register(cached_property)
def _(one: cached_property[Any]) -> Any:
    return one.func


@told.register(type(cache(len)))
def _(cached: Any) -> Any:
    return cached.__wrapped__


@told.register(MappingProxyType)
def _(mapping: Mapping[Any, Any]) -> Any:
    return dict(mapping)


def _plain(value: Any, met: dict[int, tuple[int, Any]], within: tuple[int, ...]) -> Any:
    """Return a value as JSON that is equal for equal values, in any process.

    `met` numbers the functions, classes and modules that were told; `within` are the objects that hold this
    one. Neither is told again, as they may go round in a circle.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value) in _CONTAINERS:
        return _container(value, met, within)
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if id(value) in met:
        return ["again", met[id(value)][0]]
    if id(value) in within:
        return ["within", within.index(id(value))]
    if isinstance(value, _NAMED):
        met[id(value)] = (len(met), value)
    else:
        within = (*within, id(value))
    try:
        return ["told", _plain(told(value), met, within)]
    except _Unknowable as why:
        if isinstance(value, FunctionType):
            raise _Unknowable(f"{value.__qualname__}, which uses {why}") from why
        raise


def _container(value: Any, met: dict[int, tuple[int, Any]], within: tuple[int, ...]) -> list[Any]:
    """Return what a container holds; sets and dicts have no order, whatever theirs is in this process."""
    if isinstance(value, list | tuple):
        return ["list", *(_plain(one, met, within) for one in value)]
    texts = [json.dumps(_plain(one, dict(met), within)) for one in value]
    if isinstance(value, dict):
        held = sorted(zip(texts, value.values(), strict=True), key=lambda one: one[0])
        return ["dict", *([text, _plain(one, met, within)] for text, one in held)]
    return ["set", *sorted(texts)]


def _closed_over(function: FunctionType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = [cell.cell_contents]
        except ValueError:  # a name that is not bound yet
            found[name] = []
    return found


def _uses(function: FunctionType) -> dict[str, Any]:
    """Return the globals that a function's code uses and what it imports, by name.

    Of a module that is a global that is only what is used of it, as far as names go: `mine.scores.worth`.
    """
    found: dict[str, Any] = {}
    for code in _codes(function.__code__):
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for place, step in enumerate(steps):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in function.__globals__:
                name, value = step.argval, function.__globals__[step.argval]
                for after in steps[place + 1 :]:
                    if after.opname not in ("LOAD_ATTR", "LOAD_METHOD") or not isinstance(value, ModuleType):
                        break
                    name, value = f"{name}.{after.argval}", getattr(value, after.argval, None)
                found[name] = value
            elif step.opname == "IMPORT_NAME":
                level, names = (before.argval for before in steps[place - 2 : place])
                found |= _imported(step.argval, level, names, function.__globals__)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _imported(
    name: str, level: int, names: tuple[str, ...] | None, place: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an import within a function gives, by name; nothing where it fails."""
    try:
        module = importlib.import_module("." * level + name, place.get("__package__"))
    except Exception:  # whatever a user's module raises, the function will too
        return {}
    own = names is not None and "*" not in names
    return {f"{name}.{one}": getattr(module, one, None) for one in names or ()} if own else {name: module}


def _own(holds: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a class or module holds besides what Python puts there."""
    for name, value in holds.items():
        written = isinstance(value, FunctionType | staticmethod | classmethod | property)
        put = isinstance(value, GetSetDescriptorType | MemberDescriptorType) or name == "_abc_impl"
        if written or not (put or name.startswith("__")):
            yield name, value


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), cached_property)


def _text(file: str, place: dict[str, Any]) -> str:
    """Return the text that a file has now, empty where there is none: the code is told besides."""
    linecache.checkcache(file)
    return hashlib.sha256("".join(linecache.getlines(file, place)).encode()).hexdigest()


def _is_library(module: str | None) -> bool:
    """Tell whether a module is Python's, takeback's, or an installed library's."""
    top = (module or "").partition(".")[0]
    if top in ("takeback", "builtins") or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _library(module: str) -> list[Any]:
    """Return a library's module by name, version and text, as a user's own package may be installed."""
    top, found = module.partition(".")[0], sys.modules.get(module)
    if top == "takeback" or top in sys.stdlib_module_names or found is None:
        return [module]
    version = str(getattr(sys.modules.get(top), "__version__", ""))
    return [module, version, _text(found.__file__ or "", vars(found))]


def _versions() -> dict[str, str]:
    import importlib.metadata

    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


_SAID: set[str] = set()


def _say(why: str) -> None:
    """Say once why something has no lasting identity."""
    if why not in _SAID:
        _SAID.add(why)
        print(f"not kept for another time: {why}; it can't be told whether it is the same", file=sys.stderr)
