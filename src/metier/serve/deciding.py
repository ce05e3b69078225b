"""What a model thinks of the answers on offer: of a writer the chance of writing each, of a head its outputs."""

from collections.abc import Sequence

import numpy as np
import torch

from metier.engine.decoder import Engine
from metier.engine.request import Request
from metier.serve.prompts import unheard
from metier.text import offered
from metier.text.render import Renderer
from metier.text.targets import Targets


def requests(
    prompt: Sequence[int],
    options: Sequence[str],
    renderer: Renderer,
    *,
    adapter: str | None,
    deadline: float | None,
    owner: str = "",
) -> list[Request]:
    """Return requests that tell the chance of each option behind a prompt, the end of the answer included."""
    return [
        Request(
            ids=[*prompt, *continuation],
            listen=unheard,
            adapter=adapter,
            most_tokens=0,
            chances=0,
            score_from=len(prompt),
            deadline=deadline,
            owner=owner,
        )
        for continuation in offered.continuations(options, renderer)
    ]


@torch.inference_mode()
def head_values(engine: Engine, head: Targets, ids: Sequence[int]) -> np.ndarray:
    """Return what a head says of a prompt: a probability for each of its labels, or a number."""
    device = next(engine.model.parameters()).device
    logits = engine.model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits
    return head.values(logits.float().cpu().numpy())[0]
