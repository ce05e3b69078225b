"""Fold an adapter into its base: one plain model that needs no adapter any more."""

from pathlib import Path

import torch
from peft import PeftModel

from metier.core import artefact
from metier.core.errors import ModelError
from metier.model.adapter import why_unmergeable
from metier.model.find import Base
from metier.model.load import load_tuned
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.save import copy_tokenizer, save_whole
from metier.text import targets


def merge(base: Base, model_folder: Path, out: Path) -> Path:
    """Merge a run's trained weights into a plain Hugging Face model and publish it at `out`.

    The base is loaded afresh in float32, so that nothing is merged into rounded weights, also when the adapter was
    trained beside a quantised base: rounding the sum again would cost more than the difference between the two bases.
    A run that trained whole weights has nothing to fold: the same weights are written in the same plain form.

    Raises:
        ModelError: base and adapter do not belong together, or what was trained is in no weight of the base.
    """
    if reason := why_unmergeable(model_folder):
        raise ModelError(f"{model_folder}: cannot be merged: {reason}", "", "serve it on its base")
    model: torch.nn.Module = load_tuned(base, model_folder, device=torch.device("cpu"), exact_base=True)
    if isinstance(model, PeftModel):
        try:
            model = model.merge_and_unload(safe_merge=True)
        except LIBRARY_FAULTS as error:
            raise ModelError(f"{model_folder}: cannot be merged ({error})", "an adapter of finite numbers") from error
    with artefact.publish(
        out, kind="model", facts={"base": base.name, "base_digest": base.digest, "merged": True}
    ) as folder:
        save_whole(model, folder)
        copy_tokenizer(model_folder, folder)
        if (head := targets.read(model_folder)) is not None:
            targets.write(head, folder)
    return out
