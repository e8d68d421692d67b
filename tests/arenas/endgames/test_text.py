import numpy as np
import pytest

from takeback.arenas import arena
from takeback.arenas.endgames.geometry import NO_ACTION, action_text
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.text import VOCABULARY, completion_tokens, prompt_tokens
from takeback.run.errors import UnknownName

ENDGAMES = arena("endgames")


@pytest.fixture(scope="module")
def tokenizer():
    return ENDGAMES.tokenizer()


def _encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text)["input_ids"]


def test_prompt_and_answer_encode_apart_as_together(tokenizer):
    for situation in ENDGAMES.situations("train", 300, 0):
        prompt = ENDGAMES.prompt(situation)
        for action in ENDGAMES.legal(situation):
            together = _encode(tokenizer, prompt + action)
            assert together == _encode(tokenizer, prompt) + _encode(tokenizer, action)
            assert tokenizer.decode(together) == prompt + action
        assert len(_encode(tokenizer, prompt)) == 4


def test_every_pair_of_tokens_decodes_to_their_texts(tokenizer):
    rng = np.random.default_rng(0)
    for first, second in rng.integers(3, len(VOCABULARY), (2000, 2)).tolist():
        assert tokenizer.decode([first, second]) == VOCABULARY[first] + VOCABULARY[second]


def test_every_token_has_its_number(tokenizer):
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == list(VOCABULARY)
    assert [_encode(tokenizer, token) for token in VOCABULARY[3:]] == [[n] for n in range(3, len(VOCABULARY))]


def test_nothing_is_added_and_padding_is_on_the_left(tokenizer):
    assert _encode(tokenizer, "") == []
    padded = tokenizer(["w Kd4 Ra1 kd6", "a1a6"], padding=True)
    assert padded["input_ids"][1] == [0, 0, *_encode(tokenizer, "a1a6")]
    assert padded["attention_mask"][1] == [0, 0, 1, 1]


def test_the_end_can_be_written_and_is_dropped_on_reading(tokenizer):
    ids = _encode(tokenizer, "a1a6<eos>")
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode([*ids, tokenizer.pad_token_id], skip_special_tokens=True) == "a1a6"


def test_foreign_text_is_unknown(tokenizer):
    assert set(_encode(tokenizer, "xyz")) == {tokenizer.unk_token_id}


def test_saving_and_loading_change_nothing(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "w Kd6 Pb7 kh8b7b8q"
    assert _encode(loaded, text) == _encode(tokenizer, text)
    assert loaded.decode(_encode(loaded, text)) == text
    assert loaded.padding_side == "left"
    assert (loaded.eos_token, loaded.pad_token, loaded.unk_token) == ("<eos>", "<pad>", "<unk>")
    assert loaded.bos_token is None


def test_arrays_of_tokens_are_what_the_tokenizer_says(tokenizer):
    situations = ENDGAMES.situations("train", 200, 1, weights={"R": 1, "P": 3})
    numbers = np.array([situation.number for situation in situations])
    prompts = prompt_tokens(numbers)
    for row, situation in enumerate(situations):
        assert prompts[row].tolist() == _encode(tokenizer, str(situation))
        actions = moves([situation.number]).actions[0]
        tokens, wanted = completion_tokens(actions)
        for action, ids, kept in zip(actions.tolist(), tokens, wanted, strict=True):
            assert action < NO_ACTION
            assert ids[kept].tolist() == [*_encode(tokenizer, action_text(action)), tokenizer.eos_token_id]
            assert set(ids[~kept].tolist()) <= {tokenizer.pad_token_id}


def test_styles():
    situation = ENDGAMES.parse("w Kd4 Ra1 kd6")
    assert ENDGAMES.prompt(situation) == "w Kd4 Ra1 kd6"
    assert "rook a1" in ENDGAMES.prompt(situation, "sentence")
    with pytest.raises(UnknownName, match="unknown prompt style 'sentense': did you mean 'sentence'"):
        ENDGAMES.prompt(situation, "sentense")
