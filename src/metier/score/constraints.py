"""Instructions whose following a program can check, by the names that IFEval gave them (J. Zhou et al. 2023).

Written anew from the instructions' wording; where a library would decide (language, sentences), a rule of our own does.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from metier.core import extras
from metier.score import style

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_FENCE = re.compile(r"^```(?:json|Json|JSON)?|```$")
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def follows(kind: str, answer: str, arguments: Arguments) -> bool:
    """Tell whether an answer follows one instruction; an empty answer follows none.

    Args:
        kind: one of `KINDS`.
        answer: what the model said.
        arguments: the instruction's own, as IFEval's `kwargs`; what is null counts as left out.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    return bool(answer.strip()) and KINDS[kind](answer, given)


def follows_loosely(kind: str, answer: str, arguments: Arguments) -> bool:
    """Tell the same of an answer without its first line, its last line, both, or the stars of Markdown."""
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return any(follows(kind, text, arguments) for text in (*cut, *(text.replace("*", "") for text in cut)))


def _related(count: int, arguments: Arguments, limit: str, relation: str = "relation") -> bool:
    wanted = int(arguments[limit])
    return count < wanted if arguments.get(relation, "at least") == "less than" else count >= wanted


def _paragraphs(answer: str, arguments: Arguments) -> bool:
    """Tell whether paragraphs divided by *** are as many as wanted, none of them empty but at the ends."""
    parts = re.split(r"\s?\*\*\*\s?", answer)
    inner = parts[1:-1] if len(parts) > 2 else []
    full = [part for part in parts if part.strip()]
    return all(part.strip() for part in inner) and len(full) == int(arguments["num_paragraphs"])


def _first_word(answer: str, arguments: Arguments) -> bool:
    parts = re.split(r"\n\n", answer)
    count = sum(bool(part.strip()) for part in parts)
    number = int(arguments["nth_paragraph"])
    if count != int(arguments["num_paragraphs"]) or not 0 < number <= count or not parts[number - 1].strip():
        return False
    first = parts[number - 1].split()[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", first)[0].lower() == str(arguments["first_word"]).lower()


def _two(answer: str, arguments: Arguments) -> bool:
    parts = answer.split("******")
    full = [part.strip() for part in parts if part.strip()]
    return all(part.strip() for part in parts[1:-1]) and len(full) == 2 and full[0] != full[1]


def _postscript(answer: str, arguments: Arguments) -> bool:
    marker = str(arguments["postscript_marker"])
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(known.get(marker, marker.lower()), answer.lower()) is not None


def _json(answer: str, arguments: Arguments) -> bool:
    plain = answer.strip()
    for _ in range(2):
        plain = _FENCE.sub("", plain, count=1).strip()
    try:
        json.loads(plain)
    except (ValueError, RecursionError):
        return False
    return True


def _language(answer: str, arguments: Arguments) -> bool:
    return _detected(answer) in (str(arguments["language"]), None)


def _detected(text: str) -> str | None:
    """Return the language of a text by langdetect, the same every time; None where it has no letters to go by."""
    library = extras.load("langdetect", "judge")
    library.DetectorFactory.seed = 0
    try:
        return str(library.detect(text))
    except library.LangDetectException:
        return None


def _highlights(answer: str, arguments: Arguments) -> bool:
    single = [found for found in re.findall(r"\*[^\n\*]*\*", answer) if found.strip("*").strip()]
    double = [found for found in re.findall(r"\*\*([^\n\*]*)\*\*", answer) if found.strip()]
    return len(single) + len(double) >= int(arguments["num_highlights"])


def _bullets(answer: str, arguments: Arguments) -> bool:
    stars, dashes = (re.findall(sign, answer, re.MULTILINE) for sign in (r"^\s*\*[^\*].*$", r"^\s*-.*$"))
    return len(stars) + len(dashes) == int(arguments["num_bullets"])


_CLITIC = re.compile(r"(?<=[^'\s])('(?:[sSmMdD]|ll|LL|re|RE|ve|VE)|[nN]'[tT])(?=[\s.,;:!?()\[\]{}<>\"”]|$)")
"""Endings that count as words of their own, as in the Penn Treebank: PLAYBOY'S are two."""


def _capitals(answer: str, arguments: Arguments) -> bool:
    apart = _CLITIC.sub(r" \1", answer.replace("--", " "))
    words = re.findall(r"[^\s,;:!?()\[\]{}<>\"“”@#$%&]+", apart)
    return _related(sum(word.isupper() for word in words), arguments, "capital_frequency", "capital_relation")


KINDS: dict[str, Check] = {
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda text, _: text.isupper() and _detected(text) in ("en", None),
    "change_case:english_lowercase": lambda text, _: text.islower() and _detected(text) in ("en", None),
    "combination:repeat_prompt": lambda text, a: (
        text.strip().lower().startswith(str(a["prompt_to_repeat"]).strip().lower())
    ),
    "combination:two_responses": _two,
    "detectable_content:number_placeholders": lambda text, a: (
        len(re.findall(r"\[.*?\]", text)) >= int(a["num_placeholders"])
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": lambda text, _: any(choice in text for choice in _CHOICES),
    "detectable_format:json_format": _json,
    "detectable_format:multiple_sections": lambda text, a: (
        len(re.split(r"\s?" + str(a["section_spliter"]) + r"\s?\d+\s?", text)) > int(a["num_sections"])
    ),
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": lambda text, _: any(
        title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text)
    ),
    "keywords:existence": lambda text, a: all(re.search(word, text, re.IGNORECASE) for word in a["keywords"]),
    "keywords:forbidden_words": lambda text, a: (
        not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in a["forbidden_words"])
    ),
    "keywords:frequency": lambda text, a: _related(
        len(re.findall(str(a["keyword"]), text, re.IGNORECASE)), a, "frequency"
    ),
    "keywords:letter_frequency": lambda text, a: _related(
        text.lower().count(str(a["letter"]).lower()), a, "let_frequency", "let_relation"
    ),
    "language:response_language": _language,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": lambda text, a: _related(style.sentences(text), a, "num_sentences"),
    "length_constraints:number_words": lambda text, a: _related(len(re.findall(r"\w+", text)), a, "num_words"),
    "punctuation:no_comma": lambda text, _: "," not in text,
    "startend:end_checker": lambda text, a: (
        text.strip().strip('"').lower().endswith(str(a["end_phrase"]).strip().lower())
    ),
    "startend:quotation": lambda text, _: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
}
"""Name of an instruction -> whether an answer follows it."""
