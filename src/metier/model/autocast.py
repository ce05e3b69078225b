"""Tell whether autocast is in force, also where there is none: on torch's meta device."""

import torch


def is_autocast(device_type: str) -> bool:
    """Tell whether matrix products on a kind of device run in another type than their inputs."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
