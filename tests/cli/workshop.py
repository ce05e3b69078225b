"""A project small enough to go the whole way in seconds: a real tiny base and forty conversations."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from metier.core.progress import Silent
from metier.flow import Outcome, run
from metier.project import Place, load
from tests.conftest import write_chats

SETTINGS = """\
base: {base}
data: {{train: chats.jsonl}}
prepare: {{test_share: 0.25}}
train: {{max_steps: 6, rows_per_step: 8, learning_rate: 0.01, checks: 2, threads: 1}}
evaluate: {{max_new_tokens: 4, resampling: {{samples: 100}}, retention: false, worst: 3}}
"""


def make_project(folder: Path, base: Path, *, rows: int = 40) -> Path:
    """Write metier.yaml and data into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metier.yaml").write_text(SETTINGS.format(base=base))
    write_chats(folder / "chats.jsonl", rows)
    return folder


class Listener:
    """Remembers the lines that were said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._silent = Silent()
        self.task = self._silent.task

    def say(self, text: str) -> None:
        self.said.append(text)

    def chose(self, choice) -> None:
        self.said.append(choice.name)


def opened(folder: Path, *overrides: str) -> Place:
    """Open the project in `folder`."""
    return Place(project=load(folder, overrides), folder=folder, progress=Listener())


@cache
def gone_the_whole_way(base: Path) -> tuple[Path, Outcome]:
    """Return a project that was run, made once for all test files; to harm it, copy it."""
    folder = make_project(Path(mkdtemp()) / "colours", base)
    return folder, run(opened(folder))
