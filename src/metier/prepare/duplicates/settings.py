"""Which copies are looked for, and what becomes of them."""

from typing import Any, Literal

from pydantic import Field, model_validator

from metier.core.settings import Settings

Outcome = Literal["off", "together", "drop"]
Keep = Literal["longest", "first", "last", "newest"]


class DedupeSettings(Settings):
    """Rows that say the same. `true` and `false` alone stand for `{exact: true}` and `{exact: false}`."""

    exact: bool = True
    """Keep only the first of rows that are learnt in the same way. Copies of test and validation rows never stay in
    the training rows, whatever this says."""

    near: Outcome = "together"
    """What becomes of rows that differ in case, punctuation or a few words, with the same label. `together`: they come
    into the same split; `drop`: one of them stays; `off`: they are not looked for. Training rows that nearly repeat a
    row of a test or validation file are noted, and dropped by `drop`."""

    likeness: float = Field(0.8, ge=0.5, le=1)
    """Share of the words of two rows that must be the same for them to be near-duplicates, in the question and in the
    answer; what stands in many rows (instructions, templates) does not count. 1: only case and punctuation differ."""

    semantic: Outcome = "off"
    """What becomes of rows that say the same in other words, by the `embeddings`: as in `near`."""

    embeddings: str | None = None
    """Folder with static sentence embeddings (model2vec: `model.safetensors` and `tokenizer.json`), relative to
    metier.yaml. null: rows are not compared by meaning."""

    semantic_likeness: float = Field(0.9, ge=0.5, le=1)
    """Cosine between two rows from which they count as saying the same."""

    keep: Keep = "longest"
    """Which of the near or semantic duplicates stays: the one with the `longest` text (of equals the first read), the
    `first` or the `last` read, or the `newest` by the `time` column."""

    synthetic: bool = False
    """Whether synthetic rows (of `metier augment`, `metier synthesise`) are dropped as near or semantic duplicates,
    too. false: they are copies on purpose and stay, unless they repeat a held-out row; none stands for a real row."""

    @model_validator(mode="before")
    @classmethod
    def _from_switch(cls, value: Any) -> Any:
        return {"exact": value} if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _has_embeddings(self) -> "DedupeSettings":
        if self.semantic != "off" and self.embeddings is None:
            raise ValueError("semantic needs a folder as dedupe.embeddings")
        return self
