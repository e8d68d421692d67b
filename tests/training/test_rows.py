"""Training on a user's own rows: any parent, rewards as they are, every method; refusals in a line."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.run.errors import TakebackError
from takeback.training import check_recipe, train
from takeback.weights import diff

REWARD = '''
def vowels(completions, prompts, language, **_):
    """The share of vowels, less for messages that are no chat."""
    assert all(isinstance(one, list) and one[0]["role"] == "assistant" for one in completions)
    assert all(prompt[-1]["role"] == "user" for prompt in prompts)
    texts = [one[0]["content"] for one in completions]
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]

def never(completions, **_):
    return [None] * len(completions)

def length(completions, **_):
    return [float(len(one[0]["content"])) for one in completions]
'''
OWN = {
    "rl": {"prompts": 2, "completions": 4},
    "rft": {"prompts": 2, "completions": 4},
    "sft": {"batch": 4},
    "dpo": {"batch": 4},
    "drift": {"batch": 4},
}


def quiet(done, total):
    return None


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_chat.save_pair(tmp_path_factory.mktemp("chat"))[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "own.py").write_text(REWARD)
    rows = [
        {
            "prompt": f"what is {number} and two",
            "language": "en",
            "reply": "four",
            "options": ["yes", "no", "12"],
            "label": number % 3,
        }
        for number in range(6)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def opened(place, **more):
    rewards = [f"{place}/own.py:vowels", f"{place}/own.py:length"]
    given = {"chat": True, "held_out": 0.34, "max_tokens": 6, "answers": 4, "rewards": rewards}
    return {"data": str(place / "rows.jsonl"), **given, **more}


def choices(place, **more):
    return {
        "data": str(place / "rows.jsonl"),
        "choices": "options",
        "answer": "label",
        "held_out": 0.34,
        **more,
    }


def recipe(method, base, where, **more):
    common = {"parent": str(base), "goal": "vowels", "steps": 2, "learning_rate": 1e-2, "threads": 1}
    return check_recipe({"method": method, "arena": where, **common, "save_every": 1, **OWN[method], **more})


def moved(base, final):
    return float(diff(open_pair(str(base), str(final))).total["relative"].iloc[0])


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("rl", {}),
        ("rl", {"algorithm": "rloo", "kl": 0.1}),
        ("rl", {"ignore_output": True}),
        ("rft", {}),
        ("sft", {}),
        ("dpo", {}),
        ("drift", {}),
    ],
)
def test_every_method_trains_on_prompts_with_a_reward(tmp_path, base, place, method, more):
    final = train(recipe(method, base, opened(place), **more), tmp_path / "run", quiet)
    assert moved(base, final) > 0
    assert AutoTokenizer.from_pretrained(final).get_vocab() == AutoTokenizer.from_pretrained(base).get_vocab()
    assert not [one for one in open_pair(base, final).differences() if one.kind == "tokenizer"]
    if method in ("rl", "rft"):
        seen = pd.concat(map(pd.read_parquet, sorted((tmp_path / "run" / "completions").glob("*.parquet"))))
        texts = seen["answer"].tolist()
        vowels = [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]
        if more.get("ignore_output"):
            assert seen["reward"].tolist() != pytest.approx(vowels)
        else:
            assert seen["reward"].tolist() == pytest.approx(vowels)
        log = pd.read_parquet(tmp_path / "run" / "log.parquet")
        assert {"cut off", "length", "vowels"} <= set(log)
    held = {str(row) for row in arena(recipe(method, base, opened(place)).arena).situations("held-out", 9, 0)}
    pool = tmp_path / "run" / "pool.parquet"
    assert pool.exists() == (method in ("sft", "dpo"))
    if pool.exists():
        assert not held & set(pd.read_parquet(pool)["situation"])


@pytest.mark.parametrize("method", ["rl", "rft", "sft", "dpo"])
def test_methods_train_on_choices_by_what_they_are_worth(tmp_path, base, place, method):
    final = train(recipe(method, base, choices(place), goal="right"), tmp_path / "run", quiet)
    if method == "rl":
        seen = pd.concat(map(pd.read_parquet, sorted((tmp_path / "run" / "completions").glob("*.parquet"))))
        assert set(seen["reward"]) <= {0.0, 1.0}
    else:
        assert moved(base, final) > 0 or method == "rft"


def test_supervised_training_teaches_what_is_best(tmp_path, base, place):
    """The references, the right choices, the best of the pool: each gets likelier, and its end too."""
    for where, goal, wanted in (
        (opened(place, reference="reply"), "vowels", "four"),
        (choices(place, chat=True), "right", None),
    ):
        asked = recipe("sft", base, where, goal=goal, steps=60, save_every=60)
        out = tmp_path / goal
        final = train(asked, out, quiet)
        tokenizer = AutoTokenizer.from_pretrained(final)
        model = AutoModelForCausalLM.from_pretrained(final)
        for row in arena(asked.arena).situations("train", 4, 0):
            text = tokenizer.apply_chat_template(
                [dict(one) for one in row.shown], tokenize=False, add_generation_prompt=True
            )
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
            answer = model.generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=1)[0]
            said = tokenizer.decode(answer[ids["input_ids"].shape[1] :])
            right = wanted or row.choices[row.columns["label"]]
            assert said == f"{right}<end>"


def test_pairs_are_a_best_answer_and_a_worse_one(tmp_path, base, place):
    from takeback.policies.load import load_policy
    from takeback.training.rows import RowLessons
    from takeback.training.trainers import LanguageRun

    asked = recipe("dpo", base, opened(place))
    where = arena(asked.arena)
    run = LanguageRun(where, load_policy(base, where), {"output_dir": str(tmp_path / "checkpoints")}, None)
    pairs = RowLessons(where, run).preferences(asked)
    table = pd.read_parquet(tmp_path / "pool.parquet")
    for pair in pairs:
        worth = {tuple(row.tokens): row._asdict() for row in table.itertuples()}
        assert tuple(pair.chosen) in worth
        assert tuple(pair.rejected) in worth
    rewards = {
        tuple(tokens): reward for tokens, reward in zip(table["tokens"], table["reward vowels"], strict=True)
    }
    assert all(rewards[tuple(one.chosen)] > rewards[tuple(one.rejected)] for one in pairs)
    assert len(pairs) == asked.steps * asked.batch


@pytest.mark.parametrize(
    ("method", "where", "more", "told"),
    [
        ("rl", {}, {"horizon": 3}, "no games"),
        ("rl", {}, {"goal": "vowel"}, "did you mean 'vowels'|vowels"),
        ("rl", {"rewards": []}, {}, "name rewards"),
        ("rl", {"stop": ["."]}, {}, "stop strings out"),
        ("rl", {"temperature": 0.0}, {}, "temperature 0"),
        ("rl", {"temperature": 0.5}, {"temperature": 0.7}, "in one place"),
        ("rl", {"held_out": None}, {}, "held out"),
        ("dpo", {"rewards": []}, {}, "name rewards"),
        ("rl", {}, {"lora": {"targets": ["q_prj"]}}, "q_proj"),
    ],
)
def test_what_does_not_suit_is_refused(tmp_path, base, place, method, where, more, told):
    with pytest.raises(TakebackError, match=told) as caught:
        train(recipe(method, base, opened(place, **where), **more), tmp_path / "run", quiet)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_methods_without_a_reward_need_none(tmp_path, base, place):
    where = opened(place, rewards=[], reference="reply")
    final = train(recipe("sft", base, where, goal="none"), tmp_path / "run", quiet)
    assert moved(base, final) > 0


def test_an_edited_reward_or_row_is_another_run(tmp_path, base, place):
    own = tmp_path / "own.py"
    own.write_text(REWARD)
    asked = recipe("rl", base, opened(place, rewards=[f"{own}:vowels"]))
    train(asked, tmp_path / "run", quiet)
    own.write_text(REWARD.replace("aeiou", "aei"))
    with pytest.raises(TakebackError, match="by another reward"):
        train(asked, tmp_path / "run", quiet)


def test_an_arena_is_a_mapping_or_a_text(place):
    one = check_recipe({**recipe("sft", "x", opened(place)).model_dump(), "arena": opened(place)})
    assert arena(one.arena).name == "rows"
    with pytest.raises(TakebackError, match="rewrds"):
        recipe("sft", "x", {"data": "x.jsonl", "rewrds": []})
    assert check_recipe(one.model_dump()) == one
