"""Long documents and texts made to be slow: what is looked for takes time in proportion to them."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from metier.core.types import TextRow
from metier.prepare.protect import rewrite
from metier.prepare.protect.detect import detector
from metier.prepare.protect.rewrite import Finding
from metier.prepare.protect.spans import ENTITIES, Span, _parted, disjoint

FIND = detector(ENTITIES, ("US", "GB"))
CHARACTERS = 50_000
MOST_SECONDS = 4
"""Each of the texts took 8 seconds and more, or did not end, while a regex went over all of it again and again."""


def seconds(text: str) -> float:
    FIND("Maria")  # word lists are loaded once
    started = time.process_time()
    list(FIND(text))
    return time.process_time() - started


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        ("12 Main Street", " "), ("12 Main Street", "\n"), ("12 Main Street ", "A-"), ("passport ", "# "),
        ("", "::"), ("", "token="), ("://", "f00"), ("5 Main\nx\n", "5 "),
    ],
)  # fmt: skip
def test_no_text_is_gone_over_again_and_again(start, unit):
    assert seconds(start + unit * (CHARACTERS // len(unit))) < MOST_SECONDS


def test_a_long_value_is_a_secret_to_its_end():
    value = "x9" * 3000
    [span] = FIND(f"the token is: {value}; thanks")
    assert span.entity == "secret"
    assert span.end - span.start == len(value)


def test_a_document_full_of_names_takes_its_time_and_no_more():
    draw = random.Random(0)
    letters = [chr(97 + number) for number in range(26)]
    family = ["".join(draw.choices(letters, k=8)).title() for _ in range(4000)]
    text = " ".join(f"Maria {name} wrote to m.{name.lower()}@corp.com about the lamp." for name in family)
    started = time.process_time()
    finding = Finding.of(TextRow(id="0", source="a:1", text=text), FIND)
    assert finding.counts()["person"] >= len(family)
    assert time.process_time() - started < 3 * MOST_SECONDS


@given(some.lists(some.sampled_from(["Ada", "Ada Love", " ", "+49 30", "a", "x-1", "!!", "b", "Love"])).map("".join))
def test_values_that_are_known_by_their_first_word_stand_where_they_are_found_one_by_one(text):
    values = ["Ada", "Ada Love", "+49 30", "a", "!!", "x-1", "Love"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewrite, "_FEW", 0)
        together = sorted(rewrite._whole_places(text, values))
    assert together == sorted(rewrite._whole_places(text, values))


@given(
    some.lists(
        some.builds(
            lambda start, size, entity: Span(start, start + size, entity),
            some.integers(0, 40), some.integers(1, 9), some.sampled_from(ENTITIES),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_spans_are_parted_as_if_each_were_compared_with_all(spans):
    assert disjoint(spans) == _parted(set(spans))
