import json
from pathlib import Path

import pytest
import torch

from metier.core.errors import DataError
from metier.engine.constrain import Grammars
from metier.engine.decoder import opened
from metier.engine.request import Sampling
from metier.model.find import find
from metier.model.load import load_base
from metier.text.tokenizer import Tokenizer
from tests.engine.crowd import ask

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bergen"]}, "count": {"type": "integer", "minimum": 0, "maximum": 10}},
    "required": ["city", "count"],
    "additionalProperties": False,
}


def test_a_random_model_writes_what_the_schema_allows_and_ends(tiny_base: Path) -> None:
    base = find(str(tiny_base), tiny_base)
    tokenizer = Tokenizer.load(tiny_base)
    grammars = Grammars(tokenizer, tokenizer.stop_ids)
    json_of, choice = grammars.json(SCHEMA), grammars.one_of(["yes", "no", "yes, please"])
    with opened(load_base(base, device=torch.device("cpu"))) as engine:
        asked = [
            {
                "ids": [1, 5, 40 + seed], "stop_ids": frozenset(tokenizer.stop_ids), "decode": tokenizer.decode,
                "sampling": Sampling(temperature=1.5, seed=seed, bias={tokenizer.encode(" ", special=False)[0]: -100}),
                "constraint": (choice if seed % 2 else json_of).fresh(), "most_tokens": 100,
            }
            for seed in range(12)
        ]  # fmt: skip
        said = ask(engine, asked)
    for number, answer in enumerate(said):
        assert answer.end is not None
        if number % 2:
            assert answer.text in ("yes", "no", "yes, please")
        elif answer.end.finish == "stop":
            value = json.loads(answer.text)
            assert value.keys() == {"city", "count"}
            assert value["city"] in ("Oslo", "Bergen")
            assert 0 <= value["count"] <= 10
    assert sum(answer.end.finish == "stop" for answer in said[::2] if answer.end) >= 4
    assert len({answer.text for answer in said[1::2]}) > 1


def test_a_schema_that_cannot_be_followed_is_refused(tiny_base: Path) -> None:
    grammars = Grammars(Tokenizer.load(tiny_base), (2,))
    with pytest.raises(DataError, match="the JSON schema"):
        grammars.json({"type": "nonsense"})
    with pytest.raises(DataError, match="without a stop token"):
        Grammars(Tokenizer.load(tiny_base), ())
