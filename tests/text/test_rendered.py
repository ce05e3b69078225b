"""Columns of many rows: the same as rows one by one, kept under a key of everything that made them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metier.core import artefact
from metier.core.progress import Silent
from metier.core.types import Dropped, Row
from metier.text.render import Renderer, render
from metier.text.rendered import Rendered, cache_key, cached, render_rows
from tests.text.bases import base, chat, labelled, opened, plain

ROWS: list[Row] = [
    plain("the card is lost " * 12, 1),
    labelled("the card", "lost", 2),
    chat(("user", "only a question")),
    chat(("user", "q <|end|>"), ("assistant", "a"), row_id="c"),
    plain("a\ud800", 3),
    labelled("the card " * 60, "long", 4),
]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(base(tmp_path_factory.mktemp("base"), context=32))


def _same(first: Rendered, second: Rendered) -> bool:
    arrays = ((first.ids, second.ids), (first.weights, second.weights), (first.offsets, second.offsets))
    names = (first.row_ids, first.sources, first.dropped) == (second.row_ids, second.sources, second.dropped)
    return names and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in arrays)


@pytest.mark.parametrize("copies", [1, 70])
def test_columns_are_the_rows_one_by_one(renderer: Renderer, copies: int):
    rendered = render_rows(ROWS * copies, renderer, Silent())
    alone = [render(row, renderer) for row in ROWS] * copies
    sequences = [each for result in alone if not isinstance(result, Dropped) for each in result]
    assert len(rendered) == len(sequences)
    assert rendered.dropped == tuple(result for result in alone if isinstance(result, Dropped))
    assert len(rendered.dropped) == 3 * copies
    for number, sequence in enumerate(sequences):
        mine = rendered.sequence(number)
        assert mine.ids.tolist() == sequence.ids.tolist()
        assert mine.weights.tolist() == sequence.weights.tolist()
        assert (mine.row_id, mine.source) == (sequence.row_id, sequence.source)
    assert rendered.lengths().tolist() == [len(each) for each in sequences]
    assert (rendered.ids.dtype, rendered.weights.dtype, rendered.offsets.dtype) == (np.int32, np.float32, np.int64)


_FORKED = """
import os, signal, sys
from pathlib import Path
from metier.core.progress import Silent
from metier.text.rendered import render_rows
from tests.text.bases import base, chat, opened

renderer = opened(base(Path(sys.argv[1])))
asked = (f"the card {number} is lost " * 60 for number in range(5000))
rows = [chat(("user", text), ("assistant", "you"), row_id=str(number)) for number, text in enumerate(asked)]
render_rows(rows, renderer, Silent())
child = os.fork()
if child == 0:
    signal.alarm(20)
    render_rows(rows, renderer, Silent())
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


def test_a_fork_does_not_wait_for_threads_that_it_does_not_have(tmp_path: Path):
    """The pool of the library stays behind with the process that made it."""
    environment = {name: value for name, value in os.environ.items() if name != "RAYON_NUM_THREADS"}
    here = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _FORKED, tmp_path], cwd=here, env=environment, check=True, timeout=120)


def test_no_rows_at_all(renderer: Renderer):
    rendered = render_rows([], renderer, Silent())
    assert len(rendered) == 0
    assert rendered.offsets.tolist() == [0]
    assert rendered.lengths().tolist() == []


def test_what_is_kept_is_what_was_made(renderer: Renderer, tmp_path: Path):
    made = render_rows(ROWS, renderer, Silent())
    first = cached(tmp_path, "k1", lambda: made)
    again = cached(tmp_path, "k1", lambda: pytest.fail("it was kept"))
    assert first is made
    assert _same(made, again)
    artefact.verify(tmp_path / "cache" / "rendered-k1", "rendered")


def test_another_key_is_another_thing(renderer: Renderer, tmp_path: Path):
    cached(tmp_path, "k1", lambda: render_rows(ROWS, renderer, Silent()))
    other = cached(tmp_path, "k2", lambda: render_rows(ROWS[:1], renderer, Silent()))
    assert len(other) < len(cached(tmp_path, "k1", lambda: pytest.fail("it was kept")))


def test_a_damaged_cache_is_made_anew(renderer: Renderer, tmp_path: Path):
    made = cached(tmp_path, "k", lambda: render_rows(ROWS, renderer, Silent()))
    file = tmp_path / "cache" / "rendered-k" / "sequences.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    calls: list[int] = []

    def make() -> Rendered:
        calls.append(1)
        return render_rows(ROWS, renderer, Silent())

    assert _same(cached(tmp_path, "k", make), made)
    assert calls == [1]
    assert _same(cached(tmp_path, "k", make), made)
    assert calls == [1]


def test_the_key_follows_rows_base_template_and_limit(renderer: Renderer, tmp_path: Path):
    keys = {
        cache_key("rows", renderer),
        cache_key("other rows", renderer),
        cache_key("rows", opened(base(tmp_path / "a", context=33))),
        cache_key("rows", opened(base(tmp_path / "b", context=32, template="{{ bos_token }}"))),
        cache_key("rows", opened(base(tmp_path / "c", context=32, stops=(4,)))),
        cache_key("rows", opened(base(tmp_path / "d", context=32), system="S")),
    }
    assert len(keys) == 6
    assert cache_key("rows", opened(base(tmp_path / "e", context=32))) in keys


def test_the_key_follows_the_version_of_the_code_that_renders(renderer: Renderer, monkeypatch: pytest.MonkeyPatch):
    before = cache_key("rows", renderer)
    monkeypatch.setattr("metier.text.render.VERSION", 0)
    assert cache_key("rows", renderer) != before
