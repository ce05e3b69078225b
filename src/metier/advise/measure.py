"""Measure ways on the same questions: without a model, and with prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from metier.advise import passages as documents
from metier.advise import plain, prompts
from metier.advise.ask import Clock, Listened, listen
from metier.advise.job import Task
from metier.advise.passages import Space
from metier.advise.prompts import Recipe
from metier.advise.task import Question, scores
from metier.advise.ways import NotMeasured, Tried
from metier.core import seeds
from metier.core.errors import MetierError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.model.load import load_base
from metier.text.render import Renderer

Found = Tried | NotMeasured

_PRACTICE = 24
"""Training rows on which instructions are compared: the held-out rows must not choose them."""

ZERO_SHOT = "prompt as it is"


def without_model(task: Task, progress: Progress) -> list[Found]:
    """Measure what needs no language model."""
    known = (task.known.texts, task.known.answers)
    found: list[Found] = [plain.majority(*known, task.texts)]
    with progress.task("advise: without a model", 2) as bar:
        found += plain.on_space("TF-IDF", plain.lexical, known=known, asked=task.texts, kind=task.kind)
        bar.advance()
        if task.settings.embeddings is None:
            found.append(NotMeasured(name="sentence embeddings", why="advise.embeddings names no local model"))
        else:
            found += plain.on_space(
                "embeddings", plain.embedded(_embeddings(task)), known=known, asked=task.texts, kind=task.kind,
                where=task.settings.embeddings,
            )  # fmt: skip
        bar.advance()
    return found


def labels(names: Sequence[str]) -> list[str]:
    """Return what bases are called in an advice: of a folder its last part, where no other ends alike."""
    last = [Path(name).name for name in names]
    return [short if last.count(short) == 1 else name for short, name in zip(last, names, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seat:
    """Where a base is asked, no model in it yet: its name for readers, how rows become its tokens, until when."""

    base: Base
    label: str
    renderer: Renderer = field(repr=False)
    clock: Clock
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asker:
    """A model that is asked, and where."""

    model: torch.nn.Module = field(repr=False)
    seat: Seat

    def ask(self, task: Task, questions: Sequence[Question], recipes: Sequence[Recipe]) -> tuple[Listened, int] | str:
        """Let the base answer; return what it said and how many prompts had to be shortened, or why it did not."""
        posed = []
        for question, recipe in zip(questions, recipes, strict=True):
            entry = prompts.pose(question, recipe, task.known, self.seat.renderer, task.room)
            if isinstance(entry, str):
                return entry
            posed.append(entry)
        seat = self.seat
        heard = listen(self.model, posed, seat.renderer, room=task.room, clock=seat.clock, progress=seat.progress)
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
        base, name = self.seat.base.name, f"{self.seat.label}: {name}"
        self.seat.progress.say(f"advise: {name}")
        answered = self.ask(task, task.asked, recipes)
        if isinstance(answered, str):
            return NotMeasured(name=name, why=answered)
        heard, cut = answered
        if cut:
            detail = "; ".join(
                part for part in (detail, f"shortened to fit in {cut} of {len(recipes)} prompts") if part
            )
        return Tried(
            name=name, family="prompt", effort=effort, base=base, outputs=heard.outputs,
            seconds=heard.seconds, tokens_in=heard.tokens_in, tokens_out=heard.tokens_out, detail=detail, text=text,
        )  # fmt: skip


def prompted(asker: Asker, task: Task) -> list[Found]:
    """Measure a base with prompts: as they are, with the best instruction, with passages, with examples."""
    count = len(task.asked)
    found = [asker.tried(task, ZERO_SHOT, 3, [Recipe()] * count)]
    instruction, how = _best_instruction(asker, task)
    if instruction is None:
        found.append(NotMeasured(name=f"{asker.seat.label}: best instruction", why=how))
    else:
        best = Recipe(instruction=instruction)
        found.append(asker.tried(task, "best instruction", 4, [best] * count, detail=how, text=instruction))
    found += _with_examples(asker, task, instruction)
    return found


def _with_examples(asker: Asker, task: Task, instruction: str | None) -> list[Found]:
    """Measure passages and examples behind the best instruction, the same for all questions or found for each."""
    settings, count, by = task.settings, len(task.asked), _search_by(task)
    found: list[Found] = []

    def tried(name: str, effort: int, recipes: Sequence[Recipe]) -> None:
        entry = asker.tried(task, name, effort, recipes, text=instruction)
        found.append(replace(entry, retrieved=True) if isinstance(entry, Tried) else entry)

    pieces = passages_of(task)
    if isinstance(pieces, str):
        found.append(NotMeasured(name=f"{asker.seat.label}: passages of documents", why=pieces))
    else:
        recipes = [Recipe(instruction=instruction, passages=entry) for entry in pieces]
        tried(f"passages of documents ({by})", 5, recipes)
    if not settings.shots:
        found.append(NotMeasured(name=f"{asker.seat.label}: examples in the prompt", why="advise.shots is 0"))
        return found
    same = prompts.fixed_examples(task.kind, task.known, settings.shots)
    recipes = [Recipe(instruction=instruction, examples=same)] * count
    entry = asker.tried(task, f"{len(same)} fixed examples", 6, recipes, text=instruction)
    shown = tuple((task.known.questions[place].text, task.known.answers[place]) for place in reversed(same))
    found.append(replace(entry, shown=shown) if isinstance(entry, Tried) else entry)
    near = [places or same for places in documents.ranked(task.known.texts, task.texts, settings.shots, _space(task))]
    tried(f"{settings.shots} nearest examples ({by})", 7, [Recipe(instruction=instruction, examples=e) for e in near])
    if not isinstance(pieces, str):
        both = [
            Recipe(instruction=instruction, examples=places, passages=entry)
            for places, entry in zip(near, pieces, strict=True)
        ]
        tried("nearest examples and passages", 8, both)
    return found


def opened(seat: Seat, seed: int) -> Asker | NotMeasured:
    """Load a base to be asked, or say why that cannot be."""
    if not seat.clock.left:
        return NotMeasured(name=seat.base.name, why=seat.clock.over())
    try:
        model = load_base(seat.base, seed=seed)
    except MetierError as error:
        return NotMeasured(name=seat.base.name, why=str(error))
    return Asker(model=model, seat=seat)


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


def passages_of(task: Task) -> list[tuple[str, ...]] | str:
    """Return the passages for every question, or why there are none."""
    if not task.settings.documents:
        return "advise.documents names none"
    texts = documents.read(task.settings.documents, task.folder)
    if not texts:
        return "the documents hold no text"
    places = documents.ranked(texts, task.texts, task.settings.passages, _space(task))
    return [tuple(texts[place] for place in entry) for entry in places]


def _space(task: Task) -> Space | None:
    return None if task.settings.embeddings is None else plain.embedded(_embeddings(task))


def _embeddings(task: Task) -> Path:
    return (task.folder / Path(task.settings.embeddings or "").expanduser()).resolve()


def _search_by(task: Task) -> str:
    """Say by what passages and examples are found."""
    return "BM25" if task.settings.embeddings is None else "BM25 and embeddings"
