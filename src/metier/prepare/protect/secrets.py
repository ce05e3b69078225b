"""Finds keys, tokens and passwords: by the prefixes their issuers give them, by their form, and by the word before."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from metier.prepare.protect.sieve import DIGIT, SPACE
from metier.prepare.protect.spans import Span, places

_LONG = 16
"""Keys that are known by themselves have at least this many characters without a space."""

_KNOWN = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"  # Amazon
    r"|gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_\w{22,}"  # GitHub
    r"|gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[\w.-]{20,}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}"  # Stripe
    r"|sk-(?:proj-|svcacct-|admin-|ant-(?:api|admin)\d\d-|or-v1-)?[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, OpenRouter
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{28}"  # Google
    r"|hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}"  # Hugging Face, Groq, Replicate
    r"|SG\.[\w-]{16,32}\.[\w-]{16,64}|key-[0-9a-f]{32}"  # SendGrid, Mailgun
    r"|(?:SK|AC)[0-9a-f]{32}"  # Twilio
    r"|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}|dckr_pat_[\w-]{20,}"  # package registries
    r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0(?:atp|csp)-[\w-]{22,}"  # Shopify, Square
    r"|dop_v1_[0-9a-f]{64}|hvs\.[\w-]{24,}|dapi[0-9a-f]{32}|lin_api_\w{40}|glsa_\w{32,}"  # DigitalOcean, Vault …
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"  # JSON web token
    r"|\d{8,10}:AA[\w-]{33}"  # Telegram
    r"|AGE-SECRET-KEY-1[A-Z0-9]{58}"
    r")"
)
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,64}:([^\s@/]{3,})@")
_HOOK = re.compile(
    r"https://(?:hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}|discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"
    r"|[\w.-]+\.webhook\.office\.com/\S{20,})"
)
_BLOCK = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*(?:PRIVATE KEY|PGP PRIVATE KEY BLOCK)(?: BLOCK)?-----[\s\S]*?"
    r"(?:-----END [A-Z0-9 ]+-----|\Z)"
)
_VALUE = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|key|token|credentials?)[\"']?\s*(?:(?:is|was)\s*:?|:=|[:=]{1,2}>?)\s*[\"'`]?([^\s\"'`,;<>]{4,1000})",
    re.I,
)
_VALUE_ENDS = re.compile(r"[\s\"'`,;<>]|\Z")
_BEARER = re.compile(r"\b(?:Bearer|Basic|Token)\s+([A-Za-z0-9+/=._~-]{16,})")
MAY_BE_KEY = (
    r"-----BEGIN|://|(?:^|[^A-Za-z0-9_])(?:A[KSB]IA|ACCA|gh[oprsu]_|github_pat_|gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-"
    r"|xox[abeoprs]-|xapp-|[srp]k_(?:live|test)_|whsec_|sk-|AIza|ya29\.|GOCSPX-|hf_|gsk_|r8_|SG\.|key-[0-9a-f]"
    r"|(?:SK|AC)[0-9a-f]|npm_|pypi-|dckr_pat_|shp(?:at|ca|pa|ss)_|sq0|dop_v1_|hvs\.|dapi[0-9a-f]|lin_api_|glsa_|eyJ"
    rf"|AGE-SECRET)|{DIGIT}:AA|(?:Bearer|Basic|Token){SPACE}+[A-Za-z0-9+/=._~-]{{16}}"
)
MAY_BE_NAMED = rf"(?i:pass(?:word|wd|phrase|code)|pwd|secret|key|token|credentials?)[\"']?{SPACE}*(?:(?i:is|was)|[:=])"
"""See `sieve`: how a key begins, and what stands behind a word that announces one."""

_CUES = ("pass", "pwd", "secret", "key", "token", "credential")
_NOT_A_VALUE = re.compile(
    r"(?:the|a|an|not|my|your|our|his|her|their|this|that|it|to|in|on|for|and|or|if|of|expired|invalid|wrong|required"
    r"|correct|incorrect|missing|null|none|true|false|still|been|now|very|too|also|only|string|str|reset|changed|sent"
    r"|<.*|\$\{.*|\{\{?.*|\[.*|\*+|x+|\.+|os\.\w+.*|process\.env.*|self\..*|\w+\(.*)[.!?)]*",
    re.I,
)


def keys(text: str) -> Iterator[Span]:
    """Yield keys and tokens that are known by their form, private key blocks and passwords in URLs."""
    if "-----BEGIN" in text:
        yield from (Span(match.start(), match.end(), "secret") for match in _BLOCK.finditer(text))
    words = text.split() if len(text) >= _LONG else []
    if max(map(len, words), default=0) >= _LONG:
        for word in words:
            if len(word) >= _LONG and _KNOWN.search(word):
                yield from (Span(match.start(), match.end(), "secret") for match in _KNOWN.finditer(text))
                break
        if "://" in text:
            yield from (Span(match.start(1), match.end(1), "secret") for match in _URL_PASSWORD.finditer(text))
            yield from (Span(match.start(), match.end(), "secret") for match in _HOOK.finditer(text))
        if "earer " in text or "Basic " in text or "oken " in text:
            yield from (
                Span(match.start(1), match.end(1), "secret")
                for match in _BEARER.finditer(text)
                if _looks_random(match.group(1))
            )


def named(text: str) -> Iterator[Span]:
    """Yield values that stand after a word such as `password`, `key` or `token`.

    Such a value counts when it looks like one: a digit, a sign or mixed case in it, not a word.
    """
    small = text.lower()
    if len(small) != len(text):
        small = text
    for cue in _CUES:
        end = 0
        for place in places(small, cue):
            match = _VALUE.match(text, place) if place >= end else None
            if match is None or (cue == "key" and small[place - 1 : place] not in ("_", "-", " ")):
                continue
            value = match.group(1).rstrip(".?)]}")
            if len(value) >= 4 and not _NOT_A_VALUE.fullmatch(value) and _is_value(match.group(), value):
                start, end = match.start(1), _VALUE_ENDS.search(text, match.end()).start()  # type: ignore[union-attr]
                yield Span(start, start + len(text[start:end].rstrip(".?)]}")), "secret")


def _is_value(whole: str, value: str) -> bool:
    """Tell a value from the next word of a sentence: after `=` or a quotation mark nearly anything is one."""
    if value.isalpha() and (value.islower() or value.istitle()):
        return "=" in whole and len(value) >= 6
    return any(character.isdigit() or not character.isalnum() for character in value) or _looks_random(value)


def _looks_random(value: str) -> bool:
    """Tell whether the characters of a value are spread as in a key: more than 3 bits each."""
    counts = Counter(value)
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return bits > 3.0 and any(character.isdigit() for character in value)
