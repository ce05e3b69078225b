import re
from xml.etree import ElementTree

import pytest

from metier.core.report import Figure, Series
from metier.report import plots
from metier.report.page import colours
from tests.report import samples


def drawn(figure: Figure, anchor: str = "f") -> str:
    return plots.draw(figure, colours([figure]), anchor=anchor)


@pytest.fixture(scope="module")
def bars() -> str:
    return drawn(samples.evaluation().figures[0])


def test_a_drawing_is_one_svg_element_in_the_pages_colours(bars):
    ElementTree.fromstring(bars.replace("xlink:href", "href"))
    assert bars.startswith("<svg ")
    assert "var(--series-0)" in bars
    assert "var(--series-1)" in bars
    assert not re.search(r"(fill|stroke): #", bars)
    assert "<style" not in bars
    assert "font-family" not in bars


def test_labels_stay_text(bars):
    assert ">order_status<" in bars
    assert ">share of rows answered exactly<" in bars


def test_the_same_figure_gives_the_same_bytes_and_ids_of_its_own():
    figure = samples.training().figures[0]
    first, again, other = drawn(figure, "one"), drawn(figure, "one"), drawn(figure, "two")
    assert first == again
    assert not set(re.findall(r'id="([^"]+)"', first)) & set(re.findall(r'id="([^"]+)"', other))
    for name in re.findall(r'(?:url\(#|href="#)([^)"]+)', first):
        assert f'id="{name}"' in first


@pytest.mark.parametrize("name", ["$5 off $10", "<script>", "emoji 🛁", "\x1b[31m", "x" * 90, "a\nb", r"\frac{"])
def test_any_label_can_be_drawn(name):
    svg = drawn(Figure(title="", kind="bars", series=(Series(name=name, x=[name, "b"], y=[1, 2]),)))
    assert "<script>" not in svg
    ElementTree.fromstring(svg.replace("xlink:href", "href"))


def test_bars_of_many_labels_stay_apart():
    def height(count: int) -> float:
        names = [f"label {number}" for number in range(count)]
        svg = drawn(Figure(title="", kind="bars", series=(Series(name="base", x=names, y=[0.5] * count),)))
        return float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg)[1])

    assert height(77) > 77 * 9
    assert height(3) < 130


def test_series_that_lack_a_label_are_drawn_beside_those_that_have_it():
    figure = Figure(
        title="",
        kind="bars",
        series=(Series(name="base", x=["a", "b"], y=[1, 2]), Series(name="tuned", x=["b"], y=[3])),
    )
    assert "var(--series-1)" in drawn(figure)


def test_an_empty_figure_is_drawn_empty():
    assert "<svg" in drawn(Figure(title="", kind="bars", series=()))
    assert "<svg" in drawn(Figure(title="", kind="lines", series=(Series(name="a", x=[], y=[]),)))
