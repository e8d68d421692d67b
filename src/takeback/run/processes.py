"""How workers are started: forked from one process that has imported what is slow, where that can be done."""

from __future__ import annotations

import multiprocessing as mp
import sys
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from typing import Final

from takeback.run.environment import environment
from takeback.run.job import Job

HEAVY: Final = ("torch", "transformers.modeling_utils", "pandas", "scipy.stats")
"""Libraries that take seconds to import, which workers get from the process that they are forked from."""

SERVER: Final = {"PYTHONSAFEPATH": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Its environment besides: no module is taken from the working folder, and none reports its use."""


def workers_context(jobs: Sequence[Job]) -> BaseContext:
    """Return how workers are started: from a process that has imported what jobs need, and done nothing else.

    The first call in a process decides what that one imports. Elsewhere than on Linux libraries may not be
    forked once they are loaded, and where its socket has no place (below a long `$TMPDIR`) it can't be
    reached: there each worker is started anew.
    """
    if sys.platform != "linux":
        return mp.get_context("spawn")
    own = {job.call.__module__ for job in jobs if job.call.__module__.startswith("takeback.")}
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([*(name for name in HEAVY if name in sys.modules), *sorted(own)])
    try:
        with environment(SERVER):
            ensure_running()
    except OSError:
        return mp.get_context("spawn")
    return context
