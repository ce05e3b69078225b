"""How each method makes a row: a generator that yields what it asks, is sent the reply, and returns a row or a reason.

A recipe is a pure function of its task, of the prompts and of a seed: run again, it asks the same, and the journal
answers what was paid.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from metier.core import seeds
from metier.core.types import LabelledRow, Row
from metier.prepare.synthesise.prompt import Prompts, read_object
from metier.prepare.synthesise.settings import SynthesiseSettings
from metier.prepare.synthesise.task import Task, conversation, preference, with_input
from metier.prepare.synthesise.teacher import Ask, Reply

PERSONAS = (
    "an impatient customer on a phone, who writes short", "a polite older person who explains the background first",
    "someone who is not sure of the language and makes small mistakes", "an engineer who is precise and dry",
    "a teenager who writes as in a chat", "a lawyer who leaves nothing open", "a worried parent",
    "someone who has asked twice before and is annoyed", "a nurse between two shifts", "a friendly shop owner",
    "a student who thinks aloud", "a manager who wants the result in one line",
)  # fmt: skip
HARDER = (
    "add one condition that must be met as well", "ask for something that needs one more step of thought",
    "put a detail into it that is not relevant and must be ignored", "make it more specific, with a rare case",
    "combine it with a second, related question", "say the most important part only indirectly",
)  # fmt: skip
ASPECTS = (
    "the main point", "a detail that is easy to overlook", "a reason or a cause", "what to do in a certain case",
    "a condition or an exception", "a number, a name or a date", "what something means", "a comparison",
)  # fmt: skip
_EXAMPLES = 4


class Made(NamedTuple):
    """A row and where it comes from; or, with `row` None, why there is none."""

    row: Row | None
    origin: tuple[str, ...]
    reason: str = ""


class Kitchen(NamedTuple):
    """What recipes have at hand: all tasks, the labels among them, the prompts, the settings, the seed."""

    tasks: Sequence[Task]
    labels: Sequence[str]
    prompts: Prompts
    settings: SynthesiseSettings
    seed: int

    def draw(self, count: int, *parts: int | str) -> list[Task]:
        """Return different tasks drawn by name."""
        order = seeds.permutation(len(self.tasks), self.seed, *parts)
        return [self.tasks[place] for place in order[:count]]

    def one_of(self, choices: Sequence[str], *parts: int | str) -> str:
        """Return one of several, drawn by name."""
        return choices[seeds.key(self.seed, *parts) % len(choices)]


Recipe = Generator[Ask, Reply, Made]
Answers = Generator[Ask, Reply, dict[str, Any] | str]


def _asked(kitchen: Kitchen, name: str, number: int, wanted: Mapping[str, type], **values: Any) -> Answers:
    """Ask for a JSON object with these keys, once more when the reply is none; return it, or why there is none."""
    prompt = kitchen.prompts.render(name, **values)
    for attempt, text in enumerate((prompt, kitchen.prompts.render("again", prompt=prompt))):
        reply = yield Ask(text, name, sample=number, judging=name == "judge")
        if reply.finish == "length":
            return "answer cut off"
        found = read_object(reply.text)
        if found is not None and all(_is(found.get(key), kind) for key, kind in wanted.items()):
            return found
        if attempt == 0 and not reply.text.strip():
            return "empty answer"
    return "answer is not the JSON asked for"


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and (kind is not str or bool(value.strip()))


def paraphrase(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for the question in other words."""
    values = {"input": task.input, "answer": task.answer}
    found = yield from _asked(kitchen, "paraphrase", number, {"input": str}, **values)
    return _rephrased(task, found)


