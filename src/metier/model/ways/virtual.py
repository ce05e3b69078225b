"""Learnt tokens in front of everything a model reads: PEFT's prompt learning, right for every call that we make.

PEFT's own forward forgets positions, shifts what `logits_to_keep` counts, and puts the tokens in front of every single
token while decoding. Shapes: B = rows, T = tokens of a row, P = learnt tokens, V = vocabulary.
"""

import copy
from typing import Any

import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig
from peft.config import PromptLearningConfig
from peft.utils import PeftType
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from metier.core import seeds
from metier.core.errors import ModelError, SettingsError
from metier.model.find import Base
from metier.model.settings import ModelSettings
from metier.model.ways.library import configurations, known_as, wrap
from metier.text.tokenizer import Tokenizer

IN_CACHE = (PeftType.PREFIX_TUNING, PeftType.CARTRIDGE)
"""PEFT's methods whose learnt tokens are keys and values; those of the others are embeddings."""

ONE_BY_ONE = "learnt tokens stand in front of every row, so rows cannot lie end to end in one call"


class Virtual(torch.nn.Module):
    """A base behind P learnt tokens; answers about the real tokens only.

    `peft` is the PEFT model; `config` that of the base, its context shorter by P.
    """

    def __init__(self, peft: PeftModel) -> None:
        super().__init__()
        self.peft = peft
        chosen = peft.peft_config["default"]
        assert isinstance(chosen, PromptLearningConfig)
        self.enabled = True
        self.tokens = int(chosen.num_virtual_tokens)
        self.in_cache = chosen.peft_type in IN_CACHE
        self.config = copy.deepcopy(self.get_base_model().config)
        text = self.config.get_text_config(decoder=True)
        context = text.to_dict().get(text.attribute_map.get("max_position_embeddings", "max_position_embeddings"))
        self.context = None if context is None else int(context) - self.tokens
        if self.context is not None:
            text.max_position_embeddings = self.context

    def get_base_model(self) -> PreTrainedModel:
        """Return the base."""
        inner = self.peft.get_base_model()
        assert isinstance(inner, PreTrainedModel)
        return inner

    def forward(
        self,
        input_ids: torch.Tensor,
        *,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Return the base's answer to [B, T] tokens, its logits [B, T or kept, V].

        Raises:
            ModelError: more tokens than the context has left, or rows packed into one call.
        """
        if not self.enabled:
            options |= {"attention_mask": attention_mask, "position_ids": position_ids}
            options |= {"past_key_values": past_key_values, "logits_to_keep": logits_to_keep}
            return self.get_base_model()(input_ids, **options)
        self._require_servable(input_ids.shape[1], options)
        rows, device = len(input_ids), input_ids.device
        if attention_mask is not None:
            attention_mask = torch.cat([attention_mask.new_ones(rows, self.tokens), attention_mask], dim=1)
        if position_ids is not None:
            position_ids = position_ids + self.tokens
        inputs: dict[str, Any] = {"input_ids": input_ids}
        is_first = past_key_values is None or past_key_values.get_seq_length() == 0
        if is_first and self.in_cache:
            past_key_values = self._filled(rows, past_key_values)
        elif is_first:
            embedded = self.get_base_model().get_input_embeddings()(input_ids)
            inputs = {"inputs_embeds": torch.cat([self.peft.get_prompt(rows).to(embedded), embedded], dim=1)}
            if position_ids is not None:
                front = torch.arange(self.tokens, device=device).expand(rows, -1)
                position_ids = torch.cat([front, position_ids.expand(rows, -1)], dim=1)
            if isinstance(logits_to_keep, torch.Tensor):
                logits_to_keep = logits_to_keep + self.tokens
        output = self.get_base_model()(
            **inputs, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, logits_to_keep=logits_to_keep, **options,
        )  # fmt: skip
        if isinstance(logits_to_keep, int):
            output.logits = output.logits[:, -input_ids.shape[1] :]
        return output

    def _require_servable(self, tokens: int, options: dict[str, Any]) -> None:
        unknown = [name for name in options if name not in ("use_cache", "return_dict")]
        if unknown:
            raise ModelError(
                f"{', '.join(unknown)} in a call of a model with learnt tokens", "one row by one", ONE_BY_ONE
            )
        if self.context is not None and tokens > self.context:
            raise ModelError(
                f"a row of {tokens} tokens behind {self.tokens} learnt ones",
                f"at most {self.context}",
                f"set text.max_tokens to {self.context}",
            )

    def _filled(self, rows: int, cache: Cache | None) -> Cache:
        """Return a cache that begins with the learnt keys and values."""
        learnt = self.peft.get_prompt(rows)
        assert isinstance(learnt, DynamicCache)
        if cache is None:
            return learnt
        for number, (keys, values) in enumerate(_pairs(learnt)):
            cache.update(keys, values, number)
        return cache


def _pairs(cache: Cache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return keys and values [B, heads, P, width] of each layer.

    Raises:
        SettingsError: a layer keeps none.
    """
    pairs = [(layer.keys, layer.values) for layer in cache.layers if isinstance(layer, DynamicLayer)]
    found = [(keys, values) for keys, values in pairs if keys is not None and values is not None]
    if len(found) < len(cache.layers):
        raise SettingsError("model.method prefix: a layer of this base keeps no keys and values", "method prompt")
    return found


def add_virtual(model: PreTrainedModel, base: Base, settings: ModelSettings, method: str, *, seed: int) -> Virtual:
    """Put learnt tokens in front of a frozen model: embeddings (`prompt`) or keys and values (`prefix`).

    They start as real tokens, of `virtual.text` or drawn from the vocabulary: random numbers would be noise in front
    of every row (Lester et al. 2021, §3.2).
    """
    chosen = settings.virtual
    if method == "prompt":
        if chosen.projection is not None:
            raise SettingsError("model.virtual.projection with method prompt", "method prefix", "or peft: p_tuning")
        config: PromptLearningConfig = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=chosen.tokens)
    else:
        if chosen.projection is not None and chosen.text is not None:
            raise SettingsError("model.virtual.text with a projection", "one of them", "a projection starts at random")
        config = PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=chosen.tokens,
            prefix_projection=chosen.projection is not None,
            encoder_hidden_size=chosen.projection,  # pyrefly: ignore
        )
    adapted = wrap(model, base, config, seed=seed, where=f"model.method {method}")
    if chosen.projection is None:
        _start_as(adapted, model, _first_words(model, base, settings, seed), in_cache=method == "prefix")
    return Virtual(adapted)


