"""Reading listed answers: the log-probability of each, by one pass over prompts and answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from takeback.anatomy import anatomy_of
from takeback.arenas.listed import AskedTokens, Listed, Listing, Spelling, Spells
from takeback.hybrid.memory import in_halves
from takeback.hybrid.replay import Inputs, plain_logits
from takeback.hybrid.walk import End, Hybrids, Path, path_of
from takeback.policies.answers import AnswerReadouts
from takeback.policies.language.forward import inputs_of
from takeback.policies.language.packing import ROWS, PackedRows, visibility
from takeback.policies.language.prompts import prompt_text, prompt_tokens, spelled
from takeback.policies.policy import View, by_model
from takeback.run.errors import TakebackError
from takeback.run.progress import tell

Ints = NDArray[np.int64]

ROW_NODES = 256
"""Tokens of answers in one row, or twice the prompt's length if that is more: answers share their prompt."""

CHUNK = 256
"""Places whose logits are made at a time."""

CELLS = 2**24
"""Most entries of the attention masks of one batch."""


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Rows for one forward pass, and which next tokens are asked for where.

    Attributes:
        rows: prompts, each followed by the tokens of answers, which see their prompt and their own beginning.
        answer: the answer of each asked token, shape (asked,).
        place: where it is asked, in rows x (1 + nodes), shape (asked,).
        token: the token, shape (asked,).
    """

    rows: PackedRows
    answer: Ints
    place: Ints
    token: Ints

    def cut(self, reads: int) -> Iterator[AnswerBatch]:
        """Yield the batch in pieces of some rows, which read at most so many places, or of one row."""
        width, rows = self.rows.nodes + 1, self.rows
        size = max(1, reads // width)
        for start in range(0, len(rows.tokens), size):
            some = slice(start, start + size)
            piece = PackedRows(rows.tokens[some], rows.positions[some], rows.sees[some], rows.nodes)
            mine = (self.place >= start * width) & (self.place < (start + size) * width)
            yield AnswerBatch(piece, self.answer[mine], self.place[mine] - start * width, self.token[mine])


@dataclass(frozen=True, eq=False)
class AnswerPlan:
    """Situations with listed answers made ready for models that share a tokenizer.

    Attributes:
        arena: where the situations are.
        told: each situation's text, cluster and answers.
        listings: each situation with its answers.
        spelled: each answer in tokens, end to end.
        batches: what is run.
    """

    arena: Any
    told: tuple[tuple[str, str, tuple[str, ...]], ...]
    listings: tuple[Listing, ...]
    spelled: tuple[Spelling, ...]
    batches: tuple[AnswerBatch, ...] = field(repr=False)

    @classmethod
    def prepare(
        cls,
        arena: Any,
        situations: Iterable[Any],
        tokenizer: PreTrainedTokenizerBase,
        config: Any,
        units: int = 1,
    ) -> AnswerPlan:
        """Write prompts and answers in tokens, for models of a configuration, and lay them out in rows.

        `units` says how large batches may be; see `units_of`.

        Raises:
            TakebackError: there are no situations, a prompt or an answer has no tokens, two answers of a
                situation are the same, or the tokenizer has no chat template.
        """
        every = tuple(situations)
        listings = tuple(arena.listing(one) for one in every)
        if not listings:
            raise TakebackError("no situations to read; ask the arena for at least one")
        told = tuple((arena.prompt(one), str(arena.cluster(one)), tuple(arena.legal(one))) for one in every)
        spelled: list[Spelling] = []
        owner: list[int] = []
        for number, (one, listing, (text, *_)) in enumerate(zip(every, listings, told, strict=True)):
            if isinstance(arena, Spells):
                ways = arena.spell(one, tokenizer, config)
            else:
                ways = _spelled(arena, listing, tokenizer, text)
            spelled += ways
            owner += [number] * len(ways)
        asked = [(piece, place) for place, way in enumerate(spelled) for piece in way.pieces]
        asked += [(piece, len(spelled) + place) for place, way in enumerate(spelled) for piece in way.alone]
        laid_out = _batches([piece for piece, _ in asked], [place for _, place in asked], owner * 2, units)
        batches = tuple(laid_out)
        return cls(arena, told, listings, tuple(spelled), batches)

    def readouts(self, logprobs: torch.Tensor, followed: torch.Tensor) -> AnswerReadouts:
        """Make readouts of the log-probability of each answer, then of each without its prompt."""
        count = len(self.spelled)
        numbers = {
            "logprobs": logprobs[:count].numpy(),
            "tokens": np.array([sum(len(piece.tokens) for piece in way.pieces) for way in self.spelled]),
            "followed": followed[:count].numpy(),
            "unconditional": logprobs[count:].numpy(),
        }
        return AnswerReadouts.of(self.arena, self.told, self.listings, numbers)

    @property
    def largest(self) -> int:
        """The largest token number that is asked for or shown."""
        pieces = (piece for way in self.spelled for piece in (*way.pieces, *way.alone))
        return max(max(*piece.prompt, *piece.tokens) for piece in pieces)

    @property
    def asked(self) -> int:
        """How many log-probabilities there are: of each answer after its prompt, and without."""
        return 2 * len(self.spelled)


def read_answers(views: Sequence[View], plan: AnswerPlan) -> list[AnswerReadouts]:
    """Read several hybrids: the log-probability of each answer, summed over its tokens in double precision.

    Raises:
        TakebackError: a model has fewer tokens than the answers need.
    """
    logprobs = torch.zeros(len(views), plan.asked, dtype=torch.float64)
    followed = torch.ones(len(views), plan.asked, dtype=torch.bool)
    for members in by_model(views):
        hybrids, paths = views[members[0]][0], [views[place][1] for place in members]
        check_largest(hybrids.model, plan)
        for part, whole in enumerate(plan.batches):
            read = _each(hybrids, paths, whole, plan.arena.temperature)
            for done, (batch, number, (found, top)) in enumerate(read, part * len(paths) + 1):
                answer, which = torch.from_numpy(batch.answer), members[number]
                logprobs[which].index_add_(0, answer, found)
                followed[which, answer[~top]] = False
                tell("reading", min(done, (part + 1) * len(paths)), len(plan.batches) * len(paths))
    return [plan.readouts(*found) for found in zip(logprobs, followed, strict=True)]


def _each(
    hybrids: Any, paths: Sequence[Path], whole: AnswerBatch, temperature: float
) -> Iterator[tuple[AnswerBatch, int, tuple[torch.Tensor, torch.Tensor]]]:
    """Read a batch with each hybrid, or its halves where memory does not suffice for those that are left."""

    def run(
        work: tuple[AnswerBatch, list[int]],
    ) -> Iterator[tuple[AnswerBatch, int, tuple[torch.Tensor, torch.Tensor]]]:
        batch, left = work
        asked = tuple(left)
        for number, end in _ends(hybrids, batch.rows, [paths[one] for one in asked]):
            yield batch, asked[number], asked_logprobs(end, batch, temperature)
            left.remove(asked[number])

    def halves(work: tuple[AnswerBatch, list[int]]) -> Iterator[tuple[AnswerBatch, list[int]]]:
        rows = work[0].rows
        for half in work[0].cut((len(rows.tokens) + 1) // 2 * (rows.nodes + 1)):
            yield half, list(work[1])

    yield from in_halves((whole, list(range(len(paths)))), len(whole.rows.tokens), run, halves)


def token_logprobs(view: View, plan: AnswerPlan) -> list[NDArray[np.float64]]:
    """Return the log-probability of each token of each answer in one hybrid, in nats.

    Raises:
        TakebackError: the model has fewer tokens than the answers need.
    """
    hybrids, path = view
    check_largest(hybrids.model, plan)
    found: list[list[float]] = [[] for _ in plan.spelled]
    for whole in plan.batches:
        for batch, _, (numbers, _) in _each(hybrids, [path], whole, plan.arena.temperature):
            for answer, number in zip(batch.answer.tolist(), numbers.tolist(), strict=True):
                if answer < len(found):
                    found[answer].append(number)
    return [np.array(one) for one in found]


def pieces(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> list[str]:
    """Return the text that each token adds; of a character spread over several, the last one has it."""
    texts: list[str] = []
    said = ""
    for end in range(1, len(tokens) + 1):
        whole = str(tokenizer.decode(list(tokens[:end]), clean_up_tokenization_spaces=False))
        whole = whole.rstrip("\ufffd") if end < len(tokens) else whole
        texts.append(whole[len(said) :])
        said = whole
    return texts


def alone(model: PreTrainedModel) -> View:
    """Return a model by itself as something to read, whether or not its components are known."""
    try:
        anatomy = anatomy_of(model)
    except TakebackError:
        return _Plain(model), ()
    return Hybrids(model, model, anatomy), path_of(anatomy.universe - anatomy.universe)


def check_largest(model: PreTrainedModel, plan: AnswerPlan) -> None:
    """Raise if a model lacks a token that is asked for, or can't read rows as long as these.

    Raises:
        TakebackError: it does.
    """
    config: Any = model.config.get_text_config()
    if plan.largest >= config.vocab_size:
        raise TakebackError(
            f"the model knows {config.vocab_size} tokens and its tokenizer gives token {plan.largest}: use "
            "its own tokenizer"
        )
    longest = max(int(batch.rows.positions.max()) for batch in plan.batches) + 1
    room = getattr(config, "max_position_embeddings", None)
    if room is not None and longest > room:
        raise TakebackError(
            f"a prompt with its answer has {longest} tokens, and the model reads {room}; shorten it"
        )


def asked_logprobs(end: End, batch: AnswerBatch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each asked token and whether it is the likeliest, both shape (asked,).

    Logits are made for some places at a time and never all held: a vocabulary may have 150,000 entries.
    """
    places, inverse = np.unique(batch.place, return_inverse=True)
    bounds, where = torch.from_numpy(places).to(end.states.device), torch.from_numpy(inverse)
    token = torch.from_numpy(batch.token)
    found = torch.zeros(len(token), dtype=torch.float64)
    top = torch.zeros(len(token), dtype=torch.bool)
    done = 0
    for chunk, logits in end.some(bounds, CHUNK):
        start, stop = np.searchsorted(inverse, [done, done + len(chunk)])
        rows, tokens = (where[start:stop] - done).to(logits.device), token[start:stop].to(logits.device)
        scaled = logits.float() / temperature if temperature != 1 else logits.float()
        chosen = scaled[rows, tokens] - scaled.logsumexp(dim=-1)[rows]
        found[start:stop] = chosen.double().cpu()
        top[start:stop] = (scaled.argmax(dim=-1)[rows] == tokens).cpu()
        done += len(chunk)
    return found, top


