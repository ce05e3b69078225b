"""What an objective makes of the rows: what the model sees of each, and what it is to say."""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Progress
from metier.core.types import Dropped, LabelledRow, PreferenceRow, Reasoned, Row, TaskRow
from metier.model.find import Base
from metier.model.settings import ModelSettings
from metier.score.graders.values import require_rewarding
from metier.text import context, preferences, tasks
from metier.text.asking import prompt
from metier.text.pooled import pooled, pooled_row
from metier.text.proof import check, paint
from metier.text.render import Renderer
from metier.text.rendered import Rendered, cache_key, cached, render_rows
from metier.text.targets import HeadKind, Targets, fit, label_text
from metier.train.batches import Curriculum
from metier.train.reinforcing.questions import questions
from metier.train.settings import ObjectiveName, ObjectiveSettings, RegulariseSettings, TrainSettings

_HEADS: dict[ObjectiveName, HeadKind] = {"classify": "classify", "multilabel": "multilabel", "regress": "regress"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An objective on these rows. `renderer` is what the tuned model's prompts are rendered with afterwards.

    `curriculum`: what the order in which the rows stand means; None: nothing.
    """

    objective: ObjectiveSettings
    choice: Reasoned
    renderer: Renderer
    teacher: Renderer
    targets: Targets | None = None
    curriculum: Curriculum | None = None

    @property
    def distils(self) -> bool:
        """Whether a teacher sees more than the student."""
        return self.objective.name == "distil"

    @property
    def plain(self) -> bool:
        """Whether the model learns to write what the rows say."""
        return self.targets is None and not self.distils and not self.prefers and not self.rewards

    @property
    def prefers(self) -> bool:
        """Whether the model learns which of two answers is the better one."""
        return self.objective.name == "prefer"

    @property
    def rewards(self) -> bool:
        """Whether the model learns from rewards for its own answers."""
        return self.objective.name == "reinforce"

    @property
    def together(self) -> int:
        """How many sequences a row becomes that have to be computed in one forest."""
        return 2 if self.prefers else 1

    @property
    def generates(self) -> bool:
        """Whether the teacher's own answers take the place of those in the rows."""
        return self.distils and self.objective.answers == "generated"

    def seen(self, row: Row) -> Row:
        """Return a row as the tuned model will see it."""
        return context.student_row(row, self.objective.drop) if self.distils else row


def choose(settings: ObjectiveSettings, rows: Items[Row]) -> Reasoned:
    """Resolve `objective: auto` by the rows."""
    name = "train.objective"
    if settings.name != "auto":
        return Reasoned(name=name, value=settings.name, reason="as set")
    scored = sum(isinstance(row, LabelledRow) and row.answer == "score" for row in rows)
    if scored == len(rows):
        return Reasoned(name=name, value="regress", reason="every row is a text and a number")
    if all(isinstance(row, PreferenceRow) for row in rows):
        return Reasoned(name=name, value="prefer", reason="every row has a better and a worse answer")
    if all(isinstance(row, TaskRow) for row in rows):
        return Reasoned(name=name, value="reinforce", reason="every row is a task for a grader")
    return Reasoned(name=name, value="chat", reason="the model learns to write what the rows say")


def head_of(objective: ObjectiveName) -> HeadKind | Literal[""]:
    """Return the kind of head that an objective trains; "": it teaches words."""
    return _HEADS.get(objective, "")


def view(
    settings: ObjectiveSettings, rows: Items[Row], renderer: Renderer, *, facts: Mapping[str, Any] | None = None
) -> View:
    """Prepare an objective for the training rows.

    Args:
        settings: what is to be learnt.
        rows: the training rows.
        renderer: of the base.
        facts: what the snapshot's manifest says of the rows. None: their order means nothing.

    Raises:
        DataError: the rows have no labels of the kind that was asked for.
        SettingsError: no grader, where the model is to learn from rewards.
    """
    choice = choose(settings, rows)
    objective = settings.model_copy(update={"name": choice.value})
    if objective.name == "prefer":
        preferences.require_preferences(rows)
    if objective.name == "reinforce":
        require_grader(objective, rows)
    kind = _HEADS.get(objective.name)
    student = context.student_renderer(renderer, objective.drop) if objective.name == "distil" else renderer
    targets = fit(rows, kind) if kind is not None else None
    ordered = (facts or {}).get("curriculum")
    return View(
        objective=objective, choice=choice, renderer=student, teacher=renderer, targets=targets,
        curriculum=Curriculum(ordered["parts"], ordered["passes"]) if ordered else None,
    )  # fmt: skip


def require_alone(found: View, settings: RegulariseSettings) -> None:
    """Check that nothing is added to an objective that it has no place for.

    Raises:
        SettingsError: label smoothing, a pull to the base's words or general rows, without words that are learnt; noise
            on a model that learns from its own answers.
    """
    if found.plain:
        return
    without = ("label_smoothing", "replay", "neftune_alpha" if found.rewards else "kl_to_base")
    idle = [name for name in without if settings.model_dump()[name]]
    if idle:
        raise SettingsError(
            f"train.regularise.{idle[0]} with the objective {found.objective.name}", "the objective chat",
            f"leave {' and '.join(idle)} out",
        )  # fmt: skip


def require_grader(objective: ObjectiveSettings, rows: Items[Row]) -> None:
    """Check that there is something to ask, and a grader that gives answers a number.

    Raises:
        DataError: a row asks nothing.
        SettingsError: no grader, or one that looks at something else than one answer.
    """
    tasks.require_prompts(rows)
    if objective.reinforce.grader is None:
        raise SettingsError(
            "train.objective.reinforce.grader: not set", "what gives an answer its reward",
            "such as {type: string_check, operation: eq}; docs/objectives.md has examples",
        )  # fmt: skip
    require_rewarding(objective.reinforce.grader)


def require_on_policy(found: View, train: TrainSettings, model: ModelSettings) -> None:
    """Check that the model that learns from rewards is the very one that answers.

    Raises:
        SettingsError: dropout, or a search of the learning rate by a loss that there is none of.
    """
    if not found.rewards:
        return
    if model.dropout:
        raise SettingsError(
            f"model.dropout {model.dropout:g} with the objective reinforce", "0: the model that learns is the one that "
            "answered", "leave it out",
        )  # fmt: skip
    if train.learning_rate == "auto":
        raise SettingsError(
            "train.learning_rate auto with the objective reinforce", "a rate, or none for the usual one",
            "other rates are compared by their validation loss, which rewards do not have",
        )  # fmt: skip


def require_loss(found: View) -> None:
    """Check that runs of this objective can be compared by their validation loss.

    Raises:
        SettingsError: they are judged by rewards.
    """
    if found.rewards:
        raise SettingsError(
            "metier sweep with the objective reinforce", "an objective with a validation loss", "compare runs by hand"
        )


def require_teacher(found: View, base: Base) -> None:
    """Check that a distillation has somebody to learn from.

    Raises:
        SettingsError: the base begins with random weights.
    """
    if found.distils and base.kind == "config":
        raise SettingsError(
            "train.objective distil on a base with random weights", "a base that can follow the long prompt",
            "name a base with weights",
        )  # fmt: skip


def require_known_labels(found: View, rows: Items[Row], split: str) -> None:
    """Check before the training that a head could be right on every held-out row.

    Raises:
        DataError: a label of a held-out split stands in no training row.
    """
    if found.targets is None:
        return
    try:
        found.targets.vectors(rows)
    except DataError as error:
        raise DataError(f"{split} split: {error.found}", error.wanted, error.do) from error


def render(found: View, rows: Items[Row], *, store: Path, digest: str, progress: Progress, prove: bool) -> Rendered:
    """Render rows as an objective needs them; what is slow is cached.

    Args:
        found: the objective.
        rows: of one split.
        store: the project's `.metier` folder.
        digest: names the rows.
        progress: who listens.
        prove: run the preflight.

    Raises:
        ProofError: the rendered rows would train something other than what was meant.
        DataError: rows that cannot be learnt like this.
    """
    if found.rewards:
        room = found.objective.reinforce.max_new_tokens
        return questions(rows, found.renderer, room=room, progress=progress).rendered()
    taught = [context.teacher_row(row, found.objective.drop) for row in rows] if found.distils else list(rows)
    whole = _cached(taught, found.teacher, store, digest + ("" if not found.distils else _teaching(found)), progress)
    if prove:
        _prove(taught, found.teacher, whole, progress)
    if found.targets is not None:
        return pooled(whole, rows, found.targets, found.teacher)
    if found.prefers:
        turned = [preferences.turned(row) for row in rows]
        worse = _cached(turned, found.teacher, store, f"{digest}/worse", progress)
        if prove:
            _prove(turned, found.teacher, worse, progress)
        return preferences.paired(whole, worse)
    if not found.distils:
        return whole
    seen = [found.seen(row) for row in rows]
    short = _cached(seen, found.renderer, store, f"{digest}/student{_teaching(found)}", progress)
    if prove:
        _prove(seen, found.renderer, short, progress)
    paired = context.pair(short, whole)
    if prove:
        context.require_saving(paired)
    return paired


def _prove(rows: Items[Row], renderer: Renderer, rendered: Rendered, progress: Progress) -> None:
    """Run the preflight, and say what it doubts.

    Raises:
        ProofError: the rows would train something other than what was meant.
    """
    proof = check(rows, renderer, rendered=rendered, progress=progress)
    for doubt in proof.doubts:
        progress.say(f"  preflight: {doubt}")
    proof.raise_if_broken()


def painted(found: View, row: Row) -> list[tuple[str, bool]]:
    """Return a row as the model reads it, and what it learns there; what a head should say stands in brackets.

    Raises:
        ProofError: see `render.render`.
    """
    if found.prefers:
        return preferences.painted(row, found.renderer)
    if found.rewards:
        return [(prompt(row, found.renderer).text, False)]
    if found.targets is None:
        return paint(found.seen(row), found.renderer)
    cut = pooled_row(row, found.renderer)
    if isinstance(cut, Dropped):
        return [(f"dropped: {cut.reason} ({cut.detail})", False)]
    text = found.renderer.tokenizer.decode(cut.ids[:-1], skip_special=False)
    return [(text, False), (f"[{label_text(row)}]", True)]


def _teaching(found: View) -> str:
    return f"/{found.objective.drop}"


def _cached(rows: Items[Row], renderer: Renderer, store: Path, name: str, progress: Progress) -> Rendered:
    return cached(store, cache_key(name, renderer), lambda: render_rows(rows, renderer, progress))
