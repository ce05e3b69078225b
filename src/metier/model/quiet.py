"""Silence the model library's own bars and warnings while we call it: what matters is checked and raised by us."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging

LIBRARY_FAULTS = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    StrictDataclassError,
    SafetensorError,
)
"""What transformers, PEFT and torch raise when a model folder does not fit: each its own, and none of them ours."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and PEFT inside the block."""
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
