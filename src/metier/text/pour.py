"""Renders many rows at once by moulds: the same ids and label weights as `render`, in a fraction of the time.

Rows that no mould is proven for are left to `render`: with tools or tool calls, with special-token strings in their
text, or of a template that looks into what people wrote. And the two ways are held against each other all
the time: for the first row of every mould and for one row in a thousand after it.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np

from metier.core.types import ChatRow, Dropped, LabelledRow, Message, Row
from metier.text.digits import ranges
from metier.text.mould import Mould, Piece, cast, filled, filled_all
from metier.text.pieces import Encoded, Encoder, Table, Unequal
from metier.text.render import Renderer, conversation_of, render_many, too_long
from metier.text.template import Beginnings
from metier.text.thought import apart

_MOST_CHARACTERS = 200_000
"""Longer conversations are left to `render`, which knows how much a template may print."""

_MOST_MOULDS = 32
"""Shapes whose texts need more moulds than this are not worth it."""

_MOST_FAILURES = 4
"""Rows of one shape that may fail to give a mould before the shape is given up."""

_WATCHED = 1024
"""One row in so many is rendered in both ways."""

_Shape = tuple[tuple[str, ...], tuple[float, ...]]
"""The roles of a conversation and the weights of its messages."""


@dataclass(frozen=True, slots=True)
class Poured:
    """R sequences: `places` int64 [R] are the rows' numbers; `ids` int32 [N], `weights` float32 [N], `lengths` [R].

    `dropped`: rows that are too long, by their numbers.
    """

    places: np.ndarray
    ids: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray
    dropped: Mapping[int, Dropped] = field(default_factory=dict)


@dataclass(slots=True)
class _Shaped:
    """The moulds of one shape, the first rows not yet compared, and how often no mould could be made."""

    moulds: list[Mould] = field(default_factory=list)
    proven: set[int] = field(default_factory=set)
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one mould: their numbers, and those of their pieces [R, pieces] and prompts [R, turns] in the table."""

    shape: _Shape
    number: int
    mould: Mould
    places: list[int]
    pieces: np.ndarray
    prompts: np.ndarray


