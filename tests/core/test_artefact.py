"""Everything durable: whole or not there, the old generation kept until the new one is whole, changes noticed."""

import json
import os
import shutil
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metier.core import artefact
from metier.core.errors import DataError, DiskFullError
from tests.core.children import die, limit_file_size, outcome

STEPS = ("write", "sync", "manifest", "rename", "after")
"""The moments inside `publish` at which a child is killed, in their order."""


def put(target: Path, text: str, **facts: object) -> None:
    with artefact.publish(target, kind="thing", facts=facts) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "inner").mkdir()
        (folder / "inner" / "b.bin").write_bytes(text.encode() * 100)


def text_of(target: Path) -> str:
    artefact.verify(target, "thing")
    return (target / "a.txt").read_text()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith((".tmp-", ".old-")))


def test_what_was_published_is_read(tmp_path):
    put(tmp_path / "deep" / "one", "hello", step=3)
    manifest = artefact.verify(tmp_path / "deep" / "one", "thing")
    assert manifest.facts == {"step": 3}
    assert set(manifest.files) == {"a.txt", "inner/b.bin"}
    assert leftovers(tmp_path / "deep") == []


def test_the_digest_is_of_the_content_alone(tmp_path):
    put(tmp_path / "one", "hello", step=3)
    put(tmp_path / "two", "hello", step=4)
    put(tmp_path / "three", "hullo", step=3)
    one, two, three = (artefact.read(tmp_path / name).digest for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_facts_may_be_filled_inside_the_block(tmp_path):
    facts: dict[str, object] = {}
    with artefact.publish(tmp_path / "one", kind="thing", facts=facts):
        facts["rows"] = 5
    assert artefact.read(tmp_path / "one").facts == {"rows": 5}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_in_the_block_leaves_what_was_there(tmp_path, error, old):
    target = tmp_path / "one"
    if old:
        put(target, old)

    def failing() -> None:
        with artefact.publish(target, kind="thing") as folder:
            (folder / "a.txt").write_text("half")
            raise error

    with pytest.raises(type(error)):
        failing()
    assert leftovers(tmp_path) == []
    assert artefact.exists(target) == bool(old)
    if old:
        assert text_of(target) == old


def publish_and_die(target: Path, moment: str) -> None:
    """Replace an artefact and be killed at a moment; runs in a child, so that what is replaced here stays there."""
    rename = os.rename

    def die_before_the_second(source: object, place: object) -> None:
        if Path(str(place)) == target:
            die()
        rename(source, place)  # type: ignore[arg-type]

    if moment == "sync":
        os.fsync = die  # type: ignore[assignment]
    elif moment == "manifest":
        Path.write_text = die  # type: ignore[assignment]
    elif moment == "rename":
        os.rename = die_before_the_second  # type: ignore[assignment]
    elif moment == "after":
        shutil.rmtree = die  # type: ignore[assignment]
    with artefact.publish(target, kind="thing") as folder:
        (folder / "a.txt").write_bytes(b"new")
        if moment == "write":
            die()


@pytest.mark.parametrize("moment", STEPS)
@pytest.mark.parametrize("old", [None, "old"])
def test_a_kill_at_any_moment_leaves_one_whole_generation(tmp_path, moment, old):
    target = tmp_path / "one"
    if old:
        put(target, old)
    expected = "killed" if old or moment != "after" else "done"
    assert outcome(lambda: publish_and_die(target, moment)) == expected
    if moment == "after":
        assert text_of(target) == "new"
    elif old:
        assert text_of(target) == "old"
    else:
        assert not artefact.exists(target)
    artefact.sweep(tmp_path)
    assert leftovers(tmp_path) == []
    put(target, "later")
    assert text_of(target) == "later"


def test_the_kill_between_the_renames_really_leaves_nothing_in_place(tmp_path):
    """The planted fault: without `recover` the old generation would be lost in the case above."""
    target = tmp_path / "one"
    put(target, "old")
    outcome(lambda: publish_and_die(target, "rename"))
    assert not target.exists()
    assert (tmp_path / ".old-one" / artefact.MANIFEST).is_file()
    artefact.sweep(tmp_path)
    assert (tmp_path / ".old-one").exists(), "what may still be needed is not swept"
    artefact.recover(target)
    assert text_of(target) == "old"


def test_what_was_removed_does_not_come_back(tmp_path):
    target = tmp_path / "one"
    put(target, "old")
    outcome(lambda: publish_and_die(target, "after"))
    assert leftovers(tmp_path) == [".old-one"]
    artefact.remove(target)
    assert not artefact.exists(target)
    assert list(tmp_path.iterdir()) == []
    artefact.remove(target)


def test_a_removal_that_died_is_invisible(tmp_path):
    target = tmp_path / "one"
    put(target, "old")

    def remove_and_die() -> None:
        shutil.rmtree = die  # type: ignore[assignment]
        artefact.remove(target)

    assert outcome(remove_and_die) == "killed"
    assert target.exists()
    assert not artefact.exists(target)


def test_sweep_takes_leftovers_and_nothing_else(tmp_path):
    put(tmp_path / "one", "kept")
    (tmp_path / ".tmp-two-1-abc").mkdir()
    (tmp_path / ".tmp-two-1-abc" / "half").write_text("x")
    (tmp_path / ".tmp-file-abc").write_text("x")
    shutil.copytree(tmp_path / "one", tmp_path / ".old-one")
    shutil.copytree(tmp_path / "one", tmp_path / ".old-three")
    (tmp_path / "notes.txt").write_text("mine")
    artefact.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".old-three", "notes.txt", "one"]
    artefact.sweep(tmp_path / "not-there")


