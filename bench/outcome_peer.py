"""Train a base with a peer's defaults for so many steps: `python -m bench.outcome_peer JOB`, in the peer's environment.

Prints one line of JSON with the wall seconds from loading to the saved model. What differs from the peer's defaults is
only what makes it run here at all (`use_cpu`), and what keeps it from logging to services or writing checkpoints.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Train as the job says."""
    job = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(job["threads"])
    rows = [json.loads(line) for line in Path(job["rows"]).read_text(encoding="utf-8").splitlines()]
    started = perf_counter()
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32)
    trainer = _trainer(job, model, Dataset.from_list(rows))
    trainer.train()
    trainer.save_model(job["output"])
    facts = {"seconds": perf_counter() - started, "steps": trainer.state.global_step}
    answers.write(json.dumps(facts) + "\n")


def _trainer(job: dict[str, Any], model: torch.nn.Module, rows: Dataset) -> Trainer:
    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    common = {
        "output_dir": job["output"],
        "max_steps": job["steps"],
        "seed": job["seed"],
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    if job["contender"] == "trainer":
        collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
        return Trainer(model=model, args=TrainingArguments(**common), train_dataset=rows, data_collator=collator)
    precision = {"bf16": False} if job["contender"] == "trl-float32" else {}
    args = SFTConfig(**common, **precision)
    return SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)


if __name__ == "__main__":
    main()
