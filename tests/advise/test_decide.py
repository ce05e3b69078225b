import numpy as np
import pytest

from metier.advise import curve
from metier.advise.decide import Rules, choose
from metier.advise.ready import ready
from metier.advise.report import facts_of
from metier.advise.settings import AdviseSettings
from metier.advise.ways import NotMeasured, Tried, Way, judged
from metier.score.prices import PriceSettings
from metier.text.settings import TextSettings

ROWS = 100
RULES = Rules(margin=0.02, confidence=0.95)
EFFORT = {"plain": 1, "prompt": 3, "tuned": 9}


def way(name: str, family: str, right: range | list[int], *, in_form: float = 1.0, text: str | None = None) -> Way:
    scores = np.isin(np.arange(ROWS), list(right)).astype(float)
    tried = Tried(
        name=name, family=family, effort=EFFORT[family], outputs=("",) * ROWS, base="b" if family != "plain" else None,
        tokens_in=100.0, tokens_out=10.0, seconds=0.36, text=text,
    )  # fmt: skip
    return judged(tried, scores, in_form, groups=[None] * ROWS, confidence=0.95)


def decided(*ways: Way, rising: bool = False, rules: Rules = RULES):
    tuned = [entry.scores for entry in ways if entry.tried.family == "tuned"]
    found = None
    if tuned:
        starts = [tuned[0] * (np.arange(ROWS) % 2 == 0), tuned[0] * (np.arange(ROWS) % 4 != 0), tuned[0]]
        found = curve.fit((25, 50, 100), np.array(starts if rising else [tuned[0]] * 3), confidence=0.95)
    return choose(ways, now="zero", rules=rules, groups=[None] * ROWS, curve=found)


def test_what_a_neighbour_solves_needs_no_fine_tuning():
    choice = decided(way("near", "plain", range(99)), way("zero", "prompt", range(10)), way("lora", "tuned", range(40)))
    assert (choice.answer, choice.chosen.name) == ("do not tune", "near")
    assert choice.gain is not None
    assert choice.gain.paired.difference.value == pytest.approx(0.89)
    assert choice.gain.paired.difference.low > 0.5


def test_a_training_that_is_clearly_ahead_is_advised():
    choice = decided(way("near", "plain", range(30)), way("zero", "prompt", range(10)), way("lora", "tuned", range(80)))
    assert (choice.answer, choice.chosen.name, choice.rivals) == ("tune", "lora", ())


def test_two_ways_within_noise_are_cannot_tell_and_the_simpler_comes_first():
    near, lora = way("near", "plain", range(60)), way("lora", "tuned", [*range(57), *range(60, 68)])
    choice = decided(near, lora, way("zero", "prompt", range(5)))
    assert (choice.answer, choice.chosen.name, choice.best.name) == ("cannot tell", "near", "lora")
    assert choice.rivals[0].decision.more_rows
    assert "within noise" in choice.why


def test_without_a_training_nothing_rules_one_out():
    choice = decided(way("near", "plain", range(60)), way("zero", "prompt", range(5)))
    assert (choice.answer, choice.why) == ("cannot tell", "no training was measured")
    assert decided(way("near", "plain", range(100))).answer == "do not tune", "there is nothing left to gain"


def test_a_curve_that_still_rises_leaves_it_open():
    ways = way("near", "plain", range(62)), way("lora", "tuned", range(50))
    assert decided(*ways).answer == "do not tune"
    found = decided(*ways, rising=True)
    assert found.chosen.name == "near"
    assert found.answer == "cannot tell"
    assert "with twice the rows" in found.why


def test_a_training_too_short_to_answer_in_form_rules_nothing_out():
    found = decided(way("near", "plain", range(60)), way("lora", "tuned", [], in_form=0.1))
    assert found.answer == "cannot tell"
    assert "too short" in found.why


def test_a_wide_margin_makes_the_simpler_way_good_enough():
    ways = way("near", "plain", range(78)), way("lora", "tuned", range(80))
    assert decided(*ways).answer == "cannot tell"
    found = decided(*ways, rules=Rules(margin=0.2, confidence=0.95))
    assert (found.answer, found.chosen.name) == ("do not tune", "near")


def test_intervals_widen_with_the_number_of_ways():
    few = decided(way("near", "plain", range(70)), way("lora", "tuned", range(80)))
    many = decided(*[way(f"n{n}", "plain", range(70)) for n in range(9)], way("lora", "tuned", range(80)))
    spans = [entry.compared[0].paired.difference for entry in (few, many)]
    assert spans[1].high - spans[1].low > spans[0].high - spans[0].low


def told(*ways: Way, missing: tuple[NotMeasured, ...] = (), **settings):
    choice = decided(*ways)
    return facts_of(choice, ways, missing, None, settings=AdviseSettings(**settings), now="zero")


def test_costs_are_at_the_users_prices_or_said_to_be_unknown():
    zero = way("zero", "prompt", range(5))
    (plain,) = told(zero)["ways"]
    assert plain["per_1000"] == {"tokens_in": 1e5, "tokens_out": 1e4, "seconds": 360.0, "price": None}
    (priced,) = told(zero, prices=PriceSettings(input=2.0, output=10.0))["ways"]
    assert priced["per_1000"]["price"] == pytest.approx(0.3)
    (rented,) = told(zero, prices=PriceSettings(hour=4.0))["ways"]
    assert rented["per_1000"]["price"] == pytest.approx(0.4)


def test_a_base_that_cannot_follow_the_format_is_said_to_be_one():
    changes = " ".join(told(way("zero", "prompt", [], in_form=0.0))["would_change"])
    assert "answers in the form of the task" in changes
    fine = " ".join(told(way("zero", "prompt", range(5)))["would_change"])
    assert "form of the task" not in fine


def test_what_was_not_measured_is_listed_with_its_reason():
    absent = NotMeasured(name="b: passages of documents", why="advise.documents names none")
    facts = told(way("zero", "prompt", range(5)), missing=(absent,))
    assert facts["not_measured"] == [{"name": absent.name, "why": absent.why}]
    assert any("changes weekly" in text for text in facts["would_change"])


def test_more_rows_are_only_named_where_they_would_settle_it():
    near, lora = way("near", "plain", range(60)), way("lora", "tuned", [*range(57), *range(60, 68)])
    assert "more validation rows would tell" in told(near, lora, way("zero", "prompt", range(5)))["verdict"]["text"]
    alone = told(way("near", "plain", range(60)), way("other", "plain", range(59)), way("zero", "prompt", range(5)))
    assert alone["why_open"] == "no training was measured"
    assert "more validation rows" not in alone["verdict"]["text"]


BEATEN = ("prompt:best.yaml", "classifier:logistic")


def test_a_training_that_is_advised_has_to_beat_the_best_prompt_and_classifier():
    choice = decided(way("near", "plain", range(30)), way("zero", "prompt", range(10)), way("lora", "tuned", range(80)))
    told, values = ready({"data": "x", "evaluate": {"margin": 0.02}}, choice, TextSettings(), opponents=BEATEN)
    assert values["evaluate"] == {"margin": 0.02, "against": list(BEATEN)}
    assert values["model"] == {"method": "lora"}
    assert "metier run" in told
    assert ready(values, choice, TextSettings(), opponents=BEATEN)[1] == values, "it is named once"
    assert "evaluate" not in ready({"data": "x"}, choice, TextSettings())[1]
    plain = decided(way("near", "plain", range(99)), way("zero", "prompt", range(10)), way("lora", "tuned", range(40)))
    assert ready({"data": "x"}, plain, TextSettings(), opponents=BEATEN)[1] == {"data": "x"}
