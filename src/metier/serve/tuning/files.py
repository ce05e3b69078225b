"""Files that people upload: kept in the database under names of our own, so that none of theirs is ever a path."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from metier.serve.keys import Caller
from metier.serve.refusal import Refusal
from metier.serve.tables import FILES, PARTS, UPLOADS

PURPOSES = ("fine-tune", "fine-tune-results")
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is wanted: what comes after an id, and how much."""

    after: str | None = None
    limit: int = 20


class Files:
    """The files of a project; each caller sees its own, an admin all."""

    def __init__(self, database: sql.Engine) -> None:
        self._database = database

    def add(self, caller: Caller, *, filename: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keep a file and return it as the API writes it.

        Raises:
            Refusal: a purpose that is not served.
        """
        if purpose not in PURPOSES:
            raise Refusal(400, f"purpose {purpose[:40]!r}; wanted: 'fine-tune'", param="purpose")
        if not content:
            raise Refusal(400, "file: empty; wanted: JSON Lines", param="file")
        id = f"file-{secrets.token_hex(12)}"
        values = {
            "id": id, "created": int(time.time()), "filename": filename[:256], "purpose": purpose,
            "bytes": len(content), "owner": caller.owner, "content": content,
        }  # fmt: skip
        with self._database.begin() as connection:
            connection.execute(FILES.insert().values(**values))
        return self.get(caller, id)

    def get(self, caller: Caller, id: str) -> dict[str, Any]:
        """Return a file as the API writes it.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        return _file(self._row(caller, id))

    def content(self, caller: Caller, id: str) -> bytes:
        """Return what is in a file; raises as `get` does."""
        return self._row(caller, id).content

    def listed(self, caller: Caller, page: Page, purpose: str | None, *, oldest: bool = False) -> dict[str, Any]:
        """Return a page of the caller's files, the newest first or the `oldest`."""
        wanted = sql.select(FILES).order_by(FILES.c.created.desc(), FILES.c.id)
        if not caller.may("admin"):
            wanted = wanted.where(FILES.c.owner == caller.owner)
        if purpose is not None:
            wanted = wanted.where(FILES.c.purpose == purpose)
        with self._database.connect() as connection:
            rows = connection.execute(wanted).all()
        return paged([_file(row) for row in (rows[::-1] if oldest else rows)], page)

    def remove(self, caller: Caller, id: str) -> dict[str, Any]:
        """Delete a file; raises as `get` does."""
        self._row(caller, id)
        with self._database.begin() as connection:
            connection.execute(FILES.delete().where(FILES.c.id == id))
        return {"id": id, "object": "file", "deleted": True}

    def begin(self, caller: Caller, values: dict[str, Any]) -> dict[str, Any]:
        """Begin an upload in parts."""
        if values["purpose"] not in PURPOSES:
            raise Refusal(400, f"purpose {values['purpose']!r}; wanted: 'fine-tune'", param="purpose")
        id = f"upload-{secrets.token_hex(12)}"
        kept = {name: values[name] for name in ("filename", "purpose", "bytes")}
        kept |= {"id": id, "created": int(time.time()), "owner": caller.owner, "status": "pending", "file": None}
        with self._database.begin() as connection:
            connection.execute(UPLOADS.insert().values(**kept))
        return self.upload(caller, id)

    def upload(self, caller: Caller, id: str) -> dict[str, Any]:
        """Return an upload as the API writes it."""
        row = self._upload(caller, id)
        file = self.get(caller, row.file) if row.file else None
        return {
            "id": row.id, "object": "upload", "bytes": row.bytes, "created_at": row.created, "filename": row.filename,
            "purpose": row.purpose, "status": row.status, "expires_at": row.created + _HOUR, "file": file,
        }  # fmt: skip

    def part(self, caller: Caller, id: str, content: bytes) -> dict[str, Any]:
        """Keep a part of an upload."""
        self._pending(caller, id)
        part = f"part-{secrets.token_hex(12)}"
        created = int(time.time())
        with self._database.begin() as connection:
            connection.execute(PARTS.insert().values(id=part, upload=id, created=created, content=content))
        return {"id": part, "object": "upload.part", "created_at": created, "upload_id": id}

    def complete(self, caller: Caller, id: str, part_ids: list[str], md5: str | None = None) -> dict[str, Any]:
        """Join the parts of an upload to a file.

        Raises:
            Refusal: a part is missing, or they are not as long as was said, or not of the MD5 that was said.
        """
        row = self._pending(caller, id)
        with self._database.connect() as connection:
            rows = connection.execute(sql.select(PARTS).where(PARTS.c.upload == id)).all()
        parts = {part.id: part.content for part in rows}
        if any(part not in parts for part in part_ids):
            raise Refusal(400, "part_ids: a part that was not uploaded", param="part_ids")
        content = b"".join(parts[part] for part in part_ids)
        if len(content) != row.bytes:
            raise Refusal(400, f"{len(content)} bytes came; wanted: {row.bytes}, as was said", param="bytes")
        if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.lower():
            raise Refusal(400, "md5: not that of what came; upload it again", param="md5")
        file = self.add(caller, filename=row.filename, purpose=row.purpose, content=content)
        self._close(id, "completed", file["id"])
        return self.upload(caller, id)

    def cancel(self, caller: Caller, id: str) -> dict[str, Any]:
        """Give an upload up."""
        self._pending(caller, id)
        self._close(id, "cancelled", None)
        return self.upload(caller, id)

    def _close(self, id: str, status: str, file: str | None) -> None:
        with self._database.begin() as connection:
            connection.execute(UPLOADS.update().where(UPLOADS.c.id == id).values(status=status, file=file))
            connection.execute(PARTS.delete().where(PARTS.c.upload == id))

    def _pending(self, caller: Caller, id: str) -> Any:
        row = self._upload(caller, id)
        if row.status != "pending":
            raise Refusal(400, f"upload {id}: is {row.status}", param="upload_id")
        return row

    def _upload(self, caller: Caller, id: str) -> Any:
        return self._owned(UPLOADS, caller, id)

    def _row(self, caller: Caller, id: str) -> Any:
        return self._owned(FILES, caller, id)

    def _owned(self, table: sql.Table, caller: Caller, id: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(sql.select(table).where(table.c.id == id)).first()
        if row is None or not (row.owner == caller.owner or caller.may("admin")):
            raise Refusal(404, f"{table.name}: no {id[:80]!r}", param="id", code="not_found")
        return row


def paged(items: list[dict[str, Any]], page: Page) -> dict[str, Any]:
    """Return a page of a list as the API writes it.

    Raises:
        Refusal: `after` names nothing.
    """
    start = 0
    if page.after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == page.after]
        if not places:
            raise Refusal(400, f"after: no {page.after[:80]!r}", param="after")
        start = places[0] + 1
    chosen = items[start : start + page.limit]
    ends = {"first_id": chosen[0]["id"], "last_id": chosen[-1]["id"]} if chosen else {"first_id": None, "last_id": None}
    return {"object": "list", "data": chosen, "has_more": start + page.limit < len(items)} | ends


def _file(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "object": "file", "bytes": row.bytes, "created_at": row.created, "filename": row.filename,
        "purpose": row.purpose, "status": "processed",
    }  # fmt: skip
