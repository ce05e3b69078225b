"""Build a peer's own environment with venv and pip: `python -m bench.environments trl litgpt torchtune`.

Torch comes first and from the same index as ours, so that all contenders compute with the same kernels; a peer that
replaces it is refused. What plain `pip install` leaves broken on a CPU is mended here and said in the comment.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.places import cache

TORCH = "torch==2.13.0"

PACKAGES: dict[str, tuple[str, ...]] = {
    # the plain transformers Trainer runs in this environment too
    "trl": ("transformers==5.23.0", "peft==0.21.2", "trl==1.16.0", "datasets==5.2.0", "accelerate==1.15.0"),
    # litgpt imports requests without asking for it
    "litgpt": ("litgpt==0.5.13", "requests"),
    # torchtune 0.6.1 needs torchao.dtypes.nf4tensor, which later releases moved
    "torchtune": ("torchtune==0.6.1", "torchao==0.14.1"),
    "ms-swift": ("ms-swift==4.6.0",),
    # its server, with continuous batching
    "transformers": ("transformers[serving]==5.23.0",),
    # the server of llama.cpp, in a prebuilt wheel
    "llama.cpp": ("xllamacpp==2026.10.11549",),
    "presidio": ("presidio-analyzer==2.2.366",),
    # the judge of our own scores on public tasks; with what metier itself needs, for it runs our models too
    "lm-eval": (
        "transformers==5.23.0",
        "peft==0.21.2",
        "datasets==5.2.0",
        "lm_eval==0.4.13",
        "jsonschema",
        "referencing",
        "scipy",
        "pydantic",
        "rich",
        "typer",
        "tokenizers",
        "matplotlib",
        "markdown-it-py",
        "psutil",
        "pyarrow",
        "langdetect",
        "immutabledict",
        "pytest",
    ),
}
WITHOUT_TORCH = {"presidio", "llama.cpp"}

_ONE = "METIER_BENCH_PYTHON"
_TORCH_HERE = "import torch; print(torch.__version__)"


def python(name: str) -> Path:
    """Return the interpreter of an environment; "metier" is the one that runs now.

    `METIER_BENCH_PYTHON` names one interpreter that has everything, for a machine where nothing can be installed.

    Raises:
        FileNotFoundError: the environment has not been built.
    """
    if _ONE in os.environ:
        return Path(os.environ[_ONE])
    if name == "metier":
        return Path(sys.executable)
    folder = cache() / "environments" / name
    if not (folder / "built.json").is_file():
        raise FileNotFoundError(f"no environment {name}; do: python -m bench.environments {name}")
    return folder / "bin" / "python"


def built(name: str) -> bool:
    """Tell whether an environment is there and whole."""
    return name == "metier" or _ONE in os.environ or (cache() / "environments" / name / "built.json").is_file()


def build(name: str) -> Path:
    """Build an environment unless it is there; its record `built.json` is written last.

    Raises:
        RuntimeError: the peer's packages replaced torch.
    """
    if built(name):
        return python(name)
    folder = cache() / "environments" / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    if name in WITHOUT_TORCH:
        _install(interpreter, *PACKAGES[name])
    else:
        _install_beside_torch(interpreter, name)
    frozen = _output(interpreter, "-m", "pip", "list", "--format=json")
    (folder / "built.json").write_text(frozen, encoding="utf-8")
    return interpreter


def _install_beside_torch(interpreter: Path, name: str) -> None:
    _install(interpreter, TORCH)
    before = _output(interpreter, "-c", _TORCH_HERE)
    _install(interpreter, *PACKAGES[name])
    after = _output(interpreter, "-c", _TORCH_HERE)
    if before != after:
        raise RuntimeError(f"{name} replaced torch {before} by {after}: it would not be compared like with like")


def versions(name: str, *packages: str) -> dict[str, str]:
    """Return the versions of some packages of a built environment, as pip recorded them."""
    if name == "metier" or _ONE in os.environ:
        frozen = _output(python(name), "-m", "pip", "list", "--format=json")
    else:
        frozen = (cache() / "environments" / name / "built.json").read_text(encoding="utf-8")
    known = {entry["name"]: entry["version"] for entry in json.loads(frozen)}
    return {package: known[package] for package in packages if package in known}


def _install(interpreter: Path, *packages: str) -> None:
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(command, check=True)


def _output(interpreter: Path, *arguments: str) -> str:
    return subprocess.run([str(interpreter), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build the environments that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(PACKAGES))
    for name in parser.parse_args().names:
        print(name, build(name), versions(name, "torch", *[entry.split("==")[0] for entry in PACKAGES[name]]))


if __name__ == "__main__":
    main()