@dataclass(frozen=True)
class _Plain:
    """A model whose layers can't be walked: it has no hybrids and runs as it is."""

    model: PreTrainedModel

    @torch.inference_mode()
    def ends(self, inputs: Inputs, paths: Sequence[Path]) -> Iterator[tuple[int, End]]:
        yield 0, End(plain_logits(self.model, inputs), lambda part: part)


def _ends(hybrids: Any, rows: PackedRows, paths: Sequence[Path]) -> Iterator[tuple[int, End]]:
    return hybrids.ends(inputs_of(hybrids.model, rows), paths)


def _spelled(
    arena: Listed, listing: Listing, tokenizer: PreTrainedTokenizerBase, text: str
) -> list[Spelling]:
    """Return each answer of a situation in tokens."""
    chat, given = not isinstance(listing.shown, str), arena.template_arguments
    if all(answer.tokens is not None for answer in listing.answers):
        prompt = prompt_tokens(tokenizer, listing.shown, given)
        both = [(prompt, list(answer.tokens or ())) for answer in listing.answers]
    else:
        shown = prompt_text(tokenizer, listing.shown, given)
        both = [spelled(tokenizer, shown, answer.text, chat) for answer in listing.answers]
    for answer, (_, way) in zip(listing.answers, both, strict=True):
        if not way:
            raise TakebackError(f"the answer {answer.text!r} to {text!r} has no tokens; leave it out")
    without = arena.normalisation == "unconditional"
    alone = [spelled(tokenizer, "", answer.text, False) if without else None for answer in listing.answers]
    return [
        Spelling((_piece(*one),), () if bare is None else (_piece(*bare),))
        for one, bare in zip(both, alone, strict=True)
    ]


