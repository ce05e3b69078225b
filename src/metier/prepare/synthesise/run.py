"""The one function of this folder: tasks → recipes → answers, paid once → filters → a file of marked rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metier.core import artefact, lock, seeds
from metier.core.errors import DataError, InputError
from metier.core.progress import Progress
from metier.core.progress import Task as Bar
from metier.core.types import LabelledRow, Row, TextRow
from metier.prepare.made import Columns, made_line
from metier.prepare.synthesise.journal import Journal
from metier.prepare.synthesise.prompt import Prompts
from metier.prepare.synthesise.quality import Seen, fault, measure
from metier.prepare.synthesise.recipes import RECIPES, Kitchen, Made, Recipe
from metier.prepare.synthesise.settings import SynthesiseSettings
from metier.prepare.synthesise.task import Task, task_of
from metier.prepare.synthesise.teacher import Bill, OverBudget, Teacher, cost, tokens_of
from metier.text.rows import load_split

_MOST_LOOKED_AT = 60
_PASSAGE_CHARACTERS = 2400


class Estimate(NamedTuple):
    """What a plan will ask for, before a request is sent; `money` None: prices unknown."""

    rows: int
    requests: int
    tokens_in: int
    tokens_out: int
    money: float | None


@dataclass(slots=True)
class Synthesis:
    """What came of it: `kept` rows with where they come from, `reasons` of those that were dropped, the bill."""

    output: Path
    bill: Bill
    estimate: Estimate
    kept: list[Made] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where rows are made: what `prepare` left, what file names are relative to, where answers are kept.

    `columns` is `prepare.columns`: the file gets the columns that the project's other files have. `seed` draws.
    """

    snapshot: Path
    folder: Path
    store: Path
    progress: Progress
    seed: int = 0
    columns: Columns = field(default_factory=dict)


def synthesise(
    place: Workplace, settings: SynthesiseSettings, *, confirm: Callable[[Estimate], bool]
) -> Synthesis | None:
    """Ask a teacher for rows in the manner of the training rows of a snapshot, and write those that are good enough.

    Nothing of the validation and test rows is sent; they are only looked at to drop what is too much like them. A run
    that was killed or stopped goes on with the same call: every answer is kept before it is used.

    Args:
        place: where.
        settings: what is asked of whom.
        confirm: is told the estimate before the first request; False: nothing is asked, None is returned.

    Raises:
        InputError: there is nothing to make rows of.
        SettingsError: no endpoint, or a prompt that is none.
        RunError: the endpoint refuses or fails again and again; the same call goes on.
    """
    folder = place.folder
    train = [row for row in load_split(place.snapshot, "train") if not row.synthetic]
    real = [task for row in train if (task := task_of(row)) is not None]
    tasks = _documents(settings, folder, train) if settings.method == "questions" else real
    if not tasks:
        what = "documents" if settings.method == "questions" else "rows of one question and one answer"
        raise InputError(
            f"no {what} to make rows of", "prepare.further.synthesise.documents, or training rows that fit the method"
        )
    labels = sorted({task.answer for task in real if isinstance(task.row, LabelledRow) and task.row.answer == "label"})
    prompts = Prompts(folder / settings.prompts if settings.prompts else None)
    kitchen = Kitchen(tasks, labels, prompts, settings, place.seed)
    bill = Bill(settings.teacher, settings.budget)
    work = place.store / "synthesise"
    with lock.held(work), Teacher(settings.teacher, bill) as teacher:
        result = Synthesis(folder / settings.output, bill, _estimate(kitchen))
        if not confirm(result.estimate):
            return None
        made = _cook(kitchen, teacher, Journal(work / "answers", settings.teacher), result, place.progress)
    held = [row for split in ("validation", "test") for row in load_split(place.snapshot, split)]
    _sift(made, result, settings, real=real, known=[*train, *held])
    _write(result, kitchen, place.columns)
    return result


def _documents(settings: SynthesiseSettings, folder: Path, train: Sequence[Row]) -> list[Task]:
    """Return passages of the named files, or the text rows of the training data."""
    if not settings.documents:
        return [Task(row, row.text, "") for row in train if isinstance(row, TextRow)]
    tasks = []
    for name in settings.documents:
        try:
            text = (folder / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"prepare.further.synthesise.documents: {name}: {error}", "a text or Markdown file in UTF-8"
            ) from error
        for line, passage in _passages(text):
            tasks.append(Task(TextRow(id="", source=f"{name}:{line}", text=passage), passage, "", Path(name).stem))
    return tasks


