"""Answers that have been paid, one file each: a run that was killed asks only for what is missing."""

import json
from pathlib import Path

from metier.core import artefact, digest
from metier.prepare.synthesise.settings import TeacherSettings
from metier.prepare.synthesise.teacher import Ask, Reply


class Journal:
    """Files of answers under the digest of what was asked; only ever added to.

    Args:
        folder: where they are kept.
        teacher: its model and its way of sampling are part of what was asked; its address and key are not.
    """

    def __init__(self, folder: Path, teacher: TeacherSettings) -> None:
        self._folder = folder
        self._asked = [teacher.model, teacher.temperature, teacher.max_tokens]

    def find(self, ask: Ask) -> Reply | None:
        """Return the answer that was paid before, if there is one."""
        path = self._path(ask)
        if not path.is_file():
            return None
        data = artefact.read_json(path)
        return Reply(data["text"], data["finish"], data["tokens_in"], data["tokens_out"])

    def keep(self, ask: Ask, reply: Reply) -> None:
        """Write an answer down, whole, before anything is made of it."""
        data = {"name": ask.name, "sample": ask.sample, **reply._asdict()}
        artefact.write_file(self._path(ask), json.dumps(data, ensure_ascii=False) + "\n")

    def _path(self, ask: Ask) -> Path:
        name = digest.of_value([*self._asked, ask.prompt, ask.sample, ask.judging])[:32]
        return self._folder / name[:2] / f"{name}.json"
