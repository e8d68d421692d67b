"""What commands ask for: each option that several of them take is declared here once, with its meaning.

Options that go together are the fields of a dataclass, which a command takes whole; see `spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from takeback.cli.command import WRITTEN
from takeback.component import ComponentSet
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.limits import MOST_SEED, MOST_THREADS

if TYPE_CHECKING:
    from takeback.anatomy import Anatomy
    from takeback.arenas import Arena
    from takeback.checkpoint import Checkpoint, Pair, Placement
    from takeback.draw.result import Result, Results
    from takeback.measure.bench import Bench
    from takeback.measure.setup import Setup
    from takeback.run.jobs import Workers

ENGINES = ("local", "ray")


def argument(metavar: str, told: str) -> Any:
    """Declare an argument: its name in capitals, and what it is."""
    return typer.Argument(metavar=metavar, help=told)


def option(name: str, metavar: str | None, told: str, **more: Any) -> Any:
    """Declare an option: its names (`--out -o`), what its value is called in capitals, and what it does."""
    return typer.Option(*name.split(), metavar=metavar, help=told, **more)


Model = Annotated[str, argument("MODEL", "A checkpoint: folder, org/name@revision, base+adapter, or file.")]
Base = Annotated[
    str, argument("BASE", "Checkpoint before tuning: folder, org/name@revision, base+adapter, or file.")
]
Tuned = Annotated[str, argument("TUNED", "Checkpoint after tuning, in any of these forms.")]
Run = Annotated[Path, argument("RUN", "A run folder, such as runs/demo.")]
WrittenRun = Annotated[Path, argument("RUN", "A run folder, such as runs/demo."), WRITTEN]
Json = Annotated[bool, option("--json", None, "Print JSON instead of tables.")]
Seed = Annotated[int, option("--seed", "N", "Seed of every random draw.", min=0, max=MOST_SEED)]
Threads = Annotated[
    int,
    option(
        "--threads",
        "N",
        "CPU threads of each worker; results depend on them in last bits.",
        min=1,
        max=MOST_THREADS,
    ),
]
Folder = Annotated[Path, option("--out -o", "DIR", "Folder to write."), WRITTEN]
Resolution = Annotated[
    str, option("--resolution", "NAME", "heads, or neurons to split each MLP into its neurons.")
]
Untie = Annotated[bool, option("--untie", None, "Allow a pair in which only one side ties its embeddings.")]
Measures = Annotated[
    list[str] | None,
    option(
        "--measure",
        "MEASURE",
        "A measure to tell of: 'utility win', legal, or your own as module:function or file.py:function; "
        "repeatable.",
    ),
]
Sets = Annotated[
    list[str] | None,
    option("--sets", "SETS", 'A family ("each head") or a set by name ("L0.H*"); repeatable.'),
]
Controls = Annotated[int, option("--controls", "N", "Random sets of each make-up.", min=1)]
Share = Annotated[float, option("--share", "SHARE", "What the smallest sets are to carry of the change.")]
ShardText = Annotated[
    str | None,
    option("--shard", "I/N", "Do only part I of N into --out; the same command without it merges them."),
]
TakeBack = Annotated[
    str | None, option("--take-back", "SET", 'Components to copy from base, such as "L3.H5 *.MLP".')
]
Graft = Annotated[str | None, option("--graft", "SET", "Components to copy from tuned into base.")]
Source = Annotated[
    str,
    option(
        "--source",
        "SOURCE",
        "What is taken back comes from here: base, zeros, noise:0, strength:0.5, checkpoint:REF, …",
    ),
]


@dataclass(frozen=True)
class AnswerOptions:
    """How prompts of one's own are answered, and what answers are worth."""

    rewards: Annotated[
        list[str] | None,
        option(
            "--reward",
            "FUNCTION",
            "Of rows: what answers are worth, file.py:function or module:function; repeatable.",
        ),
    ] = None
    kinds: Annotated[
        str | None, option("--kinds", "FUNCTION", "Of rows: names the kinds of answers, such as refusals.")
    ] = None
    reading: Annotated[
        str | None,
        option("--reading", "HOW", "Of rows: pooled, on what both sides answered, or drawn, by each anew."),
    ] = None
    answers: Annotated[
        int | None,
        option("--answers", "N", "Of rows: answers that each side draws to a prompt. Default: 8.", min=2),
    ] = None
    max_tokens: Annotated[
        int | None, option("--max-tokens", "N", "Of rows: most tokens of an answer. Default: 64.", min=1)
    ] = None
    temperature: Annotated[
        float | None, option("--temperature", "T", "Of rows: at which answers are drawn. Default: 1.", min=0)
    ] = None
    top_p: Annotated[
        float | None,
        option("--top-p", "P", "Of rows: the likeliest tokens with this mass are drawn. Default: 1.", max=1),
    ] = None
    stop: Annotated[
        list[str] | None, option("--stop", "TEXT", "Of rows: a text that ends an answer; repeatable.")
    ] = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was said of answers, by the name of the field of a rows arena."""
        told = {one.name: getattr(self, one.name) for one in fields(AnswerOptions)}
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True)
class PlaceOptions(AnswerOptions):
    """Where policies act, and on which situations they are read."""

    arena: Annotated[
        str | None,
        option(
            "--arena",
            "ARENA",
            "What policies are asked: FILE or rows:FILE (your prompts), lm-eval:TASK, reasoning-gym:NAME, "
            "gym:ENV, endgames, module:object or file.py:object. Default: of a run, where it trained; of "
            "models of the shipped base, endgames.",
        ),
    ] = None
    situations: Annotated[int, option("--situations", "N", "Held-out situations to read.", min=2)] = 192
    seed: Seed = 0

    def named(self) -> Arena[Any] | None:
        """Return the arena that --arena names, None where it names none.

        Raises:
            UnknownName: there is no such arena.
            TakebackError: options on answers, and no rows to answer.
        """
        from takeback.arenas import arena
        from takeback.arenas.rows import with_settings

        if self.arena is not None:
            return arena(with_settings(self.arena, self.settings))
        if self.settings:
            raise TakebackError(
                f"{_flag(next(iter(self.settings)))} is for prompts of your own; name them: --arena rows:FILE"
            )
        return None

    def at(self, model: Checkpoint) -> Arena[Any]:
        """Return the arena that --arena names, or the one that a model was made for.

        Raises:
            UnknownName: there is no such arena.
            TakebackError: nothing says what to ask the model.
        """
        from takeback.policies.load import home_of

        return self.named() or home_of(model)

    def bench(
        self, pair: Pair, measures: Sequence[str] | None, setup: Setup, *, every: bool = False
    ) -> Bench:
        """Ask about a pair here: about the measures, or all, or the utility that changed most.

        Raises:
            UnknownName: the arena has no such measure; nothing was read.
        """
        from takeback.measure.bench import Bench
        from takeback.measure.measures import find_measures

        place = self.at(pair.base)
        find_measures(measures or (), place)
        if not every and not measures and not place.goals:
            raise TakebackError(f"nothing says what answers in {place.name} are worth; name a measure")
        drawn = self.situations, self.seed
        if every:
            situations = place.situations("held-out", *drawn)
            return Bench.answering(pair, place, situations, measures or (), setup)
        return Bench.held_out(pair, place, measures or (), drawn, setup)


@dataclass(frozen=True)
class RunOptions:
    """What does the work."""

    count: Annotated[
        int | None,
        option(
            "--workers",
            "N",
            "Processes or actors; several need --out. Default: 1; of studies one a core, four at most.",
            min=1,
        ),
    ] = None
    engine: Annotated[
        str,
        option("--engine", "NAME", "What workers are: local processes, or actors on a cluster: ray."),
    ] = "local"
    address: Annotated[
        str | None,
        option(
            "--address", "HOST", "With --engine ray: the cluster's address; by default one is started here."
        ),
    ] = None

    def workers(self, default: int = 1) -> Workers:
        """Return what does the work.

        Raises:
            UnknownName: there is no such engine.
            TakebackError: an address is given for local processes.
        """
        from takeback.run.jobs import OnRay

        count = self.count or default
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, ENGINES)
        if self.engine == "ray":
            return OnRay(count, self.address)
        if self.address is not None:
            raise TakebackError("--address is for --engine ray; local processes have none")
        return count


@dataclass(frozen=True)
class DeviceOptions:
    """Where models run, in which element type, and how many are held."""

    device: Annotated[
        str,
        option("--device", "NAME", "auto, cpu, cuda, cuda:1, mps, or map to spread layers over all cards."),
    ] = "auto"
    dtype: Annotated[
        str,
        option("--dtype", "TYPE", "fp32, bf16 or fp16; auto: fp32 on a CPU, elsewhere what is stored."),
    ] = "auto"
    hold: Annotated[
        str,
        option("--hold", "WHICH", "both models in memory, one and slices of the other, or auto: what fits."),
    ] = "auto"

    @property
    def placement(self) -> Placement:
        """Where models run.

        Raises:
            UnknownName: there is no such device, element type or way to hold a pair.
        """
        from takeback.checkpoint import Placement

        return Placement(self.device, self.dtype, self.hold)


@dataclass(frozen=True)
class ReadOptions(DeviceOptions, RunOptions):
    """What reads hybrids."""

    threads: Threads = 1
    draw_by: Annotated[
        str,
        option("--draw-by", "ENGINE", "Of rows: what draws the pool: transformers, or vllm (an extra)."),
    ] = "transformers"

    def setup(self, out: Path | None = None) -> Setup:
        """Return how a bench works that keeps what is read in a folder.

        Raises:
            UnknownName: there is no such engine, device, element type or way to hold a pair.
        """
        from takeback.measure.setup import DRAWERS, Setup

        if self.draw_by not in DRAWERS:
            raise unknown_name("engine that draws", self.draw_by, DRAWERS)
        workers, threads, engine = self.workers(), self.threads, self.draw_by
        return Setup(out, workers=workers, threads=threads, placement=self.placement, draw_by=engine)


@dataclass(frozen=True)
class OutOptions:
    """Where results go."""

    out: Annotated[
        Path | None,
        option("--out -o", "DIR", "Also write tables and a page here; a killed run goes on."),
        WRITTEN,
    ] = None
    as_json: Json = False

    def show(self, found: Result | Results) -> None:
        """Write results where a folder is named, and print them as tables or JSON."""
        if self.out is not None:
            found.write(self.out)
        if self.as_json:
            typer.echo(found.to_json())
        else:
            found.print()


def _flag(name: str) -> str:
    return "--" + {"rewards": "reward"}.get(name, name).replace("_", "-")


def chosen_set(anatomy: Anatomy, take_back: str | None, graft: str | None) -> ComponentSet:
    """Return the set to take back that --take-back or --graft says.

    Raises:
        UnknownName: it names an unknown component.
        TakebackError: not one of the two is given.
    """
    if (take_back is None) == (graft is None):
        raise TakebackError('say --take-back SET or --graft SET; the set "*" is everything, "" nothing')
    return anatomy.parse(take_back) if take_back is not None else ~anatomy.parse(graft or "")


def alone(universe: ComponentSet) -> list[ComponentSet]:
    """Return each component as a set of its own."""
    return [ComponentSet([one], universe) for one in universe]
