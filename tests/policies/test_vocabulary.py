from __future__ import annotations

import itertools
import re

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from takeback.policies.language.vocabulary import Letters, Vocabulary
from takeback.run.errors import TakebackError
from toy_arena import TOKENS, ToyArena


def wrap(made: Tokenizer) -> transformers.PreTrainedTokenizerFast:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", unk_token="<unk>")


def test_texts_of_the_toy_tokenizer() -> None:
    vocabulary = Vocabulary.of(ToyArena().tokenizer())
    assert vocabulary.texts == ("", "", *TOKENS[2:])
    assert vocabulary.exact
    assert vocabulary.ends.nonzero()[0].tolist() == [0]


def test_byte_level_marks_are_spaces() -> None:
    made = Tokenizer(models.BPE({"<eos>": 0, "<unk>": 1, "a": 2, "Ġ": 3, "Ġa": 4, "Ċ": 5}, [("Ġ", "a")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    vocabulary = Vocabulary.of(wrap(made), exact=False)
    assert vocabulary.texts == ("", "", "a", " ", " a", "\n")
    assert vocabulary.ends.tolist() == [True, True, False, True, True, True]


def test_word_start_marks_are_spaces() -> None:
    made = Tokenizer(models.BPE({"<eos>": 0, "<unk>": 1, "a": 2, "▁": 3, "▁a": 4, "b": 5}, [("▁", "a")]))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    assert Vocabulary.of(wrap(made)).texts == ("", "", "a", " ", " a", "b")


def test_spellings_are_all_there_are() -> None:
    vocabulary = Vocabulary.of(ToyArena().tokenizer())
    ordinary = [number for number in range(len(TOKENS)) if vocabulary.texts[number]]
    for text in ("abc", "aab", " ab", "", "zz"):
        expected = {
            path
            for length in range(4)
            for path in itertools.product(ordinary, repeat=length)
            if "".join(TOKENS[token] for token in path) == text
        }
        found = vocabulary.spellings(text, None)
        assert set(found) == expected
        assert len(found) == len(expected)
    assert len(vocabulary.spellings("abc", 2)) == 2


def test_continuations_are_the_tokens_that_stay_viable() -> None:
    texts = ["", "a", "b", "ab", "ba", "abc", "c1"]
    letters = Letters.of(texts)

    def viable(text: str) -> bool:
        return re.fullmatch("[ab]{0,3}", text) is not None

    for text in ("", "a", "aa", "aab"):
        expected = [token for token, added in enumerate(texts) if added and viable(text + added)]
        assert letters.continuations(text, viable) == expected


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a"))
    )
    with pytest.raises(TakebackError, match="no end-of-sequence token"):
        Vocabulary.of(tokenizer)
