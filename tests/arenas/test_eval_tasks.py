import json
import math
import shutil
import sys

import pytest
import transformers
from tokenizers import processors

import eval_tasks
import tiny_chat
from takeback import cli
from takeback.arenas import arena
from takeback.arenas.rows import with_settings
from takeback.checkpoint import open_pair
from takeback.hybrid import hybrid, taken_back, write_hybrid
from takeback.measure.bench import Bench
from takeback.measure.measures import measures_of
from takeback.measure.tasks import evaluated
from takeback.policies.language.prompts import prompt_text
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.identity import identity

lm_eval = pytest.importorskip("lm_eval")

READ = "quiz, quiz_brief, cloze, rolling, swapped"
WAYS = {
    "plain": {},
    "examples": {"num_fewshot": 3, "system_instruction": "Be brief."},
    "chat": {"apply_chat_template": True},
    "turns": {"apply_chat_template": True, "num_fewshot": 1, "system_instruction": "Be brief."},
    "one turn": {"apply_chat_template": True, "num_fewshot": 1, "fewshot_as_multiturn": False},
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keep what `datasets` makes of the tasks' data out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


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

    monkeypatch = pytest.MonkeyPatch()
    for name in ("add_env_info", "get_git_commit_hash"):  # they take seconds and tell of the machine
        monkeypatch.setattr(f"lm_eval.evaluator.{name}", lambda *_: None)
    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        tasks=[one.strip() for one in tasks.split(",")],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **more,
    )
    monkeypatch.undo()
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


@pytest.mark.slow
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


def test_first_tokens_prefixes_and_long_texts_are_written_as_lm_eval_writes_them(tmp_path, pair):
    """The tokenizer begins every text with a token of its own; one prompt is longer than the model reads."""
    tasks = eval_tasks.save(tmp_path / "tasks")
    long = [{"question": eval_tasks.LONG * n, "options": ["four", "five four"], "label": 1} for n in (1, 9)]
    (tasks / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*eval_tasks.QUIZ, *long]))
    task = json.loads((tasks / "quiz.yaml").read_text()) | {"gen_prefix": "It is", "target_delimiter": "  "}
    (tasks / "quiz.yaml").write_text(json.dumps(task))
    folders = [shutil.copytree(one, tmp_path / one.name) for one in pair]
    for folder in folders:
        words = transformers.AutoTokenizer.from_pretrained(folder)
        words.backend_tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A", special_tokens=[("<s>", 0)]
        )
        words.save_pretrained(folder)
    model, words = loaded(folders[1])
    assert words("a")["input_ids"][0] == 0
    for way in ({}, {"apply_chat_template": True}):
        place = of(tasks, "quiz, cloze, rolling", **way)
        bench = bench_of(place, folders)
        numbers, given = by_lm_eval(model, words, tasks, "quiz, cloze, rolling", **way)
        same_as_lm_eval(place, bench.ends["tuned"], numbers, given)


def test_measures_are_lm_evals_numbers_where_those_are_means_or_have_logarithms_that_are(folder, pair):
    place = of(folder, "evenly, rolling")
    bench = bench_of(place, pair)
    (readouts,) = bench.read([bench.anatomy.parse("L0.MLP")])
    theirs = flat(evaluated(place, readouts))
    mean = {}
    for measure in measures_of(place)[:-5]:
        values = measure.of(readouts, bench.context)
        mean[measure.name] = values.numbers[values.applies].mean()
    assert mean["acc evenly"] == pytest.approx(theirs["evenly", "acc,none"])
    assert mean["acc_norm quiz"] == theirs["quiz", "acc_norm,none"]
    assert mean["log perplexity cloze"] == pytest.approx(math.log(theirs["cloze", "perplexity,none"]))
    assert mean["log word_perplexity rolling"] == pytest.approx(
        math.log(theirs["rolling", "word_perplexity,none"])
    )
    assert mean["bits_per_byte rolling"] == pytest.approx(theirs["rolling", "bits_per_byte,none"])
    assert 0 < mean["utility right"] < 1


