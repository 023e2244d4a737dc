"""One llama.cpp server on one thread: python serve.py MODEL.gguf ALIAS SLOTS; prints where it listens, ends with stdin.

Runs in the engines' own environment (xllamacpp).
"""

import os
import sys

import xllamacpp

CONTEXT_TOKENS_PER_SLOT = 2048


def parameters(model: str, alias: str, slots: int) -> xllamacpp.CommonParams:
    """A CPU server with an OpenAI-compatible door, /slots and /metrics."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = slots * CONTEXT_TOKENS_PER_SLOT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more collapse when anything else runs
    params.n_gpu_layers = 0
    params.cont_batching = params.use_jinja = True
    params.endpoint_metrics = params.endpoint_slots = True
    return params


if __name__ == "__main__":
    server = xllamacpp.Server(parameters(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    print("READY", server.listening_address, flush=True)
    sys.stdin.read()  # until the parent closes the pipe, or dies
    os._exit(0)  # the server's threads may be in the middle of a token
