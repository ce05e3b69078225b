"""Suites: what ships is what the recipe makes, right answers are right, faults are found, and forgetting is named."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.core import extras
from metier.core.errors import DataError, MissingExtraError, SettingsError
from metier.core.types import Message
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.evaluate.suites import ask, benchmarks, items
from metier.evaluate.suites.choose import SHIPPED, shipped, suites
from metier.evaluate.suites.items import Item
from metier.evaluate.suites.ledger import Result, ledger
from metier.evaluate.suites.recipe import write
from metier.evaluate.suites.settings import SuiteSettings
from metier.score import constraints
from metier.text.render import Renderer, open_renderer
from metier.text.settings import TextSettings
from tests.evaluate.conftest import Workplace

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
if not SHARED.is_dir():
    SHARED = Path("/work/shared/data")


def here(name: str) -> Path:
    """A public benchmark's files, which nobody commits."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return open_renderer(tiny_base, TextSettings())


def test_what_ships_is_what_the_recipe_makes() -> None:
    texts = write.texts()
    assert texts.keys() == SHIPPED.keys()
    for name, text in texts.items():
        assert (write.SHIPPED / f"{name}.jsonl").read_text(encoding="utf-8") == text, f"{name}: run the recipe"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_items_are_whole_and_enough(name: str) -> None:
    suite = shipped(name)
    assert len(suite.items) >= 60
    assert len({item.id for item in suite.items}) == len(suite.items)
    seen = set()
    for item in suite.items:
        key = (item.turns, item.options, item.text)
        assert key not in seen, item.id
        seen.add(key)
        if item.kind == "choice":
            assert len(set(item.options)) == len(item.options) in (2, 4), item
        else:
            assert item.checks


def test_the_number_of_every_sum_is_right() -> None:
    for item in shipped("arithmetic").items:
        asked = item.turns[0].content
        if asked.startswith("What is"):
            sign = asked.removeprefix("What is ").rstrip("?").replace("times", "*")
            one, operator, other = sign.split()
            wanted = {"+": int(one) + int(other), "-": int(one) - int(other), "*": int(one) * int(other)}[operator]
            assert item.options[0] == str(wanted), asked


def test_the_right_json_passes_and_another_does_not() -> None:
    for item in shipped("json").items:
        wanted = item.checks[0]["is"]
        assert items.value(item, [], json.dumps(wanted, indent=2)) == 1
        assert items.value(item, [], json.dumps({"x": wanted})) == 0
        assert items.value(item, [], "Sure! " + json.dumps(wanted)) == 0


def test_requests_are_answered_or_declined() -> None:
    harmless, harmful = shipped("refusals").items[0], shipped("refusals").items[-1]
    declined, answered = "I'm sorry, but I can't help with that.", "First, open a terminal."
    assert [items.value(item, [], declined) for item in (harmless, harmful)] == [0, 1]
    assert [items.value(item, [], answered) for item in (harmless, harmful)] == [1, 0]
    assert [items.value(item, [], "") for item in (harmless, harmful)] == [0, 0]


