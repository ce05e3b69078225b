"""What a file is, told from its first bytes; its name decides only where the bytes leave it open."""

import csv
import json
import re
from collections import Counter
from pathlib import PurePath
from typing import NamedTuple

from metier.core.errors import DataError
from metier.prepare.reading.part import Layout
from metier.prepare.reading.stream import codec_of

SUFFIXES: dict[str, Layout] = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".xlsx": "workbook", ".xls": "workbook", ".xlsb": "workbook",
    ".ods": "workbook", ".xml": "xml", ".eml": "mail", ".mbox": "mail", ".pdf": "pdf", ".docx": "docx", ".html": "html",
    ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".txt": "text", ".text": "text", ".rst": "text",
}  # fmt: skip
PACKED_SUFFIXES = {".gz", ".zst", ".bz2", ".xz"}
READABLE = (
    "JSON (lines, a list or an object), CSV, TSV, Parquet, Arrow, a workbook, XML, mail (.eml, .mbox), PDF, Word, "
    "HTML, Markdown or text, alone, packed (.gz, .zst, .bz2, .xz) or in a .zip"
)
_TEXTS: set[Layout] = {"json", "csv", "xml", "mail", "html", "markdown", "text"}
_FOREIGN = (
    (b"SQLite format 3", "an SQLite database", "name it as a query: {sql: sqlite:///FILE, query: select …}"),
    (b"PK", "a ZIP archive", "open it and name what is in it"),
    (b"Rar!", "a RAR archive", "unpack it and name what is in it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and name what is in it"),
    (b"\x89PNG", "a picture", ""), (b"\xff\xd8\xff", "a picture", ""), (b"\x7fELF", "a program", ""),
    (b"\x80\x04", "a pickle, which is never read", "write it as Parquet or JSON Lines"),
)  # fmt: skip
_MAIL_HEADER = re.compile(
    r"^(Received|From|To|Subject|Date|MIME-Version|Message-ID|Return-Path|Delivered-To):", re.IGNORECASE | re.MULTILINE
)


class Sniffed(NamedTuple):
    """What a file is taken for, how sure that is (1: its bytes say so), and why."""

    layout: Layout
    confidence: float
    reason: str


def sniff(name: str, head: bytes, encoding: str) -> Sniffed:
    """Tell what a file is.

    Args:
        name: of the file, for its suffix and for messages.
        head: its first bytes, unpacked.
        encoding: `prepare.read.encoding`.

    Raises:
        DataError: it is nothing that can be read as rows.
    """
    if (found := _binary(head)) is not None:
        return found
    named = SUFFIXES.get(suffix_of(name))
    for mark, what, do in _FOREIGN:
        if head.startswith(mark):
            raise DataError(f"{name}: {what}", READABLE, do)
    if named is not None and named not in _TEXTS:
        raise DataError(f"{name}: not {named.capitalize()} inside", READABLE, "give the file the name of what it is")
    text = head.decode(codec_of(head, encoding, name), errors="replace")
    if "\0" in text[:1024] and not named:
        raise DataError(f"{name}: bytes that are no text", READABLE)
    return _text(name, text, named)


def suffix_of(name: str) -> str:
    """Return the suffix of a name in small letters, below that of its packing."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _binary(head: bytes) -> Sniffed | None:
    if head[:4] == b"PAR1":
        return Sniffed("parquet", 1.0, "its first bytes")
    if head[:6] == b"ARROW1" or (head[:4] == b"\xff\xff\xff\xff" and head[4:8].strip(b"\0")):
        return Sniffed("arrow", 1.0, "its first bytes")
    if head[:4] == b"%PDF":
        return Sniffed("pdf", 1.0, "its first bytes")
    return Sniffed("workbook", 0.9, "an Office document") if head[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" else None


def _text(name: str, text: str, named: Layout | None) -> Sniffed:
    start = text.lstrip("\ufeff \t\r\n")
    if named in (None, "csv", "text") and _is_json(start):
        return Sniffed("json", 1.0, "objects in it")
    if named is not None:
        return Sniffed(named, 1.0, "its name")
    return _unnamed(start)


def _unnamed(start: str) -> Sniffed:
    lowered = start[:200].lower()
    if lowered.startswith(("<!doctype html", "<html")):
        return Sniffed("html", 1.0, "its first tag")
    if lowered.startswith("<?xml"):
        return Sniffed("xml", 1.0, "its first tag")
    if start.startswith("From ") or len(_MAIL_HEADER.findall(start[:2000].partition("\n\n")[0])) > 1:
        return Sniffed("mail", 0.95, "its headers")
    share = _share_of_table(start)
    if share > 0.9:
        return Sniffed("csv", share, "lines of as many fields")
    headings = len(re.findall(r"^#{1,6} \S", start, re.MULTILINE))
    return Sniffed("markdown", 0.8, "its headings") if headings > 1 else Sniffed("text", 0.7, "nothing else fits")


def _is_json(start: str) -> bool:
    """Tell whether the first line is a JSON object, or the text a list of them."""
    first = start.partition("\n")[0].strip()
    if first.startswith("{"):
        try:
            return isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return False
    return bool(re.match(r"\[\s*\{\s*\"", start))


def _share_of_table(text: str) -> float:
    """Return the share of lines with as many fields as most, two at least; 0 for what is too short to tell."""
    lines = [line for line in text.splitlines()[:-1] if line.strip()][:200]
    if len(lines) < 5:
        return 0.0
    best = 0.0
    for delimiter in ("\t", ",", ";", "|"):
        try:
            counts = Counter(len(fields) for fields in csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        fields, most = counts.most_common(1)[0]
        if fields > 1 and (fields > 2 or delimiter == "\t"):
            best = max(best, most / counts.total())
    return best
