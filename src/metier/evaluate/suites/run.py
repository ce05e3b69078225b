"""Ask both models what suites ask: options are scored with their beginnings shared, answers written greedily."""

from collections.abc import Sequence

import numpy as np

from metier.evaluate.answer import Answered, Decoding
from metier.evaluate.answer import Asked as Everything
from metier.evaluate.both import Both
from metier.evaluate.suites import ask
from metier.evaluate.suites.ask import Asked
from metier.evaluate.suites.items import Suite
from metier.evaluate.suites.ledger import Result
from metier.text.render import Renderer


def cost(suites: Sequence[Asked]) -> str:
    """Say what asking a model these suites costs, before it is asked."""
    read = sum(len(each) for suite in suites for part in suite.options for each in part)
    read += sum(len(prompt or ()) for suite in suites for prompt in suite.prompts)
    written = sum(suite.most_tokens * sum(prompt is not None for prompt in suite.prompts) for suite in suites)
    items = sum(len(suite.items) for suite in suites)
    return f"{items:,} items in {len(suites)} suites: {read:,} tokens to read and at most {written:,} to write, twice"


def opened(suites: Sequence[Suite], renderer: Renderer, both: Both) -> list[Asked]:
    """Turn suites into ids and say what asking them costs."""
    found = [ask.asked(suite, renderer) for suite in suites]
    if found:
        both.progress.say(f"suites: {cost(found)}")
    return found


def run(suites: Sequence[Suite], renderer: Renderer, both: Both) -> list[Result]:
    """Ask base, then tuned model, every suite; what the base says is kept for the next evaluation."""
    questions = opened(suites, renderer, both)
    values: dict[str, list[np.ndarray]] = {}
    seconds = [0.0] * len(questions)
    for name in ("base", "tuned"):
        values[name] = []
        for number, question in enumerate(questions):
            answered, took = both.answers(name, everything(question, renderer), question.seen)
            values[name].append(measured(question, answered, renderer))
            seconds[number] += took
    return [
        Result(
            name=question.suite.name,
            what=question.suite.what,
            base=base,
            tuned=tuned,
            slices=[item.slice for item in question.items],
            left_out=question.left_out,
            seconds=took,
            facts={"of_bias": True} if question.suite.of_bias else {},
        )
        for question, base, tuned, took in zip(questions, values["base"], values["tuned"], seconds, strict=True)
    ]


def everything(question: Asked, renderer: Renderer) -> Everything:
    """Return a suite as what a model is confronted with: each option a row of its own."""
    tokenizer = renderer.tokenizer
    cloze = any(question.targets)
    return Everything(
        prompts=question.prompts,
        rows=[(sequence,) for part in question.options for sequence in part],
        general=(),
        decoding=Decoding(
            stop_ids=() if cloze else tokenizer.stop_ids,
            max_new_tokens=max(1, question.most_tokens),
            pad_id=tokenizer.pad_id,
        ),
    )


def measured(question: Asked, answered: Answered, renderer: Renderer) -> np.ndarray:
    """Return how right a model is on each item of a suite, float64 [I]."""
    said = [
        None if entry is None else (entry.ids, renderer.tokenizer.said(list(entry.ids)))
        for entry in answered.completions
    ]
    return ask.values(question, answered.rows[:, 0], said)
