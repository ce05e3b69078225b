"""Reads records out of XML: of the elements that hold only texts, those of the most frequent name are rows."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from xml.etree import ElementTree
from xml.parsers import expat

from metier.core.errors import DataError
from metier.prepare.reading.part import Part
from metier.prepare.reading.record import Record
from metier.prepare.reading.stream import open_bytes

_MOST = 1 << 28


class _Declared(Exception):
    """Stops the parser at the first entity."""


def markup(part: Part, report: Callable[[int], None]) -> Iterator[Record]:
    """Yield the rows of an XML document: `<pair><question>…</question><answer>…</answer></pair>` has two columns.

    Attributes are columns too; the document is the group of its rows.

    Raises:
        DataError: it is broken, declares entities (which can unpack to gigabytes), or holds nothing repeated.
    """
    with open_bytes(part, report) as stream:
        data = stream.read(_MOST + 1)
    if len(data) > _MOST:
        raise DataError(f"{part.name}: more than {_MOST >> 20} MiB of XML", "a smaller document", "split it")
    _refuse_entities(part.name, data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{part.name}: broken XML ({error})", "a whole document", "mend it") from error
    rows = [element for element in root.iter() if _is_row(element)]
    if not rows:
        return
    name = Counter(element.tag for element in rows).most_common(1)[0][0]
    for number, element in enumerate((element for element in rows if element.tag == name), 1):
        value = {_plain(child.tag): "".join(child.itertext()).strip() for child in element}
        value |= {key: text for key, text in element.attrib.items() if key not in value} | {"group": part.name}
        yield Record(number, json.dumps(value, ensure_ascii=False), value)


def _refuse_entities(name: str, data: bytes) -> None:
    """Look at the head of the document alone: a declared entity is refused before anything is unpacked."""

    def declared(*_: object) -> None:
        raise _Declared

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    try:
        parser.Parse(data, True)
    except _Declared as error:
        raise DataError(
            f"{name}: XML that declares entities", "plain XML", "write the texts out; such files can be bombs"
        ) from error
    except (expat.ExpatError, ValueError, LookupError):
        return  # what is broken is told by the one that reads it


def _is_row(element: ElementTree.Element) -> bool:
    """Tell whether an element has two children or more, all different and all texts."""
    children = list(element)
    names = {child.tag for child in children}
    return len(children) > 1 and len(names) == len(children) and not any(len(child) for child in children)


def _plain(tag: str) -> str:
    """Return an element's name without its namespace."""
    return tag.rpartition("}")[2]
