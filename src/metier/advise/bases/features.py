"""Whether every feature here works with a base's architecture: tried on a small random model of it, not guessed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core import extras, seeds
from metier.core.errors import MetierError
from metier.engine.attend import in_slots
from metier.engine.mixture import Mixture
from metier.engine.way import together
from metier.forest.way import probe
from metier.model.adapt import adapt
from metier.model.configuration import read_config
from metier.model.find import Base
from metier.model.quantise.freeze import int8_is_exact
from metier.model.quantise.int8 import LEAST_FEATURES
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.settings import ModelSettings
from metier.model.shapes import outline

Word = Literal["yes", "fallback", "no", "not measured"]

_MOST_NUMBERS = 3e8
"""Numbers in the largest model that is built to be tried."""
_VOCABULARY = 256
_LOUD = 0.1
"""Spread of the random weights: with the usual 0.02 a leak between rows would be too small to be seen."""
_LEAST_REACH = 0.5
"""Share of the weights outside the embeddings that LoRA must reach to count as more than a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One thing that this program does, and what becomes of it with a base."""

    name: str
    word: Word
    says: str


def features(base: Base) -> tuple[Feature, ...]:
    """Try every feature on a base's architecture. Weights are not read."""
    small = _miniature(base.folder)
    if isinstance(small, str):
        tried = [Feature(name=name, word="not measured", says=small) for name in ("forest", "serving")]
    else:
        tried = [_forest(small), _serving(small)]
    return (*tried, *_adapters(base))


def _miniature(folder: Path) -> PreTrainedModel | str:
    """Build a random model of the same architecture with few layers and few tokens, or say why there is none."""
    try:
        config = read_config(folder)
    except MetierError as error:
        return f"its configuration cannot be read ({error.found.rpartition('/')[2]})"
    text = config.get_text_config(decoder=True)
    _shorten(text)
    torch.manual_seed(seeds.key("miniature"))
    try:
        with quiet():
            with torch.device("meta"):
                count = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
            if count > _MOST_NUMBERS:
                return f"two layers of it are {count / 1e6:,.0f} million numbers: too large to be tried here"
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    except LIBRARY_FAULTS as error:
        return f"no small model of it can be built ({type(error).__name__})"


def _shorten(config: PreTrainedConfig) -> None:
    """Cut a configuration to the fewest layers that show every kind of layer it has, and to few tokens."""
    values = config.to_dict()
    layers = int(values.get(config.attribute_map.get("num_hidden_layers", "num_hidden_layers")) or 2)
    kinds: Sequence[str] = values.get("layer_types") or []
    few = max([2, *(kinds.index(kind) + 1 for kind in set(kinds))])
    for name, value in values.items():
        if isinstance(value, list) and len(value) == layers and few < layers:
            setattr(config, name, value[:few])
    config.num_hidden_layers = min(few, layers)
    config.vocab_size = min(config.vocab_size, _VOCABULARY)
    config.pad_token_id = None
    if "initializer_range" in values:
        config.initializer_range = _LOUD


def _forest(model: PreTrainedModel) -> Feature:
    """Try whether rows can share their beginnings in one call."""
    try:
        way = probe(model)
    except LIBRARY_FAULTS as error:
        return Feature(name="forest", word="no", says=f"a trial failed ({type(error).__name__})")
    if way.packed:
        return Feature(name="forest", word="yes", says="beginnings that rows share are computed once")
    why = way.reason or "packed together, its rows would see each other"
    return Feature(name="forest", word="fallback", says=f"row by row: {why}")


def _serving(model: PreTrainedModel) -> Feature:
    """Try whether many answers can be written in one call."""
    try:
        with in_slots(model):
            way = together(model, most=2, mixture=Mixture())
    except LIBRARY_FAULTS as error:
        way = f"its attention cannot be replaced ({type(error).__name__})"
    if isinstance(way, str):
        return Feature(name="serving", word="fallback", says=f"answers one by one: {way}")
    return Feature(name="serving", word="yes", says="many answers and adapters in one call")


def _adapters(base: Base) -> list[Feature]:
    """Look which layers LoRA gets and which can be put into fewer bits."""
    try:
        model = outline(base.folder)
        linear = _linear(model)
        names = sorted({name.rpartition(".")[2] for name in linear})
        kept = {id(weight) for part in (model.get_input_embeddings(), model.get_output_embeddings())
                if part is not None for weight in part.parameters()}  # fmt: skip
        body = sum(weight.numel() for weight in model.parameters() if id(weight) not in kept) or 1
        held = sum(linear.values())
        adapt(model, base, "lora", ModelSettings(), seed=0)
    except (MetierError, *LIBRARY_FAULTS) as error:
        says = f"no adapters can be put into it ({str(error)[:100]})"
        return [Feature(name="LoRA", word="no", says=says), Feature(name="few bits", word="no", says="needs LoRA")]
    reach = held / body
    word: Word = "yes" if reach >= _LEAST_REACH else "fallback"
    says = f"{', '.join(names)}: {100 * reach:.0f} % of the weights outside the embeddings"
    return [Feature(name="LoRA", word=word, says=says), _few_bits(reach)]


def _linear(model: PreTrainedModel) -> dict[str, int]:
    """Return the numbers of each linear layer that an adapter can stand beside."""
    head = model.get_output_embeddings()
    return {
        name: module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
        and min(module.weight.shape) >= LEAST_FEATURES
    }  # fmt: skip


def _few_bits(reach: float) -> Feature:
    """Say in which number formats the frozen base can stand here."""
    kinds = []
    if not torch.cuda.is_available():
        kinds.append("int8" if int8_is_exact(torch._int_mm) else "")
    absent = extras.missing("qlora")
    kinds.append("" if absent else "nf4")
    there = ", ".join(kind for kind in kinds if kind)
    lacking = f"; nf4 needs {extras.install_line('qlora')}" if absent else ""
    if not there:
        return Feature(name="few bits", word="no", says=f"no format works on this machine{lacking}")
    word: Word = "yes" if reach >= _LEAST_REACH else "fallback"
    return Feature(name="few bits", word=word, says=f"{there}{lacking}")
