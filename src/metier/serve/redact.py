"""Personal data and secrets taken out of texts before they are recorded; no torch. Forms that a program can check."""

import re
from collections.abc import Callable, Sequence

from metier.core.errors import InputError

_Check = Callable[[str], bool]


def _luhn(text: str) -> bool:
    """Tell whether the digits are those of a payment card (ISO/IEC 7812)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """Tell whether the check digits are those of an account (ISO 13616)."""
    plain = re.sub(r"\s", "", text).upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _phone(text: str) -> bool:
    return 8 <= sum(sign.isdigit() for sign in text) <= 15


def _always(text: str) -> bool:
    return True


_RULES: tuple[tuple[str, str, _Check], ...] = (
    ("secret", r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", _always),
    ("secret", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}", _always),
    ("secret", r"\b(?:sk|pk|rk|mk|ghp|gho|ghs|xox[abp]|glpat|whsec)[-_][\w-]{16,}", _always),
    ("secret", r"\bAKIA[0-9A-Z]{16}\b", _always),
    ("email", r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}", _always),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b", _iban),
    ("card", r"\b\d(?:[ -]?\d){12,18}\b", _luhn),
    ("phone", r"(?<![\w.])(?:\+|00)\d(?:[ ./()-]{0,2}\d){7,14}\b|(?<![\w.])0\d{1,4}[ /-]\d(?:[ -]?\d){5,9}\b", _phone),
    ("address", r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", _always),
)


class Redactor:
    """Replaces what must not be recorded by its kind in angle brackets, such as <email>.

    Args:
        known: whether mail addresses, payment cards, accounts, telephone numbers, network addresses and keys go.
        patterns: further regular expressions; what they match becomes <redacted>.

    Raises:
        InputError: one is no regular expression.
    """

    def __init__(self, *, known: bool, patterns: Sequence[str] = ()) -> None:
        self._known = [(name, re.compile(pattern, re.DOTALL), check) for name, pattern, check in _RULES if known]
        self._own = []
        for pattern in patterns:
            try:
                self._own.append(re.compile(pattern))
            except (re.error, OverflowError) as error:
                setting = f"serve.record.redact_patterns: {pattern!r}"
                raise InputError(f"{setting}: {error}", "a regular expression") from error

    def __call__(self, text: str) -> str:
        """Return the text without what must not be recorded."""
        for pattern in self._own:
            text = pattern.sub("<redacted>", text)
        before = None
        while text != before:  # what was taken out may have hidden where the next thing begins
            before = text
            for name, pattern, check in self._known:
                text = pattern.sub(
                    lambda found, name=name, check=check: f"<{name}>" if check(found[0]) else found[0], text
                )
        return text
