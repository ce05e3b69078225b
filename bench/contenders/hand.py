"""H, the honest baseline: a plain PyTorch loop over the Hugging Face + PEFT model, padded, head only at labels."""

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from bench import rows, shapes
from bench.gate import Gate, Job
from bench.rows import Example


def run(job: Job, gate: Gate) -> None:
    """Train as a careful person would write it by hand: no trainer, no callbacks, nothing computed for nothing."""
    inner = load(job)
    model = with_lora(inner) if job.method == "lora" else inner
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=2e-5, fused=True)
    vocabulary = shapes.SHAPES[job.model].vocabulary
    steps = rows.steps(job.work, vocabulary, job.steps, job.rows_per_step)
    gate.ready(rows=rows.digest(steps[0]), trained=sum(weight.numel() for weight in trained))
    for examples in steps:
        labels = sum(len(example.ids) - example.answer for example in examples)
        total = 0.0
        for start in range(0, len(examples), job.micro_batch):
            loss = summed_loss(inner, examples[start : start + job.micro_batch]) / labels
            loss.backward()
            total += loss.item()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        gate.done(loss=total)


def load(job: Job) -> PreTrainedModel:
    """Load a shape with its random weights: float32 from the folder, or bfloat16 made on the GPU."""
    if job.device == "cuda":
        with torch.device("cuda"):
            return shapes.random_model(job.model, dtype=torch.bfloat16)
    folder = shapes.folder(job.model)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def lora_config() -> LoraConfig:
    """Return the adapter that all contenders train: rank 16 on every linear layer but the head."""
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def with_lora(model: PreTrainedModel) -> torch.nn.Module:
    """Put the adapters into the model."""
    torch.manual_seed(0)
    return get_peft_model(model, lora_config())


def padded(examples: list[Example], device: torch.device) -> dict[str, torch.Tensor]:
    """Return input_ids, attention_mask and labels, int64 [B, T], padded on the right to the longest."""
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), shapes.PAD)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids)] = 1
        labels[row, : len(example.ids)] = torch.tensor(example.labels)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def summed_loss(model: PreTrainedModel, examples: list[Example]) -> torch.Tensor:
    """Return -Σ log p over the labels of padded rows; the head runs where a label is."""
    batch = padded(examples, model.device)
    labels = batch.pop("labels")[:, 1:]
    hidden = model.base_model(**batch, use_cache=False).last_hidden_state[:, :-1]
    learnt = labels != -100
    return cross_entropy(model.lm_head(hidden[learnt]).float(), labels[learnt], reduction="sum")