def _piece(prompt: Sequence[int], tokens: Sequence[int]) -> AskedTokens:
    return AskedTokens(tuple(prompt), tuple(tokens))


def _batches(
    pieces: Sequence[AskedTokens], answers: Sequence[int], owner: Sequence[int], units: int
) -> Iterator[AnswerBatch]:
    """Lay pieces out in rows and rows in batches: those of like length go together.

    Args:
        pieces: what is asked.
        answers: the number of the log-probability that each piece belongs to.
        owner: the situation of each such number: answers of one share the rows of their prompt.
        units: how many times as large as on a CPU a batch may be.
    """
    shared: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for number, (piece, answer) in enumerate(zip(pieces, answers, strict=True)):
        shared.setdefault((owner[answer], piece.prompt), []).append(number)
    rows = [
        row
        for (_, prompt), mine in shared.items()
        for row in _rows(np.array(prompt, np.int64), {one: pieces[one].tokens for one in mine})
    ]
    rows.sort(key=lambda row: (row.length, row.pieces[0]))
    some: list[_PromptRow] = []
    for row in [*rows, None]:
        longest = max([one.length for one in (*some, *([row] if row else []))])
        cells = (len(some) + 1) * longest**2
        if some and (row is None or len(some) == ROWS * units or cells > CELLS * units):
            yield _batch(some, pieces, answers)
            some = []
        some += [row] if row else []


