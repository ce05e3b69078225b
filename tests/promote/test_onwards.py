"""The hops behind the merged model: fewer bits, llama.cpp, our own server; and their planted faults."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.core import artefact
from metier.core.errors import ParityError
from metier.core.progress import Silent
from metier.model.find import Base
from metier.model.load import load_tuned
from metier.model.merge import merge
from metier.model.quantise.freeze import dequantise
from metier.promote import onwards, parity
from metier.promote.far.answers import coarse
from metier.promote.far.own import Own
from metier.promote.settings import PromoteSettings
from tests.promote.conftest import Trained, train

needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="pip install 'metier[qlora]'")


def prove(trained: Trained, **settings: Any) -> list[dict[str, Any]]:
    chosen = PromoteSettings.model_validate(settings)
    parity.prove(trained.run, trained.base, settings=chosen, progress=Silent())
    return json.loads((trained.run / "parity" / "parity.json").read_text())["hops"]


def test_fewer_bits_are_hops_of_their_own(lora: Trained) -> None:
    hops = prove(lora, quantised=["int8", "gguf"], gguf="f32")
    assert [hop["name"] for hop in hops][3:] == ["merged", "quantised int8", "gguf f32"]
    merged, eight, llama = hops[3:]
    assert merged["mean_kl"] < 1e-9 < llama["mean_kl"] < 1e-3
    assert 1e-6 < eight["mean_kl"] < 0.02
    assert llama["stops"] is not None


@needs_bitsandbytes
def test_four_bits_are_a_hop_with_limits_of_their_own(lora: Trained) -> None:
    wide = {"least_agreement": 0.0}  # a small random model's words are all about as likely
    eight, four = prove(lora, quantised=["int8", "nf4"], rounded=wide)[4:]
    assert four["name"] == "quantised nf4"
    assert eight["mean_kl"] < four["mean_kl"] < 0.2
    with pytest.raises(ParityError, match=r"quantised nf4.*mean KL"):
        prove(lora, quantised=["nf4"], rounded=wide | {"mean_kl": eight["mean_kl"]})


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"largest_kl": 1e-6}, "largest KL"), ({"mean_kl": 1e-7}, "mean KL"), ({"least_agreement": 1.0}, "same next")],
)
def test_every_limit_of_rounding_changes_the_answer(lora: Trained, limit: dict[str, float], words: str) -> None:
    wide = {"largest_kl": 50.0, "mean_kl": 50.0, "least_agreement": 0.0}
    prove(lora, quantised=["int8"], rounded=wide)
    if "least_agreement" in limit and prove(lora, quantised=["int8"], rounded=wide)[-1]["greedy_agreement"] == 1.0:
        pytest.skip("these weights agree in every label in eight bits")
    with pytest.raises(ParityError, match=r"quantised int8.*" + words):
        prove(lora, quantised=["int8"], rounded=wide | limit)


def test_a_model_that_was_not_merged_cannot_be_quantised(lora: Trained) -> None:
    with pytest.raises(ParityError, match=r"promote\.merge true"):
        prove(lora, quantised=["int8"], merge=False)


def test_the_target_says_which_hops_follow() -> None:
    settings = PromoteSettings()
    assert settings.towards(None).quantised == ()
    assert settings.towards("llama.cpp").quantised == ("gguf",)
    assert settings.towards("metier").served is True
    assert settings.towards("vllm").served is False
    assert PromoteSettings(served=False).towards("metier").served is False


@pytest.mark.parametrize(
    "kind",
    ["int8", pytest.param("nf4", marks=needs_bitsandbytes), pytest.param("nf4-double", marks=needs_bitsandbytes)],
)
def test_what_was_trained_beside_few_bits_is_merged_into_both_bases_and_the_closer_kept(
    tmp_path: Path, tiny_base: Path, kind: str
) -> None:
    trained = train(tmp_path, tiny_base, "lora", quantise=kind)
    hop = prove(trained)[3]
    assert "into the original base" in hop["detail"]
    assert f"into the base as it was in {kind}" in hop["detail"]
    kept = f"the base in {kind}" if f"kept: the base in {kind}" in hop["detail"] else "the original base"
    assert hop["detail"].endswith(f"kept: {kept}")
    assert not (trained.run / "merged-dequantised").exists()
    artefact.verify(trained.run / "merged", "model")
    figures = [float(figure) for figure in re.findall(r"\d\.\d\de-\d\d", hop["detail"].partition("mean KL")[2])]
    assert hop["mean_kl"] == pytest.approx(min(figures), rel=0.01)


def test_a_base_written_out_again_counts_as_the_quantised_one_did(tmp_path: Path, tiny_base: Path) -> None:
    trained = train(tmp_path, tiny_base, "lora", quantise="int8")
    rounded = load_tuned(trained.base, trained.run / "model", device=torch.device("cpu"))
    weights = {name: layer.weight.clone() for name, layer in rounded.named_modules() if hasattr(layer, "codes")}
    assert weights
    dequantise(rounded)
    plain = dict(rounded.named_parameters())
    assert all(torch.equal(plain[f"{name}.weight"], weight) for name, weight in weights.items())
    exact = merge(trained.base, trained.run / "model", tmp_path / "exact")
    seen = merge(trained.base, trained.run / "model", tmp_path / "seen", dequantised=True)
    assert artefact.read(exact).digest != artefact.read(seen).digest


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(lora: Trained) -> Trained:
    """The LoRA run with what a server reads of a run."""
    facts = json.loads((lora.run / "settings.json").read_text())
    base = {"name": lora.base.name, "kind": "folder", "folder": str(lora.base.folder), "digest": lora.base.digest}
    (lora.run / "settings.json").write_text(json.dumps(facts | {"base": base}))
    (lora.run / "summary.json").write_text("{}")
    return lora


def test_what_our_server_answers_is_what_was_trained(served: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    tight = {"largest_kl": 1e-3}  # of our own server in float32 no more than this is to be expected
    hop = prove(served, served=True, rounded=tight)[-1]
    assert hop["name"] == "served"
    assert hop["mean_kl"] < 1e-5
    assert hop["greedy_agreement"] == 1
    honest = onwards.serving_own

    @contextmanager
    def forgetful(run: Path, base: Base) -> Iterator[Own]:
        """The planted fault: the name leads to the base, as where an adapter was not loaded."""
        with honest(run, base) as far:
            far._model = str(base.folder)
            yield far

    monkeypatch.setattr(onwards, "serving_own", forgetful)
    with pytest.raises(ParityError, match=r"hop 'served': largest KL"):
        prove(served, served=True, rounded=tight)


def test_a_server_that_does_not_know_the_run_breaks_its_hop(served: Trained) -> None:
    (served.run / "summary.json").unlink()
    with pytest.raises(ParityError, match=r"hop 'served': .*404"):
        prove(served, served=True)


def test_a_divergence_over_the_told_tokens_is_never_larger_than_the_whole() -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(50):
        p, q = (torch.randn(40, generator=random, dtype=torch.float64).mul(2).log_softmax(-1) for _ in range(2))
        whole = (p.exp() * (p - q)).sum().item()
        told = q.topk(10).indices.tolist()
        assert 0 <= coarse(p, {token: q[token].item() for token in told}) <= whole + 1e-9
        assert coarse(p, {token: q[token].item() for token in range(40)}) == pytest.approx(whole, rel=1e-4)
        assert coarse(p, {token: p[token].item() for token in told}) < 1e-9
    assert coarse(p, {0: float("nan")}) == float("inf")
