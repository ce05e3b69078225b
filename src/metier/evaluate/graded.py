"""What graders say beside the task's own metrics, as part of an evaluation; imports no torch."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from metier.core.progress import Progress
from metier.evaluate.graders.grade import Grading, Where, grade
from metier.evaluate.metrics import Side
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings

_FAULTS_NAMED = 20


def graded(
    questions: Sequence[Question],
    sides: tuple[Side, Side],
    settings: EvaluateSettings,
    *,
    where: Where,
    progress: Progress,
) -> tuple[tuple[Side, Side], Grading]:
    """Let the graders look at both models' answers.

    Args:
        questions: what was asked.
        sides: both models' part.
        settings: the graders, and where judges are.
        where: the project's folder, and who draws more answers.
        progress: told of judgements, and of rows that could not be graded.

    Returns:
        Both models' part with what graders say, and that by itself.
    """
    if not settings.graders:
        return sides, Grading()
    outputs = (sides[0].outputs, sides[1].outputs)
    found = grade(questions, outputs, settings.graders, judge_settings=settings.judge, where=where, progress=progress)
    for fault in found.faults[:1]:
        progress.say(
            f"graders: {len(found.faults)} rows could not be graded and count for neither model "
            f"(first: {fault['source']}, {fault['grader']}: {fault['why']})"
        )
    one, other = (
        dataclasses.replace(side, graded={name: pair[place] for name, pair in found.tables.items()})
        for place, side in enumerate(sides)
    )
    return (one, other), found


def unreliable(grading: Grading) -> dict[str, str]:
    """Return the metrics of judges that are not to be believed, with the reason."""
    return {f"graded/mean/{name}": facts["refusal"] for name, facts in grading.judges.items() if facts["refusal"]}


def told(grading: Grading) -> dict[str, Any] | None:
    """Return what an evaluation keeps of its graders beside their metrics; None where there were none."""
    if not grading.tables:
        return None
    return {
        "faults": len(grading.faults),
        "fault_rows": list(grading.faults[:_FAULTS_NAMED]),
        "judges": grading.judges,
    }