@dataclass(frozen=True, eq=False)
class _PromptRow:
    """A prompt with some pieces that follow it: a tree, so that what they have in common is there once.

    Attributes:
        prompt: its tokens.
        nodes: the token of each node, its depth and its parent (-1: the prompt), shape (nodes, 3).
        pieces: their numbers.
        paths: the nodes of each piece but for its last token, which is asked for and never read.
    """

    prompt: Ints
    nodes: list[tuple[int, int, int]]
    pieces: list[int]
    paths: list[list[int]]

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.nodes)


def _rows(prompt: Ints, ways: Mapping[int, tuple[int, ...]]) -> Iterator[_PromptRow]:
    """Fill rows with the pieces that follow one prompt, sorted by their tokens, none of them cut."""
    most = max(ROW_NODES, 2 * len(prompt))
    row, known = _PromptRow(prompt, [], [], []), dict[tuple[int, int], int]()
    for number in sorted(ways, key=ways.__getitem__):
        path = ways[number][:-1]
        if row.pieces and len(row.nodes) + len(path) > most:
            yield row
            row, known = _PromptRow(prompt, [], [], []), {}
        at, nodes = -1, list[int]()
        for depth, token in enumerate(path):
            if (at, token) not in known:
                known[at, token] = len(row.nodes)
                row.nodes.append((token, depth, at))
            at = known[at, token]
            nodes.append(at)
        row.pieces.append(number)
        row.paths.append(nodes)
    if row.pieces:
        yield row


def _batch(rows: Sequence[_PromptRow], pieces: Sequence[AskedTokens], answers: Sequence[int]) -> AnswerBatch:
    longest, width = max(len(row.prompt) for row in rows), max(len(row.nodes) for row in rows)
    lengths = np.array([len(row.prompt) for row in rows])
    tokens = np.zeros((len(rows), longest + width), np.int64)
    positions = np.zeros_like(tokens)
    sees = visibility(lengths, longest, width)
    asked: list[NDArray[np.int64]] = []
    for number, row in enumerate(rows):
        start = longest - len(row.prompt)
        tokens[number, start:longest] = row.prompt
        positions[number, start:longest] = np.arange(len(row.prompt))
        for place, (token, depth, parent) in enumerate(row.nodes):
            tokens[number, longest + place] = token
            positions[number, longest + place] = len(row.prompt) + depth
            if parent >= 0:
                sees[number, longest + place, longest:] |= sees[number, longest + parent, longest:]
        for piece, path in zip(row.pieces, row.paths, strict=True):
            at = number * (width + 1) + np.array([0, *(1 + node for node in path)])
            asked.append(np.stack([np.full(len(at), answers[piece]), at, pieces[piece].tokens]))
    whole = np.concatenate(asked, axis=1)
    answer, place, token = whole[:, np.argsort(whole[1], kind="stable")]
    return AnswerBatch(PackedRows(tokens, positions, sees, width), answer, place, token)
