"""Loops compiled by numba once on a machine and kept as machine code, so that later runs load no compiler.

Importing numba and letting it read its own cache takes longer than most of what the loops do.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, cache_folder, in_turn
from takeback.run.sealed import seal, unseal

if TYPE_CHECKING:
    from llvmlite.binding import ExecutionEngine, TargetMachine

_NAME = "loop"
_RELEASE = re.compile(r"declare void @(NRT_MemInfo_call_dtor)\((\w+\*?)[^)]*\)[^\n]*")
"""What numba's runtime would call for an array that it owns; these loops only have addresses."""

_LOCK = Lock()
_LOADED: dict[tuple[str, ...], Callable[..., None]] = {}
_ENGINES: list[ExecutionEngine] = []
"""What holds the code that is loaded."""


def machine_code(module: str, function: str, *types: str) -> Callable[..., None]:
    """Return a function of a module, compiled for arguments of these types; threads run it side by side.

    Args:
        module: Its name; it is imported only where its code is not kept yet.
        function: A plain function that numba compiles; what it returns is dropped, and it raises nothing.
        types: Of each argument, such as `int64` and `float32`; `*float32` is the address of an array.

    >>> import numpy as np
    >>> add = machine_code("takeback.checkpoint.merge", "add_product", *["int64"] * 3, *["*float64"] * 3,
    ...     "float64", "*float64")
    >>> weight, left, right, merged = np.ones(2), np.array([1.0, 2.0]), np.array([3.0]), np.zeros(2)
    >>> add(2, 1, 1, *(part.ctypes.data for part in (weight, left, right)), 10.0, merged.ctypes.data)
    >>> merged
    array([31., 61.])
    """
    key = (module, function, *types)
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = _load(_object_of(module, function, types), types)
        return _LOADED[key]


def _object_of(module: str, function: str, types: tuple[str, ...]) -> bytes:
    """Return the object file of a function, from the cache where it is kept."""
    import llvmlite.binding as llvm

    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_bytes()
    made_by = (version("numba"), version("llvmlite"), llvm.get_process_triple(), *_processor())
    depends = repr((source, function, types, made_by)).encode()
    try:
        file = cache_folder("machine-code") / f"{function}-{hashlib.sha256(depends).hexdigest()[:32]}.code"
        if (made := _kept(file)) is None:
            with in_turn(file):
                if (made := _kept(file)) is None:
                    made = _compiled(module, function, types)
                    with atomic_file(file) as draft:
                        draft.write_bytes(seal(made))
        return made
    except (OSError, TakebackError):  # no folder for the cache can be written to
        return _compiled(module, function, types)


def _kept(file: Path) -> bytes | None:
    """Return the code in a file of the cache, None if there is none that can be loaded without harm."""
    return unseal(file.read_bytes()) if file.is_file() else None


def _compiled(module: str, function: str, types: tuple[str, ...]) -> bytes:
    """Compile a function to an object file that needs nothing of numba: no wrapper, no counted references."""
    import llvmlite.binding as llvm
    import numba

    taken = [
        numba.types.CPointer(getattr(numba.types, name[1:]))
        if name.startswith("*")
        else getattr(numba.types, name)
        for name in types
    ]
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiler: Any = numba.njit  # its types don't know options by name
    made = compiler(numba.types.void(*taken), **options, **wrappers)(getattr(import_module(module), function))
    (text,) = made.inspect_llvm().values()
    code = llvm.parse_assembly(_RELEASE.sub(r"define internal void @\1(\2 %0) { ret void }", text))
    defined = [one for one in code.functions if not one.is_declaration]
    (entry,) = (one for one in defined if one.linkage == llvm.Linkage.external)
    entry.name = _NAME
    return _machine().emit_object(code)


def _load(made: bytes, types: tuple[str, ...]) -> Callable[..., None]:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(made))
    engine.finalize_object()
    _ENGINES.append(engine)
    kinds = [ctypes.c_void_p if name.startswith("*") else _SCALARS[name] for name in types]
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *kinds)(
        engine.get_function_address(_NAME)
    )

    def called(*arguments: Any) -> None:
        failed = ctypes.c_void_p()  # the two places in which numba's functions leave a result or an error
        call(ctypes.addressof(ctypes.c_void_p()), ctypes.addressof(failed), *arguments)

    return called


_SCALARS = {"int64": ctypes.c_int64, "float32": ctypes.c_float, "float64": ctypes.c_double}


def _processor() -> tuple[str, str]:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _machine() -> TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    relocation = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(name, features, 3, relocation, "jitdefault", jit=True)
