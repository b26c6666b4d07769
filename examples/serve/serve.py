#!/usr/bin/env python
"""
Serves the triples of a checkpoint over HTTP.

    pip install -r examples/serve/requirements.txt
    python examples/serve/serve.py outputs/quickstart

Requests have the form of Inference Endpoints: {"inputs": ..., "parameters": {...}}. Documents of different requests
go through the model together. See README.md beside this file.
"""

import argparse
import os
import signal
from typing import Any


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a DocRE-II checkpoint: a folder or a name on the Hub, whose code is run")
    parser.add_argument("--host", default="127.0.0.1", choices=["127.0.0.1", "0.0.0.0", "::"])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max_batch_size", type=int, default=16, help="documents of a batch")
    parser.add_argument("--max_tokens", type=int, default=8192, help="tokens of a batch, padding included")
    parser.add_argument("--max_pairs", type=int, default=20_000, help="entity pairs of a batch, padding included")
    parser.add_argument("--max_inputs", type=int, default=64, help="documents of a request")
    parser.add_argument("--max_body", type=int, default=1_000_000, help="bytes of a request")
    parser.add_argument("--max_requests", type=int, default=64, help="requests that wait at once; others get 429")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    for name in [name for name, value in vars(args).items() if isinstance(value, int) and value < 1]:
        raise SystemExit(f"serve.py: `{name}` is {getattr(args, name)}, expected at least 1")
    from service import make_server  # takes seconds

    server_pid = os.getpid()

    def stop(*_: Any) -> None:
        # LitServe ends its workers on Ctrl+C, but leaves them behind on SIGTERM.
        raise KeyboardInterrupt if os.getpid() == server_pid else SystemExit

    signal.signal(signal.SIGTERM, stop)
    make_server(args).run(host=args.host, port=args.port, num_api_servers=1, generate_client_file=False)


if __name__ == "__main__":
    main()
