"""Models of jobs are deleted by who made them; a server that dies in between finishes it; nothing else can be."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from metier.core import lock
from tests.serve import workshop
from tests.serve.test_gate import ask
from tests.serve.test_jobs import QUICK, until, upload, wait
from tests.serve.workshop import MODEL, Process, Shop, application, chat_rows

ASKED: Any = [{"role": "user", "content": "my card number 3"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("deletion")
    (folder / MODEL).symlink_to(tiny_base)
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: none.jsonl\n")
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[Process]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("METIER_DEVICE_LOCK", raising=False)
        patch.setenv(lock.FOLDER, str(folder / "locks"))
        server = workshop.start(folder)
        yield server
        workshop.end(server)


def trained(client: openai.OpenAI) -> Any:
    """A job of two epochs, each of them served."""
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=upload(client, chat_rows()), suffix="desk",
        extra_body={"settings": QUICK | {"train.rows_per_step": 12, "train.epochs": 2}},
    )  # fmt: skip
    return wait(client, made.id, "succeeded")


def served(client: openai.OpenAI) -> set[str]:
    return {model.id for model in client.models.list() if model.id.startswith("ft:")}


def test_who_made_a_model_deletes_it_and_what_it_measured_stays(folder: Path, server: Process) -> None:
    client = server.client()
    job = trained(client)
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 12), "numbers, once they are known"
    assert job.hyperparameters.learning_rate_multiplier == 1
    assert job.method.supervised.hyperparameters.n_epochs == 2
    whole, epoch = job.fine_tuned_model, next(name for name in sorted(served(client)) if ":ckpt-step-" in name)
    run = next((folder / ".metier" / "jobs" / job.id).glob(".metier/runs/*"))
    kept = run / "epochs" / epoch.rpartition("-")[2]
    assert (kept / "model").is_dir()
    answer = client.models.delete(epoch)
    assert (answer.id, answer.object, answer.deleted) == (epoch, "model", True)
    assert not (kept / "model").exists()
    assert epoch not in served(client)
    assert whole in served(client)
    assert epoch not in [each.fine_tuned_model_checkpoint for each in client.fine_tuning.jobs.checkpoints.list(job.id)]
    for gone in (lambda: client.models.retrieve(epoch), lambda: client.models.delete(epoch),
                 lambda: client.chat.completions.create(model=epoch, messages=ASKED)):  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            gone()
    with pytest.raises(openai.NotFoundError):
        client.models.delete("ft:small:metier:desk:00000000")
    with pytest.raises(openai.ConflictError, match="no job made it"):
        client.models.delete(MODEL)
    in_use(client, whole)
    client.models.delete(whole)
    assert not (run / "model").exists()
    assert not (run / "checkpoints").exists()
    assert whole not in served(client)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"
    said = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
    assert said[:2] == [f"Model deleted: {whole}", f"Model deleted: {epoch}"]
    assert any(text.startswith("Step 1") for text in said)
    with sqlite3.connect(folder / ".metier" / "metier.db") as database:
        actions = [action for (action,) in database.execute("SELECT action FROM audit")]
    assert f"DELETE /v1/models/{whole}" in actions


def in_use(client: openai.OpenAI, model: str) -> None:
    """While a rollout runs, neither of its models is deleted; afterwards only who answers by it stays."""
    client.post("/rollouts", body={"alias": "desk", "stable": MODEL, "candidate": model}, cast_to=object)
    with pytest.raises(openai.ConflictError, match="answers for 'desk'"):
        client.models.delete(model)
    client.post("/rollouts/desk/end", body={"state": "promoted"}, cast_to=object)
    with pytest.raises(openai.ConflictError, match="answers for 'desk'"):
        client.models.delete(model)
    client.post("/rollouts", body={"alias": "desk", "stable": model, "candidate": MODEL}, cast_to=object)
    client.post("/rollouts/desk/end", body={"state": "promoted"}, cast_to=object)


def test_a_server_that_died_in_between_finishes_when_it_starts(folder: Path, server: Process) -> None:
    """The name goes first: then the model is not served, and its files go when a server starts again."""
    client = server.client()
    job = trained(client)
    workshop.end(server)
    run = next((folder / ".metier" / "jobs" / job.id).glob(".metier/runs/*"))
    with sqlite3.connect(folder / ".metier" / "metier.db") as database:
        database.execute("INSERT INTO deleted_models VALUES (?, ?, 0)", (job.fine_tuned_model, job.id))
    assert (run / "model").is_dir()
    again = workshop.start(folder)
    try:
        assert job.fine_tuned_model not in served(again.client())
        assert until(lambda: not (run / "model").exists())
        assert again.client().fine_tuning.jobs.retrieve(job.id).status == "succeeded"
    finally:
        workshop.end(again)


def test_what_stands_twice_is_read_where_it_still_is(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that became a version, and was deleted: the same adapter, under the name by which it was asked first.

    The planted fault: who remembers only the first folder reads it again once the adapter has left memory.
    """
    monkeypatch.setattr("metier.serve.pool._MIB", 1)  # one adapter at a time
    runs = shop.store / "runs"
    shutil.copytree(runs / shop.runs["first"], runs / "first-again")
    shutil.copytree(runs / shop.runs["first"], runs / "first-once-more")
    try:
        with application(shop, store=tmp_path) as client:
            told = ask(client, model="first-again").json()["choices"]
            assert ask(client, model=shop.runs["second"]).status_code == 200, "the first one leaves memory"
            shutil.rmtree(runs / "first-again")
            assert ask(client, model="first-again").status_code == 404
            assert ask(client, model="first-once-more").json()["choices"] == told
    finally:
        shutil.rmtree(runs / "first-once-more")
