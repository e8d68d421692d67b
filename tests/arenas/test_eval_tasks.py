import json

import pytest
import transformers

import eval_tasks
import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.hybrid import hybrid, taken_back, write_hybrid
from takeback.measure.bench import Bench
from takeback.measure.tasks import evaluated

lm_eval = pytest.importorskip("lm_eval")

READ = "quiz, quiz_brief, cloze, rolling, swapped"
WAYS = {
    "plain": {},
    "examples": {"num_fewshot": 3, "system_instruction": "Be brief."},
    "chat": {"apply_chat_template": True},
    "turns": {"apply_chat_template": True, "num_fewshot": 1, "system_instruction": "Be brief."},
    "one turn": {"apply_chat_template": True, "num_fewshot": 1, "fewshot_as_multiturn": False},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return eval_tasks.save(tmp_path_factory.mktemp("evaluation") / "tasks")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_chat.save_pair(tmp_path_factory.mktemp("pair"))


def of(folder, tasks, **more):
    told = {"tasks": [one.strip() for one in tasks.split(",")], "include_path": str(folder), **more}
    return arena(f"lm-eval:{json.dumps(told)}")


def bench_of(place, pair):
    return Bench(open_pair(*pair), place, place.situations("held-out", 1000, 0), ["acc quiz"])


def by_lm_eval(model, tokenizer, folder, tasks, **more):
    """What lm-eval itself says: its numbers, and what it got for each request of each document."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        tasks=[one.strip() for one in tasks.split(",")],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **more,
    )
    numbers = {
        (name, key): value
        for name, some in found["results"].items()
        for key, value in some.items()
        if "," in key and "_stderr," not in key
    }
    given = {
        (name, one["doc_id"]): [answer[0] for answer in one["resps"]]
        for name, some in found["samples"].items()
        for one in some
    }
    return numbers, given


def flat(results):
    return {(name, key): value for name, some in results.items() for key, value in some.items()}


def same_as_lm_eval(place, readouts, numbers, given):
    for i, text in enumerate(readouts.situations):
        document, span = place.parse(text), readouts.span(i)
        ours = [*readouts.logprobs[span], *readouts.unconditional[span][: len(document.alone)]]
        theirs = given[document.task, document.number]
        if document.kind == "loglikelihood_rolling":
            assert ours == pytest.approx(theirs, rel=1e-5)
            continue
        assert ours == pytest.approx([log for log, _ in theirs], rel=1e-5)
        assert readouts.followed[span].tolist() == [
            greedy for _, greedy in theirs[: len(readouts.followed[span])]
        ]
    assert flat(evaluated(place, readouts)) == pytest.approx(numbers, rel=1e-4)


def loaded(folder):
    return (
        transformers.AutoModelForCausalLM.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
    )


@pytest.mark.parametrize("way", WAYS)
def test_every_output_type_gives_what_lm_eval_gives_on_the_written_hybrid(way, folder, pair, tmp_path):
    place, taken = of(folder, READ, **WAYS[way]), "L0.* L1.H1"
    bench = bench_of(place, pair)
    chosen = bench.anatomy.parse(taken)
    (readouts,) = bench.read([chosen])
    write_hybrid(hybrid(bench.pair, chosen), tmp_path / "hybrid")
    numbers, given = by_lm_eval(*loaded(tmp_path / "hybrid"), folder, READ, **WAYS[way])
    same_as_lm_eval(place, readouts, numbers, given)


@pytest.mark.parametrize("group", ["both", "evenly"])
def test_groups_give_what_lm_eval_gives_on_a_live_model(group, folder, pair):
    place = of(folder, f"{group}, rolling")
    bench = bench_of(place, pair)
    chosen = bench.anatomy.parse("L1.*")
    (readouts,) = bench.read([chosen])
    (tuned, words), (base, _) = loaded(pair[1]), loaded(pair[0])
    with taken_back(tuned, base, chosen):
        numbers, given = by_lm_eval(tuned, words, folder, f"{group}, rolling")
    same_as_lm_eval(place, readouts, numbers, given)
