"""What a model is shown, in tokens: texts as they are, chats as the tokenizer's own template writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from takeback.arenas.listed import Shown
from takeback.run.errors import TakebackError


def prompt_text(tokenizer: PreTrainedTokenizerBase, shown: Shown, arguments: Mapping[str, Any]) -> str:
    """Return what is shown as one text: a chat up to where the answer begins, or goes on where it has begun.

    Raises:
        TakebackError: it is a chat, and the tokenizer has no chat template or the template refuses it.
    """
    if isinstance(shown, str):
        return shown
    if not getattr(tokenizer, "chat_template", None):
        raise TakebackError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, and prompts "
            "are chats; give prompts as plain text (chat: false), or a model with a template"
        )
    messages = [dict(message) for message in shown]
    begun = messages[-1].get("role") == "assistant"
    way = {"add_generation_prompt": not begun, "continue_final_message": begun}
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **way, **arguments))
    except Exception as error:  # a template is a model's own program: it may fail in any way
        line = " ".join(str(error).split())[:200]
        raise TakebackError(f"the chat template refuses a prompt: {type(error).__name__}: {line}") from error


def prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, shown: Shown, arguments: Mapping[str, Any]
) -> list[int]:
    """Return the tokens of what is shown; nothing at all is shown as the token that begins a text.

    Raises:
        TakebackError: the prompt can't be written, or is longer than the model can read.
    """
    text = prompt_text(tokenizer, shown, arguments)
    return encoded(tokenizer, text, chat=not isinstance(shown, str)) or [first_token(tokenizer)]


def spelled(
    tokenizer: PreTrainedTokenizerBase, text: str, answer: str, chat: bool
) -> tuple[list[int], list[int]]:
    """Return the tokens of a prompt and of an answer after it.

    The two are encoded together and cut where the prompt's own tokens end. Blanks at the end of a text are
    the answer's, as lm-eval has it (Gao et al. 2024, "The Language Model Evaluation Harness"); a chat's
    template stays as it is.
    """
    if not text:
        tokens = tokenizer.encode(answer, add_special_tokens=False)
        first = first_token(tokenizer)
        return ([first], tokens) if tokens[:1] != [first] else (tokens[:1], tokens[1:])
    bare = text if chat else text.rstrip()
    answer = text[len(bare) :] + answer
    before = encoded(tokenizer, bare, chat)
    return before, encoded(tokenizer, bare + answer, chat)[len(before) :]


def encoded(tokenizer: PreTrainedTokenizerBase, text: str, chat: bool) -> list[int]:
    """Encode a text as the tokenizer does, without an end token that it may add; a chat has its own marks."""
    marked = chat or (tokenizer.bos_token is not None and text.startswith(str(tokenizer.bos_token)))
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=not marked)
    ended = (
        bool(tokens) and tokens[-1] == tokenizer.eos_token_id and not text.endswith(str(tokenizer.eos_token))
    )
    return tokens[:-1] if ended else tokens


def first_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that begins a text, or else the one that ends it.

    Raises:
        TakebackError: the tokenizer has neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise TakebackError("the tokenizer has no token that begins or ends a text, so no text can be empty")
