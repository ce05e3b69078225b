"""What a base is, from its files alone: size, context, template, and whether its configuration tells the truth."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from metier.core.errors import MetierError
from metier.model.find import read_json
from metier.model.shapes import outline, sizes
from metier.text import template as templates
from metier.text.settings import TextSettings
from metier.text.template import Template, TemplateRefusal
from metier.text.tokenizer import Tokenizer

_MOST_OFF = 0.01
"""By what share the numbers in the files may differ from the configuration's: some files hold buffers, too."""

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up_order",
        "description": "Find an order by its number.",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What the files of a base say. None: not said, or not there.

    `parameters` by the configuration, `stored` by the headers of the weights, `disk` in bytes. `faults`: why it
    cannot be what it says. `chat`, `system`, `tools`: what its chat template writes; None where it has none.
    """

    architecture: str
    parameters: int | None
    layers: int | None
    context: int | None
    vocabulary: int | None
    stored: int | None
    disk: int
    faults: tuple[str, ...]
    chat: bool
    system: bool | None = None
    tools: bool | None = None


def read(folder: Path) -> Nature:
    """Read a base's folder; what cannot be read is among its faults."""
    faults: list[str] = []
    raw: dict[str, Any] = {}
    model: PreTrainedModel | None = None
    try:
        raw = read_json(folder / "config.json")
        model = outline(folder)
    except MetierError as error:
        faults.append(_plain(error, folder))
    stored = _stored(folder, faults)
    counted = None if model is None else sizes(model)
    if isinstance(method := raw.get("quantization_config"), Mapping):
        kind = method.get("quant_method", "unknown method")
        faults.append(f"its weights are stored in few bits already ({kind}); take the copy in full precision")
    elif model is not None and stored:
        faults += _lies(model, stored)
    tokenizer = _tokenizer(folder, faults)
    chat, system, tools = _template(tokenizer, faults)
    return Nature(
        architecture=str(raw.get("model_type", "unknown")),
        parameters=None if counted is None else counted.parameters,
        layers=None if counted is None else counted.layers,
        context=None if tokenizer is None else tokenizer.context,
        vocabulary=None if tokenizer is None else tokenizer.vocabulary,
        stored=sum(_numbers(shape) for shape in stored.values()) if stored else None,
        disk=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        faults=tuple(faults), chat=chat, system=system, tools=tools,
    )  # fmt: skip


def _plain(error: MetierError, folder: Path) -> str:
    return error.found.replace(f"{folder}/", "").replace(f"{folder}: ", "")


def _stored(folder: Path, faults: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all stored tensors by name, from the headers alone."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, path.stat().st_size)))
            found |= {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError):
            faults.append(f"{path.name}: its header is not readable")
    return found


def _numbers(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _lies(model: PreTrainedModel, stored: dict[str, tuple[int, ...]]) -> list[str]:
    """Compare the model that config.json describes with the tensors in the files."""
    described = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    wrong = [name for name, shape in stored.items() if name in described and described[name] != shape]
    if wrong:
        name = wrong[0]
        shapes = [" × ".join(map(str, shape)) for shape in (described[name], stored[name])]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return [f"config.json says {name} is {shapes[0]}, the file holds {shapes[1]}{more}"]
    total, held = sum(map(_numbers, described.values())), sum(map(_numbers, stored.values()))
    head = model.get_output_embeddings()
    tied = head.weight.numel() if isinstance(head, torch.nn.Linear) else 0
    if any(abs(held - wanted) <= _MOST_OFF * wanted for wanted in (total, total + tied)):
        return []
    return [f"config.json describes {total:,} parameters, the files hold {held:,}"]


def _tokenizer(folder: Path, faults: list[str]) -> Tokenizer | None:
    try:
        return Tokenizer.load(folder)
    except MetierError as error:
        faults.append(_plain(error, folder))
        return None


def _template(tokenizer: Tokenizer | None, faults: list[str]) -> tuple[bool, bool | None, bool | None]:
    """Tell whether there is a chat template, and whether it writes system turns and tools."""
    if tokenizer is None or tokenizer.chat_template is None:
        return False, None, None
    try:
        template, _ = templates.choose(tokenizer, TextSettings())
    except MetierError as error:
        faults.append(f"its chat template cannot be used: {error.found}")
        return False, None, None
    try:
        return True, _writes(template, "system"), _writes(template, "tools")
    except MetierError as error:
        faults.append(f"its chat template cannot be run: {error.found}")
        return False, None, None
    finally:
        template.close()


def _writes(template: Template, what: str) -> bool:
    """Render a probe and look whether what was put in comes out: a system turn, or tools with a call and its result."""
    call = {"name": "look_up_order", "arguments": {"number": "12"} if template.parsed_arguments else '{"number": "12"}'}
    asked = {"role": "user", "content": "Where is my order?"}
    if what == "system":
        messages, tools, wanted = [{"role": "system", "content": "Answer in rhyme."}, asked], None, ["Answer in rhyme."]
    else:
        calls = [{"id": "call00001", "type": "function", "function": call}]
        messages = [
            asked,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call00001", "name": "look_up_order", "content": "shipped today"},
        ]
        tools, wanted = [_TOOL], ["Find an order by its number.", "look_up_order", "shipped today"]
    try:
        text = template.render(messages, tools, generation=True)
    except TemplateRefusal:
        return False
    return all(part in text for part in wanted)
