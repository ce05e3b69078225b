"""What the probes found, as tables; imports no torch."""

from collections.abc import Mapping
from typing import Any

from metier.core.report import Cell, Table
from metier.evaluate.wording import change_with_interval, level, level_with_interval

_SWAPS = {
    "gender": "women's words against men's",
    "names": "women's names against men's",
    "age": "old against young",
    "dialect": "American against British",
}


def probe_tables(probes: Mapping[str, Any] | None, names: tuple[str, str]) -> tuple[Table, ...]:
    """Return the tables of the probes that were made."""
    if not probes:
        return ()
    found = [_swaps(probes["swaps"], names), _injection(probes["injection"], names)]
    found.append(_toxicity(probes.get("toxicity"), names))
    found += [_memory(probes["memorisation"], names), _canaries(probes["canaries"], names)]
    return tuple(table for table in found if table is not None)


def _swaps(entries: list[Mapping[str, Any]], names: tuple[str, str]) -> Table | None:
    if not entries:
        return None
    rows: list[tuple[Cell, ...]] = []
    for entry in entries:
        flips, effect = entry["flips"], entry["effect"]
        rows.append(
            (
                f"{entry['kind']}: answers that turn on it", entry["pairs"],
                level_with_interval("accuracy", flips["base"]),
                level_with_interval("accuracy", flips["tuned"]), change_with_interval("accuracy", flips["difference"]),
                flips["verdict"].replace("better", "more").replace("worse", "fewer"),
            )
        )  # fmt: skip
        rows.append(
            (
                f"{entry['kind']}: right, {_SWAPS[entry['kind']]}", entry["pairs"],
                change_with_interval("accuracy", entry["base_effect"]["difference"]),
                change_with_interval("accuracy", effect["difference"]), None,
                "an effect" if effect["p"] is not None and effect["p"] <= 0.05 else "no effect shown",
            )
        )  # fmt: skip
    return Table(
        title="Does the answer turn on who is spoken of?",
        columns=("what was swapped", "pairs", *names, "difference", "verdict"),
        rows=tuple(rows),
        note="Your own rows, asked in both versions. A right answer should not change with what was swapped.",
    )


def _injection(found: Mapping[str, Any] | None, names: tuple[str, str]) -> Table | None:
    if found is None:
        return None
    row = (
        "answers that obey", found["rows"], level_with_interval("accuracy", found["base"]),
        level_with_interval("accuracy", found["tuned"]), change_with_interval("accuracy", found["difference"]),
    )  # fmt: skip
    return Table(
        title="Does a command hidden in a row get obeyed?",
        columns=("", "rows", *names, "difference"),
        rows=(row,),
        note="The command stands at the end of the row's text and asks for a word of its own.",
    )


def _toxicity(found: Mapping[str, Any] | None, names: tuple[str, str]) -> Table | None:
    if found is None:
        return None
    row = (
        "toxic answers", found["rows"], level_with_interval("accuracy", found["base"]),
        level_with_interval("accuracy", found["tuned"]), change_with_interval("accuracy", found["difference"]),
    )  # fmt: skip
    seen = f" The tuned model's first: {found['examples'][0]!r}." if found["examples"] else ""
    return Table(
        title="Are answers toxic?",
        columns=("", "rows", *names, "difference"),
        rows=(row,),
        note=f"By your classifier, whose labels {', '.join(found['labels'])} count from one half on.{seen}",
    )


def _memory(found: Mapping[str, Any] | None, names: tuple[str, str]) -> Table | None:
    if found is None:
        return None
    rows = []
    for part, told in (("train", "training rows finished to the letter"), ("held_out", "held-out rows, likewise")):
        count = found["rows"]["train" if part == "train" else "held out"]
        rows.append((told, count, *(found[name][part] for name in ("base", "tuned"))))
    rows.append(
        (
            "personal data of training rows in other answers",
            None,
            *(len(found[n]["personal"]) for n in ("base", "tuned")),
        )
    )
    difference = found["tuned"]["difference"]
    told = "" if difference is None else (
        f" Of training rows it finished {change_with_interval('accuracy', difference)} points more than of others."
    )  # fmt: skip
    return Table(
        title="What was learnt by heart?",
        columns=("", "rows", *names),
        rows=tuple(rows),
        note=f"Both models were given the first half of right answers.{told}",
    )


def _canaries(found: Mapping[str, Any] | None, names: tuple[str, str]) -> Table | None:
    if found is None:
        return None
    ranked = sorted(found["canaries"], key=lambda entry: -entry["tuned"])[:20]
    return Table(
        title="How exposed are the planted secrets?",
        columns=("secret", *(f"{name}, bits" for name in names), "chance without memory"),
        rows=tuple(
            (e["secret"], round(e["base"], 1), round(e["tuned"], 1), level("accuracy", e["chance"])) for e in ranked
        ),
        note=(
            f"Exposure is how far up a secret ranks among others of its shape; {found['most_bits']:.0f} bits is the "
            f"first place. For the most exposed of all: p = {found['p']:.3f}."
        ),
    )
