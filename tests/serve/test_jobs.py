"""From a file to a chat with the tuned model, with the official client; through a kill in the middle."""

import csv
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from openai.types.fine_tuning import FineTuningJob

from metier.core import lock
from tests.serve import workshop
from tests.serve.workshop import MODEL, Process, chat_rows

QUICK = {"model.method": "lora", "train.learning_rate": 0.03, "train.max_steps": 4, "train.checkpoint_every": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / MODEL).symlink_to(tiny_base)
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: none.jsonl\n")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Process]:
    """A server whose jobs wait for whoever else trains, as they do, on a machine of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("METIER_DEVICE_LOCK", raising=False)
        patch.setenv(lock.FOLDER, str(folder / "locks"))
        server = workshop.start(folder)
        yield server
        workshop.end(server)


HAS_A = {"type": "string_check", "name": "a", "operation": "ilike", "input": "{{sample.output_text}}", "reference": "a"}
JUDGE = {"type": "score_model", "name": "judge", "model": "m", "input": [{"role": "user", "content": "How good?"}]}
MULTI = {"type": "multi", "name": "several", "calculate_output": "a"}


def reinforced(*, grader: Any = HAS_A, **options: Any) -> dict[str, Any]:
    """A job that learns from rewards."""
    return {"method": {"type": "reinforcement", "reinforcement": {"grader": grader, **options}}}


def wait(client: openai.OpenAI, id: str, *states: str, seconds: float = 200) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.fine_tuning.jobs.retrieve(id)
        if job.status in states:
            return job
        assert job.status not in ("failed", "succeeded"), job
        time.sleep(0.2)
    raise AssertionError(f"still {job.status}")


def until(holds: Callable[[], bool], seconds: float = 100) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return True


def said(client: openai.OpenAI, job: str) -> list[str]:
    """What the events of a job say, newest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=100)]


def upload(client: openai.OpenAI, text: str) -> str:
    file = client.files.create(file=("train.jsonl", text.encode()), purpose="fine-tune")
    return client.files.wait_for_processing(file.id).id


def of_epochs(client: openai.OpenAI, job: Any) -> None:
    """Each epoch that ended is served, with what was measured there; the best step is what the job is called by."""
    found = client.fine_tuning.jobs.checkpoints.list(job.id).data
    steps = [checkpoint.step_number for checkpoint in found]
    assert steps == sorted(steps, reverse=True)
    names = {checkpoint.fine_tuned_model_checkpoint for checkpoint in found}
    assert job.fine_tuned_model in names
    assert len(found) >= 2
    for metrics in (checkpoint.metrics for checkpoint in found):
        assert metrics.full_valid_loss == metrics.valid_loss > 0
        assert 0 <= metrics.full_valid_mean_token_accuracy == metrics.valid_mean_token_accuracy <= 1
        assert 0 <= metrics.train_mean_token_accuracy <= 1
    asked = [{"role": "user", "content": "my card number 3"}]
    said = {
        name: client.chat.completions.create(
            model=name, messages=asked, max_tokens=1, logprobs=True, top_logprobs=5
        ).choices[0].logprobs.content[0].top_logprobs[0].logprob
        for name in sorted(names)
    }  # fmt: skip
    assert len(set(said.values())) == len(said), "each is a model of its own"
    assert names <= {model.id for model in client.models.list()}


def of_steps(table: list[str], events: list[Any]) -> None:
    """The result file has the hosted columns, and says the same as the events."""
    hosted = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert table[0] == f"{hosted},full_valid_loss,full_valid_mean_token_accuracy"
    rows = list(csv.DictReader(table))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert 0 <= float(rows[0]["train_accuracy"]) < float(rows[-1]["train_accuracy"]) <= 1, "it learns"
    told = {str(event.data["step"]): event.data for event in events if event.type == "metrics"}
    for row in rows:
        data = told[row["step"]]
        assert float(row["train_accuracy"]) == data["train_mean_token_accuracy"]
        if row["valid_loss"]:
            assert float(row["full_valid_mean_token_accuracy"]) == data["valid_mean_token_accuracy"]
            assert row["full_valid_loss"] == row["valid_loss"]
    assert any(row["valid_mean_token_accuracy"] for row in rows)


