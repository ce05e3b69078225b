"""llama.cpp's server in a process of its own: `python serve_llama.py GGUF PORT THREADS STREAMS NAME`."""

import sys
import time

import xllamacpp

_CONTEXT = 2048


def main() -> None:
    """Listen until killed."""
    path, port, threads, streams, name = sys.argv[1:]
    settings = xllamacpp.CommonParams()
    settings.model.path = path
    settings.model_alias = {name}
    settings.hostnames = ["127.0.0.1"]
    settings.port = int(port)
    settings.n_parallel = int(streams)
    settings.n_ctx = int(streams) * _CONTEXT
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = int(threads)
    settings.n_gpu_layers = 0
    settings.cont_batching = True
    settings.warmup = True
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
