"""`python -m metier.promote.far.llama_child MODEL [ADAPTER [CONTEXT]]`: llama.cpp's server in its own process.

A fault in its code ends a process on the spot; so it is never ours. Prints its address; ends when its input closes.
"""

import sys
from importlib import import_module
from typing import Any


def main(model: str, adapter: str = "", context: str = "0") -> None:
    """Serve a GGUF file at a free port of this machine, on the CPU, with the server's own defaults of arithmetic."""
    library: Any = import_module("xllamacpp")
    parameters = library.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = int(context)
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.fit_params = False
    parameters.port = 0
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = 1  # its threads wait for each other in a loop: on a busy machine two are slower than one
    if adapter:
        parameters.lora_adapters = [library.CommonAdapterLoraInfo(adapter, 1.0)]
    server = library.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
