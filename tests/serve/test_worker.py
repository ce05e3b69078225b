"""What is computed without being written: bounded, in turn, given up when nobody waits, and never before answers."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import BusyError, DataError
from metier.engine.decoder import Engine
from metier.engine.limits import Limits
from metier.engine.request import Request
from metier.model.find import find
from metier.model.load import load_base
from metier.serve.prompts import unheard
from metier.serve.worker import Worker
from tests.serve.workshop import MODEL, Shop, application

HERE = {"host": "localhost"}
_LONG = 60


def working(base: Path, limits: Limits, use: Callable[[Worker], Awaitable[Any]]) -> Any:
    """Return what is made of a worker, which has ended then."""

    async def whole() -> Any:
        worker = Worker("test", partial(load_base, find(str(base), base)), limits)
        worker.start()
        try:
            await asyncio.wait_for(asyncio.shield(worker.ready), _LONG)
            return await asyncio.wait_for(use(worker), _LONG)
        finally:
            worker.stop()
            await asyncio.to_thread(worker.join, _LONG)

    return asyncio.run(whole())


class Gate:
    """A task that waits until it is let through."""

    def __init__(self) -> None:
        self.entered, self.let = threading.Event(), threading.Event()

    def __call__(self, engine: Engine) -> None:
        self.entered.set()
        assert self.let.wait(_LONG)


def test_answers_go_on_between_two_tasks(tiny_base: Path) -> None:
    """Planted fault: tasks that came before the next step all ran before it, so that a client stopped every answer."""

    async def use(worker: Worker) -> list[int]:
        answer = Request(ids=[5, 6, 7], listen=unheard, most_tokens=40)
        started = asyncio.Event()

        async def written() -> None:
            async for _ in worker.answers([answer]):
                started.set()

        writing = asyncio.create_task(written())
        await started.wait()
        passes = await worker.computed([lambda engine: engine.counts.passes] * 8, "ann")
        await writing
        return passes

    passes = working(tiny_base, Limits(), use)
    assert all(later == earlier + 1 for earlier, later in pairwise(passes))


def test_owners_take_turns(tiny_base: Path) -> None:
    async def use(worker: Worker) -> list[str]:
        order: list[str] = []
        gate = Gate()
        many = asyncio.create_task(worker.computed([gate, *[lambda engine: order.append("many")] * 5], "many"))
        await asyncio.to_thread(gate.entered.wait, _LONG)
        one = asyncio.create_task(worker.computed([lambda engine: order.append("one")], "one"))
        await asyncio.sleep(0.05)
        gate.let.set()
        await asyncio.gather(many, one)
        return order

    assert working(tiny_base, Limits(), use)[:2] == ["many", "one"]


def test_more_than_may_wait_is_told_to_come_again_and_who_has_gone_waits_no_more(tiny_base: Path) -> None:
    async def use(worker: Worker) -> list[str]:
        order: list[str] = []
        gate, asked = Gate(), [lambda engine: order.append("asked")]
        gone = asyncio.create_task(worker.computed([gate, lambda engine: order.append("gone")], "ann"))
        await asyncio.to_thread(gate.entered.wait, _LONG)
        refused = asyncio.create_task(worker.computed(asked, "bob"))
        await asyncio.sleep(0.05)
        gate.let.set()
        with pytest.raises(BusyError, match="wait already"):
            await refused
        await gone
        gate = Gate()
        gone = asyncio.create_task(worker.computed([gate, lambda engine: order.append("never")], "ann"))
        await asyncio.to_thread(gate.entered.wait, _LONG)
        gone.cancel()
        await asyncio.wait({gone})
        taken = asyncio.create_task(worker.computed(asked, "bob"))
        await asyncio.sleep(0.05)
        gate.let.set()
        await taken
        return order

    assert working(tiny_base, Limits(together=1, waiting=0), use) == ["gone", "asked"]


def test_a_task_that_fails_fails_alone(tiny_base: Path) -> None:
    def failing(engine: Engine) -> None:
        raise DataError("nothing", "something")

    async def use(worker: Worker) -> list[Any]:
        with pytest.raises(DataError, match="nothing"):
            await worker.computed([failing, failing], "ann")
        return await worker.computed([lambda engine: "well"], "ann")

    assert working(tiny_base, Limits(), use) == ["well"]


def test_what_is_not_ready_before_its_deadline_says_so(shop: Shop, tmp_path: Path) -> None:
    question = {"type": "predicate", "instructions": "card"}
    asked = [
        ("embeddings", {"model": MODEL, "input": ["card"] * 3}),
        ("decisions", {"model": shop.runs["head"], "input": "card", "questions": [question]}),
    ]
    with application(shop, store=tmp_path, limits={"deadline_seconds": 1e-6}) as client:
        for route, body in asked:
            answer = client.post(f"/v1/{route}", json=body, headers=HERE)
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
