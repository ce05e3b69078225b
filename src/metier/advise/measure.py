"""Measure every way on the same questions: without a model, with prompts, and after quick trainings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from metier.advise import passages as documents
from metier.advise import plain, prompts
from metier.advise.ask import Clock, Listened, listen
from metier.advise.passages import Index
from metier.advise.portions import SHARES, portion
from metier.advise.prompts import Recipe
from metier.advise.settings import AdviseSettings
from metier.advise.task import Known, Question, scores
from metier.advise.ways import NotMeasured, Tried
from metier.core import seeds
from metier.core.errors import InputError, MetierError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.model.load import load_base, load_tuned
from metier.score.kinds import Kind
from metier.text.render import Renderer

Teach = Callable[[Path, Base, Path], Path]
"""Trains a base quickly on a snapshot, in a run's folder; returns the folder of the model."""

Found = Tried | NotMeasured

_PRACTICE = 24
"""Training rows on which instructions are compared: the held-out rows must not choose them."""

ZERO_SHOT = "prompt as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, without what is right: questions [n], training rows, the kind of answer, the longest answer."""

    asked: tuple[Question, ...]
    known: Known
    kind: Kind
    room: int
    settings: AdviseSettings
    folder: Path
    seed: int = 0

    @property
    def texts(self) -> list[str]:
        """Return what is asked, [n]."""
        return [question.text for question in self.asked]


def without_model(task: Task, progress: Progress) -> list[Found]:
    """Measure what needs no language model."""
    known = (task.known.texts, task.known.answers)
    found: list[Found] = [plain.majority(*known, task.texts)]
    with progress.task("advise: without a model", 2) as bar:
        found += plain.on_space("TF-IDF", plain.lexical, known, task.texts, task.kind)
        bar.advance()
        if task.settings.embeddings is None:
            found.append(NotMeasured(name="sentence embeddings", why="advise.embeddings names no local model"))
        else:
            place = (task.folder / Path(task.settings.embeddings).expanduser()).resolve()
            found += plain.on_space("embeddings", plain.embedded(place), known, task.texts, task.kind)
        bar.advance()
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asker:
    """A base that is asked: the loaded model, how rows become its tokens, and until when."""

    base: Base
    model: torch.nn.Module = field(repr=False)
    renderer: Renderer = field(repr=False)
    clock: Clock
    progress: Progress

    def ask(self, task: Task, questions: Sequence[Question], recipes: Sequence[Recipe]) -> tuple[Listened, int] | str:
        """Let the base answer; return what it said and how many prompts had to be shortened, or why it did not."""
        posed = []
        for question, recipe in zip(questions, recipes, strict=True):
            entry = prompts.pose(question, recipe, task.known, self.renderer, task.room)
            if isinstance(entry, str):
                return entry
            posed.append(entry)
        heard = listen(
            self.model, posed, self.renderer, room=task.room, clock=self.clock, progress=self.progress
        )  # fmt: skip
        return heard if isinstance(heard, str) else (heard, sum(entry.cut > 0 for entry in posed))

    def tried(
        self,
        task: Task,
        name: str,
        effort: int,
        recipes: Sequence[Recipe],
        *,
        detail: str = "",
        text: str | None = None,
    ) -> Found:
        """Measure one way of asking, on all questions or not at all."""
        name = f"{self.base.name}: {name}"
        self.progress.say(f"advise: {name}")
        answered = self.ask(task, task.asked, recipes)
        if isinstance(answered, str):
            return NotMeasured(name=name, why=answered)
        heard, cut = answered
        if cut:
            detail = "; ".join(
                part for part in (detail, f"shortened to fit in {cut} of {len(recipes)} prompts") if part
            )
        return Tried(
            name=name, family="prompt", effort=effort, base=self.base.name, outputs=heard.outputs,
            seconds=heard.seconds, tokens_in=heard.tokens_in, tokens_out=heard.tokens_out, detail=detail, text=text,
        )  # fmt: skip


