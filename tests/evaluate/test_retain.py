from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from metier.core.types import ChatRow, Row, TextRow
from metier.evaluate.retain import general_rows, general_sequences, ledger
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.evaluate.suites.settings import SuiteSettings
from metier.text.render import open_renderer
from metier.text.settings import TextSettings

ROWS = general_rows()
QUICK = EvaluateSettings(resampling=ResamplingSettings(samples=300))


def _prompt(row: Row) -> str:
    assert isinstance(row, ChatRow)
    return row.messages[0].content


def losses(rise: float, spread: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Nats and tokens of every piece, for a base and for a model whose loss is higher by `rise` nats per token."""
    random = np.random.default_rng(0)
    tokens = random.integers(10, 80, len(ROWS)).astype(float)
    base = np.stack([tokens * 3.0, tokens], axis=1)
    tuned = np.stack([tokens * (3.0 + rise + spread * random.standard_normal(len(ROWS))), tokens], axis=1)
    return base, tuned


def test_the_general_text_is_sixty_different_pieces_of_nine_kinds() -> None:
    assert len(ROWS) == 60
    texts = [row.text if isinstance(row, TextRow) else _prompt(row) for row in ROWS]
    assert len(set(texts)) == 60
    assert all(40 <= len(text) <= 600 for text, row in zip(texts, ROWS, strict=True) if isinstance(row, TextRow))
    kinds = Counter(row.slice for row in ROWS)
    assert len(kinds) == 9
    assert min(kinds.values()) >= 5
    assert len({row.id for row in ROWS}) == 60


def test_the_task_s_system_turn_is_left_out(tiny_base: Path) -> None:
    plain = open_renderer(tiny_base, TextSettings())
    task = open_renderer(tiny_base, TextSettings(system="Answer with one colour."))
    for (row, first), (_, second) in zip(general_sequences(plain), general_sequences(task), strict=True):
        assert [sequence.ids.tolist() for sequence in first] == [sequence.ids.tolist() for sequence in second]
        if isinstance(row, ChatRow):
            assert 0 < first[0].weights.sum() < len(first[0])


def test_pieces_longer_than_the_limit_are_left_out_or_cut(tiny_base: Path) -> None:
    pieces = general_sequences(open_renderer(tiny_base, TextSettings(max_tokens=64)))
    assert 30 < len(pieces) < 60
    assert all(len(sequence) <= 64 for _, sequences in pieces for sequence in sequences)


@pytest.mark.parametrize(
    ("rise", "spread", "verdict"),
    [(0.0, 0.01, "kept"), (-0.4, 0.01, "kept"), (0.04, 0.01, "kept"), (0.06, 0.01, "lost"), (0.05, 0.5, "cannot tell")],
)
def test_verdicts(rise: float, spread: float, verdict: str) -> None:
    assert ledger(ROWS, *losses(rise, spread), QUICK)["verdict"] == verdict


def test_the_margin_decides() -> None:
    found = [
        ledger(
            ROWS,
            *losses(0.1),
            EvaluateSettings(resampling=ResamplingSettings(samples=300), suites=SuiteSettings(loss_margin=margin)),
        )["verdict"]
        for margin in (0.05, 0.2)
    ]
    assert found == ["lost", "kept"]


def test_kinds_show_where_it_was_lost() -> None:
    base, tuned = losses(0.0)
    stories = np.array([row.slice == "story" for row in ROWS])
    tuned[stories, 0] += base[stories, 1] * 0.5
    kinds = {entry["kind"]: entry["kept"] for entry in ledger(ROWS, base, tuned, QUICK)["kinds"]}
    assert kinds.pop("story") == "lost"
    assert set(kinds.values()) == {"kept"}


def test_a_model_that_lost_nothing_at_all_kept_it() -> None:
    base, _ = losses(0.0)
    assert ledger(ROWS, base, base, QUICK)["verdict"] == "kept"
