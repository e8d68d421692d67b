"""Training on a user's own rows: any parent, rewards as they are, every method; refusals in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny_chat
from kill import run_and_kill
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.run.errors import TakebackError
from takeback.training import check_recipe, load_recipe, train
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
RECIPES = Path(__file__).parents[2] / "recipes"
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "rft", "sft", "dpo"])
def test_methods_train_on_choices_by_what_they_are_worth(tmp_path, base, place, method):
    final = train(recipe(method, base, choices(place), goal="right"), tmp_path / "run", quiet)
    if method == "rl":
        seen = pd.concat(map(pd.read_parquet, sorted((tmp_path / "run" / "completions").glob("*.parquet"))))
        assert set(seen["reward"]) <= {0.0, 1.0}
    else:
        assert moved(base, final) > 0 or method == "rft"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "rft", "sft", "dpo"])
def test_some_answers_at_a_time_are_the_same_update(tmp_path, base, place, method):
    finals = [
        train(recipe(method, base, opened(place), steps=1, **some), tmp_path / str(len(some)), quiet)
        for some in ({}, {"micro_batch": 2})
    ]
    whole, parts = (load_file(one / "model.safetensors") for one in finals)
    start = load_file(base / "model.safetensors")
    for name, tensor in whole.items():
        # one step of Adam is the sign of the gradient, but where that is rounding
        apart = (tensor - parts[name]).abs() > 1e-4
        assert apart.float().mean() < 0.02, name
        assert (tensor - start[name]).abs().max() > 1e-4 or method == "rft"
    with pytest.raises(TakebackError, match="does not divide"):
        train(recipe(method, base, opened(place), micro_batch=3), tmp_path / "none", quiet)


@pytest.mark.slow
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
    ("where", "more", "told"),
    [
        ({}, {"horizon": 3}, "no games"),
        ({}, {"goal": "win", "mate_within": 3}, "no mates"),
        ({}, {"goal": "vowel"}, "vowels"),
        ({"rewards": []}, {}, "name rewards"),
        ({"rewards": []}, {"method": "dpo"}, "name rewards"),
        ({"stop": ["."]}, {}, "stop strings out"),
        ({"temperature": 0.0}, {}, "temperature 0"),
        ({"temperature": 0.5}, {"temperature": 0.7}, "in one place"),
        ({"held_out": None}, {}, "held out"),
        ({}, {"lora": {"targets": ["q_prj"]}}, "q_proj"),
        ({}, {"method": "clone", "teacher": "endgame-base"}, "does not train on rows"),
    ],
)
def test_what_does_not_suit_is_refused(tmp_path, base, place, where, more, told):
    fields = {"method": "rl", "arena": opened(place, **where), "parent": str(base), "goal": "vowels"}
    with pytest.raises(TakebackError, match=told) as caught:
        train(check_recipe({**fields, "steps": 2, "learning_rate": 1e-2, **more}), tmp_path / "run", quiet)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_methods_without_a_reward_need_none(tmp_path, base, place):
    where = opened(place, rewards=[], reference="reply")
    final = train(recipe("sft", base, where, goal="none"), tmp_path / "run", quiet)
    assert moved(base, final) > 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "dpo"])
def test_a_killed_run_ends_with_the_same_files(tmp_path, base, place, method):
    fields = recipe(method, base, opened(place), steps=14, snapshots=(3,)).model_dump(mode="json")
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train(check_recipe(fields), unbroken, quiet)
    code = "from takeback.training import check_recipe, train\n"
    code += f"train(check_recipe({fields!r}), {str(broken)!r}, print)"
    run_and_kill(code, (broken / "checkpoints" / "checkpoint-4" / "complete").exists, tmp_path / "log.txt")
    assert not (broken / "final").exists()
    train(check_recipe(fields), broken, quiet)

    def contents(run):
        return {one.relative_to(run): one.read_bytes() for one in sorted(run.rglob("*")) if one.is_file()}

    assert contents(broken) == contents(unbroken)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_recipe_of_the_repository_trains_another_parent(tmp_path, base, monkeypatch):
    monkeypatch.chdir(RECIPES.parent)
    asked = load_recipe(
        RECIPES / "own-reward.yaml", parent=str(base), steps=2, snapshots=(), prompts=2, threads=1
    )
    final = train(asked, tmp_path / "run", quiet)
    assert (final / "adapter_model.safetensors").exists()
    (seen,) = map(pd.read_parquet, (tmp_path / "run" / "completions").glob("*.parquet"))
    assert len(seen) == 2 * 2 * 8
    assert seen["reward"].between(0, 1).all()
    assert asked.full_account(arena(asked.arena).words).logs == "the reward as it is"
