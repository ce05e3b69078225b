"""Room on a device: asked for before, and told as what it is when it is missing: space, quota, or a limit on files."""

import errno
import os
import resource
from pathlib import Path

import pytest

from metier.core import room
from metier.core.errors import DataError, DiskFullError
from tests.core.children import limit_file_size, outcome


def test_room_is_asked_for_before_work_is_spent(tmp_path: Path) -> None:
    room.require(tmp_path / "not" / "yet", 1)
    with pytest.raises(DiskFullError, match=r"not/yet: no space left \(1,0{3}(,0{3}){5} bytes needed"):
        room.require(tmp_path / "not" / "yet", 10**18)


@pytest.mark.parametrize(
    ("code", "found", "do"),
    [
        (errno.ENOSPC, r"file: no space left \(7 bytes needed, [\d,]+ bytes free\)", "free some space"),
        (errno.EDQUOT, r"file: the disk quota is used up \(7 bytes needed\)", "free some space"),
        (errno.EFBIG, r"file: larger than the file system takes a file to be \(7 bytes needed\)", "move the project"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, code: int, found: str, do: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with pytest.raises(DiskFullError, match=found) as caught, room.told(tmp_path / "file", lambda: "7"):
        raise OSError(code, os.strerror(code))
    assert do in caught.value.do
    assert caught.value.do.endswith("run the same command again; nothing was lost")
    assert caught.value.exit_code == 3
    with pytest.raises(DiskFullError, match="file: ") as caught, room.told(tmp_path / "file"):
        raise OSError(code, os.strerror(code))
    assert "needed" not in caught.value.found


def test_a_limit_of_this_process_is_named(tmp_path: Path) -> None:
    def work() -> None:
        limit_file_size(1000)
        with room.told(tmp_path / "file"):
            (tmp_path / "file").write_bytes(bytes(2000))

    said = outcome(work)
    assert "file: this process may write no file larger than 1,000 bytes; wanted: a higher limit" in said
    assert "no space left" not in said


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    """The planted fault: only room that is missing is room that is missing."""
    with pytest.raises(PermissionError), room.told(tmp_path):
        raise PermissionError(13, "no")
    with pytest.raises(DataError), room.told(tmp_path):
        raise DataError("row 3")
    assert room.missing(ValueError("os error 28")) is None