def test_what_a_dead_writer_left_goes_with_the_next_one_and_a_living_one_keeps_its_own(tmp_path):
    target = tmp_path / "one"
    put(tmp_path / "one-2", "another")
    assert outcome(lambda: publish_and_die(target, "write")) == "killed"
    assert outcome(lambda: publish_and_die(tmp_path / "one-2", "write")) == "killed"
    before = leftovers(tmp_path)
    assert len(before) == 2
    with artefact.publish(target, kind="thing") as folder:
        (folder / "a.txt").write_text("slow")
        put(target, "fast")
        artefact.sweep(tmp_path)
        assert leftovers(tmp_path) == [folder.name], "another thing's dead writer is swept, a living one is not"
    assert text_of(target) == "slow"
    assert leftovers(tmp_path) == []


def test_what_another_thing_left_is_not_ours(tmp_path):
    put(tmp_path / "one-2", "another")
    assert outcome(lambda: publish_and_die(tmp_path / "one-2", "write")) == "killed"
    put(tmp_path / "one", "new")
    assert [name[:11] for name in leftovers(tmp_path)] == [".tmp-one-2-"]


def _writes(target: Path) -> None:
    for number in range(100):
        put(target, "last" if number == 99 else str(number))


def _reads(target: Path) -> None:
    for _ in range(2000):
        artefact.exists(target, "thing")


def test_readers_and_writers_at_once_see_one_whole_generation_or_none(tmp_path):
    """A reader that looks between a writer's two renames puts the old one back; the writer must get over it."""
    target = tmp_path / "one"
    put(target, "0")

    jobs = [get_context("fork").Process(target=job, args=(target,)) for job in (_writes, _writes, _reads, _reads)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0, 0, 0, 0]
    assert text_of(target) == "last"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["a.txt", "inner/b.bin"])
@pytest.mark.parametrize("change", ["flip", "cut", "grow", "missing"])
def test_every_change_of_a_file_is_found_and_named(tmp_path, name, change):
    put(tmp_path / "one", "hello")
    path = tmp_path / "one" / name
    data = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        flipped = bytes([data[0] ^ 1]) + data[1:]
        path.write_bytes({"flip": flipped, "cut": data[:-1], "grow": data + b"\0"}[change])
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        artefact.verify(tmp_path / "one", "thing")
    assert "run again" in caught.value.do
    assert caught.value.exit_code == 2


def test_every_flipped_bit_and_every_cut_of_a_manifest_is_found(tmp_path):
    """Either the reader refuses, or what it read is what was written (a flip in white space)."""
    target = tmp_path / "one"
    put(target, "hello", step=3, loss=0.25, name="ü")
    good = artefact.verify(target)
    path = target / artefact.MANIFEST
    data = path.read_bytes()
    damaged = [data[:length] for length in range(0, len(data) - 1, 7)]
    for place in range(len(data)):
        bit = 1 << (place % 8)
        damaged.append(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert artefact.verify(target) == good
        except DataError:
            refused += 1
    assert refused > 0.8 * len(damaged)


def test_a_changed_fact_is_found(tmp_path):
    put(tmp_path / "one", "hello", step=3)
    path = tmp_path / "one" / artefact.MANIFEST
    path.write_text(path.read_text().replace('"step": 3', '"step": 4'))
    with pytest.raises(DataError, match="changed since it was written"):
        artefact.read(tmp_path / "one")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"kind": 1, "files": []}']
)
def test_garbage_is_no_manifest(tmp_path, content):
    put(tmp_path / "one", "hello")
    (tmp_path / "one" / artefact.MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match="not a manifest"):
        artefact.verify(tmp_path / "one")
    assert not artefact.exists(tmp_path / "one")


