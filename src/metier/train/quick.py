"""A short training instead of the whole one, to see what rows are worth; imports no torch."""

from dataclasses import replace

from metier.train.plan import TrainingPlan


def quickly(plan: TrainingPlan, steps: int) -> TrainingPlan:
    """Return the plan of a quick training: LoRA, so many steps of writing the answer, one check, no search for a rate.

    Args:
        plan: the project's.
        steps: how many; at least 1.
    """
    train = plan.train.model_copy(
        update={
            "max_steps": max(1, steps), "epochs": 1_000_000.0, "checks": 1, "patience": None, "checkpoint_every": None,
            "check": type(plan.train.check)(),
            "learning_rate": None if plan.train.learning_rate == "auto" else plan.train.learning_rate,
            "objective": type(plan.train.objective)(name="chat"),
        }
    )  # fmt: skip
    return replace(plan, train=train, model=plan.model.model_copy(update={"method": "lora"}))
