"""Let an opponent answer the rows that a model was evaluated on, and record under which conditions it did."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metier.core import artefact, digest
from metier.core.__about__ import __version__
from metier.core.errors import DataError, InputError
from metier.core.types import LabelledRow, Row
from metier.evaluate import openings
from metier.evaluate.answer import Asked, Decoding
from metier.evaluate.both import Both
from metier.evaluate.conditions import batch_plan
from metier.evaluate.graders.grade import Where, alone, grade
from metier.evaluate.job import new_tokens
from metier.evaluate.metrics import Side
from metier.evaluate.opponents import prompted, remote
from metier.evaluate.opponents.ground import CLASSIFIER, PROMPT, REMOTE, Ground
from metier.evaluate.questions import Material, Question, choose, gather
from metier.evaluate.said import side_of
from metier.evaluate.stored import Evaluation
from metier.model.load import device_here, load_base, load_tuned
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split


def stand(name: str, ground: Ground) -> Evaluation:
    """Ask an opponent.

    Args:
        name: `base`, `prompt:FILE` (relative to the project), `remote:MODEL` or `classifier:WAY`; what `ground.model`
            is called.
        ground: what it is asked.

    Returns:
        Its answers, as if an evaluation of it were stored: its side is called "tuned".

    Raises:
        InputError: the prompt's file is missing, or there is no such way.
        DataError: the rows cannot be asked, or an endpoint did not answer, or a head is asked to write.
        SettingsError: no endpoint is named.
    """
    renderer = open_renderer(ground.base.folder, ground.text)
    rows = choose(load_split(ground.snapshot, ground.settings.split), ground.settings.max_rows)
    rows = [row for row in rows if ground.only is None or row.id in ground.only]
    if ground.settings.split == "test":
        openings.note(ground.store, snapshot=artefact.read(ground.snapshot, "snapshot").digest, run=name)
    if name.startswith(CLASSIFIER):
        return _classified(name, ground, rows, renderer)
    if ground.questions is not None:
        raise DataError(
            f"{name}: it writes its answers, and is held against a run with a head", "a run that writes its answers",
            f"`{CLASSIFIER}logistic` and its like can be held against a head",
        )  # fmt: skip
    plain = gather(rows, renderer)
    limit = ground.limit or new_tokens(plain.questions, renderer, ground.settings).value
    if name.startswith(REMOTE):
        return _remote(name, ground, rows, renderer, limit)
    prompting = None
    if name.startswith(PROMPT):
        prompting = prompted.read((ground.folder / Path(name.removeprefix(PROMPT)).expanduser()).resolve())
    elif name != "base" and ground.model is None:
        raise InputError(f"opponent {name!r}", f"base, {PROMPT}FILE, {REMOTE}MODEL or {CLASSIFIER}WAY")
    material = plain if prompting is None else gather(prompted.all_before(prompting, rows), renderer)
    return _local(name, ground, material, renderer, (limit, prompting, rows))


def _local(
    name: str,
    ground: Ground,
    material: Material,
    renderer: Renderer,
    how: tuple[int, prompted.Prompting | None, Sequence[Row]],
) -> Evaluation:
    """Ask the base, with a prompt in front of every row or none, or a trained model."""
    limit, prompting, rows = how
    tokenizer = renderer.tokenizer
    decoding = Decoding(stop_ids=tokenizer.stop_ids, max_new_tokens=limit, pad_id=tokenizer.pad_id)
    asked = Asked(prompts=material.prompts, rows=material.measured, general=[], decoding=decoding)
    device = device_here()

    own = ground.base.digest if ground.model is None else artefact.read(ground.model, "model").digest

    def opened() -> Any:
        if ground.model is not None:
            return load_tuned(ground.base, ground.model, device=device)
        return load_base(ground.base, device=device, seed=ground.seed)

    both = Both(
        open_base=opened, open_tuned=opened, base_key=[own, ground.seed, str(device)],
        store=ground.store, progress=ground.progress,
    )  # fmt: skip
    answered, _ = both.answers("base", asked, [material.digest, []])
    side = side_of(name, answered, tokenizer)
    key = own if prompting is None else digest.of_value([own, prompting.digest])
    facts = _conditions(name, ground, material.questions, renderer) | {
        "tuned": {"name": name, "digest": key},
        "tokenizer": tokenizer.digest,
        "prompt": None if prompting is None else prompting.digest,
        "decoding": {"kind": "greedy", "max_new_tokens": limit, "stop_ids": sorted(decoding.stop_ids)},
        "batches": batch_plan(material.prompts, limit),
        "precision": "float32", "device": device.type, "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip
    return _evaluation(name, facts, _labelled(material.questions, rows), side, ground)


def _remote(name: str, ground: Ground, rows: Sequence[Row], renderer: Renderer, limit: int) -> Evaluation:
    """Ask a model behind an endpoint."""
    asked = remote.chats(rows, renderer)
    questions = gather(rows, renderer).questions
    if len(questions) != len(rows):
        raise DataError(f"{len(rows) - len(questions)} rows are too long for the base", "rows that both can read")
    model = name.removeprefix(REMOTE)
    settings = ground.settings
    opponent = remote.Remote(model=model, settings=settings.judge, limit=limit, seed=ground.seed)
    said = remote.ask(opponent, asked, ground.store, ground.progress)
    zeros = np.zeros(len(rows))
    side = Side(name=name, outputs=said.outputs, ended=said.ended, nats=zeros, tokens=zeros)
    facts = _conditions(name, ground, questions, renderer) | {
        "tuned": {"name": name, "digest": digest.of_value([settings.judge.url, model, list(said.outputs)])},
        "tokenizer": "remote",
        "remote": {"url": settings.judge.url, "model": model, "names": list(said.names), **opponent.decoding},
        "decoding": {"kind": "greedy", "max_new_tokens": limit, "stop_ids": []},
        "batches": None, "precision": None, "device": "remote",
    }  # fmt: skip
    return _evaluation(name, facts, questions, side, ground)


def _classified(name: str, ground: Ground, rows: Sequence[Row], renderer: Renderer) -> Evaluation:
    """Let a classifier that learns from the training rows answer what the models were asked."""
    questions = ground.questions or gather(rows, renderer).questions
    by_id = {row.id: row for row in rows}
    asked = [by_id[question.row_id] for question in questions]
    assert ground.classify is not None
    train = load_split(ground.snapshot, "train")
    ground.progress.say(f"{name}: learns from {len(train):,} training rows")
    outputs = ground.classify(name.removeprefix(CLASSIFIER), train, asked, ground.folder)
    zeros = np.zeros(len(outputs))
    side = Side(name=name, outputs=outputs, ended=(True,) * len(outputs), nats=zeros, tokens=zeros)
    facts = _conditions(name, ground, questions, renderer) | {
        "tuned": {"name": name, "digest": digest.of_value([name, list(outputs)])},
        "tokenizer": "none", "classifier": name, "decoding": {"kind": "classifier"},
        "batches": None, "precision": None, "device": "none",
    }  # fmt: skip
    return _evaluation(name, facts, questions, side, ground)


def _evaluation(
    name: str, facts: dict[str, Any], questions: tuple[Question, ...], side: Side, ground: Ground
) -> Evaluation:
    """Return an opponent's answers with what graders say that need no judge: nobody pays for an opponent's."""
    found = grade(
        questions, (side.outputs, side.outputs), alone(ground.settings.graders), judge_settings=ground.settings.judge,
        where=Where(folder=ground.folder, draw=lambda grader: ([], [])), progress=ground.progress,
    )  # fmt: skip
    side = replace(side, graded={metric: pair[1] for metric, pair in found.tables.items()})
    return Evaluation(run=Path(name), facts={"conditions": facts}, questions=questions, sides={"tuned": side})


def _labelled(questions: tuple[Question, ...], rows: Sequence[Row]) -> tuple[Question, ...]:
    """Remember which rows are texts with labels: with a prompt in front they are conversations."""
    labelled = {row.id for row in rows if isinstance(row, LabelledRow) and row.answer == "label"}
    return tuple(replace(question, labelled=question.row_id in labelled) for question in questions)


def _conditions(name: str, ground: Ground, questions: Sequence[Question], renderer: Renderer) -> dict[str, Any]:
    """Return the conditions that every opponent shares with the evaluation it is held against."""
    return {
        "split": ground.settings.split,
        "rows": len(questions),
        "rows_digest": digest.of_value([question.row_id for question in questions]),
        "snapshot": artefact.read(ground.snapshot, "snapshot").digest,
        "base": {"name": ground.base.name, "digest": ground.base.digest},
        "renderer": renderer.digest,
        "metier": __version__,
        "settings": ground.settings.model_dump(mode="json"),
    }