def _first_words(model: PreTrainedModel, base: Base, settings: ModelSettings, seed: int) -> torch.Tensor:
    """Return the ids [P] that the learnt tokens start as."""
    count, text = settings.virtual.tokens, settings.virtual.text
    if text is None:
        vocabulary = model.config.get_text_config(decoder=True).vocab_size
        return torch.from_numpy(seeds.permutation(vocabulary, "virtual", seed).copy())[torch.arange(count) % vocabulary]
    ids = Tokenizer.load(base.folder).encode(text, special=False)
    if not ids:
        raise SettingsError("model.virtual.text is empty", "words to start from", "or null")
    return torch.tensor([ids[place % len(ids)] for place in range(count)])


@torch.no_grad()
def _start_as(adapted: PeftModel, model: PreTrainedModel, ids: torch.Tensor, *, in_cache: bool) -> None:
    """Give the learnt tokens the embeddings, or the keys and values, of real ones."""
    weight = adapted.get_submodule("prompt_encoder.default.embedding").get_parameter("weight")
    ids = ids.to(weight.device)
    if not in_cache:
        weight.copy_(model.get_input_embeddings()(ids))
        return
    cache = DynamicCache()
    model(input_ids=ids[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
    # PEFT keeps, for each token, key and value of each layer in turn: [P, layers * 2 * heads * width].
    pairs = [tensor[0].transpose(0, 1).flatten(1) for pair in _pairs(cache) for tensor in pair]
    weight.copy_(torch.cat(pairs, dim=1))


def unpackable(model: torch.nn.Module) -> str:
    """Say why the rows of a model must be computed one by one, or ""."""
    return ONE_BY_ONE if isinstance(model, Virtual) else ""


def stands_in_front(method: str, settings: ModelSettings) -> bool:
    """Tell whether a method learns tokens in front of every text; see `unpackable`."""
    if method != "peft" or settings.peft is None:
        return method in ("prompt", "prefix")
    kind = configurations().get(known_as(settings.peft.type))
    return kind is not None and issubclass(kind, PromptLearningConfig)


def peft_of(model: torch.nn.Module) -> PeftModel | None:
    """Return the PEFT model that a model is, or has inside, or None."""
    if isinstance(model, Virtual):
        return model.peft
    return model if isinstance(model, PeftModel) else None


def in_front(model: torch.nn.Module) -> torch.nn.Module:
    """Return a PEFT model, behind its learnt tokens where it has any."""
    if not isinstance(model, PeftModel):
        return model
    return Virtual(model) if isinstance(model.peft_config["default"], PromptLearningConfig) else model
