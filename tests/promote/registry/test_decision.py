"""Whether a run may become a version: gate, parity, licences, each with a fault that it must catch."""

import json
from pathlib import Path
from typing import Any

import pytest

from metier.core import artefact
from metier.core.errors import GateError, InputError
from metier.promote.registry import licences
from metier.promote.registry.decision import Condition, decide, require_current
from metier.promote.registry.settings import RegistrySettings
from tests.promote.registry.workshop import evaluation_of, make_run

HOLDS = Condition(name="better", holds=True, told="accuracy better")
FREE = licences.join(base="apache-2.0", data="own", model=None, use="internal")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / ".metier")


def break_parity(run: Path) -> None:
    content = json.loads((run / "parity" / "parity.json").read_text())
    content["hops"][1] |= {"ok": False, "detail": "a stop token is missing"}
    with artefact.publish(run / "parity", kind="parity") as folder:
        (folder / "parity.json").write_text(json.dumps(content))


def test_what_holds_is_promoted(run: Path) -> None:
    decision = decide(run, [HOLDS], FREE, None)
    assert decision.as_dict()["answer"] == "yes"
    assert decide(run, [HOLDS], FREE, "to be safe").despite == ""


def test_a_closed_gate_keeps_it_out_unless_somebody_says_why(run: Path) -> None:
    closed = Condition(name="better", holds=False, told="accuracy cannot tell")
    with pytest.raises(GateError, match="not promoted: better: accuracy cannot tell") as caught:
        decide(run, [closed], FREE, None)
    assert caught.value.exit_code == 1
    decision = decide(run, [closed], FREE, "a demonstration")
    assert (decision.as_dict()["answer"], decision.despite) == ("no", "a demonstration")


def test_broken_parity_keeps_it_out(run: Path) -> None:
    break_parity(run)
    with pytest.raises(GateError, match="parity: Broken at hop 'saved': a stop token is missing"):
        decide(run, [HOLDS], FREE, None)


def test_another_model_than_was_evaluated_or_proven_is_refused(run: Path) -> None:
    model = artefact.read(run / "model").digest
    require_current(run, evaluation_of(model))
    with pytest.raises(InputError, match="another model was evaluated"):
        require_current(run, evaluation_of("0" * 64))
    other = make_run(run.parent.parent, "run-2", weights=b"two")
    with artefact.publish(run / "parity", kind="parity") as folder:
        (folder / "parity.json").write_bytes((other / "parity" / "parity.json").read_bytes())
    with pytest.raises(InputError, match="another model was proven"):
        require_current(run, evaluation_of(model))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_licence": "cc-by-nc-4.0", "use": "commercial"}, r"base \(cc-by-nc-4.0\) forbids commercial use"),
        ({"data_licence": "cc-by-nc-sa-4.0", "use": "commercial"}, "data .* forbids commercial use"),
        ({"base_licence": "unheard-of", "use": "public"}, "base .* is not known"),
        ({"use": "public"}, r"data \(unknown\) asks is not known"),
        ({"data_licence": "cc-by-nd-4.0", "use": "public"}, "lets no changed copy be given on"),
        ({"base_licence": "cc-by-sa-4.0", "licence": "mit"}, "base is under cc-by-sa-4.0, which the model must keep"),
    ],
)
def test_licences_that_forbid_it_keep_it_out(settings: dict[str, Any], words: str, run: Path) -> None:
    wanted = RegistrySettings.model_validate({"base_licence": "mit"} | settings)
    terms = licences.join(
        base=wanted.base_licence or "unknown", data=wanted.data_licence or "unknown", model=wanted.licence,
        use=wanted.use,
    )  # fmt: skip
    with pytest.raises(GateError, match=words):
        decide(run, [HOLDS], terms, None)


@pytest.mark.parametrize(
    ("base", "data", "use"),
    [("mit", "unknown", "internal"), ("cc-by-nc-4.0", "own", "internal"), ("llama3.1", "own", "commercial"),
     ("apache-2.0", "cc-by-sa-4.0", "public")],
)  # fmt: skip
def test_licences_that_allow_it_say_what_they_ask(base: str, data: str, use: licences.Use) -> None:
    terms = licences.join(base=base, data=data, model=None, use=use)
    assert terms.against == ()
    assert terms.asks
    assert terms.model == base


def test_a_llama_must_be_called_so() -> None:
    asks = " ".join(licences.join(base="llama3.2", data="own", model=None, use="internal").asks)
    assert "begin the model's name with 'Llama'" in asks
    assert "Built with Llama" in asks


def test_the_licence_of_a_base_is_read_from_its_card(tmp_path: Path) -> None:
    assert licences.of_base(tmp_path) == "unknown"
    for text, found in (
        ("---\nlicense: Apache-2.0\n---\n# A model\n", "apache-2.0"), ("# no metadata\n", "unknown"),
        ("---\nlicense: [a, b]\n---\n", "unknown"), ("---\n: {\n---\n", "unknown"), ("---\n- a\n---\n", "unknown"),
    ):  # fmt: skip
        (tmp_path / "README.md").write_text(text)
        assert licences.of_base(tmp_path) == found