class Foundry:
    """Keeps the moulds of one renderer.

    Args:
        renderer: whose sequences are wanted.
        encoder: encodes the pieces.
    """

    def __init__(self, renderer: Renderer, encoder: Encoder) -> None:
        self._renderer = renderer
        self._encoder = encoder
        self._shapes: dict[_Shape, _Shaped] = {}

    def pour(self, rows: Items[Row]) -> tuple[list[Poured], list[int]]:
        """Render what can be poured; returns it with the numbers of the rows that are left to `render`.

        Raises:
            Unequal: a row came out otherwise than `render` has it, or the encoder disagrees with the base's tokenizer.
        """
        shapes, left = self._sorted(rows)
        table = Table()
        groups: list[_Group] = []
        for shape, members in shapes.items():
            groups += self._grouped(shape, members, rows, table, left)
        if not groups:
            return [], sorted(left)
        encoded = self._encoder.encode(list(table.numbers))
        poured: list[Poured] = []
        for group in groups:
            made, unfit = _assembled(group, encoded, rows, self._renderer)
            left += unfit
            self._compare(group, made, rows)
            poured.append(made)
        return poured, sorted(left)

    def _sorted(self, rows: Items[Row]) -> tuple[dict[_Shape, dict[int, tuple[str, ...]]], list[int]]:
        """Sort rows by shape, with their texts by their numbers; returns the rest, too."""
        shapes: dict[_Shape, dict[int, tuple[str, ...]]] = {}
        left: list[int] = []
        for place, row in enumerate(rows):
            found = _shape_of(row, self._renderer.settings.system)
            if found is None or sum(map(len, found[1])) > _MOST_CHARACTERS or self._thinks(found[1]):
                left.append(place)
            else:
                shapes.setdefault(found[0], {})[place] = found[1]
        for members in shapes.values():
            if not self._harmless(list(dict.fromkeys(text for texts in members.values() for text in texts))):
                unfit = [place for place, texts in members.items() if not self._harmless(texts)]
                left += unfit
                for place in unfit:
                    del members[place]
        return shapes, left

    def _thinks(self, texts: Items[str]) -> bool:
        """Tell whether the template may be shown something of these texts in another field."""
        return self._renderer.template.thinks_apart and any(apart(text) is not None for text in texts)

    def _harmless(self, texts: Items[str]) -> bool:
        """Tell whether texts are Unicode and hold nothing that could be read as a control token."""
        whole = "\0".join(texts)
        if not whole.isascii():
            try:
                whole.encode()
            except UnicodeEncodeError:
                return False
        return not self._renderer.tokenizer.may_hold_control(whole)

    def _grouped(
        self, shape: _Shape, members: dict[int, tuple[str, ...]], rows: Items[Row], table: Table, left: list[int]
    ) -> list[_Group]:
        """Give each row of a shape its mould, making new ones as needed; what finds none is added to `left`."""
        known = self._shapes.setdefault(shape, _Shaped())
        groups: list[_Group] = []
        number = 0
        while members:
            if number == len(known.moulds) and not self._learn(known, members, rows, left):
                left += members
                break
            if number == len(known.moulds):
                continue
            mould = known.moulds[number]
            mine = (
                {place: texts for place, texts in members.items() if mould.fits(texts)} if mould.questions else members
            )
            if mine:
                groups.append(_group(shape, number, mould, mine, table))
                members = {place: texts for place, texts in members.items() if place not in mine}
            number += 1
        return groups

    def _learn(self, known: _Shaped, members: dict[int, tuple[str, ...]], rows: Items[Row], left: list[int]) -> bool:
        """Make a mould from the first row, or leave that row; False when the shape is given up."""
        if known.failures >= _MOST_FAILURES or len(known.moulds) >= _MOST_MOULDS:
            return False
        place = next(iter(members))
        conversation = conversation_of(rows[place], self._renderer)
        learnt = conversation.learnt
        cuts = [cut for number in learnt for cut in ((number, True), (number + 1, False))]
        traces = self._renderer.template.traces(Beginnings(conversation.messages, conversation.tools, cuts))
        mould = None if traces is None else cast(traces, learnt, self._renderer.tokenizer)
        if mould is not None and mould.fits(members[place]):
            known.moulds.append(mould)
        else:
            known.failures += 1
            left.append(place)
            del members[place]
        return True

    def _compare(self, group: _Group, made: Poured, rows: Items[Row]) -> None:
        """Render a few rows in the other way, too."""
        known = self._shapes[group.shape]
        first = 0 if group.number not in known.proven else _WATCHED // 2
        starts = np.concatenate(([0], np.cumsum(made.lengths)))
        for number in range(first, len(made.places), _WATCHED):
            row = rows[int(made.places[number])]
            mine = slice(int(starts[number]), int(starts[number + 1]))
            (wanted,) = render_many([row], self._renderer)
            same = (
                not isinstance(wanted, Dropped)
                and len(wanted) == 1
                and np.array_equal(wanted[0].ids, made.ids[mine])
                and np.array_equal(wanted[0].weights, made.weights[mine])
            )
            if not same:
                raise Unequal(f"{row.source} gets other tokens when it is rendered alone")
            known.proven.add(group.number)
        for place in list(made.dropped)[first::_WATCHED]:
            if render_many([rows[place]], self._renderer) != [made.dropped[place]]:
                raise Unequal(f"{rows[place].source} is not too long when it is rendered alone")


def _shape_of(row: Row, system: str | None) -> tuple[_Shape, tuple[str, ...]] | None:
    """Return the shape and the texts of a row that is nothing but roles and texts, with something learnt."""
    if isinstance(row, LabelledRow):
        roles, weights, texts = ("user", "assistant"), (0.0, 1.0), (row.text, row.label)
    elif isinstance(row, ChatRow) and not row.tools:
        plain = [_plain(turn) for turn in row.messages]
        if not plain or None in plain:
            return None
        roles, weights, texts = zip(*plain, strict=True)
    else:
        return None
    if row.weight <= 0 or max(weights) * row.weight <= 0:
        return None
    if system is not None and "system" not in roles and "developer" not in roles:
        roles, weights, texts = ("system", *roles), (0.0, *weights), (system, *texts)
    return (roles, weights), texts


