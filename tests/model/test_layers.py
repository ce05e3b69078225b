"""Chosen layers: by number, range, part and name; what is chosen trains, and what is not there is refused."""

import pytest
from pydantic import ValidationError

from metier.core.errors import SettingsError
from metier.model.settings import ModelSettings
from tests.model.bases import found, write_base
from tests.model.ways import fresh


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("deep") / "base", num_hidden_layers=6)


def trained(base, layers) -> set[str]:
    model = fresh(base, {"method": "layers", "layers": layers})
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def numbers(names: set[str]) -> set[int]:
    return {int(name.split(".")[2]) for name in names if ".layers." in name}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (3, {3}),
        ("3", {3}),
        ("2-4", {2, 3, 4}),
        ("4-4", {4}),
        ("top-1", {5}),
        ("top-4", {2, 3, 4, 5}),
        ("top-half", {3, 4, 5}),
        ("top-third", {4, 5}),
        ([0, "3-4"], {0, 3, 4}),
        (("top-1", 0, 0), {0, 5}),
    ],
)
def test_places_choose_whole_layers_and_the_final_norm(deep, layers, expected):
    names = trained(deep, layers)
    assert numbers(names) == expected
    assert names - {name for name in names if ".layers." in name} == {"model.norm.weight"}
    assert len(names) == 9 * len(expected) + 1


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("*.mlp", {f"model.layers.{n}.mlp.{part}_proj.weight" for n in range(6) for part in ("gate", "up", "down")}),
        ("*.mlp.up_proj*", {f"model.layers.{n}.mlp.up_proj.weight" for n in range(6)}),
        ("model.layers.[01].self_attn.q_proj", {f"model.layers.{n}.self_attn.q_proj.weight" for n in (0, 1)}),
        ("model.norm", {"model.norm.weight"}),
        (["model.norm", "*.0.input_layernorm.weight"], {"model.norm.weight", "model.layers.0.input_layernorm.weight"}),
        (["*embed_tokens*", "lm_head*"], {"model.embed_tokens.weight"}),
    ],
)
def test_patterns_choose_weights_and_modules_by_name_and_nothing_else(deep, layers, expected):
    assert trained(deep, layers) == expected


def test_a_list_may_hold_both(deep):
    names = trained(deep, [5, "*.0.mlp"])
    assert numbers(names) == {0, 5}
    assert "model.norm.weight" in names
    assert not any("layers.0.self_attn" in name for name in names)


@pytest.mark.parametrize("layers", [6, "6", "4-6", "4-99999999999", "top-7", [0, 9], []])
def test_places_that_are_not_there_are_refused(deep, layers):
    with pytest.raises(SettingsError, match=r"model\.layers: .*layer numbers from 0 to 5"):
        trained(deep, layers)


def test_a_range_the_wrong_way_round_is_refused_with_the_right_one(deep):
    with pytest.raises(SettingsError, match=r"model\.layers: '4-2'; wanted: '2-4'"):
        trained(deep, "4-2")


def test_a_name_that_is_not_there_is_refused_with_names_that_are(deep):
    with pytest.raises(SettingsError, match=r"'top-thrid' names no weight and no module.*model\.embed_tokens\.weight"):
        trained(deep, "top-thrid")


@pytest.mark.parametrize("layers", ["lm_head", "*embed_tokens*"])
def test_one_of_two_names_of_shared_weights_is_refused(tiny_base, layers):
    with pytest.raises(SettingsError, match=r"shares its weights with .*both or neither"):
        trained(found(tiny_base), layers)


def test_an_untied_head_trains_alone(tmp_path):
    base = write_base(tmp_path / "base", tie_word_embeddings=False)
    assert trained(base, "lm_head") == {"lm_head.weight"}


@pytest.mark.parametrize("layers", [1.5, {"a": 1}, None])
def test_other_kinds_of_values_are_refused(layers):
    with pytest.raises(ValidationError):
        ModelSettings.model_validate({"layers": layers})
