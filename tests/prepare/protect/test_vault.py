"""The key and the encrypted map: a lost or wrong key opens nothing, and the way back leads back."""

import pytest

from metier.core.errors import DataError, SettingsError
from metier.prepare.protect.vault import ENVIRONMENT, new_key, read_key, read_map, write_map
from tests.prepare.protect.samples import KEY


def test_a_key_comes_from_a_file_or_from_the_environment(tmp_path):
    new_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    from_file = read_key("key", tmp_path)
    from_environment = read_key(None, tmp_path, {ENVIRONMENT: (tmp_path / "key").read_text()})
    assert from_file == from_environment
    assert len({from_file.naming, from_file.sealing}) == 2


@pytest.mark.parametrize("text", ["", "short", "c2hvcnQ=", "not base64 at all, whatever its length may be, or is it"])
def test_a_missing_or_weak_key_is_refused(tmp_path, text):
    with pytest.raises(SettingsError, match="metier protect --new-key"):
        read_key(None, tmp_path, {ENVIRONMENT: text})
    with pytest.raises(SettingsError, match="no such file"):
        read_key("absent", tmp_path)


def test_a_key_in_use_is_not_overwritten(tmp_path):
    new_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(DataError, match="exists"):
        new_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_a_map_opens_with_its_key_alone(tmp_path):
    key, other = (read_key(None, tmp_path, {ENVIRONMENT: text}) for text in (KEY, KEY.replace("Y", "Z")))
    path = tmp_path / "one.map"
    assert read_map(path, key) == {}
    write_map(path, key, {"Belo": "Maria"})
    assert b"Maria" not in path.read_bytes()
    assert read_map(path, key) == {"Belo": "Maria"}
    with pytest.raises(DataError, match="does not open"):
        read_map(path, other)
    changed = bytearray(path.read_bytes())
    changed[20] ^= 1
    path.write_bytes(changed)
    with pytest.raises(DataError, match="does not open"):
        read_map(path, key)