def prompted(asker: Asker, task: Task) -> list[Found]:
    """Measure a base with prompts: as they are, with the best instruction, with passages, with examples."""
    settings, count = task.settings, len(task.asked)
    found = [asker.tried(task, ZERO_SHOT, 3, [Recipe()] * count)]
    instruction, how = _best_instruction(asker, task)
    if instruction is None:
        found.append(NotMeasured(name=f"{asker.base.name}: best instruction", why=how))
    else:
        best = Recipe(instruction=instruction)
        found.append(asker.tried(task, "best instruction", 4, [best] * count, detail=how, text=instruction))
    pieces = _passages(task)
    if isinstance(pieces, str):
        found.append(NotMeasured(name=f"{asker.base.name}: passages of documents", why=pieces))
    else:
        recipes = [Recipe(instruction=instruction, passages=entry) for entry in pieces]
        found.append(asker.tried(task, "passages of documents (BM25)", 5, recipes))
    if not settings.shots:
        found.append(NotMeasured(name=f"{asker.base.name}: examples in the prompt", why="advise.shots is 0"))
        return found
    same = prompts.fixed_examples(task.kind, task.known, settings.shots)
    recipes = [Recipe(instruction=instruction, examples=same)] * count
    found.append(asker.tried(task, f"{len(same)} fixed examples", 6, recipes))
    index = Index(task.known.texts)
    near = [tuple(index.best(text, settings.shots)) or same for text in task.texts]
    recipes = [Recipe(instruction=instruction, examples=places) for places in near]
    found.append(asker.tried(task, f"{settings.shots} nearest examples (BM25)", 7, recipes))
    if not isinstance(pieces, str):
        both = [
            Recipe(instruction=instruction, examples=places, passages=entry)
            for places, entry in zip(near, pieces, strict=True)
        ]
        found.append(asker.tried(task, "nearest examples and passages", 8, both))
    return found


def trained(
    base: Base, task: Task, teach: Teach, *, snapshot: Path, work: Path, asker: Asker
) -> tuple[list[Found], list[int]]:
    """Train quickly on parts of the training rows, and ask each result; returns the sizes of the measured ones too."""
    found: list[Found] = []
    sizes: list[int] = []
    spent = 0.0
    for share in SHARES if task.settings.steps else ():
        name = f"quick training, {share:.0%} of the rows".replace("%", " %")
        full = f"{base.name}: {name}"
        before = asker.clock.left
        if before <= spent:
            found.append(NotMeasured(name=full, why=asker.clock.over()))
            continue
        target = work / f"portion-{round(100 * share)}"
        rows = portion(snapshot, target, share, without=[question.row_id for question in task.asked])
        asker.progress.say(f"advise: {full}")
        try:
            model = load_tuned(base, teach(target, base, work / "runs" / f"portion-{round(100 * share)}"))
        except InputError as error:
            found.append(NotMeasured(name=full, why=str(error)))
            continue
        tuned = Asker(
            base=base, model=model, renderer=asker.renderer, clock=asker.clock, progress=asker.progress
        )  # fmt: skip
        entry = tuned.tried(task, name, 9, [Recipe()] * len(task.asked), detail=f"{task.settings.steps} steps")
        spent = before - asker.clock.left
        if isinstance(entry, Tried):
            entry = replace(entry, family="tuned")
            sizes.append(rows)
        found.append(entry)
    if not task.settings.steps:
        found.append(NotMeasured(name=f"{base.name}: quick training", why="advise.steps is 0"))
    return found, sizes


def opened(base: Base, renderer: Renderer, task: Task, clock: Clock, progress: Progress) -> Asker | NotMeasured:
    """Load a base to be asked, or say why that cannot be."""
    if not clock.left:
        return NotMeasured(name=base.name, why=clock.over())
    try:
        model = load_base(base, seed=task.seed)
    except MetierError as error:
        return NotMeasured(name=base.name, why=str(error))
    return Asker(base=base, model=model, renderer=renderer, clock=clock, progress=progress)


def _best_instruction(asker: Asker, task: Task) -> tuple[str | None, str]:
    """Choose an instruction on training rows; return it and how it was found, or None and why there is none."""
    count = min(_PRACTICE, len(task.known.answers))
    places = sorted(int(place) for place in seeds.permutation(len(task.known.answers), "advise", task.seed)[:count])
    questions = [task.known.questions[place] for place in places]
    right = [task.known.answers[place] for place in places]
    tries: list[tuple[float, str]] = []
    candidates = prompts.instructions(task.kind, task.known, task.settings.instructions)
    for text in candidates:
        answered = asker.ask(task, questions, [Recipe(instruction=text)] * count)
        if isinstance(answered, str):
            return None, answered
        tries.append((float(scores(task.kind, answered[0].outputs, right).mean()), text))
    best, text = max(tries, key=lambda entry: entry[0])
    return text, f"the best of {len(tries)} on {count} training rows ({100 * best:.0f} % there)"


def _passages(task: Task) -> list[tuple[str, ...]] | str:
    """Return the passages for every question, or why there are none."""
    if not task.settings.documents:
        return "advise.documents names none"
    texts = documents.read(task.settings.documents, task.folder)
    if not texts:
        return "the documents hold no text"
    index = Index(texts)
    return [tuple(texts[place] for place in index.best(text, task.settings.passages)) for text in task.texts]
