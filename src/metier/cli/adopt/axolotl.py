"""Axolotl's YAML as a project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.cli.adopt.adopted import (
    COMMON,
    OPTIMISERS,
    SHAPES,
    Adopted,
    Convert,
    as_is,
    count,
    hub_name,
    number,
    one_of,
    place_of,
    share,
)

_TABLE: Mapping[str, tuple[str, Convert]] = {
    **COMMON,
    "base_model": ("base", as_is),
    "sequence_len": ("text.max_tokens", count),
    "val_set_size": ("prepare.validation_share", share),
    "lora_r": ("model.rank", count),
    "lora_target_modules": ("model.targets", lambda value: value if isinstance(value, list) else None),
    "lora_modules_to_save": ("model.lora.save_modules", lambda value: value if isinstance(value, list) else None),
    "peft_use_dora": ("model.lora.dora", as_is),
    "peft_use_rslora": ("model.lora.rslora", as_is),
    "num_epochs": ("train.epochs", number),
    "lr_scheduler": ("train.schedule.shape", one_of(SHAPES)),
    "optimizer": ("train.optimiser.name", one_of(OPTIMISERS)),
    "label_smoothing_factor": ("train.regularise.label_smoothing", number),
    "early_stopping_patience": ("train.patience", count),
    "gradient_checkpointing": ("model.gradient_checkpointing", bool),
    "default_system_message": ("text.system", as_is),
}
REASONS: Mapping[str, str] = {
    "chat_template": "the base's own template is used and proven on the rows; text.template names another",
    "train_on_inputs": "only answers are learnt; text rows are learnt whole",
    "roles_to_train": "assistant turns are learnt; weight: 0 on a turn leaves it out",
    "sample_packing": "rows of a step share their beginnings in one forest, which packs exactly",
    "pad_to_sequence_len": "there is no padding to choose", "group_by_length": "there is no padding to save",
    "eval_sample_packing": "there is no padding to choose", "flash_attention": "the attention is chosen by the machine",
    "xformers": "the attention is chosen by the machine", "sdp_": "the attention is chosen by the machine",
    "deepspeed": "one device", "fsdp": "one device", "ddp": "one device", "wandb": "runs are kept below .metier/runs",
    "mlflow": "runs are kept below .metier/runs", "comet": "runs are kept below .metier/runs",
    "output_dir": "runs are kept below .metier/runs", "hub_": "nothing is uploaded",
    "dataset_prepared_path": "snapshots are kept below .metier/snapshots", "logging_steps": "every step is logged",
    "save": "checkpoints go by train.checkpoint_every", "eval": "the number of measurements is train.checks",
    "warmup_steps": "the warm-up is a share of all steps: train.schedule.warmup", "tf32": "always off, for exactness",
    "fp16": "precisions are float32 and bfloat16: model.precision", "special_tokens": "the base's tokenizer decides",
    "tokens": "the base's tokenizer decides", "tokenizer": "the base's own",
    "model_type": "read from the base", "trust_remote_code": "no code of a model folder runs",
    "strict": "unknown names are always refused", "lora_target_linear": "every linear layer is the default",
    "shuffle_merged_datasets": "the order is drawn from the seed", "resume_from": "the same command goes on",
    "bf16": "", "load_in": "",
}  # fmt: skip
_FORMATS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "completion": "text", "chat_template": "auto"}
_FIELDS = {"field_instruction": "instruction", "field_input": "input", "field_output": "output",
           "field_messages": "messages", "field_system": "system", "field": "text"}  # fmt: skip


def adopt(given: dict[str, Any], folder: Path, target: Path) -> Adopted:
    """Translate a configuration.

    Args:
        given: its values; taken apart.
        folder: where it stands.
        target: where the project will be.
    """
    found = Adopted()
    _method(given, found)
    _data(given, found, folder, target)
    if rl := given.pop("rl", None):
        found.take_preferences(given, "rl", rl, "rl_beta")
    found.take_rows_per_step(given, "micro_batch_size")
    betas = [number(given.pop(name, None)) for name in ("adam_beta1", "adam_beta2")]
    if all(beta is not None for beta in betas):
        found.put("adam_beta1, adam_beta2", "train.optimiser.betas", betas)
    found.take(given, _TABLE)
    found.leave_rest(given, REASONS)
    return found


def _method(given: dict[str, Any], found: Adopted) -> None:
    adapter = given.pop("adapter", None)
    four, eight = given.pop("load_in_4bit", None), given.pop("load_in_8bit", None)
    if adapter in ("lora", "qlora"):
        found.put("adapter", "model.method", "lora")
    elif adapter:
        found.leave("adapter", f"{adapter!r} has no counterpart; see model.method")
    else:
        found.put("adapter", "model.method", "full")
    if four or adapter == "qlora":
        found.put("load_in_4bit", "model.quantise", "nf4-double")
    elif eight:
        found.put("load_in_8bit", "model.quantise", "int8")
    precision = given.pop("bf16", None)
    if isinstance(precision, bool):
        found.put("bf16", "model.precision", "bfloat16" if precision else "float32")


def _data(given: dict[str, Any], found: Adopted, folder: Path, target: Path) -> None:
    entries = [entry for entry in given.pop("datasets", None) or () if isinstance(entry, dict)]
    sources = []
    for number_, entry in enumerate(entries, 1):
        where = f"datasets[{number_}]"
        shape = _shape(entry, where, found)
        sources += [(name, shape) for name in _sources(entry, where, found, folder, target)]
    found.put_sources("datasets", sources)
    for number_, entry in enumerate(given.pop("test_datasets", None) or (), 1):
        tests = _sources(entry, f"test_datasets[{number_}]", found, folder, target) if isinstance(entry, dict) else []
        if tests and number_ == 1 and len(tests) == 1:
            found.put("test_datasets", "data.test", tests[0])
        else:
            found.leave(f"test_datasets[{number_}]", "one file or data set is the test")


def _sources(entry: Mapping[str, Any], where: str, found: Adopted, folder: Path, target: Path) -> list[str]:
    files = entry.get("data_files")
    names = files if isinstance(files, list) else [files] if files else [entry.get("path")]
    sources = []
    for name in names:
        if not isinstance(name, str):
            found.leave(where, "no path")
        elif (place := place_of(name, folder, target)) is not None:
            sources.append(place)
        elif name.count("/") == 1 and not name.startswith((".", "/")) and not files and not _is_file(name):
            split, bracket, _ = str(entry.get("split") or "").partition("[")
            sources.append(hub_name(name, entry.get("name"), split))
            if bracket:
                found.leave(f"{where}.split", "splits are taken whole; prepare.max_rows takes a part of the rows")
        else:
            sources.append(name)
            found.leave(f"{where}.path", f"{name!r} is not beside the configuration; mend it in metier.yaml")
    return sources


def _is_file(name: str) -> bool:
    """Tell a file that is missing from a data set of the hub, whose name may hold a full stop, too."""
    return name.lower().endswith((".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst"))


def _shape(entry: Mapping[str, Any], where: str, found: Adopted) -> dict[str, Any]:
    kind = entry.get("type")
    fields = kind if isinstance(kind, dict) else entry
    columns = {ours: fields[theirs] for theirs, ours in _FIELDS.items() if isinstance(fields.get(theirs), str)}
    known = {"path", "type", "split", "data_files", "name", "ds_type", *_FIELDS}
    for name in entry.keys() - known:
        found.leave(f"{where}.{name}", REASONS.get(name, "rows are rendered by the base's template"))
    format_ = _FORMATS.get(str(kind).partition(".")[0], "auto") if isinstance(kind, str) else "auto"
    if isinstance(kind, str) and format_ == "auto" and kind != "chat_template":
        found.leave(f"{where}.type", f"{kind!r}: the format is recognised from the rows and printed")
    shape: dict[str, Any] = {} if format_ == "auto" else {"format": format_}
    return shape | ({"columns": columns} if columns else {})
