"""LLaMA-Factory's YAML, with the data sets registered in its dataset_info.json, as a project."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.cli.adopt import axolotl
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
from metier.core.errors import InputError

_TABLE: Mapping[str, tuple[str, Convert]] = {
    **COMMON,
    "model_name_or_path": ("base", as_is),
    "cutoff_len": ("text.max_tokens", count),
    "val_size": ("prepare.validation_share", share),
    "max_samples": ("prepare.max_rows", count),
    "finetuning_type": ("model.method", one_of({"lora": "lora", "full": "full", "freeze": "layers"})),
    "quantization_bit": ("model.quantise", one_of({"4": "nf4-double", "8": "int8"})),
    "lora_rank": ("model.rank", count),
    "use_dora": ("model.lora.dora", as_is),
    "use_rslora": ("model.lora.rslora", as_is),
    "pissa_init": ("model.lora.init", lambda value: "pissa" if value else None),
    "num_train_epochs": ("train.epochs", number),
    "lr_scheduler_type": ("train.schedule.shape", one_of(SHAPES)),
    "optim": ("train.optimiser.name", one_of(OPTIMISERS)),
    "default_system": ("text.system", as_is),
}
_REASONS: Mapping[str, str] = {
    "template": "the base's own template is used and proven on the rows; text.template names another",
    "do_": "the commands are train and evaluate", "packing": "rows share their beginnings in one forest, which packs",
    "neat_packing": "rows share their beginnings in one forest, which packs", 
    "report_to": "runs are kept in .metier/runs",
    "preprocessing": "rendering needs no workers", "dataloader": "rendering needs no workers",
    "plot_loss": "always",
    "overwrite": "nothing is overwritten", "per_device_eval": "sizes are chosen by the machine",
    "train_on_prompt": "only answers are learnt", "mask_history": "weight: 0 on a turn leaves it out",
    "flash_attn": "the attention is chosen by the machine", **axolotl.REASONS,
}  # fmt: skip
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    "sharegpt": {"messages": "conversations", "system": "system", "tools": "tools"},
    "chat": {"messages": "messages", "tools": "tools"},
    "preference": {"prompt": "prompt", "query": "context", "chosen": "chosen", "rejected": "rejected"},
}


def adopt(given: dict[str, Any], folder: Path, target: Path) -> Adopted:
    """Translate a configuration and the data sets that it names; see `axolotl.adopt`."""
    found = Adopted()
    stage = given.pop("stage", "sft")
    if stage == "dpo":
        found.take_preferences(given, "stage", given.pop("pref_loss", None) or "sigmoid", "pref_beta")
    elif stage not in ("sft", "pt"):
        found.leave("stage", f"{stage!r} has no counterpart; see train.objective")
    wanted = given.pop("lora_target", None)
    if isinstance(wanted, str) and wanted != "all":
        found.put("lora_target", "model.targets", [name.strip() for name in wanted.split(",")])
    found.take_rows_per_step(given, "per_device_train_batch_size")
    precision = given.pop("bf16", None)
    if precision is True:
        found.put("bf16", "model.precision", "bfloat16")
    _data(given, found, folder, target)
    found.take(given, _TABLE)
    found.leave_rest(given, _REASONS)
    return found


def _data(given: dict[str, Any], found: Adopted, folder: Path, target: Path) -> None:
    place = str(given.pop("dataset_dir", "data"))
    data = next((root / place for root in (folder, Path.cwd()) if (root / place / "dataset_info.json").is_file()), None)
    known = _registered(data / "dataset_info.json") if data is not None else {}
    train = []
    for name in _names(given.pop("dataset", None)):
        entry = known.get(name)
        if entry is None:
            found.leave(f"dataset {name}", f"not in a dataset_info.json below {folder}")
            continue
        train.append((_source(entry, name, found, data or folder, target), _shape(entry, name, found)))
    found.put_sources("dataset", train)
    tests = [name for name in _names(given.pop("eval_dataset", None)) if name in known]
    if tests:
        found.put("eval_dataset", "data.test", _source(known[tests[0]], tests[0], found, data or folder, target))


def _registered(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})", "the JSON in which data sets are registered") from error
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(name) for name in value]
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else []


def _source(entry: Mapping[str, Any], name: str, found: Adopted, folder: Path, target: Path) -> str:
    if isinstance(file := entry.get("file_name"), str):
        place = place_of(file, folder, target)
        if place is None:
            found.leave(f"{name}.file_name", f"{file!r} is not beside dataset_info.json; mend it in metier.yaml")
        return place or file
    if isinstance(hub := entry.get("hf_hub_url"), str):
        return hub_name(hub, entry.get("subset"), entry.get("split"))
    found.leave(name, "neither a file nor on the Hugging Face hub")
    return name


def _shape(entry: Mapping[str, Any], name: str, found: Adopted) -> dict[str, Any]:
    tags: Any = entry.get("tags") if isinstance(entry.get("tags"), dict) else {}
    format_ = {"sharegpt": "sharegpt", "openai": "chat"}.get(str(entry.get("formatting", "alpaca")), "alpaca")
    if format_ == "sharegpt" and tags.get("role_tag") == "role" and tags.get("content_tag") == "content":
        format_ = "chat"
    elif tags.keys() & {"role_tag", "content_tag"} and format_ == "sharegpt":
        found.leave(f"{name}.tags", "turns have from and value, or role and content")
    if entry.get("ranking"):
        format_ = "preference"
    given: Any = entry.get("columns") if isinstance(entry.get("columns"), dict) else {}
    columns = {ours: given[theirs] for theirs, ours in _COLUMNS[format_].items() if isinstance(given.get(theirs), str)}
    for theirs in given.keys() - _COLUMNS[format_].keys():
        found.leave(f"{name}.columns.{theirs}", "no counterpart")
    return {"format": format_} | ({"columns": columns} if columns else {})