def test_answers_are_worth_what_the_tasks_filters_and_metrics_give_them(folder, pair):
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Fixed(LM):
        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

        def generate_until(self, requests):
            return ["F", "no", "7"]

    found = lm_eval.simple_evaluate(
        Fixed(),
        tasks=["written"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )["samples"]["written"]
    theirs = {
        name: [one["exact_match"] for one in found if one["filter"] == name] for name in ("first", "letters")
    }
    place = of(folder, "written", answers=3)
    assert (place.sampling.max_tokens, place.sampling.stop) == (6, ("\n", "o"))
    ours = place.score(place.rows, ["F", "no", "7"], [()] * 3)
    assert {name.partition(", ")[2]: list(some) for name, some in ours.items()} == theirs
    assert theirs["first"] == [0, 1, 0]
    bench = Bench.held_out(
        open_pair(*pair), place, ["utility exact_match written, letters", "length"], (9, 0)
    )
    answers = bench.answer([bench.anatomy.parse("L1.*")])
    assert answers.of(bench.anatomy.parse("L1.*"), "length").shape == (3,)
    assert bench.ends["base"].situations[0].startswith("#")


def test_own_rewards_and_options_go_beside_the_tasks_metrics(folder, tmp_path):
    (tmp_path / "own.py").write_text(
        "def short(completions, word, **kwargs):\n"
        "    return [float(len(a) <= len(b)) for a, b in zip(completions, word)]\n"
    )
    text = with_settings(
        f"lm-eval:{{tasks: written, include_path: {folder}}}",
        {"rewards": [f"{tmp_path / 'own.py'}:short"], "answers": 3, "temperature": 0.5},
    )
    place = arena(text)
    assert (place.spec.answers, place.sampling.temperature) == (3, 0.5)
    assert list(place.score(place.rows, ["four", "four", "f"], [()] * 3)["short"]) == [1, 0, 1]
    with pytest.raises(TakebackError, match="max_tokens"):
        with_settings(text, {"max_tokens": 3})


def test_what_is_no_mean_over_documents_is_said_and_left_to_lm_eval(tmp_path, pair):
    tasks = eval_tasks.save(tmp_path / "tasks")
    quiz = json.loads((tasks / "quiz.yaml").read_text())
    quiz["metric_list"] = [{"metric": "acc"}, {"metric": "mcc"}]
    (tasks / "quiz.yaml").write_text(json.dumps(quiz))
    place = of(tasks, "quiz")
    with pytest.warns(UserWarning, match=r"no measures here: mcc of quiz \(matthews_corrcoef\)"):
        assert [one.name for one in place.metrics] == ["acc quiz"]
    bench = bench_of(place, pair)
    numbers, given = by_lm_eval(*loaded(pair[1]), tasks, "quiz")
    assert ("quiz", "mcc,none") in numbers
    same_as_lm_eval(place, bench.ends["tuned"], numbers, given)


def test_another_metric_is_another_identity(folder, tmp_path):
    """What a task's function calls counts too, as results on disk are known by it."""
    told = []
    for number in (1, 1, 2):
        tasks = shutil.copytree(folder, tmp_path / str(len(told)))
        (tasks / "utils.py").write_text(
            f"def worth(): return {number}\ndef measured(doc, results): return {{'acc': worth()}}\n"
        )
        quiz = (tasks / "quiz.yaml").read_text()[:-1] + ', "process_results": !function utils.measured}'
        (tasks / "quiz.yaml").write_text(quiz)
        place = of(tasks, "quiz", limit=2)
        assert len(place.documents) == 2
        told.append(identity(place.loaded.account))
    assert told[0] == told[1] != told[2]


def test_prompts_of_generated_answers_go_on_where_the_task_has_begun_them(folder, tmp_path):
    task = json.loads((folder / "written.yaml").read_text()) | {"gen_prefix": "It is", "task": "begun"}
    (tmp_path / "begun.yaml").write_text(json.dumps(task))
    place = of(tmp_path, "begun", apply_chat_template=True)
    shown = prompt_text(tiny_chat.tokenizer(), place.rows[0].shown, {})
    assert shown == "<user>two and two are<end><assistant>It is"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        pytest.param({"tasks": "quizz"}, "did you mean 'quiz'", marks=pytest.mark.slow),
        ({"tasks": "quiz", "shots": 2}, "unknown field of the arena 'shots'"),
        ({"tasks": "quiz", "num_fewshot": -1}, "num_fewshot"),
        ({"tasks": []}, "names no task"),
        ({"tasks": "quiz,written"}, "ask for them apart"),
        ({"tasks": "remote"}, "needs data that is not on this machine"),
        ({"tasks": "gone"}, "can't be loaded"),
        ({"tasks": "broken"}, "broken"),
        ({"tasks": "quiz", "include_path": "nowhere"}, "there is no folder nowhere"),
        ({"tasks": "nowhere.yaml"}, "there is no task file"),
    ],
)
def test_what_can_not_be_asked_is_one_line(told, says, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    tasks = shutil.copytree(folder, tmp_path / "tasks")
    quiz = json.loads((tasks / "quiz.yaml").read_text())
    others = {
        "remote": {"dataset_path": "somebody/quiz", "dataset_kwargs": {}},
        "gone": {"dataset_kwargs": {"data_files": {"test": str(tmp_path / "gone.jsonl")}}},
        "broken": {"doc_to_choice": "{{missing.column}}"},
    }
    for name, change in others.items():
        (tasks / f"{name}.yaml").write_text(json.dumps(quiz | {"task": name} | change))
    with pytest.raises(TakebackError, match=says) as error:
        arena(f"lm-eval:{json.dumps({'include_path': str(tasks)} | told)}")
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def test_documents_are_held_out_and_read_back_by_name(folder):
    place = of(folder, "quiz, cloze")
    some = place.situations("held-out", 3, 1)
    assert [place.parse(place.prompt(one)) for one in some] == some
    assert len(place.situations("held-out", 100, 0)) == 8
    with pytest.raises(TakebackError, match="train on other data"):
        place.situations("train", 3, 0)
    with pytest.raises(UnknownName, match="quiz #1"):
        place.parse("quiz #1")
    assert place.legal(place.documents[4]) == ("bad", "good", "bad (2)", "é")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command in this process; give the JSON that it printed."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["takeback", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return json.loads(printed.out)

    return run


def measures_in(rows):
    return {one["measure"] for one in rows}


@pytest.mark.slow
def test_behaviour_and_sweep_tell_the_tasks_metrics(folder, pair, tmp_path, call):
    place = ("--arena", f"lm-eval:{{tasks: evenly, include_path: {folder}}}", "--situations", 99)
    told = measures_in(call("behaviour", pair[1], *place)["measures"])
    assert {"acc quiz", "acc evenly", "log perplexity cloze", "utility right"} <= told
    told = measures_in(call("behaviour", pair[1], "--against", pair[0], *place)["measures"])
    assert {"acc quiz", "KL(after || before)"} <= told
    sweep = ("sweep", *pair, "-o", tmp_path / "sweep.parquet", "--sets", "each layer", "--controls", 1)
    assert {"acc evenly", "margin right"} <= measures_in(call(*sweep, *place)["effects"])


@pytest.mark.slow
def test_a_change_of_a_tasks_metric_is_localised_and_attributed(folder, tmp_path, call):
    tasks = shutil.copytree(folder, tmp_path / "tasks")
    rows = [{"text": "!" * (n % 2) + "two and two are", "word": "four"} for n in range(16)]
    (tasks / "cloze.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cloze = (tasks / "cloze.yaml").read_text().replace(str(folder), str(tasks))
    (tasks / "cloze.yaml").write_text(cloze)
    pair = tiny_chat.save_pair(tmp_path, 1.5)
    place = ("--arena", f"lm-eval:{{tasks: cloze, include_path: {tasks}}}", "--situations", 99)
    assert call("localise", *pair, "--measure", "log perplexity cloze", *place)
    assert call("attribute", *pair, "--measure", "log perplexity cloze", *place)
