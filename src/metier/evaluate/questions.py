"""What is asked: held-out rows as prompts, right answers and sequences to measure the loss on; imports no torch."""

from collections.abc import Collection
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from typing import Any, Literal

from metier.core import digest, seeds
from metier.core.errors import DataError, ModelError
from metier.core.types import Dropped, LabelledRow, PreferenceRow, Row, Sequence, TaskRow, TextRow
from metier.text import tasks
from metier.text.asking import Prompt, prompt
from metier.text.preferences import turned
from metier.text.render import Renderer, render

_PROMPTS_COMPARED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One held-out row. `reference` is the right answer; None for plain text, which is only measured by its loss.

    `written`: the right answer as the template writes it, where that is longer: calls, thinking. `headed`: it is
    answered by a head, with one label, a JSON list of labels or a number; None: in writing. `preference`: the row
    has a worse answer, too. `item`: the columns of a task for graders; None: it is no task.
    """

    row_id: str
    source: str
    prompt: str
    reference: str | None
    group: str | None = None
    slice: str | None = None
    labelled: bool = False
    headed: Literal["label", "labels", "score"] | None = None
    preference: bool = False
    item: dict[str, Any] | None = None
    written: str | None = None

    @property
    def answer(self) -> str:
        """The right answer as the model is taught to write it; empty where there is none."""
        return self.written or self.reference or ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """R questions with what a model gets to see of them.

    `prompts` [R]: token ids, None for plain text. `sequences` [R]: for the loss; empty where a row is too long to
    train on. `worse` [R]: the same for the worse answers of preferences; else empty. `left_out`: rows that can be
    neither asked nor measured.
    """

    questions: tuple[Question, ...]
    prompts: tuple[list[int] | None, ...]
    sequences: tuple[tuple[Sequence, ...], ...]
    left_out: tuple[Dropped, ...]
    worse: tuple[tuple[Sequence, ...], ...] = ()

    @property
    def measured(self) -> tuple[tuple[Sequence, ...], ...]:
        """All whose loss is wanted: the R rows, then their worse answers, where every row has one."""
        return (
            (*self.sequences, *self.worse)
            if all(question.preference for question in self.questions)
            else self.sequences
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all token ids that a model gets to see."""
        seen = [[sequence.ids.tolist() for sequence in entry] for entry in self.measured]
        return digest.of_value([self.prompts, seen])

    def only(self, row_ids: Collection[str]) -> "Material":
        """Return the material of some rows."""
        places = [place for place, question in enumerate(self.questions) if question.row_id in row_ids]
        return replace(
            self,
            questions=tuple(self.questions[place] for place in places),
            prompts=tuple(self.prompts[place] for place in places),
            sequences=tuple(self.sequences[place] for place in places),
            worse=tuple(self.worse[place] for place in places),
        )


def choose(rows: Many[Row], most: int | None) -> list[Row]:
    """Return at most `most` rows, chosen by row id alone (so stable when rows are added), in their own order."""
    if most is None or len(rows) <= most:
        return list(rows)
    chosen = sorted(rows, key=lambda row: (seeds.unit("evaluate", row.id), row.id))[:most]
    wanted = {row.id for row in chosen}
    return [row for row in rows if row.id in wanted][:most]


def gather(rows: Many[Row], renderer: Renderer) -> Material:
    """Render rows as questions.

    Raises:
        DataError: not one row can be asked or measured.
        ProofError: the template is not prefix-stable for a row.
    """
    questions, prompts, sequences, worse, left_out = [], [], [], [], []
    for row in rows:
        rendered = () if isinstance(row, TaskRow) else render(row, renderer)
        asked = _asked(row, renderer)
        other = render(turned(row), renderer) if isinstance(row, PreferenceRow) else ()
        missing = _missing(row, asked, rendered, other)
        if missing is not None or isinstance(asked, Dropped) or isinstance(other, Dropped):
            left_out.append(missing)
            continue
        questions.append(_question(row, asked))
        prompts.append(asked.ids if asked else None)
        sequences.append(() if isinstance(rendered, Dropped) else rendered)
        worse.append(other)
    if not questions:
        why = f" ({left_out[0].source}: {left_out[0].reason})" if left_out else ""
        raise DataError(f"none of {len(rows)} held-out rows can be evaluated{why}", "at least one")
    return Material(
        questions=tuple(questions),
        prompts=tuple(prompts),
        sequences=tuple(sequences),
        left_out=tuple(left_out),
        worse=tuple(worse),
    )


def _missing(
    row: Row,
    asked: Prompt | Dropped | None,
    rendered: tuple[Sequence, ...] | Dropped,
    worse: tuple[Sequence, ...] | Dropped,
) -> Dropped | None:
    """Return why a row can be neither asked nor measured; one too long to train on can be asked all the same."""
    if isinstance(asked, Dropped):
        return rendered if isinstance(rendered, Dropped) else asked
    needed = (rendered, worse) if asked is None or isinstance(row, PreferenceRow) else ()
    return next((each for each in needed if isinstance(each, Dropped)), None)


def together(whole: Material, rows: Many[Row], renderer: Renderer) -> tuple[Material, Material]:
    """Render the same rows another way too, and keep what can be asked in both.

    Args:
        whole: the rows as the base is asked.
        rows: the same rows as the tuned model is asked.
        renderer: renders those.
    """
    other = gather(rows, renderer)
    if other.digest == whole.digest:
        return whole, whole
    shared = {question.row_id for question in whole.questions} & {question.row_id for question in other.questions}
    return whole.only(shared), other.only(shared)


def require_same_prompts(rows: Many[Row], ours: Renderer, theirs: Renderer) -> None:
    """Check on the first rows that both sides turn a row into the same prompt and stop at the same tokens.

    Raises:
        ModelError: they do not, so that a difference between the models would prove nothing.
    """
    do = "train again: the run's tokenizer or template files were changed, or belong to another base"
    if set(ours.tokenizer.stop_ids) != set(theirs.tokenizer.stop_ids):
        raise ModelError(
            f"{theirs.tokenizer.folder}: stops at {sorted(theirs.tokenizer.stop_ids)}",
            f"the base's stop tokens {sorted(ours.tokenizer.stop_ids)}",
            do,
        )
    for row in rows[:_PROMPTS_COMPARED]:
        pair = [_asked(row, renderer) for renderer in (ours, theirs)]
        ids = [entry.ids if isinstance(entry, Prompt) else None for entry in pair]
        if ids[0] != ids[1]:
            raise ModelError(f"{theirs.tokenizer.folder}: {row.source} becomes another prompt", "the base's prompt", do)


def _asked(row: Row, renderer: Renderer) -> Prompt | Dropped | None:
    """Return the prompt of a row, None for plain text, or why there is none."""
    if isinstance(row, TextRow):
        return None
    try:
        return prompt(row, renderer)
    except DataError as error:
        return Dropped(source=row.source, reason="cannot be asked", detail=str(error))


def _question(row: Row, asked: Prompt | None) -> Question:
    return Question(
        row_id=row.id,
        source=row.source,
        prompt=asked.text if asked else row.text if isinstance(row, TextRow) else "",
        reference=(asked.reference or None if isinstance(row, TaskRow) else asked.reference) if asked else None,
        group=row.group,
        slice=row.slice,
        labelled=isinstance(row, LabelledRow) and row.answer == "label",
        preference=isinstance(row, PreferenceRow),
        item=tasks.item(row) if isinstance(row, TaskRow) else None,
        written=asked.written if asked else None,
    )
