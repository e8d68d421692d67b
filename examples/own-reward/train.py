"""Plain TRL, outside the tool: 16 steps of GRPO with a reward of one's own; `python train.py BASE`."""

import json
import sys
from pathlib import Path

from datasets import Dataset
from reward import cheerful
from trl import GRPOConfig, GRPOTrainer

rows = [json.loads(line) for line in Path("prompts.jsonl").read_text().splitlines()]
train = [{"prompt": row["prompt"]} for row in rows if row["split"] == "train"]
args = GRPOConfig(
    output_dir="grpo",
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    report_to="none",
    per_device_train_batch_size=24,
    num_generations=8,
    max_completion_length=20,
    learning_rate=1e-5,
    max_steps=16,
    save_steps=4,
    logging_steps=1,
    beta=0.0,
    save_only_model=True,
)
trainer = GRPOTrainer(sys.argv[1], reward_funcs=cheerful, args=args, train_dataset=Dataset.from_list(train))
trainer.train()
trainer.save_model("tuned")