def _plain(turn: Message) -> tuple[str, float, str] | None:
    """Return the role, the weight and the text of a turn that has nothing else."""
    if turn.tool_calls or turn.name is not None or turn.tool_call_id is not None:
        return None
    if turn.role != "assistant":
        return turn.role, 0.0, turn.content
    return turn.role, 1.0 if turn.weight is None else turn.weight, turn.content


def _group(shape: _Shape, number: int, mould: Mould, members: dict[int, tuple[str, ...]], table: Table) -> _Group:
    """Fill the pieces of a mould with the texts of rows."""
    texts = list(members.values())
    pieces = np.empty((len(texts), len(mould.pieces)), np.int64)
    for column, piece in enumerate(mould.pieces):
        pieces[:, column] = _numbers(piece, texts, table)
    prompts = np.empty((len(texts), len(mould.turns)), np.int64)
    for column, turn in enumerate(mould.turns):
        prompts[:, column] = _numbers(turn.prompt, texts, table)
    return _Group(shape, number, mould, list(members), pieces, prompts)


def _numbers(piece: Piece, texts: Items[tuple[str, ...]], table: Table) -> list[int] | int:
    """Return the numbers of what a piece is in each row; one for all where it is fixed text."""
    if all(isinstance(part, str) for part in piece):
        return table.place(filled(piece, ()))
    return table.places(filled_all(piece, texts))


def _assembled(group: _Group, encoded: Encoded, rows: Items[Row], renderer: Renderer) -> tuple[Poured, list[int]]:
    """Put ids and weights together; returns the numbers of rows that must be looked at one by one."""
    sizes = np.diff(encoded.offsets)
    pieces, lengths = group.pieces, sizes[group.pieces]
    stops = [_last_stop(encoded.of(int(pieces[0, turn.stop])), renderer) for turn in group.mould.turns]
    lengths[:, -1] = stops[-1]
    begins = np.cumsum(lengths, axis=1) - lengths
    totals, proven = lengths.sum(axis=1), np.ones(len(pieces), bool)
    for column, turn in enumerate(group.mould.turns):
        proven &= _open_alike(group.prompts[:, column], pieces[:, turn.place], encoded)
    places, fit = np.asarray(group.places, np.int64), proven & (totals <= renderer.limit)
    dropped = {
        group.places[number]: too_long(rows[group.places[number]], int(totals[number]), renderer)
        for number in np.flatnonzero(proven & ~fit).tolist()
    }
    pieces, lengths, begins, prompts = pieces[fit], lengths[fit], begins[fit], group.prompts[fit]
    totals = lengths.sum(axis=1)
    ids = encoded.ids[ranges(encoded.offsets[pieces].ravel(), lengths.ravel())]
    weights = np.zeros(len(ids), np.float32)
    firsts = np.cumsum(totals) - totals
    row_weights = np.asarray([rows[place].weight for place in places[fit]], np.float64)
    for column, (turn, stop) in enumerate(zip(group.mould.turns, stops, strict=True)):
        starts = begins[:, turn.place] + sizes[prompts[:, column]]
        counts = begins[:, turn.stop] + stop - starts
        learnt = ranges(firsts + starts, counts)
        weights[learnt] = np.repeat(group.shape[1][turn.message] * row_weights, counts)
    weights[firsts] = 0  # nothing precedes the first token
    return Poured(places[fit], ids, weights, totals, dropped), places[~proven].tolist()


def _last_stop(ids: np.ndarray, renderer: Renderer) -> int:
    """Return the place after the last stop token."""
    return int(np.flatnonzero(np.isin(ids, np.asarray(renderer.tokenizer.stop_ids)))[-1]) + 1


def _open_alike(prompts: np.ndarray, pieces: np.ndarray, encoded: Encoded) -> np.ndarray:
    """Tell for each row whether the ids of the prompt's end are those that its piece begins with; bool [R]."""
    sizes = np.diff(encoded.offsets)
    counts, fits = sizes[prompts], sizes[prompts] <= sizes[pieces]
    counts = np.where(fits, counts, 0)
    same = encoded.ids[ranges(encoded.offsets[prompts], counts)] == encoded.ids[ranges(encoded.offsets[pieces], counts)]
    differences = np.concatenate(([0], np.cumsum(~same)))
    ends = np.cumsum(counts)
    return fits & (differences[ends] == differences[ends - counts])
