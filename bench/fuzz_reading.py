"""Feeds the readers with damaged and hostile files for some minutes: no traceback, no hang, no row lost.

python -m bench.fuzz_reading 10 [SEED]   # minutes; a fault prints what repeats it, and the script exits 1

Each case takes a good file of some kind, damages its bytes, its text or its values, and prepares it. What may come out
is a snapshot whose books balance, or an error of ours with what was found and wanted.
"""

import bz2
import faulthandler
import gzip
import io
import json
import random
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as arrow_parquet

from metier.core.errors import DiskFullError, InputError
from metier.core.progress import Silent
from metier.core.types import Dropped
from metier.prepare.reading.intake import open_file, rows_of
from metier.prepare.reading.sources import sources
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare

_MOST_SECONDS = 30
_EVERY = 10
"""Every so many cases go the whole way to a snapshot; the others are only read, which is faster."""

Maker = Callable[[random.Random], tuple[str, bytes]]
_ASKED, _SAID = {"role": "user", "content": "where is it?"}, {"role": "assistant", "content": "on its way"}
_CALL = {"id": "1", "type": "function", "function": {"name": "track", "arguments": '{"n": 1}'}}
_RECORDS: tuple[dict[str, Any], ...] = (
    {"text": "a text", "label": "a"},
    {"text": "a text", "label": ["a", "b"], "weight": 2},
    {"text": "a text", "score": 0.5},
    {"text": "A longer text.\n\nWith paragraphs."},
    {"text": "<s>[INST] q [/INST] a </s>"},
    {"prompt": "Below is an instruction that describes a task.\n\n### Instruction:\nq\n\n### Response:",
     "answer": "a</s>"},
    {"messages": [_ASKED, _SAID], "tools": [{"type": "function", "function": {"name": "track"}}]},
    {"messages": [_ASKED, {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                  {"role": "tool", "content": "1", "tool_call_id": "1"}, _SAID]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    {"instruction": "i", "input": "", "output": "o"},
    {"prompt": "p", "completion": "c", "label": True},
    {"prompt": "p", "chosen": "c", "rejected": "r"},
    {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
    {"system": "s", "messages": [_ASKED, {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f",
                                                                         "input": {}}]}]},
    {"messages": [{"role": "user", "content": [{"text": "q"}]}, {"role": "assistant", "content": [{"text": "a"}]}]},
    {"request": {"messages": [_ASKED]}, "response": {"choices": [{"message": _SAID}]}},
    {"traceId": "t", "input": [_ASKED], "output": _SAID},
    {"attributes": {"gen_ai.prompt.0.content": "q", "gen_ai.completion.0.content": "a"}},
    {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "gen_ai.prompt.0.content",
                                                                   "value": {"stringValue": "q"}}]}]}]}]},
    {"data": {"text": "t"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["a"]}}]}]},
    {"fields": {"text": "t"}, "responses": {"label": [{"value": "x", "status": "submitted"}]}},
    {"subject": "s", "requester_id": 1, "comments": [{"author_id": 1, "body": "q"}, {"author_id": 2, "body": "a"}]},
    {"prompt": {"text": "q", "role": "prompter", "replies": [{"text": "a", "role": "assistant", "replies": []}]}},
    {"message_id": "1", "parent_id": None, "text": "q", "role": "prompter"},
    {"thread_id": 1, "speaker": "agent", "message": "a", "time": "2026-01-01"},
    {"instruction": "i", "instances": [{"input": "", "output": "o"}]},
    {"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": "a"}]}]}]},
    {"sql": ["select var0"], "sentences": [{"text": "the var0", "variables": {"var0": "x"}}]},
)  # fmt: skip
_STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, "", " ", "\0", "\ud800", "=A1", "\u202e", "a" * 5000, [], {}, [None], [[]], {"a": None},
    ["a", 1], [{"role": "user"}], {"role": 3, "content": {}}, "[{", '[{"role": "user", "content": 1}]', float("nan"),
    10**400, [{"role": "tool", "content": "x"}], {"replies": 3}, [[[[[[[]]]]]]],
)  # fmt: skip