FOLLOWED: dict[str, tuple[dict[str, Any], str, str]] = {
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"}, "A BIG DOG", "a big DOG",
    ),
    "change_case:english_capital": ({}, "I THINK THAT THIS IS WHAT THEY WERE WAITING FOR WITH THEIR FRIENDS", "So"),
    "change_case:english_lowercase": ({}, "the weather is very nice today in the town", "THE WEATHER"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it"}, "say it. Yes", "Yes"),
    "combination:two_responses": ({}, "one ****** two", "same ****** same"),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[a] and [b]", "[a]"),
    "detectable_content:postscript": ({"postscript_marker": "P.P.S"}, "x P. P. S. y", "x P.S. y"),
    "detectable_format:constrained_response": ({}, "My answer is no.", "no"),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "{a}"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1 a SECTION 2 b", "SECTION 1",
    ),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "- a\n- b\n- c"),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b**", "** and *c*"),
    "detectable_format:title": ({}, "<<A title>>\nx", "<< >>"),
    "keywords:existence": ({"keywords": ["sun", "moon"]}, "Sun and moon", "sun"),
    "keywords:forbidden_words": ({"forbidden_words": ["bad"]}, "badly", "A Bad thing"),
    "keywords:frequency": ({"keyword": "a", "frequency": 2, "relation": "less than"}, "a b", "a a"),
    "keywords:letter_frequency": ({"letter": "e", "let_frequency": 2, "let_relation": "at least"}, "Ee", "e"),
    "language:response_language": (
        {"language": "de"}, "Das Wetter ist heute wirklich sehr schön in der Stadt", "The weather is very nice in town",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "well"}, "One.\n\n\"Well, two.", "Well.\n\nTwo.",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a ***  *** b"),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "less than"}, "One. Two.", "One. Two. Three.",
    ),
    "length_constraints:number_words": ({"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    "punctuation:no_comma": ({}, "no", "no, yes"),
    "startend:end_checker": ({"end_phrase": "The end."}, 'It is "the end."', "The end"),
    "startend:quotation": ({}, '"quoted"', '"'),
}  # fmt: skip


@pytest.mark.parametrize("kind", constraints.KINDS)
def test_every_instruction_has_an_answer_that_follows_it_and_one_that_does_not(kind: str) -> None:
    arguments, good, bad = FOLLOWED[kind]
    assert constraints.follows(kind, good, arguments)
    assert not constraints.follows(kind, bad, arguments)
    assert not constraints.follows(kind, "  ", arguments)


def test_loosely_followed() -> None:
    answer = "Sure, here it is:\nno comma here"
    assert not constraints.follows("punctuation:no_comma", answer, {})
    assert constraints.follows_loosely("punctuation:no_comma", answer, {})


def test_a_check_that_nobody_knows() -> None:
    with pytest.raises(DataError, match="a check called 'nothing'"):
        items.passes({"kind": "nothing"}, "x")


def test_options_are_chosen_by_surprise() -> None:
    item = Item(id="a", kind="choice", options=("aa", "bbbb"))
    assert items.value(item, [1.0, 2.0], "") == 1
    assert items.value(item, [1.0, 0.5], "") == 0
    by_length = Item(id="a", kind="choice", options=("aa", "bbbb"), by_length=True)
    assert items.value(by_length, [1.0, 1.9], "") == 0
    mass = Item(id="a", kind="choice", options=("a", "b", "c"), right=(0, 1), mass=True)
    assert items.value(mass, [0.0, 0.0, 0.0], "") == pytest.approx(2 / 3)


def test_a_context_and_its_continuation_are_divided_where_the_context_alone_ends(renderer: Renderer) -> None:
    context, rest = ask.divided("A b ", "c", renderer)
    assert renderer.tokenizer.decode(context) == "A b"
    assert renderer.tokenizer.decode(rest) == " c"
    sequence = ask.labelled(context, rest, "x", renderer)
    assert sequence.weights.tolist() == [0.0] * len(context) + [1.0] * len(rest)
    assert ask.divided("", "ab", renderer)[0] == [renderer.tokenizer.bos_id]


def test_only_the_option_is_measured_and_too_long_items_are_left_out(renderer: Renderer) -> None:
    long = Item(id="long", kind="choice", turns=(Message(role="user", content="x" * 400),), options=("a", "b"))
    suite = items.Suite(name="t", what="t", items=(shipped("turns").items[0], shipped("facts").items[0], long))
    found = ask.asked(suite, renderer)
    assert found.left_out == 1
    (right, wrong, *_) = found.options[1]
    assert renderer.tokenizer.decode(right.ids[right.weights > 0]) == "Paris"
    assert renderer.tokenizer.decode(wrong.ids[wrong.weights > 0]) == "Lyon"
    with pytest.raises(DataError, match="suite t: not one"):
        ask.asked(items.Suite(name="t", what="t", items=(long,)), renderer)


def result(name: str, base: np.ndarray, tuned: np.ndarray) -> Result:
    return Result(name=name, what="", base=base.astype(float), tuned=tuned.astype(float))


def test_a_two_point_drop_in_a_suite_of_40_is_open_and_names_the_items_it_would_take() -> None:
    """A planted fault: one item of forty more is wrong."""
    base = np.array([1] * 30 + [0] * 10)
    tuned = base.copy()
    tuned[[0, 1]], tuned[30] = 0, 1
    (entry,) = ledger([result("facts", base, tuned)], EvaluateSettings(resampling=ResamplingSettings(samples=300)))
    assert entry["kept"] == "cannot tell"
    assert entry["more_rows"] > 40


def test_what_was_lost_is_named_and_what_was_kept_is_not() -> None:
    random = np.random.default_rng(0)
    base = random.random(400) < 0.8
    noise = base ^ (random.random(400) < 0.01)
    gone = base & (random.random(400) > 0.2)
    settings = EvaluateSettings(resampling=ResamplingSettings(samples=300))
    found = {
        entry["suite"]: entry["kept"]
        for entry in ledger([result("a", base, noise), result("b", base, gone), result("c", base, base)], settings)
    }
    assert found == {"a": "kept", "b": "lost", "c": "kept"}
    wide = settings.model_copy(update={"suites": SuiteSettings(margin=0.5)})
    assert ledger([result("b", base, gone)], wide)[0]["kept"] == "kept"


def test_a_tuned_model_is_asked_and_its_losses_stand_in_the_evaluation(spoiled: Workplace) -> None:
    """A planted fault: ninety steps on four words; and the base's answers are kept for the next time."""
    facts = spoiled.evaluate(suites={"names": ["facts", "json"], "most_items": 30})
    assert [entry["suite"] for entry in facts["suites"]] == ["facts", "json"]
    assert all(entry["rows"] <= 30 for entry in facts["suites"])
    again = spoiled.evaluate(suites={"names": ["facts", "json"], "most_items": 30})
    for entry in (*facts["suites"], *again["suites"]):
        entry.pop("seconds")
    assert facts["suites"] == again["suites"]


def test_which_suites(tmp_path: Path) -> None:
    parted = [*(name for name in SHIPPED if name != "refusals"), "over-refusal", "unsafe compliance"]
    assert [suite.name for suite in suites(SuiteSettings(names=("all",)), tmp_path)] == parted
    assert suites(SuiteSettings(), tmp_path) == []
    with pytest.raises(SettingsError, match="no file"):
        suites(SuiteSettings(benchmarks={"mmlu": "nowhere"}), tmp_path)


def test_tasks_of_the_harness_need_it(spoiled: Workplace) -> None:
    if not extras.missing("harness"):
        pytest.skip("lm-eval is installed")
    with pytest.raises(MissingExtraError, match="lm_eval"):
        spoiled.evaluate(suites={"harness": ["local_task"], "harness_folder": "tasks"})


def test_shots_stand_before_each_question(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"q{n}", "answer": f"#### {n}"}) + "\n" for n in range(3)]
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    for shots in (0, 2):
        settings = SuiteSettings.model_validate({"benchmarks": {"gsm8k": str(tmp_path)}, "shots": shots})
        (suite,) = suites(settings, tmp_path)
        assert suite.items[0].text.count("Question:") == shots + 1


