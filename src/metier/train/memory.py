"""How much memory a training uses, now and at its peak."""

import resource

import psutil
import torch


def memory_bytes() -> int:
    """Return the memory in use now: of the GPU when there is one, else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss


def peak_memory_bytes() -> int:
    """Return the most memory used so far: of the GPU when there is one, else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
