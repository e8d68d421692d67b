"""A run of checkpoints packed into a stream of sparse deltas: each step exact, most of them small."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.checkpoint.shards import ITEM_SIZES, is_adapter, read_metadata
from takeback.checkpoint.stream.change import BitChange, write_anchor, write_delta
from takeback.checkpoint.stream.file import SPARSITY, StreamFile, read_anchor, read_delta
from takeback.checkpoint.stream.folder import ANCHORS, BESIDE, DELTAS, step_file
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, file_digest, missing_folders, one_writer, remove_empty
from takeback.run.identity import identity
from takeback.run.parts import watched
from takeback.weights.runs.fine_tunes import Ref
from takeback.weights.runs.folders import Run, find_runs, parent_of

_FORMAT = 1
_RECIPE, _CLAIM = "recipe.yaml", "work.json"


@dataclass(frozen=True)
class PackedStep:
    """Says what became of one checkpoint.

    Attributes:
        step: its step; the base is 0.
        kind: `anchor` or `delta`.
        nbytes: the bytes of its file.
        before: the bytes of the checkpoint's weights.
        unchanged: the share of entries that the step left as they were, bit for bit; 0 of an anchor.
    """

    step: int
    kind: str
    nbytes: int
    before: int
    unchanged: float


@dataclass(frozen=True)
class Packed:
    """Holds what a run was packed into: the folder, and a line for each step."""

    folder: Path
    steps: tuple[PackedStep, ...]

    @property
    def nbytes(self) -> int:
        """The bytes of all anchors and deltas."""
        return sum(step.nbytes for step in self.steps)

    @property
    def before(self) -> int:
        """The bytes of the checkpoints' weights."""
        return sum(step.before for step in self.steps)

    def __str__(self) -> str:
        anchors = sum(step.kind == "anchor" for step in self.steps)
        ratio = self.before / max(1, self.nbytes)
        less = f"{ratio:.1f} times less" if ratio > 1.05 else "no less: nearly every entry changes at a step"
        return (
            f"{self.folder}: {len(self.steps)} steps, {anchors} of them whole; {_size(self.nbytes)} where "
            f"the checkpoints have {_size(self.before)}, {less}; each step was read back, bit for bit"
        )


