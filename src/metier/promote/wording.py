"""Whether a model folder renders rows into the very tokens that were trained, and stops where training taught it to."""

from dataclasses import dataclass
from pathlib import Path

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import Dropped, Row, Sequence
from metier.promote.reference import Reference
from metier.text import context, targets
from metier.text.asking import prompt
from metier.text.pooled import pooled_row
from metier.text.render import Renderer, open_renderer, render
from metier.text.rows import load_split, snapshot_behind
from metier.text.settings import TextSettings
from metier.text.tasks import ASKING

_SPLITS = ("validation", "train")
_SAY_WHERE_TO_STOP = ("generation_config.json", "config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What was rendered for training: the reference rows by id, and the settings; `stop_ids` are the base's own.

    `snapshot`: where the rows are. `headed`: a head was trained, so that rows end where it is read.
    """

    rows: dict[str, Row]
    settings: TextSettings
    stop_ids: tuple[int, ...]
    snapshot: Path
    headed: bool = False


def read(run: Path, base_folder: Path, reference: Reference) -> Wording:
    """Find the reference rows of a run in its snapshot, and how they were rendered.

    The template is left to the model folder, which holds the one that was trained with; the limit is the base's.

    Raises:
        DataError: the snapshot is gone, or no longer holds the rows.
    """
    facts = artefact.read_json(run / "settings.json")
    given = TextSettings.model_validate(facts["plan"]["text"])
    drop = context.dropped(facts["plan"])
    renderer = context.student_renderer(open_renderer(base_folder, given), drop)
    snapshot = snapshot_behind(run)
    rows = _rows(snapshot, reference)
    return Wording(
        rows={row_id: context.student_row(row, drop) for row_id, row in rows.items()},
        settings=renderer.settings.model_copy(update={"template": "auto", "max_tokens": renderer.limit}),
        stop_ids=renderer.tokenizer.stop_ids,
        snapshot=snapshot,
        headed=targets.read(run / "model") is not None,
    )


def _rows(snapshot: Path, reference: Reference) -> dict[str, Row]:
    wanted = {sequence.row_id for sequence in reference.sequences}
    found: dict[str, Row] = {}
    for split in _SPLITS:
        if len(found) < len(wanted):
            found |= {row.id: row for row in load_split(snapshot, split) if row.id in wanted}
    if missing := wanted - found.keys():
        raise DataError(f"{snapshot}: row {min(missing)} is not there", "the snapshot this run was trained on")
    return found


def difference(folder: Path, wording: Wording, reference: Reference) -> str:
    """Render the reference rows with a model folder's own tokenizer and template, as a server would.

    Returns:
        What is different first, in words; "" when every token, label weight, prompt and stop token is the same.
    """
    renderer = open_renderer(folder, wording.settings)
    # An adapter folder may leave it to its base where to stop.
    says = any((folder / name).is_file() for name in _SAY_WHERE_TO_STOP)
    stops = renderer.tokenizer.stop_ids if says else wording.stop_ids
    if set(stops) != set(reference.stop_ids):
        return f"stop tokens are {sorted(stops)}, trained with {sorted(reference.stop_ids)}"
    for index, sequence in enumerate(reference.sequences):
        row = wording.rows[sequence.row_id]
        if words := _rendered_otherwise(row, renderer, reference, index, headed=wording.headed):
            return f"{sequence.source}: {words}"
    return ""


def _rendered_otherwise(row: Row, renderer: Renderer, reference: Reference, index: int, *, headed: bool) -> str:
    sequence, prompt_ids = reference.sequences[index], reference.prompt_ids[index]
    if reference.own_answers:
        ids = _prompt_ids(row, renderer) or ()
        same = ids == prompt_ids == tuple(sequence.ids[: len(ids)].tolist())
        return "" if same else "its prompt renders into other tokens than in training"
    again = render(row, renderer) if not headed else pooled_row(row, renderer)
    if isinstance(again, Sequence):
        again = (again,)
    if isinstance(again, Dropped):
        return f"now {again.reason}, though it was trained"
    same = [other for other in again if other.ids.tolist() == sequence.ids.tolist()]
    if not same:
        return "renders into other tokens than were trained"
    if not any(other.weights.tolist() == sequence.weights.tolist() for other in same):
        return "its labels are weighed otherwise than in training"
    if prompt_ids is not None and _prompt_ids(row, renderer) != prompt_ids:
        return "its prompt renders into other tokens than in training"
    return ""


def _prompt_ids(row: Row, renderer: Renderer) -> tuple[int, ...] | None:
    return tuple(prompt(row, renderer).ids) if isinstance(row, ASKING) else None
