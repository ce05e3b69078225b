"""AdamW over the weights that train, and its state as named tensors."""

import torch

from metier.train.settings import OptimiserSettings


def trained_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the weights that train by name, tied ones once, in the model's order."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def adamw(model: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    """Make AdamW (Loshchilov & Hutter 2019, algorithm 2): decay on matrices only; the rate is set at every step."""
    weights = list(trained_parameters(model).values())
    matrices = [weight for weight in weights if weight.ndim >= 2]
    vectors = [weight for weight in weights if weight.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, betas=settings.betas, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def state_tensors(optimiser: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the optimiser's state as `<entry>/<parameter name>` -> tensor."""
    return {
        f"{entry}/{name}": value.detach().cpu()
        for name, weight in trained_parameters(model).items()
        for entry, value in optimiser.state.get(weight, {}).items()
    }


def load_state_tensors(
    optimiser: torch.optim.Optimizer, model: torch.nn.Module, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `state_tensors` gave, bit for bit."""
    weights = trained_parameters(model)
    for key, value in tensors.items():
        entry, _, name = key.partition("/")
        weight = weights[name]
        place = value if entry == "step" else value.to(weight.device)
        optimiser.state[weight][entry] = place.clone()
