"""Where a token-classification model joins the rules: names and places that no list and no cue gives away."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metier.core import extras
from metier.core.errors import ModelError
from metier.prepare.protect.detect import Detector
from metier.prepare.protect.spans import Entity, Span, disjoint

_KINDS: Mapping[str, Entity] = {
    "per": "person", "person": "person", "name": "person", "givenname": "person", "surname": "person",
    "firstname": "person", "lastname": "person", "patient": "person", "address": "address", "street": "address",
    "street_address": "address", "email": "email", "phone": "phone", "phone_number": "phone", "id": "national_id",
    "ssn": "national_id", "date": "date", "url": "url",
}  # fmt: skip
"""What models call it, in small letters and without B- and I-, and what we call it; other labels are left out."""


def with_model(rules: Detector, folder: Path, entities: Collection[Entity]) -> Detector:
    """Return a detector that finds what the rules find and what the model finds.

    Args:
        rules: the detector without it.
        folder: a token-classification model as `transformers` saves it, weights as safetensors; nothing is downloaded
            and no code of the folder runs.
        entities: what is wanted of it.

    Raises:
        ModelError: there is no such model.
        MissingExtraError: torch and transformers are not installed.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"prepare.protect.model: {folder}: no config.json", "the folder of a token-classification model"
        )
    library: Any = extras.load("transformers", "train")
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = library.AutoModelForTokenClassification.from_pretrained(folder, use_safetensors=True, **options)
        tokenizer = library.AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"prepare.protect.model: {folder}: {error}", "a token-classification model") from error
    read = library.pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple")
    wanted = frozenset(entities)

    def named(text: str) -> list[Span]:
        kinds = [(_KINDS.get(str(part["entity_group"]).lower()), part) for part in read(text)]
        return [Span(int(part["start"]), int(part["end"]), kind) for kind, part in kinds if kind in wanted]

    return _Both(rules, named)


class _Both(NamedTuple):
    """The rules, and what the model names."""

    rules: Detector
    named: Callable[[str], list[Span]]

    def __call__(self, text: str) -> Sequence[Span]:
        """Return the spans of one text."""
        return disjoint([*self.rules(text), *self.named(text)])

    def many(self, texts: Sequence[str]) -> list[Sequence[Span]]:
        """Return the spans of each text."""
        found = zip(self.rules.many(texts), texts, strict=True)
        return [disjoint([*spans, *self.named(text)]) for spans, text in found]
