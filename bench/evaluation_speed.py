"""How long base and tuned model take to answer, here and in lm-evaluation-harness: `python -m bench.evaluation_speed`.

The same requests: questions as long as those of GSM8K, in the model's own words, answered greedily in at most 32
tokens; and questions of choices that share a context. The tuned model is the base with a LoRA adapter (rank 16, every
linear layer), which both load by PEFT. Runs in the environment `lm-eval`, see `bench.harness`.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import harness, machine
from bench.places import cache, shared

_TOKENS = 32
_SEED = 5
_TASKS = ("writing", "choices")


def main() -> None:
    """Start again inside the environment, then time both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(cache() / "models" / "S"))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", nargs="*", default=_TASKS, choices=_TASKS)
    parser.add_argument("--batch", type=int, default=16, help="of the harness")
    options = parser.parse_args()
    words = ["--model", options.model, "--rows", str(options.rows), "--threads", str(options.threads)]
    harness.inside("bench.evaluation_speed", [*words, "--batch", str(options.batch), "--tasks", *options.tasks])
    import torch

    torch.set_num_threads(options.threads)
    print(json.dumps(machine.describe() | {"threads": options.threads}))
    model = Path(options.model)
    adapter = _adapter(model)
    for task in options.tasks:
        documents = {"writing": _questions, "choices": _choices}[task](options.rows)
        for side in (None, adapter):
            print(json.dumps(_both(task, documents, model, side, options.batch)), flush=True)


def _both(task: str, documents: list[dict[str, Any]], model: Path, adapter: Path | None, batch: int) -> dict[str, Any]:
    """Time one model both ways."""
    theirs, their_cpu, their_wall = harness.timed(_theirs(task, documents, model, adapter, batch=batch))
    ours, cpu, wall = harness.timed(_ours(task, documents, model, adapter))
    return {
        "task": task, "model": "base" if adapter is None else "tuned", "rows": len(documents),
        "answers that differ": sum(one != other for one, other in zip(theirs, ours, strict=True)),
        "their seconds": round(their_wall, 2), "our seconds": round(wall, 2), "ratio": round(wall / their_wall, 3),
        "CPU-s": [round(their_cpu, 2), round(cpu, 2)],
    }  # fmt: skip


def _theirs(
    task: str, documents: list[dict[str, Any]], model: Path, adapter: Path | None, *, batch: int
) -> Callable[[], list[Any]]:
    """Load a model into the harness; what is returned asks it."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peft = {} if adapter is None else {"peft": str(adapter)}
    backend = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=batch, **peft)

    def instance(kind: str, place: int, arguments: tuple[Any, ...]) -> Any:
        return Instance(request_type=kind, doc=documents[place], arguments=arguments, idx=0)

    def written() -> list[Any]:
        how = {"until": ["<|end|>"], "do_sample": False, "max_gen_toks": _TOKENS}
        asked = [instance("generate_until", place, (one["text"], how)) for place, one in enumerate(documents)]
        return [said.split() for said in backend.generate_until(asked)]

    def chosen() -> list[Any]:
        pairs = [(place, one["text"], " " + option) for place, one in enumerate(documents) for option in one["options"]]
        asked = [instance("loglikelihood", place, (text, option)) for place, text, option in pairs]
        found = iter(backend.loglikelihood(asked))
        return [_best([next(found)[0] for _ in one["options"]]) for one in documents]

    return written if task == "writing" else chosen


def _ours(task: str, documents: list[dict[str, Any]], model: Path, adapter: Path | None) -> Callable[[], list[Any]]:
    """Load a model as an evaluation does; what is returned asks it."""
    from metier.core.progress import Silent
    from metier.core.types import Sequence
    from metier.engine.sample import complete
    from metier.forest.read import row_losses
    from metier.model.find import find
    from metier.model.load import load_base, load_tuned
    from metier.text.render import open_renderer
    from metier.text.settings import TextSettings

    base = find(str(model), Path())
    loaded = load_base(base) if adapter is None else load_tuned(base, adapter)
    tokenizer = open_renderer(base.folder, TextSettings()).tokenizer

    def written() -> list[Any]:
        prompts = [tokenizer.encode(one["text"], special=False) for one in documents]
        said = complete(
            loaded, prompts, stop_ids=tokenizer.stop_ids, max_new_tokens=_TOKENS, pad_id=tokenizer.pad_id,
            progress=Silent(),
        )  # fmt: skip
        return [tokenizer.decode(list(one.ids)).split() for one in said]

    def sequences() -> Iterator[Sequence]:
        import numpy as np

        for number, one in enumerate(documents):
            before = tokenizer.encode(one["text"], special=False)
            for option in one["options"]:
                ids = before + tokenizer.encode(option, special=False)
                weights = np.array([0.0] * len(before) + [1.0] * (len(ids) - len(before)), dtype=np.float32)
                yield Sequence(ids=np.array(ids, dtype=np.int32), weights=weights, row_id=str(number))

    def chosen() -> list[Any]:
        losses = iter(row_losses(loaded, list(sequences()), progress=Silent()))
        return [_best([-next(losses)[0] for _ in one["options"]]) for one in documents]

    return written if task == "writing" else chosen


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def _questions(most: int) -> list[dict[str, Any]]:
    """Return questions as long as GSM8K's, in words of the models of `bench.shapes`."""
    lines = (shared() / "data" / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:most]
    draw = random.Random(_SEED)
    return [{"text": _words(draw, len(json.loads(line)["question"].split()) * 4 // 3)} for line in lines]


def _choices(most: int) -> list[dict[str, Any]]:
    """Return questions with four options of one to twelve words behind a context of 64 to 256."""
    draw = random.Random(_SEED)
    return [
        {"text": _words(draw, draw.randint(64, 256)), "options": [_words(draw, draw.randint(1, 12)) for _ in range(4)]}
        for _ in range(most)
    ]


def _words(draw: random.Random, count: int) -> str:
    return " ".join(f"w{draw.randrange(5, 32_000)}" for _ in range(max(1, count)))


def _adapter(model: Path) -> Path:
    """Make an adapter that changes every linear layer a little, once."""
    target = cache() / "harness" / f"adapter-{model.name}"
    if not (target / "adapter_config.json").is_file():
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(_SEED)
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        tuned = get_peft_model(base, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        tuned.save_pretrained(target)
    return target


if __name__ == "__main__":
    main()