def _passages(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text between paragraphs into passages, each with the line it begins on."""
    lines: list[str] = []
    start, size = 1, 0
    for number, line in enumerate(text.split("\n"), 1):
        if size > _PASSAGE_CHARACTERS and not line.strip():
            yield start, "\n".join(lines).strip()
            lines, start, size = [], number + 1, 0
        lines.append(line)
        size += len(line) + 1
    if "".join(lines).strip():
        yield start, "\n".join(lines).strip()


def _recipes(kitchen: Kitchen) -> Iterator[Recipe]:
    """Yield one recipe a row asked for; tasks come round in an order drawn by the seed."""
    make = RECIPES[kitchen.settings.method][0]
    order = seeds.permutation(len(kitchen.tasks), kitchen.seed, "tasks")
    for number in range(kitchen.settings.rows):
        yield make(kitchen, kitchen.tasks[order[number % len(order)]], number)


def _estimate(kitchen: Kitchen) -> Estimate:
    """Estimate a plan from the first question of its first rows."""
    settings, looked = kitchen.settings, 0
    sent = received = 0
    typical = sorted(tokens_of(task.input) + tokens_of(task.answer) for task in kitchen.tasks)[len(kitchen.tasks) // 2]
    for recipe in _recipes(kitchen):
        try:
            sent += tokens_of(next(recipe).prompt)
        except StopIteration:
            continue
        finally:
            looked += 1
        received += min(settings.teacher.max_tokens, typical + 20)
        if looked == _MOST_LOOKED_AT:
            break
    asks = {"back-translate": 2, "preference": settings.samples + 2}.get(settings.method, 1)
    scale = settings.rows / max(1, looked) * asks
    tokens_in, tokens_out = int(sent * scale), int(received * scale)
    return Estimate(
        settings.rows, settings.rows * asks, tokens_in, tokens_out, cost(settings.teacher, tokens_in, tokens_out)
    )


def _cook(kitchen: Kitchen, teacher: Teacher, journal: Journal, result: Synthesis, progress: Progress) -> list[Made]:
    """Follow every recipe, several at a time; return what was made in the order of the plan."""
    made: dict[int, Made] = {}
    waiting: dict[Future[Made], int] = {}
    plan = enumerate(_recipes(kitchen))
    settings = kitchen.settings
    with progress.task("asking", total=settings.rows) as bar, ThreadPoolExecutor(settings.teacher.concurrency) as pool:
        try:
            while True:
                while not result.stopped and len(waiting) < 2 * settings.teacher.concurrency:
                    number, recipe = next(plan, (None, None))
                    if number is None or recipe is None:
                        break
                    waiting[pool.submit(_follow, recipe, teacher, journal, result.bill)] = number
                if not waiting:
                    break
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    _take(done, waiting.pop(done), made, result)
                    _tell(bar, result.bill)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    result.asked = len(made)
    return [made[number] for number in sorted(made)]


def _take(done: Future[Made], number: int, made: dict[int, Made], result: Synthesis) -> None:
    try:
        made[number] = done.result()
    except OverBudget:
        result.stopped = "the budget is spent"


def _tell(bar: Bar, bill: Bill) -> None:
    facts: dict[str, float] = {
        "requests": float(bill.requests), "tokens": float(bill.tokens_in + bill.tokens_out),
    }  # fmt: skip
    if bill.money is not None:
        facts["cost"] = round(bill.money, 4)
    bar.advance(1, facts)


def _follow(recipe: Recipe, teacher: Teacher, journal: Journal, bill: Bill) -> Made:
    """Answer what a recipe asks until it is done: out of the journal what was paid, else from the teacher."""
    try:
        ask = next(recipe)
        while True:
            reply = journal.find(ask)
            if reply is None:
                reply = teacher.answer(ask)
                journal.keep(ask, reply)
            else:
                bill.remember(reply)
            ask = recipe.send(reply)
    except StopIteration as end:
        return end.value


def _sift(
    made: Sequence[Made], result: Synthesis, settings: SynthesiseSettings, *, real: Sequence[Task], known: Sequence[Row]
) -> None:
    """Keep what is good enough and like nothing that is there."""
    like = measure(real) if real else None
    seen = Seen(settings.closest)
    seen.fill(known)
    of_document = settings.method == "questions" or like is None
    paired = settings.method in ("preference", "hard-negatives")
    for entry in made:
        reason = entry.reason or _why_not(entry.row, like, of_document)
        if not reason and entry.row is not None and not (paired and not isinstance(entry.row, LabelledRow)):
            reason = "too much like a row that is there" if seen.like(entry.row) is not None else ""
        if reason or entry.row is None:
            result.reasons[reason] += 1
            continue
        seen.add(entry.row)
        result.kept.append(entry)


def _why_not(row: Row | None, like: Any, of_document: bool) -> str:
    if row is None:
        return "nothing came back"
    return fault(row, like or measure([Task(row, "", "")]), asked_of_document=of_document)


def _write(result: Synthesis, kitchen: Kitchen, columns: Columns) -> None:
    """Write what was kept as JSON lines that say of themselves that they are synthetic, and how they came about."""
    settings = kitchen.settings
    said = {
        "method": settings.method,
        "model": settings.teacher.model,
        "prompt_hash": kitchen.prompts.hash_of(*RECIPES[settings.method][1]),
    }
    lines = [made_line(entry.row, said, entry.origin, columns) for entry in result.kept if entry.row is not None]
    artefact.write_file(result.output, "".join(lines))
