"""Finds and cuts what mail programs add to what somebody asks: quoted history, signatures, disclaimers."""

import re

REASON = "mail signature or quoted history"

_HISTORY = re.compile(
    r"^[ \t>*]*(?:"
    r"-{2,}\s*(?:original message|forwarded message|ursprüngliche nachricht|message d'origine|mensaje original)\s*-{2,}"
    r"|on [^\n]{6,200}\bwrote:"
    r"|am [^\n]{6,200}\bschrieb[^\n]{0,100}:"
    r"|le [^\n]{6,200}\ba écrit\s?:"
    r"|el [^\n]{6,200}\bescribió:"
    r"|(?:from|von|de): [^\n]+\n[ \t>*]*(?:sent|date|to|gesendet|datum|an|envoyé|enviado|para|à): [^\n]+"
    r")",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED_END = re.compile(r"(?:^[ \t]*>[^\n]*(?:\n|\Z))+\s*\Z", re.MULTILINE)
_SIGNATURE = re.compile(
    r"^(?:--[ \t]*$"
    r"|sent from (?:my|outlook|mail|yahoo)\b[^\n]{0,60}$"
    r"|get outlook for\b[^\n]{0,40}$"
    r"|von meinem [^\n]{2,40} gesendet\.?$"
    r"|envoyé de mon [^\n]{2,40}$"
    r"|enviado desde mi [^\n]{2,40}$)",
    re.IGNORECASE | re.MULTILINE,
)
_FAREWELL = re.compile(
    r"^(?:(?:with )?(?:best|kind|warm|many)(?: regards| wishes| thanks)|regards|sincerely(?: yours)?"
    r"|yours (?:sincerely|faithfully|truly)"
    r"|mit freundlichen grüßen|viele grüße|beste grüße|cordialement|bien à vous|saludos(?: cordiales)?|atentamente)"
    r"[ \t]*[,.!]?[ \t]*\n",
    re.IGNORECASE | re.MULTILINE,
)
_DISCLAIMER = re.compile(
    r"^[^\n]*\b(?:this (?:e-?mail|message|communication)\b[^\n]{0,120}"
    r"\b(?:confidential|privileged|intended (?:solely|only))"
    r"|diese (?:e-?mail|nachricht)\b[^\n]{0,120}\bvertraulich"
    r"|please consider the environment before printing)[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_MOST_LINES_OF_SIGNATURE = 8
_MOST_CHARACTERS_OF_LINE = 80


def without(text: str) -> str:
    """Return what was written for this mail alone; a text that would lose everything stays as it is."""
    if "\n" not in text.strip():
        return text
    kept = text
    for mark in (_HISTORY, _SIGNATURE):
        found = mark.search(kept)
        if found is not None and kept[: found.start()].strip():
            kept = kept[: found.start()]
    quoted = _QUOTED_END.search(kept)
    if quoted is not None and kept[: quoted.start()].strip():
        kept = kept[: quoted.start()]
    kept = _without_farewell(_DISCLAIMER.sub("", kept))
    return kept.rstrip() if kept.strip() and kept != text else text


def _without_farewell(text: str) -> str:
    """Cut a farewell with the short lines below it: a name, a job, a number."""
    for found in _FAREWELL.finditer(text):
        below = [line for line in text[found.end() :].splitlines() if line.strip()]
        short = all(len(line) <= _MOST_CHARACTERS_OF_LINE for line in below)
        if short and len(below) <= _MOST_LINES_OF_SIGNATURE and text[: found.start()].strip():
            return text[: found.start()]
    return text
