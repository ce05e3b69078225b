import time

import pytest
import torch
from transformers import BloomConfig, MiniMaxConfig, PreTrainedConfig

from metier.core.errors import BusyError, DataError, ModelError
from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.request import Request, Sampling
from metier.engine.way import Alone, Together
from tests.engine import crowd
from tests.engine.crowd import CONFIGS, VOCABULARY, Said, ask, build, prompts

WARM = Sampling(temperature=0.9, top_p=0.95, top_k=30, presence=0.3, frequency=0.2)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_crowd_writes_what_the_library_writes_alone(kind: str) -> None:
    model, asked = build(kind), prompts(12)
    with opened(model, Limits(together=5, read_tokens=33)) as engine:
        assert isinstance(engine.way, Alone if kind == "mamba2" else Together)
        said = ask(engine, [{"ids": ids, "stop_ids": frozenset((1, 2))} for ids in asked])
    for ids, answer in zip(asked, said, strict=True):
        wanted = model.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=[1, 2], pad_token_id=0
        )
        assert answer.tokens == [token for token in wanted[0, len(ids) :].tolist() if token not in (1, 2)]


def _seeded(seed: int, stream: int = 0) -> Sampling:
    return Sampling(temperature=0.9, top_p=0.95, top_k=30, presence=0.3, frequency=0.2, seed=seed, stream=stream)


def test_seeded_samples_are_the_same_alone_and_in_a_crowd() -> None:
    model, asked = build(), prompts(14)
    requests = [{"ids": ids, "sampling": _seeded(number)} for number, ids in enumerate(asked)]
    with opened(model, Limits(together=6, read_tokens=40)) as engine:
        crowded = [said.tokens for said in ask(engine, requests)]
        alone = [ask(engine, [request])[0].tokens for request in reversed(requests)][::-1]
    assert crowded == alone
    with opened(model, Limits(together=3, prefix_bytes=0)) as engine:
        other = ask(engine, [request | {"sampling": _seeded(99)} for request in requests])
        streams = ask(engine, [{"ids": asked[0], "sampling": _seeded(0, stream)} for stream in range(3)])
    assert sum(one == two.tokens for one, two in zip(crowded, other, strict=True)) <= 2
    assert len({tuple(said.tokens) for said in streams}) == 3


