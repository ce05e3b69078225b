"""What the licences of a base and of the data ask of a model that was made from them, and what they forbid.

A table of what is commonly met, in our own words: a reminder of what to read, and no legal advice.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from metier.promote.registry.settings import Use

_CREDIT = "name the authors and keep the licence's text and notices with the model"
_CHANGES = "say what was changed"
_ALIKE = "give the model on under the same licence"
_NO_SALE = "no commercial use"
_USES = "hand on the licence's list of forbidden uses, and keep to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What a licence asks of what was made from the thing that it covers; `sale`: whether it may be sold."""

    id: str
    asks: tuple[str, ...] = ()
    sale: bool = True
    sharing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What both licences ask together; `against`: why the use that is wanted is forbidden, empty when it is not."""

    model: str
    base: str
    data: str
    asks: tuple[str, ...]
    against: tuple[str, ...]


_FREE = ("mit", "bsd-2-clause", "bsd-3-clause", "isc", "bsl-1.0", "ms-pl", "zlib", "cc-by-3.0", "cc-by-4.0", "odc-by")
_NOTHING_ASKED = ("own", "cc0-1.0", "unlicense", "pddl", "0bsd", "wtfpl", "cdla-permissive-2.0")
_SHARE_ALIKE = (
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "odbl",
    "cdla-sharing-1.0",
    "lgpl-3.0",
    "gpl-2.0",
    "gpl-3.0",
    "agpl-3.0",
)
_UNSOLD = ("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0")
_UNSOLD_ALIKE = ("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0")
_UNCHANGED = ("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0")
_NAMED = ("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4")
_RAIL = (
    "openrail",
    "creativeml-openrail-m",
    "bigscience-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m",
)
_TERMS = (*_RAIL, "gemma", "deepseek", "falcon-llm-license")

KNOWN: dict[str, Licence] = {
    **{name: Licence(id=name) for name in _NOTHING_ASKED},
    **{name: Licence(id=name, asks=(_CREDIT,)) for name in _FREE},
    **{name: Licence(id=name, asks=(_CREDIT, _CHANGES)) for name in ("apache-2.0", "mpl-2.0", "epl-2.0", "afl-3.0")},
    **{name: Licence(id=name, asks=(_CREDIT, _CHANGES, _ALIKE)) for name in _SHARE_ALIKE},
    **{name: Licence(id=name, asks=(_CREDIT, _NO_SALE), sale=False) for name in _UNSOLD},
    **{name: Licence(id=name, asks=(_CREDIT, _ALIKE, _NO_SALE), sale=False) for name in _UNSOLD_ALIKE},
    **{name: Licence(id=name, asks=("a changed copy may not be given on",), sharing=False) for name in _UNCHANGED},
    **{
        name: Licence(
            id=name,
            asks=(
                f"begin the model's name with 'Llama'{'' if name == 'llama2' else ' and show “Built with Llama”'}",
                "keep the NOTICE file", _USES, "ask Meta above 700 million users a month",
            ),
        )
        for name in _NAMED
    },
    **{name: Licence(id=name, asks=(_USES, _CREDIT)) for name in _TERMS},
    "other": Licence(id="other", asks=("read the licence that lies beside the base",)),
}  # fmt: skip
"""Licence id in small letters -> what it asks."""


def of_base(folder: Path) -> str:
    """Return the licence that a base's README.md names, in small letters; "unknown" where it names none."""
    readme = folder / "README.md"
    if not readme.is_file():
        return "unknown"
    found = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        facts = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return "unknown"
    named = facts.get("license") if isinstance(facts, dict) else None
    return named.lower() if isinstance(named, str) and named else "unknown"


def join(*, base: str, data: str, model: str | None, use: Use) -> Obligations:
    """Put the licences of base and data together.

    Args:
        base: of the base, "unknown" where nobody knows.
        data: of the data.
        model: that the tuned model is given; None: the base's.
        use: what the model is for.
    """
    known = {"base": KNOWN.get(base.lower()), "data": KNOWN.get(data.lower())}
    named = {"base": base, "data": data}
    asks = [f"{part} ({named[part]}): {text}" for part, licence in known.items() if licence for text in licence.asks]
    against = []
    for part, licence in known.items():
        if licence is None and use == "public":
            against.append(f"what the licence of the {part} ({named[part]}) asks is not known")
        elif licence is not None and use == "commercial" and not licence.sale:
            against.append(f"the licence of the {part} ({named[part]}) forbids commercial use")
        elif licence is not None and use == "public" and not licence.sharing:
            against.append(f"the licence of the {part} ({named[part]}) lets no changed copy be given on")
        if licence is not None and _ALIKE in licence.asks and model is not None and model.lower() != licence.id:
            against.append(f"the {part} is under {licence.id}, which the model must keep, and it is to be {model}")
    own = model or (base if base.lower() != "own" else "other")
    return Obligations(model=own, base=base, data=data, asks=tuple(asks), against=tuple(against))
