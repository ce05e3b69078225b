"""How `metier serve` runs; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings
from metier.model.contract import Target


class ServeSettings(Settings):
    """The server: where it listens, how much it takes on, what it records."""

    host: str = "127.0.0.1"
    """Address to listen at. Anything but this machine itself is refused until `metier key` has made a key."""

    port: int = Field(8000, ge=0, le=65535)
    """Port to listen at. 0: any free one; it is printed."""

    together: int = Field(16, ge=1, le=1024)
    """Most answers that a base writes at once; more wait."""

    waiting: int = Field(256, ge=0)
    """Most requests that wait for a base; more are answered with 429 and Retry-After."""

    read_tokens: int = Field(256, ge=16)
    """Most tokens of new prompts in one pass: more reads prompts faster, less lets running answers flow evenly."""

    prefix_mib: int = Field(256, ge=0)
    """Memory for beginnings that were computed before, MiB a base. 0: every prompt is computed whole."""

    adapters_mib: int = Field(1024, ge=1)
    """Memory for adapters, MiB a base; the least recently used leave first and are read again when asked for."""

    models: int = Field(2, ge=1)
    """Most whole models in memory (bases, and runs that cannot be mixed); the least recently used leaves first."""

    body_mib: float = Field(64, gt=0)
    """Largest request, MiB; a larger one is answered with 413."""

    deadline_seconds: float = Field(600, gt=0)
    """Longest time that a request may take from its arrival, in seconds."""

    drain_seconds: int = Field(30, ge=0)
    """When told to stop: time in seconds for running answers to end; nothing new is accepted."""

    traces: bool = True
    """Record for every request which model answered, tokens, times and how it ended."""

    content: bool = False
    """Record the text of prompts and answers too. They may hold what people would not want kept."""

    jobs: bool = True
    """Serve /v1/files and /v1/fine_tuning, and run the jobs on this machine."""

    target: Target | None = None
    """Who will serve what is trained. `metier plan` and `metier train` refuse what it would not load (docs/export.md),
    and `metier prove` goes on to it: to GGUF for `llama.cpp` and `ollama`, over HTTP for `metier`. null: not known."""