def chosen(folder: Path, job: str, name: str) -> Any:
    """What the training of a job chose."""
    path = next((folder / ".metier" / "jobs" / job).glob(".metier/runs/*/choices.json"))
    return next(choice["value"] for choice in json.loads(path.read_text(encoding="utf-8")) if choice["name"] == name)


def test_from_a_file_to_a_chat_with_the_tuned_model(folder: Path, server: Process) -> None:
    client = server.client()
    training = upload(client, chat_rows())
    hyperparameters: Any = {"n_epochs": 4, "batch_size": 12, "learning_rate_multiplier": 15.0}
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=training, suffix="desk", seed=3, metadata={"team": "a"},
        extra_body={"settings": {name: value for name, value in QUICK.items() if name != "train.learning_rate"}},
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
    )  # fmt: skip
    assert made.status == "queued"
    job = wait(client, made.id, "succeeded")
    assert job.fine_tuned_model.startswith(f"ft:{MODEL}:metier:desk:")
    assert job.trained_tokens > 0
    assert (job.seed, job.metadata) == (3, {"team": "a"})
    assert job.method.supervised.hyperparameters.learning_rate_multiplier == 15
    assert chosen(folder, job.id, "train.learning_rate") == pytest.approx(15 * 2e-3), "15 times what the rule says"
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "my card number 3"}], max_tokens=4
    )
    assert answer.model == job.fine_tuned_model
    assert job.fine_tuned_model in {model.id for model in client.models.list()}
    table = client.files.content(job.result_files[0]).text.splitlines()
    of_steps(table, events := client.fine_tuning.jobs.list_events(job.id).data)
    assert {"message", "metrics"} == {event.type for event in events}
    assert [event.created_at for event in events] == sorted((event.created_at for event in events), reverse=True)
    told = [event.message.partition(":")[0] for event in events]
    steps = ["Step 4", "Step 3", "Step 2", "Step 1"]
    assert told == ["New fine-tuned model created", *steps, "Fine-tuning job started", "Created fine-tuning job"]
    of_epochs(client, job)
    assert [each.id for each in client.fine_tuning.jobs.list(extra_query={"metadata[team]": "a"})] == [job.id]
    assert not list(client.fine_tuning.jobs.list(extra_query={"metadata[team]": "b"}))
    assert job.id not in [each.id for each in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]
    assert job.id in [each.id for each in client.fine_tuning.jobs.list()]
    with pytest.raises(openai.BadRequestError, match="metadata=null"):
        client.fine_tuning.jobs.list(extra_query={"metadata": "a"})


def test_preferences_are_learnt(server: Process) -> None:
    """The hosted format of preferences: afterwards the preferred answer is what the model says."""
    client = server.client()
    turns = [{"role": "assistant", "content": text} for text in ("yes", "no")]
    lines = [
        {
            "input": {"messages": [{"role": "user", "content": f"is {number} good?"}]},
            "preferred_output": turns[:1],
            "non_preferred_output": turns[1:],
        }
        for number in range(30)
    ]
    file = upload(client, "".join(json.dumps(line) + "\n" for line in lines))
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=file, extra_body={"settings": QUICK | {"train.max_steps": 40}},
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3, "batch_size": 8, "n_epochs": 10}}},
    )  # fmt: skip
    job = wait(client, made.id, "succeeded")
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.3
    rows = client.files.content(job.result_files[0]).text.splitlines()[1:]
    first, last = (float(rows[place].split(",")[1]) for place in (0, -1))
    assert first == pytest.approx(0.693, abs=0.01), "log 2: nothing is preferred yet"
    assert last < 0.5 * first
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "is 77 good?"}], logprobs=True, max_tokens=3
    )
    assert answer.choices[0].logprobs


