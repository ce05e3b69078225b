"""Let the teacher answer: what the base says to the long prompt takes the place of the answers in the rows."""

import json
from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import ChatRow, LabelledRow, Row
from metier.engine.sample import complete
from metier.model.find import Base
from metier.model.load import device_here, load_base
from metier.text.asking import prompt
from metier.text.render import Renderer

_KIND = "teacher-answers"
_FEWEST_TOKENS, _MOST_TOKENS = 64, 512


def answered(
    rows: Items[Row], renderer: Renderer, base: Base, *, target: Path, seed: int, progress: Progress
) -> list[Row]:
    """Return the rows with the teacher's answers; those that it leaves empty or does not end are left out.

    Args:
        rows: conversations or labelled rows.
        renderer: renders the long prompt.
        base: the teacher.
        target: where the answers are kept, so that a run that goes on trains on the same ones.
        seed: of a base of random weights.
        progress: who listens.

    Raises:
        DataError: the teacher answered nothing.
    """
    if not artefact.exists(target, _KIND):
        said = _ask(rows, renderer, base, seed, progress)
        with artefact.publish(target, kind=_KIND, facts={"base_digest": base.digest}) as folder:
            (folder / "answers.json").write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
    artefact.verify(target, _KIND)
    answers = artefact.read_json(target / "answers.json")
    found = [_with(row, answers[row.id]) for row in rows if answers.get(row.id)]
    if rows and not found:
        raise DataError(
            f"the base ended none of its answers to {len(rows):,} rows", "a base that can follow the long prompt",
            "set train.objective.answers: given",
        )  # fmt: skip
    if len(found) < len(rows):
        progress.say(f"{len(rows) - len(found):,} of {len(rows):,} rows left out: the base did not end its answer")
    return found


def _ask(rows: Items[Row], renderer: Renderer, base: Base, seed: int, progress: Progress) -> dict[str, str]:
    """Return the base's answers by row id, "" where it did not end."""
    if not rows:
        return {}
    prompts = [prompt(row, renderer) for row in rows]
    tokenizer = renderer.tokenizer
    longest = max(len(tokenizer.encode(each.reference, special=False)) for each in prompts)
    completions = complete(
        load_base(base, device=device_here(), seed=seed),
        [each.ids for each in prompts],
        stop_ids=tokenizer.stop_ids,
        max_new_tokens=min(_MOST_TOKENS, max(_FEWEST_TOKENS, 2 * longest)),
        pad_id=tokenizer.pad_id,
        progress=progress,
    )
    return {
        row.id: tokenizer.decode(list(said.ids)).strip() if said.finish == "stop" else ""
        for row, said in zip(rows, completions, strict=True)
    }


def _with(row: Row, text: str) -> Row:
    if isinstance(row, ChatRow):
        last = max(place for place, turn in enumerate(row.messages) if turn.role == "assistant")
        said = replace(row.messages[last], content=text, tool_calls=())
        return replace(row, messages=(*row.messages[:last], said))
    assert isinstance(row, LabelledRow)
    return replace(row, label=text, answer="label")
