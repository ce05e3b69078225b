"""Learnt tokens: every call answers as PEFT's own model does, decoding and padding included."""

import copy

import pytest
import torch
from peft import PeftModel
from transformers import DynamicCache

from metier.core.errors import ModelError, SettingsError
from metier.core.progress import Silent
from metier.engine.sample import complete
from metier.forest import score
from metier.forest.arrange import arrange
from metier.forest.grow import grow
from metier.forest.way import probe
from metier.model.load import load_base, load_tuned
from metier.model.ways.virtual import ONE_BY_ONE, Virtual, unpackable
from tests.model.bases import CPU, GPT2, adapted, found, relative, saved, write_base
from tests.model.ways import fresh
from tests.train.test_ways import rows

IDS = torch.randint(12, 100, (2, 9), generator=torch.Generator().manual_seed(5))
KINDS = ["prompt", "prefix", "p_tuning", "cartridge"]


def ahead(base, kind, **chosen):
    if kind in ("prompt", "prefix"):
        return adapted(base, kind, virtual={"tokens": 4} | chosen)
    return adapted(base, "peft", peft={"type": kind, "config": {"num_virtual_tokens": 4}})


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@torch.no_grad()
def theirs(model: Virtual, ids: torch.Tensor) -> torch.Tensor:
    """Return what PEFT itself answers about the real tokens [B, T, V]."""
    return model.peft(input_ids=ids, use_cache=False).logits[:, -ids.shape[1] :]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@torch.no_grad()
def test_every_call_answers_as_peft_does(tiny_base, tmp_path, architecture, kind):
    base = found(tiny_base) if architecture == "llama" else write_base(tmp_path / "base", GPT2)
    model = ahead(base, kind)
    expected = theirs(model, IDS)
    assert relative(load_base(base, device=CPU)(input_ids=IDS).logits, expected) > 1e-2
    assert relative(model(IDS, use_cache=False).logits, expected) < 1e-6
    keep = torch.tensor([2, 5, 8])
    assert relative(model(IDS, logits_to_keep=keep).logits, expected[:, keep]) < 1e-6
    assert relative(model(IDS, logits_to_keep=1).logits, expected[:, -1:]) < 1e-6
    places = torch.arange(9).expand(2, -1)
    mask = torch.ones_like(IDS)
    assert relative(model(IDS, position_ids=places, attention_mask=mask).logits, expected) < 1e-6


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(tiny_base, kind):
    model = ahead(found(tiny_base), kind)
    ids = torch.cat([torch.zeros(2, 5, dtype=torch.long), IDS], dim=1)
    mask = (torch.arange(14) >= 5).long().expand(2, -1)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    padded = model(ids, attention_mask=mask, position_ids=places).logits[:, 5:]
    assert relative(padded, theirs(model, IDS)) < 1e-5


@torch.no_grad()
def test_tokens_that_follow_in_a_cache_stand_behind_the_learnt_ones_once(tiny_base, kind):
    model = ahead(found(tiny_base), kind)
    cache = DynamicCache(config=model.config)
    first = model(IDS[:, :5], past_key_values=cache, use_cache=True).logits
    rest = [
        model(IDS[:, n : n + 1], past_key_values=cache, use_cache=True, position_ids=torch.full((2, 1), n),
              attention_mask=torch.ones(2, n + 1, dtype=torch.long)).logits
        for n in range(5, 9)
    ]  # fmt: skip
    assert relative(torch.cat([first, *rest], dim=1), theirs(model, IDS)) < 1e-5


def test_greedy_answers_are_those_of_plain_recomputation(tiny_base, kind):
    model = ahead(found(tiny_base), kind)
    prompts = [[20, 30, 40], [50, 21, 33, 44, 60, 70], [12]]
    answers = complete(model, prompts, stop_ids=[2], max_new_tokens=6, pad_id=0, progress=Silent())
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 6 and (not ids[len(prompt) :] or ids[-1] != 2):
            ids.append(int(theirs(model, torch.tensor([ids]))[0, -1].argmax()))
        assert list(answer.ids) == [number for number in ids[len(prompt) :] if number != 2]


@torch.no_grad()
def test_rows_are_computed_one_by_one_and_the_reason_is_said(tiny_base, kind):
    model = ahead(found(tiny_base), kind)
    assert unpackable(model) == ONE_BY_ONE
    assert unpackable(load_base(found(tiny_base), device=CPU)) == ""
    assert not probe(model).packed
    with pytest.raises(ModelError, match="one row by one"):
        score.logits(model, grow(rows()))


