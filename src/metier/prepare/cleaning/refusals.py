"""Finds answers that refuse, or that call themselves a machine: residue of the assistant that once wrote them."""

import re

RESIDUE = "answer calls itself an AI"
REFUSAL = "answer refuses"

_MACHINE = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|machine learning model)\b"
    r"|\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial intelligence|(?:large )?language model|chatbot)\b"
    r"|\bmy (?:knowledge|training) (?:cut-?off|data (?:only )?(?:goes|extends))"
    r"|\b(?:chatgpt|openai|anthropic)\b"
    r"|\bals (?:ki|künstliche intelligenz|sprachmodell)\b"
    r"|\ben tant qu(?:e |')(?:ia|intelligence artificielle|modèle de langage)\b"
    r"|\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"(?:\W*(?:i'?m |i am )?(?:very |so |really |deeply )?(?:sorry|afraid|apologi[sz]e)\b[^.\n]{0,60}?)?"
    r"\W*(?:but |however,? )?(?:unfortunately,? )?i(?:'m| am)? "
    r"(?:(?:can'?t|cannot|can not|could not|couldn't|won't|will not|not able to|unable to|not comfortable)(?: \w+)?"
    r" (?:assist|help|provid|answer|fulfil|comply|do that|creat|generat|discuss|respond|engag|participat|complet"
    r"|support|offer|shar|writ)|(?:must|have to) decline)"
    r"|\W*(?:es )?tut mir leid,? (?:aber )?(?:ich|dabei) (?:kann|darf)\b[^.\n]{0,60}\bnicht"
    r"|\W*(?:je suis )?désolée?,? (?:mais )?je ne (?:peux|suis)"
    r"|\W*lo siento,? (?:pero )?no puedo",
    re.IGNORECASE,
)
_NEEDED = (
    " ai", "artificial intelligence", "language model", "machine learning model", "chatbot", "my knowledge",
    "my training", "chatgpt", "openai", "anthropic", "als ki", "als k\u00fcnstliche", "als sprachmodell",
    "en tant qu", "como ",
)  # fmt: skip
"""Every way of calling oneself a machine holds one of these, in any case."""

_OTHER_CASES = re.compile("[\u0130\u0131\u017f\u212a]")
"""Letters that a regex takes for i, s and k in another case, and `lower` does not."""

_OPENING = 240
"""Characters at the start in which a refusal is said."""


def found(answer: str) -> str:
    """Return what is wrong with an answer, "" when nothing is."""
    if not answer.isascii():
        answer = answer.replace("’", "'")
    if _may_be_machine(answer) and _MACHINE.search(answer):
        return RESIDUE
    return REFUSAL if _REFUSES.match(answer[:_OPENING]) else ""


def _may_be_machine(answer: str) -> bool:
    """Tell whether the search for a machine's words can find anything; far cheaper than the search."""
    if not answer.isascii() and _OTHER_CASES.search(answer):
        return True
    small = answer.lower()
    return any(word in small for word in _NEEDED)
