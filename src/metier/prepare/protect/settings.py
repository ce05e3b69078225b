"""What is done about personal data and secrets in rows."""

from typing import Any, Literal

from pydantic import field_validator, model_validator

from metier.core.settings import Settings
from metier.prepare.protect.spans import Entity

DEFAULT_ENTITIES: tuple[Entity, ...] = (
    "secret", "email", "iban", "card", "national_id", "ip", "address", "phone", "person",
)  # fmt: skip


class ProtectSettings(Settings):
    """Personal data and secrets. A plain word stands for `{action: <word>}`."""

    action: Literal["count", "redact", "pseudonymise", "drop", "nothing"] = "count"
    """`count`: look, report how much there is and where, change nothing. `redact`: write `[EMAIL]` in its place.
    `pseudonymise`: write made-up values, the same for the same person in all rows; needs a key. `drop`: leave out rows
    that hold any. `nothing`: do not look. What is redacted, pseudonymised or dropped is proven absent from what is
    written."""

    entities: tuple[Entity, ...] = DEFAULT_ENTITIES
    """What is looked for. `url` and `date` are known too, but left alone unless named here."""

    regions: tuple[str, ...] = ("US", "GB")
    """Countries (ISO codes) whose national phone numbers are known without a word such as "phone" in front."""

    allow: tuple[str, ...] = ()
    """Values that are no secret and stay as they are, in any case: `support@example.com`, a product that is called
    like a person. `@example.com` stands for every address of that domain."""

    key_file: str | None = None
    """File with the key of `pseudonymise`, relative to metier.yaml; `metier protect --new-key FILE` makes one.
    null: the environment variable METIER_PROTECT_KEY holds it."""

    keep_map: bool = True
    """Keep what stood where, encrypted with the key, in `.metier/protect`, so that `metier protect --reveal` can undo
    `pseudonymise`. Secrets are never kept."""

    model: str | None = None
    """Folder of a token-classification model (safetensors) that finds names and places beside the rules, relative to
    metier.yaml; slow without a GPU. null: rules alone."""

    @model_validator(mode="before")
    @classmethod
    def _from_plain_word(cls, value: Any) -> Any:
        return {"action": value} if isinstance(value, str) else value

    @field_validator("entities")
    @classmethod
    def _something(cls, value: tuple[Entity, ...]) -> tuple[Entity, ...]:
        if not value:
            raise ValueError("name at least one, or set action: nothing")
        return value

    @field_validator("regions")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(len(code) == 2 and code.isalpha() and code.isupper() for code in value):
            raise ValueError("two capital letters each, such as US, GB or DE")
        return value
