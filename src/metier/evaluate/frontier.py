"""The retention frontier: between base and tuned model, what is gained at the task and what is lost elsewhere.

A model at α is base + α (tuned − base): 0 is the base, 1 what was trained, above 1 further in the same direction. For
LoRA the adapter's scale is multiplied, for whole weights they are interpolated. Measured on the validation rows, so
that the test rows stay a test.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.report import Figure, Report, Series, Table, Verdict
from metier.core.types import Reasoned
from metier.evaluate import retain
from metier.evaluate.answer import Asked, Decoding, answer
from metier.evaluate.job import new_tokens
from metier.evaluate.questions import choose, gather
from metier.evaluate.said import side_of
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import summarise
from metier.evaluate.task import deciding_metric, recognise
from metier.evaluate.wording import change_with_interval, level_with_interval
from metier.model.find import Base
from metier.model.load import device_here, load_base, load_tuned
from metier.model.scale import scaled
from metier.score import calibration
from metier.score.metrics import metric_of
from metier.text import targets
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings

KIND = "frontier"
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25)
_MOST_ROWS = 200
REMEDY = (
    "train again with general rows mixed in (train.regularise.replay), a pull towards the base "
    "(train.regularise.kl_to_base), or a lower train.learning_rate"
)
_SHARE_OF_RATE = 1 / 3


def measure(
    snapshot: Path, base: Base, run: Path, *, text: TextSettings, settings: EvaluateSettings, progress: Progress
) -> Path:
    """Measure task and general text at each scale, publish `run / "frontier"`, and recommend a scale.

    Raises:
        DataError: there are no validation rows, or the weights cannot be interpolated.
    """
    if targets.read(run / "model") is not None:
        raise DataError(f"{run.name}: a model with a head", "one that writes", "its base has no head to go back to")
    if settings.metric in calibration.METRICS:  # answers are written at every scale, labels are not weighed
        reason = f"{settings.metric} is measured by evaluations alone"
        progress.chose(Reasoned(name="evaluate.metric", value="auto", reason=reason))
        settings = settings.model_copy(update={"metric": "auto"})
    renderer = open_renderer(base.folder, text)
    rows = choose(load_split(snapshot, "validation"), min(settings.max_rows or _MOST_ROWS, _MOST_ROWS))
    if not rows:
        raise DataError(f"{snapshot}: no validation rows", "at least one", "raise prepare.validation_share")
    material = gather(rows, renderer)
    pieces = retain.general_sequences(renderer)
    asked = Asked(
        prompts=material.prompts,
        rows=material.measured,
        general=[sequences for _, sequences in pieces],
        decoding=_decoding(material.questions, renderer, settings),
    )
    seed = artefact.read_json(run / "settings.json")["plan"]["seed"]
    first_model = load_base(base, device=device_here(), seed=seed)
    first = answer(first_model, asked, name="base", progress=progress)
    tuned = load_tuned(base, run / "model", device=device_here())
    points = []
    for scale in SCALES:
        with scaled(tuned, first_model, scale):
            second = answer(tuned, asked, name=f"scale {scale:g}", progress=progress)
        sides = (side_of("base", first, renderer.tokenizer), side_of("tuned", second, renderer.tokenizer))
        facts = summarise(material.questions, *sides, settings)
        kept = retain.ledger([row for row, _ in pieces], first.general, second.general, settings)
        points.append(
            {"scale": scale, "task": facts["verdict"], "retention": kept["metrics"][0], "kept": kept["verdict"]}
        )
    found = {"metric": facts["metric"]["value"], "rows": len(rows), "points": points, "recommended": recommend(points)}
    target = run / KIND
    with artefact.publish(target, kind=KIND) as folder:
        (folder / "frontier.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return target


def recommend(points: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the scale with the best task metric among those that keep what the base could do; None: none keeps it."""
    kept = [point for point in points if point["kept"] == "kept" and point["task"]["tuned"]["value"] is not None]
    if not kept:
        return None
    sign = 1 if metric_of(kept[0]["task"]["name"]).higher_is_better else -1
    return float(max(kept, key=lambda point: (sign * point["task"]["tuned"]["value"], -point["scale"]))["scale"])


