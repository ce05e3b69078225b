"""What kind of answer is wanted, and so which metrics apply and which one decides; imports no torch."""

from collections.abc import Sequence
from statistics import median
from typing import Literal

from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.score import calibration, kinds, structured
from metier.score.graders.settings import named

Task = Literal["label", "labels", "score", "calls", "json", "text"]

METRICS_OF: dict[Task, tuple[str, ...]] = {
    "label": ("accuracy", "macro_f1", "label_known"),
    "labels": ("exact_match", "micro_f1", "macro_f1"),
    "score": ("mae", "rmse", "spearman"),
    "calls": ("calls_right", "call_order", "function_f1", "argument_f1"),
    "json": ("exact_match", "json_valid", "field_accuracy", "field_f1"),
    "text": ("exact_match", "word_f1"),
}
"""Task -> the metrics of its answers; whether an answer ended, loss and perplexity belong to every task."""

_HEADED: dict[Task, tuple[str, str]] = {
    "label": ("accuracy", "the head chooses one label"),
    "labels": ("micro_f1", "the head chooses any number of labels"),
    "score": ("mae", "the head says a number"),
}

_FIXED: dict[Task, tuple[str, str]] = {
    "label": ("accuracy", "the answers are labels"),
    "calls": ("calls_right", "a call with one wrong argument is a wrong call"),
}


def recognise(questions: Sequence[Question], settings: EvaluateSettings) -> Reasoned:
    """Say which task these questions are: what a head was trained for, the setting, or what right answers look like.

    Raises:
        SettingsError: another task was set than the one the head was trained for.
    """
    name = "evaluate.task"
    references = [question.reference for question in questions if question.reference is not None]
    if (headed := _of_head(questions)) is not None:
        if settings.task not in ("auto", headed):
            raise SettingsError(f"{name}: '{settings.task}' for a model with a head", f"'{headed}'", "leave it out")
        return Reasoned(name=name, value=headed, reason=_HEADED[headed][1])
    return _as_written(name, references, questions, settings)


def _of_head(questions: Sequence[Question]) -> Task | None:
    """Return the task of the head that answers; None: the answers are written."""
    kinds = {question.headed for question in questions}
    return kinds.pop() if len(kinds) == 1 else None


def _as_written(
    name: str, references: Sequence[str], questions: Sequence[Question], settings: EvaluateSettings
) -> Reasoned:
    """Say what written answers are."""
    if settings.task != "auto":
        return Reasoned(name=name, value=settings.task, reason="as set")
    if not references:
        graded = bool(questions) and all(question.item is not None for question in questions)
        reason = "the rows are tasks for a grader" if graded else "the rows are plain text"
        return Reasoned(name=name, value="text", reason=reason)
    found = kinds.recognise(references, labelled=all(question.labelled for question in questions))
    return Reasoned(name=name, value="text" if found.kind == "short" else found.kind, reason=found.reason)


def deciding_metric(
    questions: Sequence[Question],
    task: Task,
    settings: EvaluateSettings,
    graded: Sequence[str] | None = None,
    *,
    sure: bool = False,
) -> Reasoned:
    """Say which metric gives the verdict, and why.

    Args:
        questions: what is asked.
        task: what kind of answer is wanted.
        settings: which metric was set, and the graders.
        graded: the metrics that graders gave; None before anything was graded, when only their names are known.
        sure: every label has a probability, though no head says it.

    Raises:
        SettingsError: the metric that was set is not measured for this task.
    """
    name = "evaluate.metric"
    references = [question.reference for question in questions if question.reference is not None]
    measured = (*METRICS_OF[task], "loss") if references else ("loss",)
    preferences = bool(questions) and all(question.preference for question in questions)
    measured += ("preferred",) if preferences else ()
    measured += calibration.METRICS if sure else ()
    headed = _of_head(questions) is not None
    if headed:
        measured = (*METRICS_OF[task], *(calibration.METRICS if task == "label" else ()))
    if settings.metric != "auto":
        titles = {key.split("/", 2)[2]: key for key in graded or ()}
        if settings.metric in titles:
            return Reasoned(name=name, value=titles[settings.metric], reason="as set")
        names = [named(grader) for grader in settings.graders]
        promised = graded is None and any(settings.metric.startswith(begin) for begin in names)
        if settings.metric not in measured and not promised:
            raise SettingsError(
                f"evaluate.metric: '{settings.metric}' is not measured on {task} rows",
                "one of " + ", ".join([*measured, *(titles or names)]),
                "leave it out, or set evaluate.task",
            )
        return Reasoned(name=name, value=settings.metric, reason="as set")
    value, reason = _HEADED[task] if headed else _automatic(references, task)
    if preferences:
        value, reason = "preferred", "every row has a better and a worse answer"
    if questions and all(question.item is not None for question in questions):
        return _by_grader(name, settings, graded)
    return Reasoned(name=name, value=value, reason=reason)


def _by_grader(name: str, settings: EvaluateSettings, graded: Sequence[str] | None) -> Reasoned:
    """Let the first grader decide where the rows are tasks.

    Raises:
        SettingsError: there is no grader.
    """
    if not settings.graders:
        raise SettingsError(
            "evaluate.graders: none, and the rows are tasks", "what says how good an answer is",
            "such as {type: string_check}; docs/evaluation.md lists them",
        )  # fmt: skip
    value = graded[0] if graded else named(settings.graders[0])
    return Reasoned(name=name, value=value, reason="the rows are tasks: the first grader decides")


def _automatic(references: Sequence[str], task: Task) -> tuple[str, str]:
    """Return the deciding metric that fits the right answers, and why."""
    if not references:
        return "loss", "plain text has no answer to compare"
    if task in _FIXED:
        return _FIXED[task]
    if task == "json":
        fields = median(len(structured.leaves(structured.parse(reference)) or ()) for reference in references)
        if fields > 1:
            return "field_f1", f"JSON answers of {fields:g} fields: each right one counts, each invented one costs"
        return "exact_match", "the answers are JSON with one field"
    if kinds.are_short(references):
        return "exact_match", f"right answers are short (median {kinds.words(references):g} words)"
    return "loss", "free text has more than one right wording"
