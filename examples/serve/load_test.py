#!/usr/bin/env python
"""
Measures the service beside the plain pipeline, and compares every answer with the pipeline's.

    python examples/serve/serve.py outputs/quickstart                   # in one terminal
    python examples/serve/load_test.py outputs/quickstart               # in another

Each client sends one document after the other. The last line of the table is an overload: all requests at once.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
from transformers import pipeline
from transformers.utils.logging import disable_progress_bar


# Scores differ by rounding between batches of different size.
TOLERANCE = 1e-4


@dataclass
class Outcome:
    """
    What the clients got.

    Args:
        seconds (`float`): From the first request to the last answer.
        statuses (`Counter`): Number of answers by HTTP status.
        latencies (`list[float]`): Seconds of every answer of status 200.
        answers (`list[tuple[int, list]]`): Index of the document and triples of every answer of status 200.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    answers: list[tuple[int, list[dict[str, Any]]]] = field(default_factory=list)


async def send_requests(url: str, documents: list[Any], num_requests: int, num_clients: int) -> Outcome:
    """
    Sends documents in turn from several clients.

    Args:
        url (`str`):
            Where the service is.
        documents (`list`):
            The documents, which are repeated as often as necessary.
        num_requests (`int`):
            Number of requests of all clients together.
        num_clients (`int`):
            Number of clients, each of which waits for an answer before its next request.

    Returns:
        [`Outcome`]
    """
    outcome, numbers = Outcome(), count()
    limits = httpx.Limits(max_connections=num_clients, max_keepalive_connections=num_clients)

    async def run_client(client: httpx.AsyncClient) -> None:
        while (number := next(numbers)) < num_requests:
            index = number % len(documents)
            started = time.perf_counter()
            response = await client.post(f"{url}/predict", json={"inputs": documents[index]})
            outcome.statuses[response.status_code] += 1
            if response.status_code == 200:
                outcome.latencies.append(time.perf_counter() - started)
                outcome.answers.append((index, response.json()))

    # `trust_env=False`: no proxy between the clients and the service.
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as client:
        started = time.perf_counter()
        await asyncio.gather(*(run_client(client) for _ in range(num_clients)))
        outcome.seconds = time.perf_counter() - started
    return outcome


def same_triples(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Returns whether two lists hold the same triples, with scores that differ by rounding alone."""

    def by_fact(triples: list[dict[str, Any]]) -> dict[tuple[int, str, int], dict[str, Any]]:
        return {(row["head"]["entity"], row["relation"], row["tail"]["entity"]): row for row in triples}

    found_rows, expected_rows = by_fact(found), by_fact(expected)
    return found_rows.keys() == expected_rows.keys() and all(
        {**row, "score": None} == {**expected_rows[fact], "score": None}
        and abs(row["score"] - expected_rows[fact]["score"]) <= TOLERANCE
        for fact, row in found_rows.items()
    )


def describe(name: str, outcome: Outcome, expected: list[list[dict[str, Any]]]) -> str:
    """Describes an outcome as a row of the table."""
    twentieths = statistics.quantiles(outcome.latencies, n=20, method="inclusive")
    num_equal = sum(same_triples(triples, expected[index]) for index, triples in outcome.answers)
    cells = [
        name,
        f"{len(outcome.answers) / outcome.seconds:.1f}",
        f"{twentieths[9] * 1000:.0f}",
        f"{twentieths[18] * 1000:.0f}",
        str(outcome.statuses[200]),
        str(outcome.statuses[429]),
        f"{num_equal} of {len(outcome.answers)}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="the checkpoint that the service runs")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service is")
    parser.add_argument("--documents", default="examples/re_docred_sample/dev.json", help="a JSON list of documents")
    parser.add_argument("--num_requests", type=int, default=200, help="requests of each row of the table")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="numbers of clients")
    parser.add_argument("--overload", type=int, default=256, help="requests at once in the last row")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 8, 16], help="of the pipeline")
    args = parser.parse_args()

    disable_progress_bar()
    with open(args.documents, encoding="utf-8") as file:
        documents = [document | {"labels": []} for document in json.load(file)]
    extractor = pipeline("document-relation-extraction", model=args.checkpoint, trust_remote_code=True)
    # Through JSON, as the answers: tuples become lists.
    expected = json.loads(json.dumps(extractor(documents, batch_size=1)))
    sent = [documents[index % len(documents)] for index in range(args.num_requests)]
    print("| | documents/s | p50 (ms) | p95 (ms) | 200 | 429 | equal to the pipeline |")
    print("|---|---|---|---|---|---|---|")
    for batch_size in args.batch_sizes:
        started = time.perf_counter()
        extractor(sent, batch_size=batch_size)
        speed = len(sent) / (time.perf_counter() - started)
        print(f"| `pipeline(batch_size={batch_size})` | {speed:.1f} | | | | | |", flush=True)
    for num_clients in args.clients:
        outcome = asyncio.run(send_requests(args.url, documents, args.num_requests, num_clients))
        assert sum(outcome.statuses.values()) == args.num_requests, "a request was lost"
        print(describe(f"{num_clients} client{'s' if num_clients > 1 else ''}", outcome, expected), flush=True)
    outcome = asyncio.run(send_requests(args.url, documents, args.overload, args.overload))
    assert sum(outcome.statuses.values()) == args.overload, "a request was lost"
    print(describe(f"{args.overload} at once", outcome, expected))


if __name__ == "__main__":
    main()
