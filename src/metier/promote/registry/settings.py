"""What a version says of its licence and use, and who signs it; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings

Use = Literal["internal", "commercial", "public"]


class RegistrySettings(Settings):
    """What `metier promote` writes into a version and holds it to, beside the gate and parity."""

    use: Use = "internal"
    """What the model is for: `internal`, `commercial` (sold, or part of what is sold) or `public` (given to others).
    Licences of base and data that forbid it, or that nobody knows for `public`, keep it from being promoted."""

    licence: str | None = Field(None, min_length=1)
    """Licence of the tuned model, as an SPDX id such as `apache-2.0`. null: the base's."""

    base_licence: str | None = Field(None, min_length=1)
    """Licence of the base, as an SPDX id or a hub's name for it. null: read from the base's README.md."""

    data_licence: str | None = Field(None, min_length=1)
    """Licence of the data, as an SPDX id; `own` for your own. null: not known."""

    calibrate: bool | None = None
    """Fit how sure the version should be of its decisions on validation rows (`metier calibrate`), and keep that in it.
    null: where it has a head of classes, or answers with one of a few labels, and there are rows that it was not
    evaluated on. true: refuse to promote what cannot be calibrated. false: never."""

    signing_key: str | None = Field(None, min_length=1)
    """File of an elliptic-curve private key in PEM, relative to metier.yaml; its password is read from
    METIER_SIGNING_PASSWORD. null: a key pair made once in `.metier/keys`."""
