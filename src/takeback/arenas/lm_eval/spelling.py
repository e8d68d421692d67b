"""Prompts and answers in tokens, by lm-eval's own code: its way with blanks, first tokens and long texts."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from takeback.arenas.listed import AskedTokens, Shown, Spelling
from takeback.arenas.lm_eval.documents import ROLLING, Document, Question
from takeback.arenas.lm_eval.load import quiet
from takeback.run.errors import TakebackError

_DEFAULT_LENGTH: Final = 2048
"""What lm-eval takes for a model's longest text where nothing says it."""


def spell(document: Document, tokenizer: Any, config: Any, arguments: dict[str, Any]) -> tuple[Spelling, ...]:
    """Return the questions of a document in the tokens in which lm-eval asks a Hugging Face model.

    Raises:
        TakebackError: the tokenizer has no chat template, or a text has no tokens.
    """
    with quiet():
        writer = _writer()(tokenizer, config, arguments)
        whole = [writer.pieces(one, document.kind) for one in document.questions]
        alone = [writer.pieces(one, document.kind) for one in document.alone] or [()] * len(whole)
    for question, pieces in zip(document.questions, whole, strict=True):
        if not pieces or not all(piece.tokens for piece in pieces):
            raise TakebackError(
                f"the text {question.text!r} of {document} has no tokens; leave the document out"
            )
    return tuple(Spelling(*both) for both in zip(whole, alone, strict=True))


@cache
def _writer() -> Any:
    """Return lm-eval's way with tokens as a class, without a model."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import resolve_max_length

    class Writer(HFLM):
        """Writes requests in tokens and keeps them, where `HFLM` would run a model."""

        def __init__(self, tokenizer: Any, config: Any, arguments: dict[str, Any]) -> None:
            LM.__init__(self)
            if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
                raise TakebackError(
                    "the tokenizer has no token that begins or ends a text; lm-eval needs one"
                )
            self.tokenizer, self.chat_template_args = tokenizer, arguments
            self.add_bos_token = self.custom_prefix_token_id = self.enable_thinking = None
            self.backend, self.batch_size_per_gpu = "causal", 2**30
            self._max_length = resolve_max_length(config, tokenizer, default=_DEFAULT_LENGTH)
            self.kept: list[tuple[list[int], list[int]]] = []

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            self.kept += [(context, text) for _, context, text in requests]
            return [(0.0, True)] * len(requests)

        def pieces(self, question: Question, kind: str) -> tuple[AskedTokens, ...]:
            self.kept = []
            rolling = kind == ROLLING
            given = (question.text,) if rolling else (self.context(question.shown), question.text)
            request = Instance("loglikelihood_rolling" if rolling else "loglikelihood", {}, given, 0)
            try:
                (self.loglikelihood_rolling if rolling else self.loglikelihood)([request])
            except IndexError:  # of a text without tokens
                return ()
            return tuple(_cut(*both, self._max_length) for both in self.kept)

        def context(self, shown: Shown) -> str:
            if isinstance(shown, str):
                return shown
            if not getattr(self.tokenizer, "chat_template", None):
                raise TakebackError(
                    "the tokenizer has no chat template; leave out apply_chat_template, or name another model"
                )
            messages = [dict(one) for one in shown]
            try:
                return self.apply_chat_template(messages, messages[-1].get("role") != "assistant")
            except Exception as error:  # a template is a model's own program: it may fail in any way
                line = " ".join(str(error).split())[:200]
                raise TakebackError(
                    f"the chat template refuses a prompt: {type(error).__name__}: {line}"
                ) from error

    return Writer


def _cut(context: list[int], text: list[int], longest: int) -> AskedTokens:
    """Cut a prompt at its left so that the model can read it, as lm-eval does."""
    if len(text) > longest:
        raise TakebackError(f"an answer has {len(text)} tokens, and the model reads {longest}; leave it out")
    room = longest + 1 - len(text)
    return AskedTokens(tuple(context[-room:]), tuple(text))
