"""The planner on what asks the base in every step: distillation with its long prompts, a pull to the base."""

from dataclasses import replace

import numpy as np
import pytest

from metier.core.types import Sequence
from metier.model.find import find
from metier.model.settings import ModelSettings
from metier.train.planning.pace import measure
from metier.train.planning.predict import Configuration, Setting, simulate
from metier.train.settings import RegulariseSettings


def taught(long: int) -> list[Sequence]:
    random = np.random.default_rng(0)
    made = []
    for number in range(8):
        answer, asked = random.integers(3, 268, 12), random.integers(3, 268, 20)
        prompt = np.random.default_rng(1).integers(3, 268, long)
        sides = [
            Sequence(
                ids=np.r_[front, answer].astype(np.int32),
                weights=np.r_[np.zeros(len(front)), np.ones(12)].astype(np.float32),
                row_id=str(number),
            )
            for front in (asked, np.r_[prompt, asked])
        ]
        made.append(replace(sides[0], partner=sides[1]))
    return made


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_teacher_takes_memory_and_a_copy_where_whole_weights_train(method, tiny_base):
    setting = Setting(base=find(str(tiny_base), tiny_base), model=ModelSettings(), process=0)
    configuration = Configuration(method=method, checkpointing=False, micro_batch_tokens=256)
    plain = simulate(setting, configuration, setting.arrange(taught(20), 256, method)).memory
    held = []
    for long in (20, 220):
        work = setting.arrange(taught(long), 256, method)
        memory = simulate(replace(setting, distils=True), configuration, work).memory
        assert memory.weights == plain.weights * (2 if method == "full" else 1)
        held.append(memory.activations)
    assert plain.activations < held[0] < held[1]
    pace = measure(replace(setting, distils=True), configuration, work)
    assert pace is not None
    assert pace.forest > 0


def test_a_pull_to_the_base_and_smoothing_are_counted(tiny_base):
    setting = Setting(base=find(str(tiny_base), tiny_base), model=ModelSettings(), process=0)
    configuration = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256)
    work = setting.arrange(taught(20), 256, "lora")
    plain, smooth, pulled = (
        simulate(replace(setting, regularise=RegulariseSettings(**chosen)), configuration, work).memory.activations
        for chosen in ({}, {"label_smoothing": 0.1}, {"kl_to_base": 0.1})
    )
    assert plain < smooth < pulled
