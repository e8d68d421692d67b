"""The command that tells what an installation is made of, and whether it is sound."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import typer

from takeback.cli.options import Json
from takeback.cli.plain import print_json, print_table
from takeback.run.memory import usable_memory

UNSOUND = 3
"""The exit code where a check found something."""


def doctor(as_json: Json = False) -> None:
    """Tell what is installed, where it runs and whether the cache is sound, for every report of a bug.

    Changes nothing. Ends with 3 if a library of the core is missing or of a version that was not tried, or
    if the cache can't be written or holds something damaged.
    """
    told = _told()
    if as_json:
        print_json(told)
    else:
        _show(told)
    if told["wrong"]:
        raise typer.Exit(UNSOUND)


def _told() -> dict[str, Any]:
    from takeback.run.cache_health import cache_health
    from takeback.run.installed import extras, libraries

    core, kept = libraries(), cache_health()
    wrong = [
        f"{one.name} {one.version or 'is missing'}: allowed is {one.allowed}" for one in core if not one.fits
    ]
    if not kept.writable:
        wrong.append(f"the cache {kept.folder} can't be written; $TAKEBACK_CACHE names another folder")
    wrong += [f"{file} is damaged ({why}); remove it, it is made again" for file, why in kept.damaged.items()]
    devices = _devices(wrong)
    return {
        "versions": {
            "takeback": version("takeback"),
            "python": platform.python_version(),
            **{one.name: one.version for one in core},
        },
        "machine": _machine(),
        "devices": devices,
        "extras": [
            {
                "extra": one.name,
                "installed": not one.missing,
                "missing": list(one.missing),
                "versions": {library.name: library.version for library in one.libraries},
                "gives": one.gives,
            }
            for one in extras()
        ],
        "cache": {
            "folder": str(kept.folder),
            "writable": kept.writable,
            "files": kept.files,
            "bytes": kept.bytes,
            "damaged": [{"file": str(file), "why": why} for file, why in kept.damaged.items()],
        },
        "wrong": wrong,
        "sound": not wrong,
    }


def _machine() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "memory": usable_memory(),
    }


def _devices(wrong: list[str]) -> list[dict[str, Any]]:
    """Return the devices that models can run on; torch may be missing or broken."""
    from takeback.checkpoint.placement import found_devices, free_memory

    try:
        return [{"device": name, "name": _name(name), "free": free_memory(name)} for name in found_devices()]
    except (ImportError, OSError, RuntimeError) as error:
        wrong.append(f"torch can't be used: {' '.join(str(error).split())}")
        return []


def _name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()


def _show(told: dict[str, Any]) -> None:
    machine, kept = told["machine"], told["cache"]
    typer.echo(" · ".join(f"{name} {found or 'missing'}" for name, found in told["versions"].items()))
    memory = "" if machine["memory"] is None else f" · {_size(machine['memory'])} memory"
    typer.echo(f"{machine['system']} · {machine['usable_cores']} of {machine['cores']} cores{memory}")
    for one in told["devices"]:
        free = "" if one["free"] is None else f" · {_size(one['free'])} free"
        typer.echo(f"{one['device']} · {one['name']}{free}")
    typer.echo(f"cache {kept['folder']} · {kept['files']:,} files · {_size(kept['bytes'])}")
    rows = [
        {
            "extra": one["extra"],
            "here": "yes" if one["installed"] else f"no: {', '.join(one['missing'])}",
            "gives": one["gives"],
        }
        for one in told["extras"]
    ]
    print_table(rows, "", width=160)
    for line in told["wrong"]:
        typer.echo(f"takeback: {line}", err=True)
    typer.echo("sound" if told["sound"] else "not sound")


def _size(count: int) -> str:
    """Write a number of bytes.

    >>> _size(24 * 2**30), _size(2048)
    ('24 GiB', '2 KiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
