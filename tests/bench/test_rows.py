"""The rows of the benchmark are the same for everyone, as ids and as text, and its counts are right."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bench import gemm, rows, shapes

VOCABULARY = shapes.SHAPES["tiny"].vocabulary


@pytest.mark.parametrize("work", sorted(rows.WORKS))
def test_rows_are_a_function_of_their_arguments(work: str) -> None:
    first, again = (rows.step(work, VOCABULARY, 3) for _ in range(2))
    assert first == again
    assert rows.digest(first) == rows.digest(again)
    assert rows.digest(first) != rows.digest(rows.step(work, VOCABULARY, 4))


def test_the_digest_sees_where_labels_begin() -> None:
    example = rows.Example(ids=(3, 9, 1, 4, 8, 1), answer=4, messages=())
    moved = rows.Example(ids=example.ids, answer=3, messages=())
    assert rows.digest([example]) != rows.digest([moved])


@pytest.mark.parametrize("work", sorted(rows.WORKS))
def test_text_tokenises_to_the_very_ids_and_labels(work: str, tmp_path: Path) -> None:
    shapes.write_tokenizer(VOCABULARY, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for example in rows.step(work, VOCABULARY, 0, rows=4):
        rendered = tokenizer.apply_chat_template(
            list(example.messages), return_dict=True, return_assistant_tokens_mask=True
        )
        assert rendered["input_ids"] == list(example.ids)
        assert [float(mark) for mark in rendered["assistant_masks"]] == example.weights
        assert [label != -100 for label in example.labels] == [weight > 0 for weight in example.weights]


def test_the_works_share_what_they_say() -> None:
    shared = {}
    for work in rows.WORKS:
        examples = rows.step(work, 32_000, 0)
        shared[work] = 1 - rows.unique_tokens(examples) / sum(len(example.ids) for example in examples)
    assert shared["prompt-heavy"] > 0.75
    assert 0.4 < shared["balanced"] < 0.6
    assert shared["unshared"] < 0.02


def test_unique_tokens_are_the_different_beginnings() -> None:
    examples = rows.step("unshared", 8, 0, rows=40)  # three words: beginnings collide at every depth
    beginnings = {example.ids[:end] for example in examples for end in range(1, len(example.ids) + 1)}
    assert rows.unique_tokens(examples) == len(beginnings)


def test_useful_operations_are_counted_by_hand() -> None:
    shape = shapes.Shape(hidden=8, layers=2, heads=2, key_heads=1, middle=16, vocabulary=100)
    body = 2 * (8 * 8 * 2 + 2 * 8 * 4 + 3 * 8 * 16)
    assert shape.body == body
    assert gemm.useful_flop(shape, "lora", 10, 3) == 4 * (body * 10 + 800 * 3)
    assert gemm.useful_flop(shape, "full", 10, 3) == 6 * (body * 10 + 800 * 3)


def test_a_shape_counts_what_its_model_has() -> None:
    shape = shapes.SHAPES["tiny"]
    model = shapes.random_model("tiny")
    linear = sum(weight.numel() for name, weight in model.model.layers.named_parameters() if weight.ndim == 2)
    assert shape.body == linear
    assert shape.head == model.lm_head.weight.numel()
