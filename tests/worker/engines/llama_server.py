# SPDX-License-Identifier: AGPL-3.0-or-later
"""llama.cpp's own server in a process of its own: `python llama_server.py MODEL NAME TOKENS`.

Says its address on the first line of its output, and ends when its input does.
"""

import sys

import xllamacpp


def main() -> None:
    """Serve until nobody is there any more."""
    model, name, tokens = sys.argv[1:]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {name}
    parameters.n_ctx = int(tokens)
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.fit_params = False
    parameters.warmup = False
    parameters.ui = False
    parameters.verbosity = 0
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