def test_rewards_are_learnt_from(server: Process) -> None:
    """The hosted format of tasks; what the grader rewards is what the model says more often in the end."""
    client = server.client()
    lines = [{"messages": [{"role": "user", "content": f"say {number}"}], "letter": "a"} for number in range(40)]
    file = upload(client, "".join(json.dumps(line) + "\n" for line in lines))
    grader = HAS_A | {"reference": "{{item.letter}}"}
    chosen = {"batch_size": 4, "n_epochs": 9, "compute_multiplier": 2.0, "eval_samples": 2}
    chosen |= {"eval_interval": 5, "reasoning_effort": "default"}
    full = {"model.method": "full", "train.learning_rate": 0.01, "train.schedule.shape": "constant"}
    quick = {"train.max_steps": 12, "train.objective.reinforce.max_new_tokens": 6}
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=file, extra_body={"settings": full | quick},
        **reinforced(grader=grader, hyperparameters=chosen),
    )  # fmt: skip
    assert FineTuningJob.model_validate(made.to_dict(), strict=False).error is None  # strict: nothing is missing
    job = wait(client, made.id, "succeeded")
    assert job.method.type == "reinforcement"
    assert job.method.reinforcement.grader.reference == "{{item.letter}}"
    assert job.method.reinforcement.hyperparameters.compute_multiplier == 2.0
    table = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
    rewards = [float(row["train_mean_reward"]) for row in table]
    assert len(rewards) == 12
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])
    assert [row["step"] for row in table if row["valid_mean_reward"]] == ["5", "10", "12"]
    events = [event for event in client.fine_tuning.jobs.list_events(job.id).data if event.type == "metrics"]
    assert "training mean reward=" in events[0].message
    assert events[0].data["valid_mean_reward"] == float(table[-1]["valid_mean_reward"])
    checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
    assert checkpoint.metrics.to_dict()["valid_mean_reward"] > 0
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "say 99"}], max_tokens=6
    )
    assert answer.model == job.fine_tuned_model


