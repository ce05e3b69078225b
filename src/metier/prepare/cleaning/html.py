"""Finds and takes out what is left of HTML in a text: tags and entities, outside code."""

import html
import re

REASON = "HTML remnants"

_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|footer|h[1-6]|head|header|hr|html|i|img|li|link|"
    "meta|ol|p|pre|s|section|small|span|strong|style|script|sub|sup|table|tbody|td|th|thead|title|tr|u|ul"
)
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>|<!--.*?-->|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(
    r"&(?:amp|lt|gt|quot|apos|nbsp|ndash|mdash|hellip|[lr][sd]quo|#\d{2,6}|#x[0-9a-f]{2,6});", re.IGNORECASE
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_UNSEEN = re.compile(r"<(style|script)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_ENDS_LINE = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|h[1-6]|blockquote|ul|ol|table)\s*>", re.IGNORECASE)
_ITEM = re.compile(r"<li(?:\s[^<>]*)?>", re.IGNORECASE)
_EMPTY_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")


def without(text: str) -> str:
    """Return the text as a browser would show it; code in backticks stays as it is."""
    if ("<" not in text and "&" not in text) or not (_TAG.search(text) or _ENTITY.search(text)):
        return text
    parts, place = [], 0
    for code in _CODE.finditer(text):
        parts += [_shown(text[place : code.start()]), code.group()]
        place = code.end()
    return "".join([*parts, _shown(text[place:])])


def _shown(text: str) -> str:
    if not (_TAG.search(text) or _ENTITY.search(text)):
        return text
    text = _ITEM.sub("- ", _ENDS_LINE.sub("\n", _UNSEEN.sub("", text)))
    text = html.unescape(_TAG.sub("", text)).replace("\u00a0", " ")
    return _EMPTY_LINES.sub("\n\n", text)