def _records(chance: random.Random) -> list[dict[str, Any]]:
    one = chance.choice(_RECORDS)
    many = [json.loads(json.dumps(one)) for _ in range(chance.randint(1, 40))]
    for number, record in enumerate(many):
        for key, value in record.items():
            if isinstance(value, str):
                record[key] = f"{value} {number}"
    return many


def _twisted(value: Any, chance: random.Random) -> Any:
    """Return a value with one of its parts put in another's place."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return value | {key: _twisted(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], _twisted(value[place], chance), *value[place + 1 :]]
    return chance.choice(_STRANGE)


def _lines(chance: random.Random) -> tuple[str, bytes]:
    twist = chance.choice((0, 0.05, 0.5))
    records = [_twisted(record, chance) if chance.random() < twist else record for record in _records(chance)]
    ends = chance.choice(("\n", "\r\n", "\r", "\n\n"))
    text = ends.join(json.dumps(record, ensure_ascii=chance.random() < 0.5) for record in records)
    return "t.jsonl", text.encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")


def _list(chance: random.Random) -> tuple[str, bytes]:
    records = [_twisted(record, chance) if chance.random() < 0.1 else record for record in _records(chance)]
    value = chance.choice((records, {"data": records}, {str(n): record for n, record in enumerate(records)}))
    return "t.json", json.dumps(value, indent=chance.choice((None, 1))).encode()


def _csv(chance: random.Random) -> tuple[str, bytes]:
    mark = chance.choice(",;\t|")
    lines = [f"text{mark}label", *(f'"text {n}"{mark}{n % 3}' for n in range(chance.randint(1, 40)))]
    return chance.choice(("t.csv", "t.tsv")), "\r\n".join(lines).encode()


def _parquet(chance: random.Random) -> tuple[str, bytes]:
    sink = io.BytesIO()
    arrow_parquet.write_table(arrow.Table.from_pylist([{"text": f"t {n}", "label": "a"} for n in range(20)]), sink)
    return "t.parquet", sink.getvalue()


def _arrow(chance: random.Random) -> tuple[str, bytes]:
    table = arrow.Table.from_pylist([{"text": f"t {n}", "label": "a"} for n in range(20)])
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return "t.arrow", sink.getvalue().to_pybytes()


def _document(chance: random.Random) -> tuple[str, bytes]:
    name, text = chance.choice((
        ("t.md", "# A\n\ntext one\n\n## B\n```\ncode\n\n# no\n```\n" * 5),
        ("t.html", "<html><h1>A</h1><p>one<ul><li>x<li>y</ul><script>no</script><pre> a\n b</pre>" * 5),
        ("t.txt", "One paragraph.\n\nAnother one, longer.\n\n" * 20),
        ("t.xml", "<d>" + "<r><q>a</q><a>b</a></r>" * 10 + "</d>"),
        ("t.eml", "From: a@b.c\nTo: d@e.f\nSubject: =?utf-8?q?x?=\nContent-Type: text/html\n\n<p>hello</p>\n"),
        ("t.mbox", "From a\nFrom: a@b.c\nSubject: s\n\nhello\n\nFrom b\nFrom: d@e.f\nReferences: <1>\n\nyes\n" * 5),
    ))  # fmt: skip
    return name, text.encode()


def _archive(chance: random.Random) -> tuple[str, bytes]:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for number in range(chance.randint(1, 4)):
            name, data = chance.choice((_lines, _csv, _document))(chance)
            inside = chance.choice(
                (f"{number}/{name}", f"../{name}", f"/{name}", f"C:\\{name}", f"a/../../{name}", name * 30)
            )
            archive.writestr(inside, data)
    return "t.zip", sink.getvalue()


def _pdf(chance: random.Random) -> tuple[str, bytes]:
    stream = b"BT /F1 12 Tf 72 700 Td (Once upon a time) Tj ET"
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]  # fmt: skip
    out = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (n, body) for n, body in enumerate(bodies, 1))
    return "t.pdf", out + b"trailer<</Root 1 0 R/Size 6>>\n%%EOF"


_MAKERS: tuple[Maker, ...] = (_lines, _lines, _list, _csv, _parquet, _arrow, _document, _document, _archive, _pdf)
_JUNK = (
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"',
    b"{",
    b"[",
    b"}",
    b"\r",
    b"NaN",
    b"<",
    b"]]>",
    b"\x1f\x8b",
    b"PK\x03\x04",
)


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut, repeat, overwrite or interrupt the bytes; a third of all files stay whole."""
    for _ in range(chance.choice((0, 1, 3))):
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.randint(0, 200))
        data = chance.choice((
            data[:place], data[:place] + data[end:], data[:end] + data[place:],
            data[:place] + chance.choice(_JUNK) + data[place:],
            data[:place] + bytes(chance.randrange(256) for _ in range(end - place)) + data[end:],
        ))  # fmt: skip
    pack = chance.choice((None, None, None, gzip.compress, bz2.compress, _zstd))
    data = data if pack is None else pack(data)
    return data[: chance.randrange(len(data) + 1)] if pack and chance.random() < 0.2 else data


