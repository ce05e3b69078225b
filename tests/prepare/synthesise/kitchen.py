"""A prepared project, and the one call that makes rows from it."""

import json
from dataclasses import dataclass
from typing import Any

from metier.prepare.synthesise.run import Estimate, Synthesis, Workplace, synthesise
from metier.prepare.synthesise.settings import SynthesiseSettings
from tests.prepare.synthesise.endpoint import Endpoint
from tests.prepare.workshop import Workshop

NOUNS = ("parcel", "invoice", "refund", "voucher", "password", "address", "meter", "contract", "garden", "kettle")


def labelled(count: int = 60) -> list[dict[str, str]]:
    return [
        {
            "text": f"Where is the {NOUNS[place % 10]} that I asked for {place} days ago, and who has {place * 7}?",
            "label": ("delivery", "billing", "account")[place % 3],
        }
        for place in range(count)
    ]


def chats(count: int = 60) -> list[dict[str, str]]:
    return [
        {
            "prompt": f"What do I do with {NOUNS[place % 10]} number {place} when it has come to the wrong place?",
            "completion": f"Send the {NOUNS[place % 10]} back within {place + 3} days, please.",
        }
        for place in range(count)
    ]


def extracts(count: int = 60) -> list[dict[str, str]]:
    return [
        {
            "prompt": f"Read this: {noun} {place}, in the year {1900 + place}.",
            "completion": json.dumps({"thing": noun, "year": 1900 + place}),
        }
        for place in range(count)
        for noun in [NOUNS[place % 10]]
    ]


@dataclass
class Pantry:
    """A project and a server."""

    workshop: Workshop
    endpoint: Endpoint
    confirmed: Estimate | None = None

    def make(self, records: list[dict[str, str]] | None = None, *, teacher: Any = None, **settings: Any) -> Synthesis:
        """Prepare the records and ask for rows; every estimate is agreed to and remembered."""
        name = self.workshop.lines("rows.jsonl", labelled() if records is None else records)
        snapshot = self.workshop.prepare(name).path
        told = {
            "base_url": self.endpoint.url,
            "timeout_seconds": 20.0,
            "key_variable": "TEACHER_KEY",
            **(teacher or {}),
        }
        chosen = SynthesiseSettings.model_validate({"rows": 12, "teacher": told, **settings})
        place = Workplace(
            snapshot=snapshot, folder=self.workshop.folder, store=self.workshop.folder / ".metier",
            progress=self.workshop.heard,
        )  # fmt: skip
        result = synthesise(place, chosen, confirm=self._agree)
        assert result is not None
        return result

    def _agree(self, estimate: Estimate) -> bool:
        self.confirmed = estimate
        return True

    def written(self, result: Synthesis) -> list[dict[str, Any]]:
        return [json.loads(line) for line in result.output.read_text(encoding="utf-8").splitlines()]
