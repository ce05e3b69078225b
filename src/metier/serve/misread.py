"""What is wrong with a request, under the name that it has in what was sent; no torch.

A value that may be of several kinds is tried as each, and the library names the kind in the place of the fault
(`content.str`); whoever asks knows no such name. What is told is the fault that lies deepest: it is of the kind that
was meant. What was sent is not repeated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from metier.serve.refusal import Refusal, unsupported

_NAMED = "metadata"
"""The one parameter of an address that is written with a name in brackets."""


def refusal_of(faults: Sequence[Mapping[str, Any]], sent: Any) -> Refusal:
    """Return the refusal that the faults of a request come down to.

    Args:
        faults: as pydantic lists them.
        sent: the body, where it was JSON.
    """
    if faults[0]["type"] == "json_invalid":
        return Refusal(400, "body: not JSON; wanted: a JSON object", code="invalid_json")
    placed = [(_place(fault, sent), fault) for fault in faults]
    top = placed[0][0]
    place, fault = max((each for each in placed if each[0][: len(top)] == top), key=lambda each: len(each[0]))
    param = ".".join(place) or None
    if fault["type"] == "extra_forbidden":
        return Refusal(400, f"'{param}' is not a parameter here", param=param, code="unknown_parameter")
    words = str(fault["msg"]).removeprefix("Value error, ")
    return Refusal(400, f"{param or 'body'}: {words}", param=param, code="invalid_value")


def _place(fault: Mapping[str, Any], sent: Any) -> list[str]:
    """Return where a fault lies: what stands in `sent`, and what is missing there, without the names of kinds."""
    where, *parts = fault["loc"]
    if where != "body":
        return [str(part) for part in parts]
    place: list[str] = []
    missing = parts.pop() if fault["type"] == "missing" and parts else None
    for part in parts:
        if not (part in sent if isinstance(sent, Mapping) else isinstance(sent, list) and part in range(len(sent))):
            continue
        sent = sent[part]
        place.append(str(part))
    return place if missing is None else [*place, str(missing)]


async def known_query(request: Request) -> None:
    """Refuse what stands in the address and would be ignored.

    Raises:
        Refusal: a parameter of the address that the path does not know.
    """
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        bare = _NAMED if name.startswith(f"{_NAMED}[") and name.endswith("]") else name
        if bare not in known:
            raise unsupported(name[:80], "nothing in this path's address is called that, so it would be ignored")
