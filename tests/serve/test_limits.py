"""Limits of each key: what is too much is told when to come again, and comes back within the minute."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from metier.serve.database import connect
from metier.serve.keys import Allowance, Caller, Keys
from metier.serve.limits import Limiter
from metier.serve.refusal import Refusal
from metier.serve.settings import LimitSettings
from tests.serve.workshop import MODEL, Shop, application

ANN, BOB = (Caller(id=name, scopes=frozenset({"infer"})) for name in ("ann", "bob"))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_counted_for_each_key_and_come_back_evenly() -> None:
    clock = Clock()
    limiter = Limiter(LimitSettings(requests_per_minute=3), clock)
    for _ in range(3):
        limiter.enter(ANN)
    with pytest.raises(Refusal, match="at most 3 in a minute") as refused:
        limiter.enter(ANN)
    assert (refused.value.status, refused.value.headers()["Retry-After"]) == (429, "20")
    limiter.enter(BOB)
    clock.now = 20.0
    limiter.enter(ANN)
    assert limiter.headers(ANN)["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-tokens" not in limiter.headers(ANN)


def test_tokens_are_set_aside_and_what_was_not_needed_comes_back() -> None:
    clock = Clock()
    limiter = Limiter(LimitSettings(tokens_per_minute=600), clock)
    limiter.reserve(ANN, 500)
    with pytest.raises(Refusal, match="more tokens"):
        limiter.reserve(ANN, 500)
    limiter.settle(ANN, reserved=500, used=20)
    limiter.reserve(ANN, 500)
    limiter.settle(ANN, reserved=500, used=1180)
    with pytest.raises(Refusal) as refused:
        limiter.enter(ANN)
    assert refused.value.retry_seconds == 61
    clock.now = 61.0
    limiter.enter(ANN)


def test_more_than_a_whole_minute_is_let_through_when_nothing_else_was_asked() -> None:
    limiter = Limiter(LimitSettings(tokens_per_minute=100), Clock())
    limiter.reserve(ANN, 1000)
    with pytest.raises(Refusal):
        limiter.reserve(BOB, 1) or limiter.reserve(ANN, 1)


@settings(deadline=None)
@given(some.lists(some.tuples(some.floats(0, 30), some.integers(1, 40)), max_size=40), some.integers(1, 100))
def test_never_more_than_a_minute_holds_twice(asked: list[tuple[float, int]], size: int) -> None:
    clock = Clock()
    limiter = Limiter(LimitSettings(tokens_per_minute=size), clock)
    let_through: list[tuple[float, int]] = []
    for pause, amount in asked:
        clock.now += pause
        with suppress(Refusal):
            limiter.reserve(ANN, min(amount, size))
            let_through.append((clock.now, min(amount, size)))
    for start, _ in let_through:
        assert sum(amount for moment, amount in let_through if start <= moment < start + 60) <= 2 * size


def test_a_key_may_have_limits_of_its_own(shop: Shop, tmp_path: Path) -> None:
    keys = Keys(connect(tmp_path))
    few = keys.make("few", ["infer"], Allowance(requests_per_minute=2))
    usual = keys.make("usual", ["infer"])
    with application(shop, store=tmp_path, limits={"requests_per_minute": 100, "tokens_per_minute": 5000}) as client:

        def ask(key: str, **body: object) -> "tuple[int, dict[str, str]]":
            headers = {"host": "localhost", "authorization": f"Bearer {key}"}
            path = "/v1/chat/completions" if body else "/v1/models"
            answer = client.request("POST" if body else "GET", path, json=body or None, headers=headers)
            return answer.status_code, dict(answer.headers)

        asked = [ask(few) for _ in range(3)]
        assert [status for status, _ in asked] == [200, 200, 429]
        assert asked[0][1]["x-ratelimit-limit-requests"] == "2"
        assert asked[2][1]["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(asked[2][1]["retry-after"]) <= 30
        turn = {"role": "user", "content": "card"}
        status, headers = ask(usual, model=MODEL, messages=[turn], max_tokens=2)
        assert (status, headers["x-ratelimit-limit-requests"]) == (200, "100")
        assert 0 < int(headers["x-ratelimit-remaining-tokens"]) <= 5000