def persona(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for the question in somebody's words."""
    who = kitchen.one_of(PERSONAS, "persona", number)
    values = {"input": task.input, "answer": task.answer, "persona": who}
    found = yield from _asked(kitchen, "persona", number, {"input": str}, **values)
    return _rephrased(task, found)


def back_translate(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for the question in another language, and for that back in the first."""
    there = {"input": task.input, "language": kitchen.settings.language}
    found = yield from _asked(kitchen, "translate", number, {"input": str}, **there)
    if isinstance(found, str):
        return Made(None, (task.source,), found)
    back = {"input": found["input"], "language": "the language of this: " + task.input[:80].replace("\n", " ")}
    found = yield from _asked(kitchen, "translate", number, {"input": str}, **back)
    return _rephrased(task, found)


def _rephrased(task: Task, found: dict[str, Any] | str) -> Made:
    if isinstance(found, str):
        return Made(None, (task.source,), found)
    return Made(with_input(task, found["input"].strip()), (task.source,))


def self_instruct(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for a new task in the manner of a few."""
    examples = kitchen.draw(_EXAMPLES, "examples", number)
    origin = tuple(example.source for example in examples)
    label = kitchen.one_of(kitchen.labels, "label", number) if kitchen.labels else ""
    values = {"examples": examples, "labels": kitchen.labels, "label": label}
    found = yield from _asked(kitchen, "self-instruct", number, {"input": str, "answer": str}, **values)
    if isinstance(found, str):
        return Made(None, origin, found)
    pattern = examples[0] if kitchen.labels else task
    return Made(with_input(pattern, found["input"].strip(), found["answer"].strip()), origin)


def evolve(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for a harder version with its own answer."""
    values = {"input": task.input, "answer": task.answer, "how": kitchen.one_of(HARDER, "harder", number)}
    found = yield from _asked(kitchen, "evolve", number, {"input": str, "answer": str}, **values)
    if isinstance(found, str):
        return Made(None, (task.source,), found)
    return Made(with_input(task, found["input"].strip(), found["answer"].strip()), (task.source,))


def hard_negatives(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for a text that only looks like this label; for a conversation, for a wrong answer beside the right one."""
    if isinstance(task.row, LabelledRow):
        others = [label for label in kitchen.labels if label != task.answer]
        if not others:
            return Made(None, (task.source,), "there is only one label")
        other = kitchen.one_of(others, "other", number)
        values = {"input": task.input, "label": task.answer, "other": other, "labels": kitchen.labels}
        found = yield from _asked(kitchen, "hard-label", number, {"input": str}, **values)
        if isinstance(found, str):
            return Made(None, (task.source,), found)
        return Made(with_input(task, found["input"].strip(), other), (task.source,))
    values = {"input": task.input, "answer": task.answer}
    found = yield from _asked(kitchen, "wrong-answer", number, {"answer": str}, **values)
    if isinstance(found, str):
        return Made(None, (task.source,), found)
    return Made(preference(task, task.answer, found["answer"].strip()), (task.source,))


def questions(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask for a question that a passage answers."""
    about = ASPECTS[number // max(1, len(kitchen.tasks)) % len(ASPECTS)]
    values = {"input": task.input, "title": task.system, "about": about}
    found = yield from _asked(kitchen, "questions", number, {"input": str, "answer": str}, **values)
    if isinstance(found, str):
        return Made(None, (task.source,), found)
    return Made(conversation(task.source, found["input"].strip(), found["answer"].strip()), (task.source,))


def best_and_worst(kitchen: Kitchen, task: Task, number: int) -> Recipe:
    """Ask several times, then a judge for the best and the worst, twice in different orders: both times must agree."""
    prompt = kitchen.prompts.render("sample", input=task.input, system=task.system)
    answers: list[str] = []
    for sample in range(kitchen.settings.samples):
        reply = yield Ask(prompt, "sample", sample=sample)
        if reply.finish == "length":
            return Made(None, (task.source,), "answer cut off")
        if reply.text.strip() and reply.text.strip() not in answers:
            answers.append(reply.text.strip())
    if len(answers) < 2:
        return Made(None, (task.source,), "all answers are the same")
    verdicts = []
    for turn in range(2):
        order = list(range(len(answers))) if turn == 0 else list(reversed(range(len(answers))))
        values = {"input": task.input, "answer": task.answer, "answers": [answers[place] for place in order]}
        found = yield from _asked(kitchen, "judge", number, {"best": int, "worst": int}, **values)
        if isinstance(found, str):
            return Made(None, (task.source,), found)
        if not all(1 <= found[key] <= len(order) for key in ("best", "worst")) or found["best"] == found["worst"]:
            return Made(None, (task.source,), "the judge names no best and worst")
        verdicts.append((order[found["best"] - 1], order[found["worst"] - 1]))
    if verdicts[0] != verdicts[1]:
        return Made(None, (task.source,), "the judge says something else when the order changes")
    best, worst = verdicts[0]
    return Made(preference(task, answers[best], answers[worst]), (task.source,))


RECIPES: Mapping[str, tuple[Callable[[Kitchen, Task, int], Recipe], tuple[str, ...]]] = {
    "paraphrase": (paraphrase, ("paraphrase",)),
    "persona": (persona, ("persona",)),
    "back-translate": (back_translate, ("translate",)),
    "self-instruct": (self_instruct, ("self-instruct",)),
    "evolve": (evolve, ("evolve",)),
    "hard-negatives": (hard_negatives, ("hard-label", "wrong-answer")),
    "questions": (questions, ("questions",)),
    "preference": (best_and_worst, ("sample", "judge")),
}
"""Method -> its recipe and the prompts that it uses."""
