"""Drawing answers by vLLM, from an ordinary model folder: a side of a pair, or a hybrid that was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from takeback.arenas.rows import DrawnRows, Row
from takeback.arenas.rows.sampling import Sampling
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.language.drawn import DrawPlan
from takeback.policies.language.generate import DrawnAnswer, answer_of, check_prompts, end_tokens
from takeback.run.errors import TakebackError
from takeback.run.extras import needed


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that vLLM runs; `served` starts one.

    The seed of each answer is told by the same numbers as in `generate`, so that drawing again gives the same
    answers as far as vLLM does; they are others than those of `generate`, and how vLLM puts batches together
    may change them.

    Attributes:
        engine: vLLM's `LLM`.
        config: the model's config.
        tokenizer: its tokenizer.
        ends: the tokens that end an answer.
    """

    engine: Any
    config: Any
    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]

    def generate(
        self,
        prompts: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
        sampling: Sampling,
        count: int,
        seed: Sequence[int],
    ) -> list[list[DrawnAnswer]]:
        """Draw answers to each prompt; see `takeback.policies.language.generate.generate`.

        Raises:
            TakebackError: a prompt has no tokens or no room for the answer, or no answer could end.
        """
        numbered = prompts if isinstance(prompts, Mapping) else dict(enumerate(prompts))
        check_prompts(self.config, numbered, sampling, self.ends)
        asked = [(number, draw) for number in numbered for draw in range(count)]
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(numbered[number])} for number, _ in asked],
            [self._parameters(sampling, [*seed, number, draw]) for number, draw in asked],
            use_tqdm=False,
        )
        answers = [self._answer(output.outputs[0], sampling) for output in outputs]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _parameters(self, sampling: Sampling, luck: Sequence[int]) -> Any:
        return _library().SamplingParams(
            n=1,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=list(sampling.stop) or None,
            stop_token_ids=sorted(self.ends),
            seed=int(np.random.SeedSequence(list(luck)).generate_state(1)[0]),
            skip_special_tokens=False,
        )

    def _answer(self, found: Any, sampling: Sampling) -> DrawnAnswer:
        ended = found.finish_reason == "stop"
        return answer_of(self.tokenizer, list(found.token_ids), ended, self.ends, sampling.stop)


def read_written(folder: str | Path, arena: DrawnRows, rows: Sequence[Row], **engine: Any) -> DrawnReadouts:
    """Let the model in a folder, such as a hybrid that was written, answer rows by vLLM.

    Raises:
        TakebackError: as `served` and `ServedModel.generate` do, or a reward fails.
    """
    model = served(folder, **engine)
    plan = DrawPlan.prepare(arena, rows, model.tokenizer)
    return plan.scored(model.generate(plan.prompts, arena.open.sampling, arena.draws, arena.seed))


def served(folder: str | Path, dtype: str = "auto", **engine: Any) -> ServedModel:
    """Start vLLM with the model in a folder; nothing is downloaded and no code of the folder is run.

    Args:
        folder: an ordinary model folder with its tokenizer.
        dtype: the element type, as vLLM calls it.
        engine: further arguments of vLLM's `LLM`, such as `tensor_parallel_size`.

    Raises:
        TakebackError: vLLM is not installed, or there is no such folder.
    """
    library = _library()
    place = str(folder)
    if not (Path(folder) / "config.json").is_file():
        raise TakebackError(
            f"{place} is no model folder, and vLLM runs nothing else; write one: takeback hybrid -o FOLDER"
        )
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    told: Any = None
    if (Path(folder) / "generation_config.json").is_file():
        told = GenerationConfig.from_pretrained(place, local_files_only=True)
    config = AutoConfig.from_pretrained(place, local_files_only=True)
    started = library.LLM(
        model=place,
        tokenizer=place,
        dtype=dtype,
        seed=0,
        trust_remote_code=False,
        enable_prefix_caching=True,
        **engine,
    )
    return ServedModel(started, config, tokenizer, frozenset(end_tokens(told or config, tokenizer)))


def _library() -> Any:
    """Return vLLM.

    Raises:
        TakebackError: it is not installed.
    """
    return needed("vllm", "vllm", ", or draw without it")
