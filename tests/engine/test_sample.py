from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MiniMaxConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3NextConfig,
)

from metier.core.errors import DataError, NonFiniteError
from metier.core.progress import Silent, SilentTask, Task
from metier.engine import padded
from metier.engine.sample import Completion, complete

CONTEXT = 64
SMALL = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "initializer_range": 0.4,
}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "absolute positions": GPT2Config(
        vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.4
    ),
    "sliding window": MistralConfig(**SMALL, sliding_window=6),
    "recurrent": Qwen3NextConfig(
        **SMALL, head_dim=8, layer_types=["linear_attention", "full_attention"], num_experts=0, mlp_only_layers=[0, 1],
        linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
    ),
    "a cache of its own": MiniMaxConfig(
        **SMALL, head_dim=8, layer_types=["linear_attention", "full_attention"], num_local_experts=2, block_size=8,
    ),
    "mamba": MambaConfig(vocab_size=40, hidden_size=32, state_size=8, num_hidden_layers=2, initializer_range=0.4),
    "mamba 2": Mamba2Config(
        vocab_size=40, hidden_size=32, num_heads=8, head_dim=8, expand=2, state_size=16, n_groups=2, chunk_size=16,
        num_hidden_layers=2, initializer_range=0.4,
    ),
}  # fmt: skip


def build(kind: str = "llama") -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=torch.float32).eval()


def prompts(count: int = 23, longest: int = 20) -> list[list[int]]:
    random = np.random.default_rng(1)
    return [random.integers(3, 40, int(random.integers(1, longest))).tolist() for _ in range(count)]


def ask(
    model: torch.nn.Module, questions: list[list[int]], *, new: int = 12, stop: tuple[int, ...] = (1, 2)
) -> list[Completion]:
    return complete(model, questions, stop_ids=stop, max_new_tokens=new, pad_id=0, progress=Silent())


@pytest.mark.parametrize("kind", CONFIGS)
def test_batched_equals_one_by_one(kind: str) -> None:
    model, questions = build(kind), prompts()
    together = ask(model, questions)
    alone = [ask(model, [question])[0] for question in questions]
    assert together == alone
    assert len({completion.ids for completion in together}) > 5


@pytest.mark.parametrize("kind", CONFIGS)
def test_equals_the_library_s_own_greedy_decoding(kind: str) -> None:
    model, stop = build(kind), [5, 6, 7, 8]
    for question in prompts(8):
        output = model.generate(
            torch.tensor([question]), max_new_tokens=12, do_sample=False, eos_token_id=stop, pad_token_id=0
        )
        wanted = output[0, len(question) :].tolist()
        found = ask(model, [question], stop=tuple(stop))[0]
        assert list(found.ids) == [token for token in wanted if token not in stop]
        assert found.finish == ("stop" if wanted[-1] in stop else "length")


def test_ended_rows_leave_and_the_others_go_on() -> None:
    model, questions = build(), prompts(40)
    free = ask(model, questions, stop=())
    assert {completion.finish for completion in free} == {"length"}
    stop = free[0].ids[3]
    stopped = ask(model, questions, stop=(stop,))
    for before, after in zip(free, stopped, strict=True):
        cut = before.ids.index(stop) if stop in before.ids else len(before.ids)
        assert after.ids == before.ids[:cut]
        assert after.finish == ("stop" if stop in before.ids else "length")


@pytest.mark.parametrize("kind", ["llama", "absolute positions"])
def test_answers_end_where_the_context_ends(kind: str) -> None:
    questions = [[3] * CONTEXT, [4] * (CONTEXT - 5), [5] * (CONTEXT + 9), [6, 7]]
    answers = ask(build(kind), questions, new=30, stop=())
    assert [len(answer.ids) for answer in answers] == [0, 5, 0, 30]
    assert {answer.finish for answer in answers} == {"length"}


def test_the_padding_token_does_not_matter() -> None:
    model, questions = build(), prompts(9)
    other = complete(model, questions, stop_ids=(1,), max_new_tokens=8, pad_id=None, progress=Silent())
    assert other == complete(model, questions, stop_ids=(1,), max_new_tokens=8, pad_id=17, progress=Silent())


def test_several_batches_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model, questions = build(), prompts()
    wanted = ask(model, questions)
    monkeypatch.setattr(padded, "_PLACES_ON_CPU", 70)
    assert ask(model, questions) == wanted


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(DataError, match="prompt 1 has no token"):
        ask(build(), [[3], []])


def test_weights_that_are_not_numbers_are_found() -> None:
    model = build()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        ask(model, [[3, 4]])


def test_no_prompt_gives_no_answer() -> None:
    assert ask(build(), []) == []


class Counting(Silent):
    """A listener that counts what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.seen = 0

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        self.total = total
        outer = self

        class Bar(SilentTask):
            def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
                outer.seen += count

        yield Bar()


def test_progress_reaches_the_total() -> None:
    listener = Counting()
    complete(build(), [[3] * CONTEXT, *prompts(5)], stop_ids=(), max_new_tokens=3, pad_id=0, progress=listener)
    assert listener.seen == listener.total == 6
