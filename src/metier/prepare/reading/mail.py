"""Reads mails: one message a .eml file, many an mbox; a thread is a group."""

import email
import email.policy
import json
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage, MIMEPart
from email.utils import parseaddr

from metier.prepare.reading.part import Part
from metier.prepare.reading.record import Record, unusable
from metier.prepare.reading.stream import open_bytes
from metier.prepare.reading.web import text_of

_QUOTED = re.compile(r"^(?:>.*|On .{5,200} wrote:|-+ ?Original Message ?-+.*|_{10,})$", re.MULTILINE)
_PREFIX = re.compile(r"^\s*(?:(?:re|fwd?|aw|wg|sv|tr)\s*(?:\[\d+\])?:\s*)+", re.IGNORECASE)


def mail(part: Part, report: Callable[[int], None], *, longest: int, speakers: bool) -> Iterator[Record]:
    """Yield a record for each message: text (quotes of earlier mails cut off), subject, from, to, date, thread.

    Args:
        part: the file.
        report: called with the number of bytes read.
        longest: most bytes of one message; attachments count.
        speakers: call the sender `speaker`, so that threads are put together as conversations.
    """
    with open_bytes(part, report) as stream:
        for number, data in enumerate(_messages(stream, longest), 1):
            if data is None:
                yield unusable(number, "a message that is too long", f"more than {longest:,} bytes")
                continue
            value = _value(data, speakers=speakers)
            yield (
                Record(number, json.dumps(value, ensure_ascii=False), value)
                if value
                else unusable(number, "a message without text, or in no known encoding")
            )


def _messages(stream: Iterator[bytes], longest: int) -> Iterator[bytes | None]:
    """Split an mbox at its From lines; a file without one is one message. None: longer than may be."""
    held: list[bytes] = []
    size, empty_before, begun = 0, True, False
    for line in stream:
        if line.startswith(b"From ") and empty_before:
            if begun:
                yield b"".join(held) if size <= longest else None
            held, size, begun = [], 0, True
            continue
        size += len(line)
        if size <= longest:
            held.append(line[1:] if line.startswith(b">From ") else line)
        else:
            held.clear()
        empty_before, begun = not line.strip(), begun or bool(line.strip())
    if begun:
        yield b"".join(held) if size <= longest else None


def _value(data: bytes, *, speakers: bool) -> dict[str, str] | None:
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        said = _said(message)
        headers = {name: _header(message, name) for name in ("Subject", "From", "To", "Date", "X-Gmail-Labels")}
        thread = _thread(message)
    except (LookupError, ValueError, AttributeError, TypeError, IndexError):  # what broken mails make of the parser
        return None
    if not said:
        return None
    value = {
        "text": said,
        "subject": headers["Subject"],
        "to": headers["To"],
        "date": headers["Date"],
        "thread": thread,
    }
    value["speaker" if speakers else "mail_from"] = parseaddr(headers["From"])[1] or headers["From"]
    labels = headers["X-Gmail-Labels"]
    return value | ({} if speakers else {"group": thread}) | ({"label": labels} if labels else {})


def _header(message: EmailMessage, name: str) -> str:
    return str(message.get(name, "")).strip()


def _said(message: EmailMessage) -> str:
    """Return the text of a message without what it quotes; the plain one, or that of its HTML where it says nothing."""
    bodies = (message.get_body(preferencelist=(kind,)) for kind in ("plain", "html"))
    text = next((text for body in bodies if body is not None and (text := _shown(body)).strip()), "")
    text = text.replace("\r\n", "\n")
    quoted = _QUOTED.search(text)
    own = text[: quoted.start()] if quoted and text[: quoted.start()].strip() else text
    return own.encode("utf-8", "replace").decode().strip()


def _shown(body: MIMEPart) -> str:
    try:
        content = body.get_content()
    except LookupError:  # a charset that nobody knows; what is valid UTF-8 is nothing else
        content = payload.decode() if isinstance(payload := body.get_payload(decode=True), bytes) else ""
    text = content if isinstance(content, str) else ""
    return text_of(text) if body.get_content_type() == "text/html" else text


def _thread(message: EmailMessage) -> str:
    """Return what all mails of a thread share: the first reference, or the subject without its Re:."""
    references = str(message.get("References", "") or message.get("In-Reply-To", "")).split()
    first = references[0] if references else str(message.get("Message-ID", "")).strip()
    return first or _PREFIX.sub("", str(message.get("Subject", ""))).strip()
