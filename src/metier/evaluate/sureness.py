"""Does a model that writes its label know how sure it may be? Every label is scored behind every held-out prompt.

What is scored is what `/v1/decisions` asks about: the label and the end of the answer. It is computed as the options
of a suite's item are: they stand behind each other, so the forest reads their prompt once.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from metier.core import digest
from metier.core.errors import DataError, SettingsError
from metier.core.types import Reasoned, Row, Sequence
from metier.evaluate.answer import Asked, Decoding
from metier.evaluate.both import Both
from metier.evaluate.questions import Material
from metier.evaluate.settings import EvaluateSettings
from metier.score import sureness
from metier.score.calibration import METRICS
from metier.text import offered
from metier.text.preferences import answered
from metier.text.render import Renderer
from metier.text.targets import label_text

MOST_LABELS = 64
_CHEAP = 4
"""How often the tokens that are read anyway may be read once more for it where nobody asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """K labels behind the prompts of M of R rows. `places` int64 [M]: which; `right` int64 [M]: see `score.sureness`.

    `base` and `tuned`, [M·K]: the sequences of both models, row by row, labelled at the label and its end.
    """

    labels: tuple[str, ...]
    rows: int
    places: np.ndarray
    right: np.ndarray
    base: tuple[tuple[Sequence], ...]
    tuned: tuple[tuple[Sequence], ...]

    def numbers(self, name: str, both: Both) -> dict[str, np.ndarray]:
        """Ask "base" or "tuned" and return its numbers of every row, float64 [R]; 0 for a row that was not asked."""
        rows = self.base if name == "base" else self.tuned
        asked = Asked(
            prompts=(), rows=rows, general=(), decoding=Decoding(stop_ids=(), max_new_tokens=1, pad_id=None)
        )  # fmt: skip
        seen = digest.of_value([each.ids.tolist() for (each,) in rows])
        answered, _ = both.answers(name, asked, ["labels", seen])
        logs = -answered.rows[:, 0].reshape(len(self.places), len(self.labels))
        found = {}
        for number, values in sureness.of_logs(logs, self.right).items():
            found[number] = np.zeros(self.rows)
            found[number][self.places] = values
        return found


def choose(
    material: tuple[Material, Material],
    train: Many[Row],
    task: str,
    settings: EvaluateSettings,
    renderer: Renderer,
) -> tuple[Offer | None, Reasoned]:
    """Say whether both models' sureness is measured, and make what they are asked.

    Args:
        material: what base and tuned model are asked, of the same rows.
        train: the training rows, whose answers are the labels on offer.
        task: what kind of answer is wanted.
        settings: whether it was set, and the metric that decides.
        renderer: makes ids of labels.

    Raises:
        SettingsError: it must be measured and cannot be.
    """
    name = "evaluate.suites.probes.calibration"
    wanted = settings.suites.probes.calibration
    needed = settings.metric in METRICS
    if wanted is False:
        return None, Reasoned(name=name, value=False, reason="as set")
    try:
        offer = _offer(material, train, task, renderer)
        why = _dear(offer, material[0])
        if why and not wanted and not needed:
            raise DataError(why, f"at most {_CHEAP} times what is read anyway, or set it to true")
    except DataError as error:
        if wanted or needed:
            raise SettingsError(f"{name}: {error.found}", error.wanted, "leave it out") from error
        return None, Reasoned(name=name, value=False, reason=f"{error.found}; wanted: {error.wanted}")
    reason = f"{len(offer.labels)} labels in the training rows, {_told(offer, material[0])}"
    return offer, Reasoned(name=name, value=True, reason=reason)


def _offer(material: tuple[Material, Material], train: Many[Row], task: str, renderer: Renderer) -> Offer:
    """Make the sequences.

    Raises:
        DataError: there is nothing to choose from, or no row that they fit behind.
    """
    if task != "label":
        raise DataError(f"the answers are {task}", "labels")
    labels = tuple(sorted({label_text(answered(row)) for row in train}))
    if not 2 <= len(labels) <= MOST_LABELS:
        raise DataError(f"{len(labels)} different answers in the training rows", f"2 to {MOST_LABELS}")
    ends = offered.continuations(labels, renderer)
    room = renderer.limit - max(map(len, ends))
    questions = material[0].questions
    places = [
        place
        for place, question in enumerate(questions)
        if question.reference is not None and all(len(part.prompts[place] or ()) <= room for part in material)
    ]
    if not places:
        raise DataError("no row has room for its labels", f"prompts of at most {room} tokens")
    known = {label: number for number, label in enumerate(labels)}
    base, tuned = (
        tuple((_sequence(part.prompts[place] or [], end),) for place in places for end in ends) for part in material
    )
    return Offer(
        labels=labels,
        rows=len(questions),
        places=np.array(places),
        right=np.array([known.get(questions[place].reference or "", -1) for place in places]),
        base=base,
        tuned=tuned,
    )


def _sequence(prompt: Many[int], end: Many[int]) -> Sequence:
    weights = np.zeros(len(prompt) + len(end), np.float32)
    weights[len(prompt) :] = 1.0
    return Sequence(ids=np.array([*prompt, *end], np.int32), weights=weights, row_id="")


def _tokens(offer: Offer, material: Material) -> tuple[int, int]:
    """Return how many tokens the labels cost where their prompt is read once, and how many are read anyway."""
    prompts = sum(len(material.prompts[place] or ()) for place in offer.places)
    ends = sum(int(each.weights.sum()) for (each,) in offer.base)
    anyway = sum(len(prompt or ()) for prompt in material.prompts)
    return prompts + ends, anyway + sum(len(each.ids) for entry in material.measured for each in entry)


def _told(offer: Offer, material: Material) -> str:
    more, anyway = _tokens(offer, material)
    return f"about {more:,} tokens to read beside {anyway:,}"


def _dear(offer: Offer, material: Material) -> str:
    """Say what it costs where that is much."""
    more, anyway = _tokens(offer, material)
    return f"{len(offer.labels)} labels are {_told(offer, material)}" if more > _CHEAP * anyway else ""