def pack(
    run: str | Path,
    out: str | Path,
    base: Ref | None = None,
    *,
    every: int | None = None,
    with_base: bool = True,
) -> Packed:
    """Pack a run of checkpoints into a stream of sparse deltas, whose steps read as `OUT@step=N`.

    What the run started from becomes step 0, where the run says it or it is given. A step is a delta on the
    one before it, or an anchor: without `every`, where the deltas since the last anchor would have as many
    bytes as an anchor, so that no step costs more than two models to read. Every step is read back before
    the folder appears. Killed, the same call goes on after the last whole step and gives the same bytes.

    Args:
        run: a run's folder, with `step-N`, `checkpoint-N` or the like.
        out: the folder to write; it must not exist.
        base: what the run started from, if not the parent that it names.
        every: put an anchor at every so many steps instead.
        with_base: whether the base is packed too.

    Raises:
        TakebackError: it is no run, or several, or one of adapters; the output exists; the disk refuses.
    """
    out = Path(out)
    if every is not None and every < 1:
        raise TakebackError(f"an anchor at every {every} steps is none; name a number from 1 on")
    found = _run(run)
    with one_writer(out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise TakebackError(f"{out} exists already; choose another folder or remove it first")
        packing = _Packing(found, _checkpoints(found, base, with_base), out, every)
        return packing.done()


def _run(folder: str | Path) -> Run:
    """Find the run of full checkpoints in a folder.

    Raises:
        TakebackError: it is none, or several, or one of adapters.
    """
    one, *others = find_runs(folder)
    if others:
        names = ", ".join(run.folder.name for run in (one, *others))
        raise TakebackError(f"{folder} holds several runs, and a stream is of one; name one of {names}")
    if any(is_adapter(place) for _, place in one.snapshots):
        raise TakebackError(
            f"{folder} holds adapters, which are small as they are; what they add to the base changes every "
            "entry that they touch, so a stream of it would be larger"
        )
    return one


def _checkpoints(run: Run, base: Ref | None, with_base: bool) -> dict[int, Checkpoint]:
    """Open the checkpoints by step, the base first where there is one and it is wanted."""
    if not with_base or (base is None and run.parent is None):
        return {step: open_checkpoint(place) for step, place in run.snapshots}
    try:
        start = parent_of((run,), base)
    except TakebackError as error:
        raise TakebackError(f"{error}; or leave step 0 out (--no-base)") from error
    return {0: start, **{step: open_checkpoint(place) for step, place in run.snapshots}}


@dataclass(frozen=True)
class _Packing:
    run: Run
    checkpoints: Mapping[int, Checkpoint]
    out: Path
    every: int | None

    @property
    def draft(self) -> Path:
        """Where the stream grows until it is whole."""
        return self.out.with_name(f".{self.out.name}.parts")

    def done(self) -> Packed:
        """Do what is missing and give the folder its name."""
        made = missing_folders(self.draft)
        try:
            self._claim()
            files = [file for _, file in zip(self._watched("pack"), self._files(), strict=True)]
            for step in self._watched("read back"):
                self._check(step)
            (self.draft / _CLAIM).unlink()
            self.draft.replace(self.out)
        except OSError as error:
            raise self._left(made, f"could not write {self.out}: {error.strerror or error}") from error
        except TakebackError as error:
            raise self._left(made, str(error)) from error
        moved = [replace(file, path=self.out / file.path.relative_to(self.draft)) for file in files]
        return Packed(self.out, tuple(self._packed(file) for file in moved))

    def _left(self, made: Sequence[Path], why: str) -> TakebackError:
        """Return the error that says why it ended; what is done is kept, and of nothing no folder."""
        if done := len([*self.draft.glob("*/step_*.safetensors")]):
            return TakebackError(f"{why}; {done} steps are kept beside it, and the same command goes on")
        shutil.rmtree(self.draft, ignore_errors=True)
        remove_empty(made)
        return TakebackError(why)

    def _watched(self, name: str) -> Iterator[int]:
        return watched(name, list(self.checkpoints))

    def _claim(self) -> None:
        """Begin, or see that what was begun is of the same checkpoints.

        Raises:
            TakebackError: it is not.
        """
        stamps = [(step, one.stamp) for step, one in self.checkpoints.items()]
        text = json.dumps({"identity": identity(_FORMAT, stamps, self.every, versions=False)})
        claim = self.draft / _CLAIM
        if not claim.exists():
            with atomic_file(claim) as draft:
                draft.write_text(text, encoding="utf-8")
        elif claim.read_text(encoding="utf-8") != text:
            raise TakebackError(
                f"{self.draft} holds what is done of other checkpoints or with another --anchor-every; "
                "remove it or choose another output"
            )

    def _files(self) -> Iterator[StreamFile]:
        """Yield the file of each step, written where it is not there yet."""
        called = self._called()
        before: StreamFile | None = None
        since = 0
        for place, step in enumerate(self.checkpoints):
            self._write_beside(step, before)
            found = self._found(step)
            if found is None:
                due = self.every is not None and place % self.every == 0
                found = self._write(step, before, since, called, due)
            since = 0 if found.path.parent.name == ANCHORS else since + found.nbytes
            before = found
            yield found

    def _found(self, step: int) -> StreamFile | None:
        for kind, read in ((ANCHORS, read_anchor), (DELTAS, read_delta)):
            if (path := self.draft / kind / step_file(step)).exists():
                return read(path, step)
        return None

    def _write(
        self, step: int, before: StreamFile | None, since: int, called: Mapping[str, str], due: bool
    ) -> StreamFile:
        """Write a step as a delta, or as an anchor where one is due."""
        after = self.checkpoints[step]
        if before is not None and not due and _run_alike(self.checkpoints[before.step], after):
            change = BitChange(self.checkpoints[before.step], after, called)
            if self.every is not None or since + change.nbytes < _bytes(after):
                path = self.draft / DELTAS / step_file(step)
                with atomic_file(path) as draft:
                    write_delta(draft, change, step, before.step)
                return read_delta(path, step)
        path = self.draft / ANCHORS / step_file(step)
        also = read_metadata(after.files[0]) if after.settings is None else {}
        with atomic_file(path) as draft:
            write_anchor(draft, after, called, step, also)
        return read_anchor(path, step)

    def _called(self) -> dict[str, str]:
        """Return the name of each tensor in the files: what the last checkpoint calls it."""
        called: dict[str, str] = {}
        for checkpoint in self.checkpoints.values():
            called |= checkpoint.stored
        return called

    def _write_beside(self, step: int, before: StreamFile | None) -> None:
        """Copy config and tokenizer beside the anchors, again where a step has others than the one before."""
        checkpoint = self.checkpoints[step]
        if before is not None and _beside(self.checkpoints[before.step]) == _beside(checkpoint):
            return
        place = self.draft if before is None else self.draft / BESIDE / f"step_{step:06}"
        place.mkdir(parents=True, exist_ok=True)
        files = [*checkpoint.side_files()]
        if checkpoint.settings is not None:
            files.append(checkpoint.folder / "config.json")
        if before is None and (self.run.folder / _RECIPE).is_file():
            files.append(self.run.folder / _RECIPE)
        for file in files:
            if file.is_dir():
                shutil.copytree(file, place / file.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(file, place / file.name)

    def _check(self, step: int) -> None:
        """Read a step back.

        Raises:
            TakebackError: it is not the checkpoint that was packed.
        """
        if open_checkpoint(f"{self.draft}@step={step}").digest != self.checkpoints[step].digest:
            raise TakebackError(
                f"step {step} does not read back as {self.checkpoints[step].ref}; that is a bug"
            )

    def _packed(self, file: StreamFile) -> PackedStep:
        kind = "anchor" if file.path.parent.name == ANCHORS else "delta"
        unchanged = float(file.metadata[SPARSITY])
        return PackedStep(file.step, kind, file.nbytes, _bytes(self.checkpoints[file.step]), unchanged)


def _run_alike(one: Checkpoint, other: Checkpoint) -> bool:
    """Return whether an anchor's word on how a network is run holds for both."""
    return one.settings is not None or one.runs_as == other.runs_as


def _beside(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Return names and content hashes of a checkpoint's config, tokenizer and generation config."""
    config = checkpoint.folder / "config.json"
    own = [] if checkpoint.settings is None else [(config.name, file_digest(config))]
    return own + checkpoint.side_digests()


def _bytes(checkpoint: Checkpoint) -> int:
    """Return the bytes of a checkpoint's tensors."""
    sizes = {name: math.prod(shape) for name, shape in checkpoint.shapes.items()}
    return sum(size * ITEM_SIZES[checkpoint.elements[name]] for name, size in sizes.items())


def _size(count: int) -> str:
    """Write a number of bytes.

    >>> _size(812), _size(4_600_000), _size(15_240_000_000)
    ('812 bytes', '4.6 MB', '15.2 GB')
    """
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