def _zstd(data: bytes) -> bytes:
    return arrow.Codec("zstd").compress(data, asbytes=True)


def _settings(chance: random.Random) -> PrepareSettings:
    read: dict[str, Any] = {"header": chance.random() < 0.9, "longest": chance.choice((1, 64))}
    read["chunk"] = {"size": chance.choice((100, 4000)), "overlap": chance.choice((0, 50))}
    read["ours"] = chance.choice(((), ("agent", "@b.c")))
    share = chance.choice((0.1, 1.0))
    return PrepareSettings.model_validate({"read": read, "most_bad_share": share})


def case(seed: str, folder: Path, outcomes: Counter[str]) -> None:
    """Make one file, read it, and check the books."""
    chance = random.Random(seed)
    name, data = chance.choice(_MAKERS)(chance)
    (folder / name).write_bytes(_damaged(data, chance))
    settings, whole = _settings(chance), chance.random() < 1 / _EVERY
    try:
        if whole:
            result = prepare(DataSettings(train=name), settings, folder=folder, store=folder / ".metier", seed=0,
                             progress=Silent())  # fmt: skip
            assert result.rows_in == sum(result.counts.values()) + sum(result.dropped.values()), "rows were lost"
            outcomes["prepared"] += 1
            return
        for file in sources(DataSettings(train=name), settings, folder=folder, store=folder / ".metier"):
            pieces = open_file(file, settings, report=lambda count: None).pieces
            items = [item for piece in pieces for item in rows_of(piece)]
            assert all(isinstance(item, Dropped) or item.row.id for item in items)
        outcomes["read"] += 1
    except DiskFullError:
        raise
    except InputError as error:
        outcomes["refused" if error.found else "FAILED"] += 1
    finally:
        (folder / name).unlink(missing_ok=True)


def _hung(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {_MOST_SECONDS} s")


def main() -> int:
    """Run cases until the time is up; return 1 when one of them failed."""
    minutes, start = float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else str(time.time_ns())
    signal.signal(signal.SIGALRM, _hung)
    outcomes, until, number, slowest = Counter[str](), time.monotonic() + 60 * minutes, 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < until:
            seed, begun = f"{start}-{number}", time.monotonic()
            signal.alarm(_MOST_SECONDS)
            faulthandler.dump_traceback_later(2 * _MOST_SECONDS, exit=True)
            try:
                case(seed, Path(place), outcomes)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["FAILED"] += 1
                print(f"{seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                print("".join(traceback.format_exception(error)[-6:])[-2500:], flush=True)
            finally:
                signal.alarm(0)
            slowest, number = max(slowest, time.monotonic() - begun), number + 1
    print(f"{number:,} files in {minutes:g} minutes: {dict(outcomes)}; the slowest took {slowest:.1f} s")
    return 1 if outcomes["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
