"""metier gives a general language model a trade: prepare, train, evaluate, prove, serve."""

from metier.core.__about__ import __version__

__all__ = ["__version__"]
