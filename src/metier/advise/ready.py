"""What follows from an advice as files: a metier.yaml with a comment that says why, and the best prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from metier.advise.decide import Choice
from metier.advise.ways import Way
from metier.text.settings import TextSettings


def ready(
    values: Mapping[str, Any], choice: Choice, text: TextSettings, *, opponents: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Return a comment and the settings of the project, changed where the advice says so.

    Args:
        values: metier.yaml as it stands.
        choice: what to do.
        text: the project's text settings; an instruction is added to its system turn.
        opponents: whom a tuned model has to beat, as `evaluate.against` names them.
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
    if way.tried.retrieved:
        lines.append("Whoever asks the model finds examples and passages for each question: no setting here does that.")
    if way.tried.family == "tuned":
        settings["model"] = {**_section(values, "model"), "method": "lora"}
        if opponents:
            section = _section(values, "evaluate")
            settings["evaluate"] = {
                **section,
                "against": [*dict.fromkeys([*(section.get("against") or []), *opponents])],
            }
        lines.append("Next: `metier run`. The quick training was short; the real one takes the usual number of epochs.")
    elif way.tried.family == "plain":
        lines.append("It needs no language model and no training; the settings below are yours, unchanged.")
    else:
        lines.append("It needs no training; `metier run` with these settings would train on top of it.")
    if choice.answer == "cannot tell":
        lines.append(f"Not settled: {choice.why}.")
    return "".join(f"# {line}\n" for line in lines), settings


def best_classifier(ways: Sequence[Way]) -> str | None:
    """Return what `metier compare` calls the best way without a language model; None: none was measured."""
    plain = [way for way in ways if way.tried.opponent is not None]
    best = max(plain, key=lambda way: (way.mean, -way.tried.effort), default=None)
    return None if best is None else best.tried.opponent


def best_prompt(ways: Sequence[Way], base: str) -> dict[str, Any] | None:
    """Return the best prompt of a base that is the same for all questions, as `metier compare prompt:FILE` reads it.

    None: no prompt with an instruction or examples was measured.
    """
    fixed = [
        way for way in ways
        if way.tried.family == "prompt" and way.tried.base == base and not way.tried.retrieved
        and (way.tried.text or way.tried.shown)
    ]  # fmt: skip
    best = max(fixed, key=lambda way: (way.mean, -way.tried.effort), default=None)
    if best is None:
        return None
    examples = [{"user": user, "assistant": assistant} for user, assistant in best.tried.shown]
    system = {"system": best.tried.text} if best.tried.text else {}
    return system | ({"examples": examples} if examples else {})


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return dict(found) if isinstance(found, Mapping) else {}
