"""The speed of this machine: measured once, kept, and never believed when it cannot be right."""

import json

import pytest
import torch

from metier.model.arithmetic import Rates, cache_folder, float32_means_float32, rates


def test_measured_once_and_then_read(tmp_path):
    first = rates(tmp_path)
    (path,) = tmp_path.iterdir()
    assert min(first.float32, first.bfloat16, first.int8) > 0
    assert rates(tmp_path) == first
    path.write_text(json.dumps(json.loads(path.read_text()) | {"int8": first.int8 + 1}))
    assert rates(tmp_path).int8 == first.int8 + 1, "the file is what counts"


def test_another_number_of_threads_is_another_machine(tmp_path):
    before = torch.get_num_threads()
    rates(tmp_path)
    try:
        torch.set_num_threads(before + 1)
        rates(tmp_path)
    finally:
        torch.set_num_threads(before)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"float32": 0, "bfloat16": 1, "int8": 1}', '{"float32": NaN}'])
def test_damaged_figures_are_measured_again(tmp_path, damage):
    rates(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(damage)
    assert rates(tmp_path).float32 > 0
    assert json.loads(path.read_text())["float32"] > 0


def test_a_home_that_cannot_be_written_is_no_fault(tmp_path):
    (tmp_path / "file").write_text("")
    assert rates(tmp_path / "file" / "below").float32 > 0


def test_the_figures_stand_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "metier"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "metier"


def test_gain_is_against_float32():
    assert Rates(float32=100, bfloat16=25, int8=400).gain("bfloat16") == 0.25


def test_tf32_is_off_whatever_was_set_before():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        float32_means_float32()
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)
