"""The metier.yaml that follows from an advice, with a comment that says why."""

from collections.abc import Mapping
from typing import Any

from metier.advise.decide import Choice
from metier.text.settings import TextSettings


def ready(values: Mapping[str, Any], choice: Choice, text: TextSettings) -> tuple[str, dict[str, Any]]:
    """Return a comment and the settings of the project, changed where the advice says so.

    Args:
        values: metier.yaml as it stands.
        choice: what to do.
        text: the project's text settings; an instruction is added to its system turn.
    """
    way, settings = choice.chosen, dict(values)
    lines = [f"What metier advise recommends: {way.name} ({100 * way.mean:.1f} % on validation rows)."]
    if way.tried.base is not None and way.tried.base != values.get("base"):
        settings["base"] = way.tried.base
    if way.tried.text:
        own = f"{text.system}\n\n" if text.system else ""
        settings["text"] = {**_section(values, "text"), "system": own + way.tried.text}
        lines.append(
            "The instruction stands under text.system: it is put before conversations that have no system turn."
        )
    if way.tried.family == "tuned":
        settings["model"] = {**_section(values, "model"), "method": "lora"}
        lines.append("Next: `metier run`. The quick training was short; the real one takes the usual number of epochs.")
    elif way.tried.family == "plain":
        lines.append("It needs no language model and no training; the settings below are yours, unchanged.")
    else:
        lines.append("It needs no training; `metier run` with these settings would train on top of it.")
    if choice.answer == "cannot tell":
        lines.append(f"Not settled: {choice.why}.")
    return "".join(f"# {line}\n" for line in lines), settings


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return dict(found) if isinstance(found, Mapping) else {}
