"""What a run learns from: the rows of a snapshot, proven and rendered as its objective needs them."""

from dataclasses import dataclass
from pathlib import Path

from metier.core import artefact, extras
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Row, TextRow
from metier.model.find import Base
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import Rendered
from metier.text.rows import load_split
from metier.train import replay, views
from metier.train.plan import TrainingPlan
from metier.train.reinforcing.questions import Questions, questions
from metier.train.teaching import answered
from metier.train.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a run learns from: both splits rendered, and the held-out rows (the training rows where there are none).

    `general`: the rows that are replayed; None without replay. `questions`: where the model learns from rewards, what
    it is asked, of both splits; `train` and `validation` are then their prompts.
    """

    renderer: Renderer
    train: Rendered
    validation: Rendered
    rows: list[Row]
    plain_text: bool
    general: Rendered | None = None
    questions: tuple[Questions, Questions] | None = None
    view: View

    @property
    def trained_rows(self) -> int:
        """Number of training rows."""
        return len(self.train) // self.view.together

    @property
    def held_out_rows(self) -> int:
        """Number of validation rows."""
        return len(self.validation) // self.view.together


def gather(snapshot: Path, base: Base, run: Path, settings: TrainingPlan, progress: Progress) -> Material:
    """Load, prove and render the rows of a snapshot; rendered rows are cached beside the runs."""
    renderer = open_renderer(base.folder, settings.text)
    rows = load_split(snapshot, "train")
    if not rows:
        raise DataError(f"{snapshot}: no training rows", "at least one", "look at decisions.jsonl there")
    manifest = artefact.read(snapshot, "snapshot")
    found = views.view(settings.train.objective, rows, renderer, facts=manifest.facts)
    views.require_alone(found, settings.train.regularise)
    views.require_on_policy(found, settings.train, settings.model)
    views.require_teacher(found, base)
    validation = load_split(snapshot, "validation")
    if found.targets is not None:
        extras.require("heads")  # the evaluation will want it: better to hear of it now
        for split, held_out in (("validation", validation), ("test", load_split(snapshot, "test"))):
            views.require_known_labels(found, held_out, split)
    digest = manifest.digest
    regularise = settings.train.regularise

    def render(part: list[Row], split: str) -> Rendered:
        name = f"{digest}/{split}"
        if found.generates:
            target = run / f"teacher-{split}"
            part = answered(part, found.teacher, base, target=target, seed=settings.seed, progress=progress)
            name += f"/{artefact.read(target).digest}"
        return views.render(
            found, part, store=run.parent.parent, digest=name, progress=progress, prove=split == "train"
        )

    if found.rewards:
        room = found.objective.reinforce.max_new_tokens
        asked, held_out = (questions(part, renderer, room=room, progress=progress) for part in (rows, validation))
        return Material(
            renderer=renderer, train=asked.rendered(), validation=held_out.rendered(), questions=(asked, held_out),
            rows=validation or rows, plain_text=False, view=found,
        )  # fmt: skip
    return Material(
        renderer=found.renderer,
        general=replay.render_general(regularise, renderer, progress) if regularise.replay else None,
        train=render(rows, "train"),
        validation=render(validation, "validation"),
        rows=[found.seen(row) for row in validation or rows],
        plain_text=all(isinstance(row, TextRow) for row in rows),
        view=found,
    )
