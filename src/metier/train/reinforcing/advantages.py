"""What each answer of a group counts: three ways of comparing its reward with those of the others.

A step is strictly on policy: its answers are drawn from the very weights that it changes, once. Every probability ratio
is then 1, nothing is clipped, and the gradient of each objective below is that of Σ_i A_i Σ_t c_i log p(o_i,t), over
the number of answers.

Shapes: G = answers of a group.
"""

from typing import Literal

import numpy as np

Kind = Literal["grpo", "dr-grpo", "rloo"]


def advantages(rewards: np.ndarray, kind: Kind) -> np.ndarray:
    """Return A float64 [G] of rewards [G]; all 0 where they do not differ.

    - `grpo`: (r_i - mean r) / std r (Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, section 4.1.2).
    - `dr-grpo`: r_i - mean r (Liu et al. 2025, "Understanding R1-Zero-like training", arXiv 2503.20783, section 3.2).
    - `rloo`: r_i - the mean of the others = (r_i - mean r) G / (G - 1) (Ahmadian et al. 2024, "Back to basics", arXiv
      2402.14740, the RLOO estimator).
    """
    rewards = np.asarray(rewards, dtype=np.float64)
    if not differ(rewards):
        return np.zeros(len(rewards))
    apart = rewards - rewards.mean()
    if kind == "grpo":
        return apart / rewards.std()
    return apart * len(rewards) / (len(rewards) - 1) if kind == "rloo" else apart


def token_weight(kind: Kind, *, tokens: int, most_tokens: int) -> float:
    """Return c, what each token of an answer weighs.

    - `grpo`: 1 / its number of tokens (equation 3 of the same paper).
    - `dr-grpo`: 1 / the most tokens that an answer may have, the same for all (the constant of the paper's listing 1).
    - `rloo`: 1; an answer is one action, whose log-probability is the sum over its tokens.
    """
    return {"grpo": 1 / tokens, "dr-grpo": 1 / most_tokens, "rloo": 1.0}[kind]


def differ(rewards: np.ndarray) -> bool:
    """Tell whether a group teaches anything: answers that are all as good as each other do not."""
    return len(rewards) > 1 and bool((rewards != rewards[0]).any())