def test_an_upload_in_parts_is_the_file(server: Process) -> None:
    client, text = server.client(), chat_rows().encode()
    begun = client.uploads.create(bytes=len(text), filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune")
    parts = [client.uploads.parts.create(begun.id, data=piece).id for piece in (text[:100], text[100:])]
    done = client.uploads.complete(begun.id, part_ids=parts)
    assert done.file is not None
    assert client.files.content(done.file.id).content == text
    assert client.files.delete(done.file.id).deleted
    other = client.uploads.create(bytes=5, filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune")
    part = client.uploads.parts.create(other.id, data=b"1234").id
    with pytest.raises(openai.BadRequestError, match="4 bytes came"):
        client.uploads.complete(other.id, part_ids=[part])
    assert client.uploads.cancel(other.id).status == "cancelled"


def test_a_job_waits_for_another_training_on_this_machine(folder: Path, server: Process) -> None:
    client = server.client()
    file = upload(client, chat_rows())
    with lock.of_machine("cpu", told="process 1 training x", taken=lambda holder: True):
        jobs = [
            client.fine_tuning.jobs.create(model=MODEL, training_file=file, extra_body={"settings": QUICK}).id
            for _ in range(4)
        ]
        assert [job.id for job in client.fine_tuning.jobs.list(limit=4).data] == jobs[::-1]
        for job in jobs[2:]:
            client.fine_tuning.jobs.cancel(job)
        told = "Waiting for process 1 training x on this CPU"
        assert until(lambda: told in said(client, jobs[0]))
        assert client.fine_tuning.jobs.retrieve(jobs[0]).status == "running"
        client.fine_tuning.jobs.cancel(jobs[0])
        assert until(lambda: told in said(client, jobs[1])), "the first one let go of its turn at once"
    wait(client, jobs[1], "succeeded")
    assert "Nobody else trains here now; going on" in said(client, jobs[1])
    assert said(client, jobs[0])[0] == "Fine-tuning job cancelled"


def test_a_job_whose_rows_cannot_be_learnt_fails_in_words(server: Process) -> None:
    client = server.client()
    made = client.fine_tuning.jobs.create(model=MODEL, training_file=upload(client, '{"no": "row"}\n'))
    deadline = time.monotonic() + 100
    while (job := client.fine_tuning.jobs.retrieve(made.id)).status != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert job.error is not None
    assert "train.jsonl" in (job.error.message or "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "gpt-9"}, "not trained here"),
        ({"method": {"type": "reinforcement"}}, "method.reinforcement: missing"),
        (reinforced(grader={"type": "python", "name": "x", "source": "print(1)"}), "run code of a request"),
        (reinforced(grader={"type": "checker", "path": "/etc/passwd"}), "grader"),
        (reinforced(grader=JUDGE), "this server knows no judge"),
        (reinforced(grader=MULTI | {"graders": {"a": HAS_A}, "calculate_output": "b"}), "unknown name b"),
        (reinforced(grader=MULTI | {"graders": {"a": JUDGE}}), "no judge"),
        (reinforced(grader=MULTI | {"graders": {"a": {"type": "python", "source": "x"}}}), "run code of a request"),
        (reinforced(response_format={"type": "json_schema"}), "response_format"),
        (reinforced(hyperparameters={"reasoning_effort": "low"}), "no levels of effort"),
        (reinforced(hyperparameters={"eval_interval": 0}), "eval_interval"),
        (reinforced(hyperparameters={"learning_rate_multiplier": 0}), "learning_rate_multiplier"),
        (reinforced(hyperparameters={"beta": 2.0}), "beta"),
        (
            {"extra_body": {"settings": {"train.objective.reinforce.grader.path": "/x.py"}}},
            "method.reinforcement.grader",
        ),
        ({"extra_body": {"settings": {"train.objective.reinforce.judge.url": "http://x"}}}, "method.reinforcement"),
        ({"extra_body": {"settings": {"train.objective.reinforce": "x"}}}, "method.reinforcement"),
        ({"method": {"type": "dpo", "supervised": {"hyperparameters": {"n_epochs": 1}}}}, "method.supervised"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}}, "beta"),
        ({"hyperparameters": {"learning_rate_multiplier": -2.0}}, "learning_rate_multiplier"),
        ({"hyperparameters": {"n_epochs": 2}, "extra_body": {"settings": {"train.epochs": 3}}}, "say the same"),
        ({"extra_body": {"settings": {"data.train": "/etc/passwd"}}}, "names under train and model"),
        ({"extra_body": {"settings": {"train.regularise.replay_file": "/etc/passwd"}}}, "names under train"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"suffix": "../x"}, "suffix"),
    ],
)
def test_what_a_job_cannot_do_is_refused(options: dict[str, Any], words: str, server: Process) -> None:
    client = server.client()
    asked = {"model": MODEL, "training_file": upload(client, chat_rows())} | options
    with pytest.raises(openai.BadRequestError, match=words):
        client.fine_tuning.jobs.create(**asked)
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model=MODEL, training_file="file-../../x")


def test_a_job_survives_a_kill_of_the_server_and_its_own(folder: Path, server: Process) -> None:
    client = server.client()
    slow = QUICK | {"train.max_steps": 60, "train.rows_per_step": 2}
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=upload(client, chat_rows(40)), extra_body={"settings": slow}
    )
    paused = client.fine_tuning.jobs.create(
        model=MODEL, training_file=upload(client, chat_rows()), extra_body={"settings": QUICK}
    )
    assert client.fine_tuning.jobs.pause(paused.id).status == "paused"
    place = folder / ".metier" / "jobs" / made.id
    deadline = time.monotonic() + 200
    while not list(place.glob(".metier/runs/*/checkpoints/*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = psutil.Process(int((place / "pid").read_text()))
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    child.send_signal(signal.SIGKILL)
    other = workshop.start(folder)
    server.process, server.url = other.process, other.url
    client = server.client()
    job = wait(client, made.id, "succeeded")
    log = next(place.glob(".metier/runs/*/metrics.jsonl")).read_text(encoding="utf-8")
    logged = [json.loads(line)["step"] for line in log.splitlines()]
    assert max(logged) == 60
    events = client.fine_tuning.jobs.list_events(job.id, limit=200)
    assert any("goes on from its last checkpoint" in event.message for event in events)
    assert client.fine_tuning.jobs.retrieve(paused.id).status == "paused"
    assert client.fine_tuning.jobs.resume(paused.id).status == "queued"
    assert client.fine_tuning.jobs.cancel(paused.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        client.fine_tuning.jobs.resume(paused.id)
