"""What every request's body holds to: a name that is not known is refused, so nothing is ever ignored; no torch."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

Token = Annotated[int, Field(ge=0, lt=2**31)]
"""The id of a token; whether the model has it is seen when it is known which model it is."""

Count = Annotated[int, Field(ge=1, le=1 << 20)]
"""A number of tokens or the like."""


Nothing = Annotated[list[Any], Field(max_length=0)]
"""A list in which nothing may stand, as clients send it that repeat what they were told."""


class Body(BaseModel):
    """A request's body: strict about names and types."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _unicode(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError("not valid Unicode (half a surrogate pair)") from error
        return value
