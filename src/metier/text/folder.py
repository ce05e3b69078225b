"""Reads what a base folder says about its text, key by allowed key: nothing in it can name code, a path or a class."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core.errors import ModelError

_LARGEST_CONFIG_BYTES = 32 << 20
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "max_sequence_length")
_TOOL_TEMPLATE = "additional_chat_templates/tool_use.jinja"
"""Where a folder keeps the template for conversations with functions, beside `chat_template.jinja`."""
_NAMES = ("default", "tool_use")
_LAST_LINE_END = re.compile(r"(\r\n|\r|\n)\Z")
_NO_LIMIT = 10**8
"""`model_max_length` above this is the libraries' way of writing "unknown"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """What the small JSON files of a base say about text. Token entries are strings, ids are ids, None = not said.

    `named_tokens` maps "bos_token", "image_token"… to strings; `control_tokens` are all strings the files call
    special; `stop_ids` are the end-of-sequence ids a server would stop at, in the order of the files. `nameless` are
    the names that are said to be none, as `bos_token: null`.
    """

    named_tokens: Mapping[str, str]
    nameless: frozenset[str]
    control_tokens: tuple[str, ...]
    ids: Mapping[str, int]
    stop_ids: tuple[int, ...]
    context: int | None
    adds_bos: bool
    chat_template: str | None


def read(folder: Path) -> FolderFacts:
    """Read tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json, chat_template.jinja.

    All are optional; unknown keys (`auto_map`, implementation names, paths) are not looked at.

    Raises:
        ModelError: a file is there but is not a JSON object, or is larger than 32 MiB.
    """
    tokenizer = _object(folder / "tokenizer_config.json")
    special = _object(folder / "special_tokens_map.json")
    generation = _object(folder / "generation_config.json")
    model = _object(folder / "config.json")
    inner = model.get("text_config") if isinstance(model.get("text_config"), dict) else {}
    named = _named_tokens(special) | _named_tokens(tokenizer)
    return FolderFacts(
        named_tokens=named,
        nameless=frozenset(name for name, value in tokenizer.items() if name.endswith("_token") and value is None)
        - named.keys(),
        control_tokens=tuple(dict.fromkeys([*named.values(), *_listed_tokens(special), *_listed_tokens(tokenizer)])),
        ids=_ids(generation, model, inner or {}),
        stop_ids=tuple(_stops(generation) or _stops(model) or _stops(inner or {})),
        context=None if _is_adapter(folder) else _context(tokenizer, model, inner or {}),
        adds_bos=tokenizer.get("add_bos_token") is True,
        chat_template=_chat_template(folder, tokenizer),
    )


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_CONFIG_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size:,} bytes", "a configuration of at most 32 MiB")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error})", "a JSON object", "download the base again") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: a JSON {type(data).__name__}", "a JSON object", "download the base again")
    return data


def _token(value: Any) -> str | None:
    """Read a token written as a string or as an object with `content`."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def _named_tokens(data: Mapping[str, Any]) -> dict[str, str]:
    extra = data.get("extra_special_tokens")
    pairs = [*data.items(), *(extra.items() if isinstance(extra, dict) else ())]
    return {name: token for name, value in pairs if name.endswith("_token") and (token := _token(value))}


def _listed_tokens(data: Mapping[str, Any]) -> list[str]:
    listed: list[Any] = []
    for name in ("additional_special_tokens", "extra_special_tokens"):
        listed += data[name] if isinstance(data.get(name), list) else []
    decoder = data.get("added_tokens_decoder")
    entries: Iterable[Any] = decoder.values() if isinstance(decoder, dict) else ()
    listed += [entry for entry in entries if isinstance(entry, dict) and entry.get("special") is True]
    return [token for value in listed if (token := _token(value))]


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _ids(*sources: Mapping[str, Any]) -> dict[str, int]:
    """Take each of the bos, eos and pad ids from the first file that gives one number; else from the first list."""
    found: dict[str, int] = {}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        values = [source.get(name) for source in sources]
        firsts = [value[0] for value in values if isinstance(value, list) and value]
        numbers = [number for value in (*values, *firsts) if (number := _integer(value)) is not None]
        if numbers:
            found[name] = numbers[0]
    return found


def _stops(data: Mapping[str, Any]) -> list[int]:
    value = data.get("eos_token_id")
    return [
        number for entry in (value if isinstance(value, list) else [value]) if (number := _integer(entry)) is not None
    ]


def _is_adapter(folder: Path) -> bool:
    """Tell an adapter's folder, which has a tokenizer and no configuration: how much is read at most is its base's."""
    return any((folder / name).is_file() for name in ("adapter_config.json", "bottleneck.json"))


def _context(tokenizer: Mapping[str, Any], *models: Mapping[str, Any]) -> int | None:
    for model in models:
        for name in _CONTEXT_KEYS:
            if (number := _integer(model.get(name))) is not None:
                return number
    length = _integer(tokenizer.get("model_max_length"))
    return length if length is not None and length < _NO_LIMIT else None


def _chat_template(folder: Path, tokenizer: Mapping[str, Any]) -> str | None:
    """Return the template file if there is one, else the entry of the tokenizer's configuration.

    Of several it is the default one, joined with the one that the library takes where there are functions.
    """
    usual = _template_file(folder / "chat_template.jinja")
    if usual is not None:
        return _either(usual, _template_file(folder / _TOOL_TEMPLATE))
    entry = tokenizer.get("chat_template", _object(folder / "chat_template.json").get("chat_template"))
    if isinstance(entry, list):
        named = {item.get("name"): item.get("template") for item in entry if isinstance(item, dict)}
        usual, with_tools = (text if isinstance(text := named.get(name), str) else None for name in _NAMES)
        return None if usual is None else _either(usual, with_tools)
    return entry if isinstance(entry, str) else None


def _template_file(path: Path) -> str | None:
    if not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_CONFIG_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size:,} bytes", "a template of at most 32 MiB")
    try:
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ModelError(f"{path}: not UTF-8 ({error})", "a Jinja template") from error


def _either(usual: str, with_tools: str | None) -> str:
    """Return one template that writes conversations with functions by another one.

    Jinja takes the line end behind `if` and `else` off, so that either begins a line as it does alone; the signs keep
    it from taking white space off where they end. The last line end of a template is taken off alone, too.
    """
    if with_tools is None or with_tools == usual:
        return usual
    usual, with_tools = (_LAST_LINE_END.sub("", text) for text in (usual, with_tools))
    return f"{{% if tools %}}\n{with_tools}{{%+ else %}}\n{usual}{{%+ endif %}}"
