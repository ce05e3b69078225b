"""Foreign templates and end tokens are taken off rows that carry them, and only off those."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.core.types import ChatRow, LabelledRow, Message, PreferenceRow, TextRow
from metier.text import wrapping
from metier.text.messages import UnusableRow

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{asked}\n\n### Response:"
)


def chat(asked, said):
    messages = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return ChatRow(id="0", source="t:1", messages=messages)


def said(row):
    return [(turn.role, turn.content) for turn in row.messages]


def bare(row):
    names = wrapping.found([row] * 10)
    return wrapping.unwrapped(row, names), names


def test_alpaca_around_the_question_and_a_fake_end_token():
    row, names = bare(chat(ALPACA.format(asked="Why?"), "So.###eos_token###"))
    assert said(row) == [("user", "Why?"), ("assistant", "So.")]
    assert set(names) == {"alpaca", "end token ###eos_token###"}


def test_alpaca_with_an_input():
    text = "### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n3</s>"
    row, _ = bare(TextRow(id="0", source="t:1", text=text, group="g"))
    assert said(row) == [("user", "Add.\n\n1 and 2"), ("assistant", "3")]
    assert row.group == "g"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<s>[INST] q [/INST] a </s><s>[INST] r [/INST] b </s>", "llama-2"),
        ("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n"
         "<|im_start|>assistant\nb<|im_end|>", "chatml"),
        ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant"
         "<|end_header_id|>\n\na<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nr<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>", "llama-3"),
        ("<start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\na<end_of_turn>\n<start_of_turn>user\nr<end_of_turn>\n"
         "<start_of_turn>model\nb<end_of_turn>", "gemma"),
        ("<|user|>\nq\n<|assistant|>\na\n<|user|>\nr\n<|assistant|>\nb", "zephyr"),
        ("### Human: q\n### Assistant: a\n### Human: r\n### Assistant: b", "hash-turns"),
        ("USER: q ASSISTANT: a USER: r ASSISTANT: b", "vicuna"),
        ("\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: b", "transcript"),
    ],
)  # fmt: skip
def test_texts_that_are_conversations_become_ones(text, name):
    row, names = bare(TextRow(id="0", source="t:1", text=text))
    assert name in names
    assert said(row) == [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]


def test_a_system_text_inside_a_prompt():
    row, _ = bare(chat("<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nq [/INST]", "a"))
    assert said(row) == [("system", "Be kind."), ("user", "q"), ("assistant", "a")]


def test_preference_answers_lose_their_end_tokens():
    turn = Message(role="user", content="q")
    row = PreferenceRow(
        id="0", source="t:1", prompt=(turn,),
        chosen=(Message(role="assistant", content="a<|im_end|>"),),
        rejected=(Message(role="assistant", content="b<|im_end|>\n"),),
    )  # fmt: skip
    found, _ = bare(row)
    assert (found.chosen[0].content, found.rejected[0].content) == ("a", "b")


def test_an_answer_that_is_only_an_end_token_is_refused():
    with pytest.raises(UnusableRow, match="nothing but an end token"):
        bare(chat("q", "</s>"))


def test_what_few_rows_carry_is_a_topic_and_stays():
    rows = [chat(f"q {n}", "a") for n in range(30)]
    assert wrapping.found([*rows, chat("How does ### Instruction: work?", "With </s>")]) == ()
    assert wrapping.found([LabelledRow(id="0", source="t:1", text="</s>", label="a")] * 9) == ()


def test_a_row_that_carries_nothing_stays_itself():
    row = chat("q", "a")
    assert wrapping.unwrapped(row, ("alpaca", "chatml", "end token </s>")) is row


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_any_text_can_be_looked_at(asked, answer):
    row = chat(asked, answer)
    names = wrapping.found([row, row])
    assert wrapping.unwrapped(row, ("llama-2", "vicuna", "transcript", *names)) is not None
