"""Small evaluation tasks in lm-eval's form with their data, in a folder: nothing needs a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUIZ = [
    {"question": "two and two are", "options": ["four", "five", "fo", "four and more"], "label": 0},
    {"question": "is this good ", "options": ["yes or no", "no", "n", "yes"], "label": 1},
    {"question": "what is 12 34  ", "options": ["56", "56 78", "5", " 90"], "label": 3},
    {"question": "the sum is small", "options": ["a", "an", "answer", "the answer"], "label": 2},
    {"question": "say it twice", "options": ["bad", "good", "bad", "é"], "label": 3},
]
CLOZE = [
    {"text": "two and two are", "word": "four"},
    {"text": "yes or", "word": "no"},
    {"text": "12 34 56", "word": "78 90"},
]
LONG = "what is the answer to this small sum? two and two are four, yes or no, good and bad. "

TASKS: dict[str, dict[str, Any]] = {
    "quiz": {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "options",
        "doc_to_target": "label",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
        ],
    },
    "quiz_brief": {
        "output_type": "multiple_choice",
        "description": "Answer.\n",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "options",
        "doc_to_target": "label",
        "target_delimiter": "",
        "num_fewshot": 2,
        "fewshot_split": "test",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    },
    "swapped": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{label}}",
        "doc_to_choice": "{{options}}",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "cloze": {
        "data": "cloze",
        "output_type": "loglikelihood",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{' ' + word}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "rolling": {
        "data": "long",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [
            {"metric": "word_perplexity"},
            {"metric": "byte_perplexity"},
            {"metric": "bits_per_byte"},
        ],
    },
    "written": {
        "data": "cloze",
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{word}}",
        "generation_kwargs": {"until": ["\n", "o"], "max_gen_toks": 6, "do_sample": False},
        "filter_list": [
            {"name": "first", "filter": [{"function": "take_first"}]},
            {
                "name": "letters",
                "filter": [
                    {"function": "regex", "regex_pattern": "([a-z0-9])", "fallback": "-"},
                    {"function": "take_first"},
                ],
            },
        ],
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}
        ],
    },
}
GROUPS: dict[str, list[dict[str, Any]]] = {
    "both": [{"metric": "acc", "weight_by_size": True}],
    "evenly": [{"metric": "acc", "weight_by_size": False}],
}


def save(folder: Path) -> Path:
    """Write the tasks and their data; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"quiz": QUIZ, "cloze": CLOZE, "long": [{"text": LONG * n} for n in (1, 9, 3)]}
    for name, rows in data.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, told in TASKS.items():
        source = str(folder / f"{told.get('data', 'quiz')}.jsonl")
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": source}},
            "test_split": "test",
            **{key: value for key, value in told.items() if key != "data"},
        }
        (folder / f"{name}.yaml").write_text(json.dumps(task))
    members = {"both": ["quiz", "quiz_brief", "cloze"], "evenly": ["quiz", "cloze"]}
    for name, metrics in GROUPS.items():
        told = {"group": name, "task": members[name], "aggregate_metric_list": metrics}
        (folder / f"{name}.yaml").write_text(json.dumps(told))
    return folder
