"""Repairs text that was decoded with the wrong encoding once, or several times (`cafÃ©` for café)."""

from collections.abc import Callable

REASON = "text decoded wrongly"


def repair() -> Callable[[str], str]:
    """Return the repair; loads ftfy, which knows what such text looks like."""
    from ftfy import TextFixerConfig, fix_encoding

    known = TextFixerConfig(unescape_html=False)

    def repaired(text: str) -> str:
        return text if text.isascii() else fix_encoding(text, config=known)

    return repaired