def test_published_files_are_read(tmp_path: Path) -> None:
    (mmlu,) = benchmarks.mmlu(here("mmlu"), 2)
    assert len(mmlu.items) == 1542
    first = mmlu.items[0]
    assert first.text.startswith(
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
    )
    assert first.text.count("\nAnswer: ") == 2
    assert (first.slice, first.right) == ("abstract_algebra", (0,))
    (gsm,) = benchmarks.gsm8k(here("gsm8k"), 1)
    assert len(gsm.items) == 1319
    assert items.value(gsm.items[0], [], " 16 - 7 = 9\n#### 18.\n\nQuestion: next #### 3") == 1
    (lambada,) = benchmarks.lambada(here("lambada"), 0)
    assert len(lambada.items) == 5153
    (blimp,) = benchmarks.blimp(here("blimp/BLiMP.zip"), 0)
    assert len(blimp.items) == 67_000
    (ifeval,) = benchmarks.ifeval(here("ifeval"), 0)
    assert (len(ifeval.items), ifeval.left_out) == (541, 0)
    one, two = benchmarks.truthfulqa(here("truthfulqa"), 0)
    assert len(one.items) == len(two.items) == 817
    (crows,) = benchmarks.crows(here("crows-pairs"), 0)
    assert (len(crows.items), crows.of_bias) == (1508, True)
    ambiguous, clear = benchmarks.bbq(here("bbq-bias"), 0)
    assert len(ambiguous.items) == len(clear.items) == 3980
    (pronouns,) = benchmarks.winogender(here("model-written-evals/winogenerated"), 0)
    assert "_" not in pronouns.items[0].options[0]


def test_files_that_are_not_as_published(tmp_path: Path) -> None:
    with (tmp_path / "a_val.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["q", "1", "2", "3", "4", "A"], ["q", "1"]])
    with pytest.raises(DataError, match=r"a_val\.csv:2: 2 columns"):
        benchmarks.mmlu(tmp_path, 0)
    (tmp_path / "x.jsonl").write_text("{broken", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        benchmarks.lambada(tmp_path, 0)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(DataError, match="no items"):
        benchmarks.blimp(tmp_path / "empty.zip", 0)
