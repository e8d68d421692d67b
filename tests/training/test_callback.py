"""Numbers that a user's own Trainer logs are those of `takeback diff` on what it saved."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

import models
import tiny_chat
from takeback.checkpoint import open_pair
from takeback.run.errors import TakebackError
from takeback.training import Callback
from takeback.training.callback import LOGGED, START
from takeback.weights import diff

LORA = {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}


class Texts(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, place):
        row = models.tokens(1, 7, place)[0]
        return {"input_ids": row, "labels": row}


class Tracker(TrainerCallback):
    """Stands for whatever a script reports to."""

    def __init__(self):
        self.rows = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.rows.append({"step": state.global_step, **logs})


def trained(folder, model, callback, *more, resume=None, **settings):
    arguments = {"max_steps": 4, "save_steps": 2, "logging_steps": 1, "learning_rate": 1e-2, **settings}
    common = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "steps"}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), **{**common, **arguments}),
        train_dataset=Texts(),
        callbacks=[*more, callback],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def lora(base, **settings):
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft calls what transformers deprecates
        return peft.get_peft_model(
            AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(**LORA, **settings)
        )


def expected(base, tuned):
    found = diff(open_pair(str(base), str(tuned)))
    kinds = found.summed(lambda one: one.kind)
    assert set(kinds.index) == set(found.components["kind"])
    table = pd.concat([found.total.set_index("name"), found.layers.set_index("name"), kinds])
    numbers = {
        f"takeback/{measure}/{name}": float(row[measure])
        for name, row in table.iterrows()
        for measure in LOGGED
    }
    return pytest.approx(numbers, rel=1e-12)  # tensors are summed in another order


def told(row):
    return {name: value for name, value in row.items() if name.startswith("takeback/")}


@pytest.fixture
def base(tmp_path):
    models.build("llama-gqa-biases").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_a_plain_trainer_logs_the_diff_of_what_it_saves(tmp_path, base, named):
    tracker = Tracker()
    model = AutoModelForCausalLM.from_pretrained(base)
    trainer = trained(tmp_path / "run", model, Callback(str(base) if named else None), tracker)
    rows = [row for row in tracker.rows if told(row)]
    assert [row["step"] for row in rows] == [2, 4]
    for row in rows:
        wanted = expected(base, tmp_path / "run" / f"checkpoint-{row['step']}")
        assert told(row) == wanted
    assert 0 < rows[0]["takeback/relative/all"] < rows[1]["takeback/relative/all"]
    assert [row["step"] for row in trainer.state.log_history if "loss" in row] == [1, 2, 3, 4]
    assert not (tmp_path / "run" / START).exists()


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_of_an_adapter_it_logs_the_diff_of_base_and_adapter(tmp_path, base, named):
    model = lora(base)
    trainer = trained(tmp_path / "run", model, Callback(base if named else None, every=3))
    rows = [row for row in trainer.state.log_history if told(row)]
    assert [row["step"] for row in rows] == [3, 4]
    wanted = expected(base, f"{base}+{tmp_path / 'run' / 'checkpoint-4'}")
    assert told(rows[1]) == wanted
    assert rows[1]["takeback/relative/LN1"] == 0 < rows[1]["takeback/relative/H"]


@pytest.mark.slow
def test_a_run_that_goes_on_is_compared_with_what_it_began_with(tmp_path, base):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KeyboardInterrupt

    model = AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", model, Callback(), Stop())
    checkpoint = str(tmp_path / "run" / "checkpoint-2")
    model = AutoModelForCausalLM.from_pretrained(base)
    trainer = trained(tmp_path / "run", model, Callback(), resume=checkpoint)
    last = [row for row in trainer.state.log_history if told(row)][-1]
    assert last["step"] == 4
    assert told(last) == expected(base, tmp_path / "run" / "checkpoint-4")
    with pytest.raises(TakebackError, match=r"goes on after step 2.*name the base"):
        trained(tmp_path / "run", model, Callback(), resume=checkpoint)


def test_weights_in_bfloat16_are_compared_as_they_are_stored(tmp_path):
    for seed, name in enumerate(("base", "tuned")):
        models.build("gpt2", seed).to(torch.bfloat16).save_pretrained(tmp_path / name)
    live = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned", dtype=torch.bfloat16)
    found = Callback(tmp_path / "base").measured(live)
    assert set(found.tensors["dtype_tuned"]) == {"bfloat16"}
    wanted = diff(open_pair(str(tmp_path / "base"), str(tmp_path / "tuned")))
    pd.testing.assert_frame_equal(found.components, wanted.components)


@pytest.mark.slow
def test_what_trl_gathers_for_its_next_row_stays_there(tmp_path):
    from datasets import Dataset as Rows
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    folder, _ = tiny_chat.save_pair(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' notes about one another
        settings = GRPOConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=4,
            save_steps=1,
            logging_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=4,
            learning_rate=1e-2,
            bf16=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder),
            reward_funcs=lambda completions, **_: [float(len(one)) for one in completions],
            args=settings,
            train_dataset=Rows.from_list([{"prompt": "what is two"}, {"prompt": "yes or no"}]),
            processing_class=tiny_chat.tokenizer(),
            callbacks=[Callback(folder)],
        )
        trainer.train()
    history = trainer.state.log_history
    assert [row["step"] for row in history if told(row)] == [1, 2, 3, 4]
    assert [row["step"] for row in history if "reward" in row] == [2, 4]
    assert all("completions/mean_length" in row for row in history if "reward" in row)


def test_stacked_experts_and_what_wraps_a_model_make_no_difference(tmp_path):
    for seed, name in enumerate(("base", "tuned")):
        models.build("mixtral", seed).save_pretrained(tmp_path / name)
    live = torch.nn.DataParallel(AutoModelForCausalLM.from_pretrained(tmp_path / "tuned"))
    found = Callback(tmp_path / "base").measured(live)
    wanted = diff(open_pair(str(tmp_path / "base"), str(tmp_path / "tuned")))
    columns = ["component", "parameters", "changed_bitwise", "changed_bf16"]
    pd.testing.assert_frame_equal(found.components[columns], wanted.components[columns])
    pd.testing.assert_series_equal(found.components["relative"], wanted.components["relative"])


@pytest.mark.slow
def test_what_cant_be_compared_is_told_before_the_first_step(tmp_path, base):
    models.build("llama-mha").save_pretrained(tmp_path / "other")
    steps = []

    class Count(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    model = AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(TakebackError, match="name its own base"):
        trained(tmp_path / "run", model, Callback(tmp_path / "other"), Count())
    with pytest.raises(TakebackError, match="not one plain LoRA"):
        trained(tmp_path / "run", lora(base, use_dora=True), Callback(), Count())
    assert steps == []


def test_weights_that_are_not_finite_do_not_end_the_training(tmp_path, base):
    class Break(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            with torch.no_grad():
                model.model.norm.weight.fill_(float("nan"))

    model = AutoModelForCausalLM.from_pretrained(base)
    with pytest.warns(UserWarning, match=r"logs nothing at step 2: tensor .* holds NaN"):
        trainer = trained(tmp_path / "run", model, Callback(base), Break(), max_steps=2)
    assert trainer.state.global_step == 2
