"""Optional dependencies: imported when they are needed, and a missing one says which line installs it."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from metier.core.errors import MissingExtraError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "transformers", "peft"),
    "heads": ("sklearn",),
    "clean": ("py3langid", "sklearn"),
    "adamw-8bit": ("bitsandbytes",),
    "schedule-free": ("schedulefree",),
    "qlora": ("bitsandbytes",),
    "fast": ("gigatoken",),
    "sweep": ("optuna",),
    "synthesise": ("httpx2",),
    "protect": ("faker", "phonenumbers", "stdnum", "cryptography"),
    "files": ("python_calamine", "pypdf", "mammoth"),
    "sql": ("sqlalchemy",),
    "ray": ("ray",),
    "judge": ("sacrebleu", "rouge_score", "jsonschema", "referencing", "langdetect"),
    "harness": ("lm_eval",),
    "registry": ("sqlalchemy", "cryptography"),
    "postgres": ("pg8000",),
    "upstream": ("httpx2",),
    "telemetry": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "serve": (
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "cryptography",
        "prometheus_client",
        "llguidance",
        "python_multipart",
    ),
    "gguf": ("gguf",),
    "llama-cpp": ("xllamacpp",),
}
"""Extra name -> the modules that it brings."""


def install_line(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'metier[{extra}]'"


def missing(extra: str) -> tuple[str, ...]:
    """Return the modules of an extra that cannot be imported here."""
    return tuple(name for name in EXTRAS[extra] if not _is_there(name))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it would be in
        return False


def require(extra: str) -> None:
    """Check that an extra is installed.

    Raises:
        MissingExtraError: a module of it is missing; `do` holds the line that installs it.
    """
    absent = missing(extra)
    if absent:
        raise MissingExtraError(f"{', '.join(absent)} not installed", f"the extra '{extra}'", install_line(extra))


def load(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which line installs it."""
    require(extra)
    return import_module(module)