def test_what_is_missing_or_of_another_kind_is_said(tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json.*complete thing"):
        artefact.read(tmp_path / "one", "thing")
    put(tmp_path / "one", "hello")
    with pytest.raises(DataError, match=r"a thing; wanted: a snapshot"):
        artefact.read(tmp_path / "one", "snapshot")
    assert artefact.exists(tmp_path / "one", "thing")
    assert not artefact.exists(tmp_path / "one", "snapshot")


def test_one_file_is_old_or_new_and_never_a_part(tmp_path):
    path = tmp_path / "deep" / "file.json"
    artefact.write_file(path, "old")

    def write_and_die() -> None:
        os.replace = die  # type: ignore[assignment]
        artefact.write_file(path, "new")

    assert outcome(write_and_die) == "killed"
    assert path.read_text() == "old"
    assert len(leftovers(path.parent)) == 1
    artefact.sweep(path.parent)
    artefact.write_file(path, b"new")
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]
    assert path.read_text() == "new"


def fill(target: Path, how: str, size: int) -> None:
    """Publish `size` bytes with plain writing or with safetensors, which reports a full disk in its own way."""
    with artefact.publish(target, kind="thing") as folder:
        (folder / "a.txt").write_text("new")
        if how == "bytes":
            (folder / "large").write_bytes(bytes(size))
        else:
            save_file({"x": np.zeros(size, dtype=np.uint8)}, str(folder / "large.safetensors"))


@pytest.mark.parametrize("how", ["bytes", "safetensors"])
def test_a_file_size_limit_is_told_and_loses_nothing(tmp_path, how):
    target = tmp_path / "one"
    put(target, "old")

    def work() -> None:
        limit_file_size(100_000)
        fill(target, how, 1_000_000)

    said = outcome(work)
    words = f"DiskFullError: {target}: this process may write no file larger than 100,000 bytes (more than "
    assert said.startswith(words), said
    assert "bytes needed" in said
    assert "ulimit -f" in said
    assert "nothing was lost" in said
    assert text_of(target) == "old"
    assert leftovers(tmp_path) == []
    fill(target, how, 1_000_000)
    assert text_of(target) == "new"


@pytest.mark.parametrize("how", ["bytes", "safetensors"])
def test_a_full_disk_says_path_needed_and_free_and_loses_nothing(small_disk, how):
    target = small_disk / "one"
    put(target, "old")
    with pytest.raises(DiskFullError) as caught:
        fill(target, how, 1_000_000)
    assert str(target) in caught.value.found
    assert "bytes needed" in caught.value.found
    assert "bytes free" in caught.value.found
    assert caught.value.exit_code == 3
    assert text_of(target) == "old"
    assert leftovers(small_disk) == []


def test_a_disk_without_room_for_names_reads_the_same(small_disk):
    put(small_disk / "one", "old")

    def make_many() -> None:
        with artefact.publish(small_disk / "one", kind="thing") as folder:
            for number in range(100):
                (folder / str(number)).touch()

    with pytest.raises(DiskFullError, match="no space left"):
        make_many()
    assert text_of(small_disk / "one") == "old"
    assert leftovers(small_disk) == []


def test_one_file_on_a_full_disk_keeps_its_old_content(small_disk):
    path = small_disk / "settings.json"
    artefact.write_file(path, "old")
    with pytest.raises(DiskFullError, match=r"\(1,000,000 bytes needed, [\d,]+ bytes free\)"):
        artefact.write_file(path, bytes(1_000_000))
    assert path.read_text() == "old"
    assert leftovers(small_disk) == []


def test_another_error_stays_what_it_is(tmp_path):
    """The planted fault of the translation: only a full disk is a full disk."""
    with pytest.raises(PermissionError), artefact.publish(tmp_path / "one", kind="thing"):
        raise PermissionError(13, "no")
    with pytest.raises(DataError), artefact.publish(tmp_path / "one", kind="thing"):
        raise DataError("row 3")


def test_a_manifest_of_the_first_version_is_still_read(tmp_path):
    """Artefacts written before manifests carried a seal stay readable."""
    put(tmp_path / "one", "hello", step=3)
    path = tmp_path / "one" / artefact.MANIFEST
    data = json.loads(path.read_text())
    del data["seal"]
    path.write_text(json.dumps(data))
    assert artefact.verify(tmp_path / "one", "thing").facts == {"step": 3}


@pytest.mark.parametrize("damage", [b"", b'{"a": [1', b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_named_and_whole_is_read(tmp_path, damage):
    path = tmp_path / "settings.json"
    path.write_text('{"a": [1]}')
    assert artefact.read_json(path) == {"a": [1]}
    path.write_bytes(damage)
    with pytest.raises(DataError, match=r"settings.json: damaged"):
        artefact.read_json(path)
