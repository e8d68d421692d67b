"""Jobs in the actors of a Ray cluster; only this module knows Ray (the extra `ray`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from takeback.run.errors import TakebackError
from takeback.run.extras import needed
from takeback.run.job import Finished, Job, OnRay, Waiting, silent

RESTARTS = 3
"""How often an actor that died is started again, and the job that it was at with it."""


class Actor:
    """Runs jobs one after the other in a process of a cluster, which keeps what they loaded."""

    def __init__(self, folder: str) -> None:
        with suppress(OSError):  # names of checkpoints are relative to it, where the node has it
            os.chdir(folder)

    def ready(self) -> None:
        """Tell that it is there."""

    def run(self, job: Job) -> Any:
        """Run a job and return what it returns."""
        return job.run(silent)


def run_on_ray(jobs: Sequence[Job], workers: OnRay) -> Finished:
    """Yield jobs as actors finish them; each is given one at a time, once it is there.

    A cluster that is started here listens on this machine alone and ends with the work. Ray reports no usage
    statistics unless `$RAY_USAGE_STATS_ENABLED` says so.

    Raises:
        TakebackError: Ray is not installed, no cluster is at the address, actors keep dying, or a job
            raised it.
    """
    count = min(workers.actors, len(jobs))
    threads = max(job.threads or 1 for job in jobs)
    with _cluster(workers.address, count * threads) as ray:
        actor = ray.remote(Actor).options(
            num_cpus=threads,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            scheduling_strategy="SPREAD",
        )
        actors = [actor.remote(os.getcwd()) for _ in range(count)]
        running: dict[Any, tuple[Any, Job | None]] = {one.ready.remote(): (one, None) for one in actors}
        waiting, left = Waiting(jobs), len(jobs)
        idle: list[Any] = []
        try:
            while left:
                done = ray.wait(list(running), num_returns=1)[0][0]
                one, job = running.pop(done)
                result = _result(ray, done)
                idle.append(one)
                if job is not None:
                    waiting.end(job.name)
                while idle and (following := waiting.next()) is not None:
                    one = idle.pop()
                    running[one.run.remote(following)] = one, following
                if job is not None:
                    left -= 1
                    yield job, result
        finally:
            for one in actors:
                ray.kill(one)


@contextmanager
def _cluster(address: str | None, cpus: int) -> Generator[Any]:
    """Yield Ray, joined to the cluster that this process is in already, one at an address, or its own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = needed("ray", "ray", ", or use --workers")
    if ray.is_initialized():
        yield ray
        return
    place = address or os.environ.get("RAY_ADDRESS", "local")
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        ray.init(place, **quiet, **(own if place == "local" else {}))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise TakebackError(f"no Ray cluster at {place!r}: {str(error).splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _result(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError as error:
        raise TakebackError(
            f"an actor died {RESTARTS + 1} times (no memory?); run again with fewer, it goes on: "
            f"{str(error).splitlines()[0]}"
        ) from None