MINIMAX = MiniMaxConfig(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, layer_types=["linear_attention", "full_attention"], num_local_experts=2,
    block_size=8, initializer_range=0.4,
)  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4), MINIMAX],
    ids=["bloom", "minimax"],
)
def test_a_model_that_cannot_be_crowded_answers_one_by_one(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = crowd.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    asked = prompts(4)
    with opened(model) as engine:
        assert isinstance(engine.way, Alone)
        assert "one by one" in engine.way.reason
        said = ask(engine, [{"ids": ids} for ids in asked])
    for ids, answer in zip(asked, said, strict=True):
        wanted = model.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        assert answer.tokens == wanted[0, len(ids) :].tolist()


def test_a_way_that_computes_something_else_is_found_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: slots that mix up two answers."""
    whole = Together.logits
    monkeypatch.setattr(Together, "logits", lambda self, parts, _=0: list(reversed(whole(self, list(reversed(parts))))))
    with opened(build()) as engine:
        assert isinstance(engine.way, Together)  # parts in another order are the same parts
    monkeypatch.setattr(Together, "logits", lambda self, parts, _=0: list(reversed(whole(self, parts))))
    with opened(build()) as engine:
        assert isinstance(engine.way, Alone)
        assert "differ by" in engine.way.reason


def test_a_beginning_is_computed_once_even_by_those_who_come_together() -> None:
    model, shared = build(), prompts(1, 2)[0] * 100
    asked = [{"ids": [*shared, 3 + number, 9]} for number in range(6)]
    with opened(model, Limits(prefix_bytes=0)) as engine:
        wanted = [said.tokens for said in ask(engine, asked)]
        assert engine.counts.reused == 0
    with opened(model) as engine:
        said = ask(engine, asked)
        assert [answer.tokens for answer in said] == wanted
        assert engine.counts.reused == 5 * 96
        assert [answer.end.cached for answer in said if answer.end] == [0, 96, 96, 96, 96, 96]
        again = ask(engine, [{"ids": [*shared, 3, 9, *wanted[0], 4]}])[0]
        assert again.end is not None
        assert again.end.cached == 96
    with opened(model, Limits(prefix_bytes=4000)) as engine:
        assert [answer.tokens for answer in ask(engine, asked)] == wanted
        assert engine.prefix_bytes <= 4000


def test_a_long_prompt_does_not_stop_the_others() -> None:
    with opened(build(), Limits(read_tokens=8)) as engine:
        quick, slow = Said(), Said()
        engine.submit(Request(ids=[3, 4], listen=quick.hear, most_tokens=5))
        engine.submit(Request(ids=[3, 4, 5, 6] * 50, listen=slow.hear, most_tokens=2))
        while quick.end is None:
            engine.step()
        assert slow.tokens == []


def test_owners_take_turns() -> None:
    with opened(build(), Limits(together=1)) as engine:
        ended: list[str] = []
        said = {name: Said() for name in ("a1", "a2", "a3", "b1")}
        for name, answer in said.items():
            engine.submit(Request(ids=[5], listen=answer.hear, most_tokens=2, owner=name[0]))
        while engine.busy():
            engine.step()
            ended += [name for name, answer in said.items() if answer.end and name not in ended]
    assert ended == ["a1", "b1", "a2", "a3"]


def test_what_is_cancelled_or_late_makes_room() -> None:
    with opened(build(), Limits(together=2)) as engine:
        answers = [Said() for _ in range(4)]
        runs = [
            engine.submit(Request(ids=[7], listen=answer.hear, most_tokens=100, deadline=deadline))
            for answer, deadline in zip(answers, (None, time.monotonic() + 0.2, None, time.monotonic()), strict=True)
        ]
        for _ in range(3):
            engine.step()
        time.sleep(0.2)  # the second one's deadline passes, however fast this machine is
        engine.cancel(runs[0])
        while any(answer.end is None for answer in (answers[0], answers[1], answers[3])):
            engine.step()
        assert [answer.end.finish for answer in answers if answer.end] == ["cancelled", "deadline", "deadline"]
        assert 0 < len(answers[0].tokens) < 100
        while engine.busy():
            engine.step()
    assert len(answers[2].tokens) == 100


def test_too_many_and_impossible_requests_are_refused() -> None:
    with opened(build(), Limits(together=1, waiting=1)) as engine:
        engine.submit(Request(ids=[3], listen=Said().hear))
        engine.step()
        engine.submit(Request(ids=[3], listen=Said().hear))
        with pytest.raises(BusyError, match="2 requests wait"):
            engine.submit(Request(ids=[3], listen=Said().hear))
    with opened(build()) as engine:
        with pytest.raises(DataError, match="256, the model's context"):
            engine.submit(Request(ids=[3] * 256, listen=Said().hear))
        with pytest.raises(DataError, match="at least one token"):
            engine.submit(Request(ids=[], listen=Said().hear))
        with pytest.raises(ModelError, match="adapter 'x': not known"):
            engine.submit(Request(ids=[3], listen=Said().hear, adapter="x"))


def test_what_is_asked_at_once_counts_as_one() -> None:
    """A decision of twenty answers takes no more places than a chat, unless its prompts are too many tokens."""
    asked = [Request(ids=[3, 4], listen=Said().hear, most_tokens=1) for _ in range(20)]
    with opened(build(), Limits(together=2, waiting=1, waiting_tokens=60)) as engine:
        engine.submit_all(asked)
        engine.submit(asked[0])
        assert (engine.asked, engine.waiting) == (2, 21)
        with pytest.raises(BusyError, match="2 requests wait"):
            engine.submit_all(asked[:10])
        engine.submit(asked[0])
        with pytest.raises(BusyError, match="3 requests wait"):
            engine.submit(asked[0])
        while engine.busy():
            engine.step()
        assert engine.asked == 0
        engine.submit_all(asked * 2)
        assert engine.waiting == 40, "alone, it may be as long as it is"
        engine.abandon("enough")
        assert engine.asked == 0
        with pytest.raises(DataError, match="at least one token"):
            engine.submit_all([*asked, Request(ids=[], listen=Said().hear)])
        assert (engine.asked, engine.waiting) == (0, 0), "all of it or nothing"


def test_bias_and_penalties_change_what_is_written() -> None:
    with opened(build()) as engine:
        free, never, only, varied = ask(
            engine,
            [
                {"ids": [3, 4, 5]},
                {"ids": [3, 4, 5], "sampling": Sampling(bias={11: 100.0, 12: -100.0})},
                {"ids": [3, 4, 5], "sampling": Sampling(temperature=1.0, top_k=1, seed=3)},
                {"ids": [3, 4, 5], "sampling": Sampling(presence=100.0)},
            ],
        )
    assert set(never.tokens) == {11}
    assert only.tokens == free.tokens
    assert len(set(varied.tokens)) == len(varied.tokens)
    assert len(set(free.tokens)) < len(free.tokens) or varied.tokens == free.tokens


def test_chances_are_the_model_s_own() -> None:
    model = build()
    with opened(model) as engine:
        (said,) = ask(
            engine, [{"ids": [3, 4, 5], "chances": 3, "sampling": Sampling(bias={11: 100.0}), "most_tokens": 2}]
        )
        (scored,) = ask(
            engine, [{"ids": [3, 4, 5, 6, 7] * 12, "chances": 0, "score_from": 2, "most_tokens": 0} for _ in range(2)]
        )[1:]
    with torch.no_grad():
        logp = torch.log_softmax(model(torch.tensor([[3, 4, 5]])).logits[0, -1], -1)
        ids = torch.tensor([[3, 4, 5, 6, 7] * 12])
        whole = torch.log_softmax(model(ids).logits[0], -1)
    first = said.chances[0]
    assert first is not None
    assert first.token == 11
    assert first.logprob == pytest.approx(float(logp[11]), abs=1e-4)
    assert [token for token, _ in first.top] == logp.topk(3).indices.tolist()
    assert scored.end is not None
    wanted = [float(whole[place - 1, ids[0, place]]) for place in range(2, 60)]
    assert [chance.logprob for chance in scored.end.prompt] == pytest.approx(wanted, abs=1e-3)


def test_stop_texts_end_the_answer_and_are_not_shown() -> None:
    def decode(ids: list[int]) -> str:
        return "".join(chr(97 + token % 26) for token in ids)

    with opened(build()) as engine:
        (free,) = ask(engine, [{"ids": [3, 4, 5], "decode": decode}])
        stop = free.text[4:7]
        (cut,) = ask(engine, [{"ids": [3, 4, 5], "decode": decode, "stops": (stop,)}])
    assert cut.end is not None
    assert cut.end.finish == "stop"
    assert cut.text == free.text[: free.text.index(stop)]


def test_logits_that_are_not_numbers_end_only_their_own_answer() -> None:
    model = build()
    with torch.no_grad():
        model.get_input_embeddings().weight[9] = float("nan")
        model.get_output_embeddings().weight[9] = 0.0
    with opened(model, Limits(together=4)) as engine:
        sick, well = ask(engine, [{"ids": [3, 9]}, {"ids": [3, 4], "sampling": Sampling(bias={9: -100})}])
    assert sick.end is not None
    assert well.end is not None
    assert (sick.end.finish, well.end.finish) == ("fault", "length")
    assert "not numbers" in sick.end.found
