"""Versions are served by number and alias; what is not as it was signed is refused."""

from pathlib import Path

import pytest

from metier.core.errors import SignatureError
from metier.model.find import Base
from metier.promote.registry import make
from metier.serve import catalogue as served_models
from metier.serve.catalogue import Catalogue
from metier.serve.refusal import of_error
from metier.text.settings import TextSettings
from tests.promote.registry.workshop import make_run, promote


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    monkeypatch.setattr(served_models, "_REMEMBERED_SECONDS", 0.0)
    return tmp_path / ".metier"


@pytest.fixture
def catalogue(store: Path, tmp_path: Path) -> Catalogue:
    base = Base(name="small", folder=tmp_path, kind="folder", digest="b" * 64)
    return Catalogue(tmp_path, store, base, text=TextSettings(), mixable=lambda folder: True)


def test_an_alias_is_what_it_means_now(catalogue: Catalogue, store: Path) -> None:
    assert catalogue.find("support@production") is None
    first = promote(store, make_run(store))
    second = promote(store, make_run(store, "run-2", weights=b"two"))
    served = catalogue.find("support@production")
    assert served is not None
    assert (served.name, served.folder, served.kind) == ("support@production", second.path / "model", "adapter")
    make.back("support", "production", store)
    served, named = catalogue.find("support@production"), catalogue.find("support@1")
    assert served is not None
    assert named is not None
    assert served.folder == named.folder == first.path / "model"
    names = [model.name for model in catalogue.all()]
    assert names == ["small", "support@production", "support@1", "support@2", "run-1", "run-2"]


@pytest.mark.parametrize("name", ["support@9", "support@", "../x@1", "support@nobody", "@", "a@b@c"])
def test_what_is_no_version_is_not_there(name: str, catalogue: Catalogue, store: Path) -> None:
    promote(store, make_run(store))
    assert catalogue.find(name) is None


def test_a_byte_that_changes_while_it_is_served_is_refused(catalogue: Catalogue, store: Path) -> None:
    version = promote(store, make_run(store))
    assert catalogue.find("support@1") is not None
    weights = version.path / "model" / "adapter_model.safetensors"
    weights.write_bytes(b"two" * 50)
    for _ in range(2):
        with pytest.raises(SignatureError, match=r"support@1: .*adapter_model\.safetensors"):
            catalogue.find("support@1")
    assert "support@1" not in [model.name for model in catalogue.all()]
    assert of_error(SignatureError("support@1: changed")).status == 409
