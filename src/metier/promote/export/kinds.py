"""What a run can be exported as; imports no torch."""

from enum import StrEnum


class Kind(StrEnum):
    """The form of an export."""

    peft = "peft"
    merged = "merged"
    gguf = "gguf"
    gguf_lora = "gguf-lora"
    ollama = "ollama"
    vllm = "vllm"
    onnx = "onnx"
