"""Fold an adapter into its base: one plain model that needs no adapter any more."""

from pathlib import Path

import torch
from peft import PeftModel

from metier.core import artefact
from metier.core.errors import ModelError
from metier.model.adapter import why_unmergeable
from metier.model.find import Base
from metier.model.load import load_tuned
from metier.model.quantise.freeze import dequantise
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.save import copy_tokenizer, save_whole
from metier.text import targets


def merge(base: Base, model_folder: Path, out: Path, *, dequantised: bool = False, shard_gb: float = 5.0) -> Path:
    """Merge a run's trained weights into a plain Hugging Face model and publish it at `out`.

    The base is loaded afresh in float32, and the sum is never rounded again. A run that trained whole weights has
    nothing to fold: the same weights are written in the same plain form.

    Args:
        base: that it was trained on.
        model_folder: as published by the run.
        out: the artefact to make.
        dequantised: fold into the base as it counted beside the adapter, rounded and written out again, rather than
            into the original one. The same where the base was not quantised.
        shard_gb: largest file of the weights, in gigabytes.

    Raises:
        ModelError: base and adapter do not belong together, or what was trained is in no weight of the base.
    """
    if reason := why_unmergeable(model_folder):
        raise ModelError(f"{model_folder}: cannot be merged: {reason}", "", "serve it on its base")
    here = torch.device("cpu")
    model: torch.nn.Module = load_tuned(base, model_folder, device=here, exact_base=not dequantised)
    dequantise(model)
    if isinstance(model, PeftModel):
        try:
            model = model.merge_and_unload(safe_merge=True)
        except LIBRARY_FAULTS as error:
            raise ModelError(f"{model_folder}: cannot be merged ({error})", "an adapter of finite numbers") from error
    with artefact.publish(
        out, kind="model", facts={"base": base.name, "base_digest": base.digest, "merged": True}
    ) as folder:
        save_whole(model, folder, shard_gb=shard_gb)
        copy_tokenizer(model_folder, folder)
        if (head := targets.read(model_folder)) is not None:
            targets.write(head, folder)
    return out