@torch.no_grad()
def test_labels_of_rows_are_read_behind_the_learnt_tokens(tiny_base, kind):
    model = ahead(found(tiny_base), kind)
    forest = arrange(rows(), 4096, share=False).forests[0][1]
    losses = score.alone(model, forest)
    for number in range(3):
        labels, path = torch.nonzero(forest.sequence == number)[:, 0], forest.path(number)
        logp = torch.log_softmax(theirs(model, forest.ids[:, path])[0], dim=-1)
        places = torch.searchsorted(path, forest.source[forest.row[labels]])
        assert len(labels) > 1
        assert (losses[labels] + logp[places, forest.token[labels]]).abs().max() < 1e-5


def test_tokens_are_as_many_as_set_and_the_context_is_shorter_by_them(tiny_base, kind):
    base = found(tiny_base)
    model = ahead(base, kind)
    assert model.tokens == 4
    assert model.config.max_position_embeddings == 252
    assert model.get_base_model().config.max_position_embeddings == 256
    with pytest.raises(
        ModelError, match=r"a row of 253 tokens behind 4 learnt ones; wanted: at most 252; do: set text\.max"
    ):
        model(torch.zeros(1, 253, dtype=torch.long))


def test_absolute_positions_never_run_off_their_table(tmp_path, kind):
    base = write_base(tmp_path / "base", GPT2)
    answer = complete(
        ahead(base, kind), [[20] * 55, [20, 30]], stop_ids=[], max_new_tokens=30, pad_id=0, progress=Silent()
    )
    assert [len(completion.ids) for completion in answer] == [64 - 4 - 55, 30]


@torch.no_grad()
def test_a_prompt_starts_as_the_words_of_its_text(tiny_base):
    base = found(tiny_base)
    plain = load_base(base, device=CPU)
    model = fresh(base, {"method": "prompt", "virtual": {"tokens": 5, "text": "ab"}})
    from metier.text.tokenizer import Tokenizer

    ids = Tokenizer.load(base.folder).encode("ababa", special=False)
    assert torch.equal(model.peft.get_prompt(1)[0], plain.get_input_embeddings()(torch.tensor(ids)))
    read = plain(input_ids=torch.cat([torch.tensor([ids]).expand(2, -1), IDS], dim=1)).logits[:, 5:]
    assert relative(model(IDS).logits, read) < 1e-6


@torch.no_grad()
def test_a_prefix_starts_as_the_keys_and_values_of_its_text(tiny_base):
    base = found(tiny_base)
    plain = load_base(base, device=CPU)
    model = fresh(base, {"method": "prefix", "virtual": {"tokens": 5, "text": "ab"}})
    words = fresh(base, {"method": "prompt", "virtual": {"tokens": 5, "text": "ab"}})
    assert relative(model(IDS).logits, words(IDS).logits) < 1e-5
    assert relative(model(IDS).logits, plain(input_ids=IDS).logits) > 1e-2


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_without_a_text_the_seed_draws_the_words(tiny_base, method):
    base = found(tiny_base)
    first, again, other = (fresh(base, {"method": method}, seed=seed) for seed in (0, 0, 1))
    weights = [
        dict(model.named_parameters())["peft.prompt_encoder.default.embedding.weight"]
        for model in (first, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_projection_is_learnt_and_thrown_away(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, "prefix", virtual={"tokens": 4, "projection": 8})
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert any("transform" in name for name in names)
    folder = saved(model, base, tmp_path / "model")
    again = load_tuned(base, folder, device=CPU)
    with torch.no_grad():
        assert relative(again(IDS).logits, model(IDS).logits) < 1e-6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "prompt", "virtual": {"projection": 8}}, r"model\.virtual\.projection with method prompt"),
        ({"method": "prefix", "virtual": {"projection": 8, "text": "a"}}, r"model\.virtual\.text with a projection"),
        ({"method": "prompt", "virtual": {"text": ""}}, r"model\.virtual\.text is empty"),
        ({"method": "prefix", "gradient_checkpointing": True}, r"gradient_checkpointing with method prefix"),
        (
            {
                "method": "peft",
                "peft": {"type": "cartridge", "config": {"num_virtual_tokens": 4}},
                "gradient_checkpointing": True,
            },
            r"gradient_checkpointing with method peft",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(tiny_base, values, words):
    with pytest.raises(SettingsError, match=words):
        fresh(found(tiny_base), values)


def test_peft_reads_what_is_saved(tiny_base, tmp_path, kind):
    base = found(tiny_base)
    model = ahead(base, kind)
    folder = saved(model, base, tmp_path / "model")
    plain = load_base(base, device=CPU)
    peft = PeftModel.from_pretrained(copy.deepcopy(plain), str(folder)).eval()
    with torch.no_grad():
        assert relative(peft(input_ids=IDS, use_cache=False).logits[:, -9:], theirs(model, IDS)) < 1e-6
    assert isinstance(load_tuned(base, folder, device=CPU), Virtual)