def recommended(run: Path) -> float | None:
    """Return the scale that was recommended; None: none keeps what the base could do.

    Raises:
        DataError: the frontier was not measured, or was changed since.
    """
    return _read(run)["recommended"]


def report(run: Path) -> Report:
    """Tell what the frontier shows.

    Raises:
        DataError: it was not measured, or was changed since.
    """
    found = _read(run)
    points, scale = found["points"], found["recommended"]
    title = metric_of(found["metric"]).title
    text = (
        f"no scale keeps what the base could do within the margin: {REMEDY}"
        if scale is None
        else f"scale {scale:g}: the best {title} among those that keep what the base could do"
    )
    rows = tuple(
        (
            point["scale"],
            level_with_interval(found["metric"], point["task"]["tuned"]),
            change_with_interval("loss", point["retention"]["difference"]),
            point["kept"],
        )
        for point in points
    )
    return Report(
        title=f"Retention frontier of {run.name}",
        verdict=Verdict(text=text, good=scale is not None),
        facts=(("rows", f"{found['rows']:,} of the validation split"),),
        tables=(
            Table(title="Scale by scale", columns=("scale", title, "general loss", "retention"), rows=rows),
            *((_remedies(run),) if scale is None else ()),
        ),
        figures=(_figure(points, title, [point["task"]["tuned"] for point in points]),),
        command="metier frontier",
    )


def _read(run: Path) -> dict[str, Any]:
    folder = run / KIND
    if not artefact.exists(folder, KIND):
        raise DataError(f"run {run.name}: no frontier", "a measured one", "metier frontier")
    artefact.verify(folder, KIND)
    return artefact.read_json(folder / "frontier.json")


def _remedies(run: Path) -> Table:
    """Say what to train instead, from what this run was trained with, as commands."""
    plan = artefact.read_json(run / "settings.json")["plan"]["train"]
    choices = artefact.read_json(run / "choices.json")
    rate = next((choice["value"] for choice in choices if choice["name"] == "train.learning_rate"), None)
    replay, pull = plan["regularise"]["replay"], plan["regularise"]["kl_to_base"]
    rows = [
        ("general rows mixed in", f"metier run --train.regularise.replay {min(0.5, replay * 2 or 0.2):g}"),
        ("a pull towards the base", f"metier run --train.regularise.kl-to-base {pull * 3 or 0.1:g}"),
    ]
    if rate is not None:
        lower = rate * _SHARE_OF_RATE / plan["schedule"].get("multiplier", 1)
        rows.append(("a lower rate", f"metier run --train.learning-rate {lower:.2g}"))
    note = "Each forgets less and may learn less: what it costs shows in the evaluation, and in its own frontier."
    return Table(title="What to train instead", columns=("", "command"), rows=tuple(rows), note=note)


def _figure(points: Sequence[Mapping[str, Any]], title: str, levels: Sequence[Mapping[str, Any]]) -> Figure:
    loss = [point["retention"]["difference"] for point in points]
    series = [Series(name=title, x=[point["scale"] for point in points], y=[entry["value"] or 0.0 for entry in levels])]
    series.append(
        Series(
            name="general loss against the base, nats",
            x=[point["scale"] for point in points],
            y=[entry["value"] or 0.0 for entry in loss],
            low=[entry["low"] or 0.0 for entry in loss],
            high=[entry["high"] or 0.0 for entry in loss],
        )
    )
    return Figure(title="What is gained and what is lost", kind="lines", series=tuple(series), x_label="scale")


def _decoding(questions: Sequence[Any], renderer: Renderer, settings: EvaluateSettings) -> Decoding:
    """Return how answers are made; where the loss decides, none are needed and one token is enough."""
    tokenizer = renderer.tokenizer
    task = recognise(questions, settings).value
    tasks = any(question.item is not None for question in questions)
    limit = new_tokens(questions, renderer, settings).value
    without = settings.model_copy(update={"graders": ()})
    if not tasks and deciding_metric(questions, task, without).value == "loss":
        limit = 1
    return Decoding(stop_ids=tokenizer.stop_ids, max_new_tokens=limit, pad_id=tokenizer.pad_id)
