"""Languages of many texts at once: the same as the library tells them one by one."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metier.core.errors import SettingsError
from metier.prepare.cleaning.tongues import LEAST_CONFIDENCE, opened, tongues

WORDS = [
    "the", "parcel", "has", "not", "come", "and", "nobody", "answers", "der", "hund", "schläft", "unter", "dem",
    "großen", "tisch", "le", "chat", "dort", "sur", "la", "chaise", "el", "perro", "come", "mucho", "arroz", "het",
    "is", "vandaag", "mooi", "weer", "собака", "спит", "под", "столом", "今日は天気がいいです", "الكلب", "ينام",
    "σκύλος", "κοιμάται", "OK", "12", "x",
]  # fmt: skip
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(max_size=120) | st.just(""), max_size=20
)


@settings(max_examples=40, deadline=None)
@given(TEXTS)
@example(["", "THE PARCEL HAS NOT COME AND NOBODY ANSWERS", "\ud800 half", "a"])
def test_texts_side_by_side_are_told_as_one_by_one(texts):
    identifier = opened(frozenset()).identifier
    wanted = [identifier.classify(text) for text in texts]
    assert tongues(texts) == [str(name) if confidence >= LEAST_CONFIDENCE else "" for name, confidence in wanted]


def test_an_unknown_language_is_refused():
    with pytest.raises(SettingsError, match="xq unknown"):
        tongues(["a text"], frozenset({"xq"}))
