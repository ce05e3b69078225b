"""Answers behind one beginning: its keys are read once, and nothing else changes."""

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from metier.engine import beginning
from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.request import Request
from metier.engine.run import Run
from tests.engine.crowd import Said, ask, build, prompts

STOPS = frozenset((1, 2))


def alone(model: PreTrainedModel, ids: list[int]) -> list[int]:
    """Return what the library writes."""
    said = model.generate(
        torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=list(STOPS), pad_token_id=0
    )
    return [token for token in said[0, len(ids) :].tolist() if token not in STOPS]


@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_in_two_parts_is_attention(heads: int, groups: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    count, width, places, own = 5, 16, 130, 9
    query = torch.randn(count, heads, groups, width, dtype=dtype)
    keys, values = torch.randn(2, count, heads, places + own, width, dtype=dtype)
    keys[:, :, :places], values[:, :, :places] = keys[:1, :, :places], values[:1, :, :places]
    seen = torch.arange(places + own)[None] < places + 1 + torch.arange(count)[:, None]
    wanted = scaled_dot_product_attention(
        query.double(), keys.double(), values.double(), attn_mask=seen[:, None, None], scale=0.3
    )
    mask = torch.zeros(count, 1, 1, own, dtype=dtype).masked_fill(~seen[:, None, None, places:], -torch.inf)
    before, after = (
        (keys[:1, :, :places], values[:1, :, :places]),
        (keys[:, :, places:], values[:, :, places:]),
    )
    found = beginning.attend(query, before, after, mask=mask, scale=0.3)
    assert found.dtype == dtype
    assert (found.double() - wanted).abs().max() < (1e-6 if dtype == torch.float32 else 2e-2)


def _run(ids: list[int], computed: int, owner: str = "") -> Run:
    run = Run(Request(ids=ids, listen=Said().hear), 500, owner)
    run.computed = computed
    return run


def test_what_answers_have_in_common() -> None:
    ids = [3, 4, 5, 6] * 40
    same = [_run([*ids, last], 161) for last in (7, 8)]
    assert beginning.common(same) == 160
    assert beginning.common([*same, _run([*ids[:70], *ids], 200)]) == 64
    assert beginning.common([*same, _run([9, *ids], 161)]) == 0
    assert beginning.common([*same, _run(ids, 40)]) == 32  # the rest of it is not computed
    assert beginning.common([*same, _run([*ids, 7], 161, owner="an adapter")]) == 0
    assert beginning.common(same[:1]) == 0


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "gemma2", "mistral"])
def test_a_crowd_behind_one_beginning_writes_what_the_library_writes_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shared = build(kind), prompts(1, seed=5)[0][:1] * 7 + [5, 9, 31, 12, 44] * 30
    asked = [[*shared, *ids[:20]] for ids in prompts(8)]
    calls: list[int] = []
    whole = beginning.attend

    def counted(query: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(len(query))
        return whole(query, *arguments, **options)

    monkeypatch.setattr(beginning, "attend", counted)
    with opened(model, Limits(together=6, read_tokens=90)) as engine:
        said = ask(engine, [{"ids": ids, "stop_ids": STOPS} for ids in asked])
    for ids, answer in zip(asked, said, strict=True):
        assert answer.tokens == alone(model, ids)
    assert bool(calls) == (kind in {"llama", "qwen3", "gpt2"})  # the others look through windows


def test_answers_with_other_beginnings_are_not_mixed_up() -> None:
    """Fault: a beginning that is taken for common although one answer has another."""
    model = build()
    asked = [[3, 4, 5, 6] * 40 + [number] for number in range(7, 12)] + [[9, 4, 5, 6] * 40 + [7]]
    with opened(model, Limits(together=6)) as engine:
        said = ask(engine, [{"ids": ids, "stop_ids": STOPS} for ids in asked])
    for ids, answer in zip(asked, said, strict=True):
        assert answer.tokens == alone(model, ids)
