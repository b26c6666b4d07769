"""Measures all scores of random predictions on one core."""

import argparse
import json
import platform
import random
import statistics
import time
from pathlib import Path

from modeling_docre_ii import named_facts, score_facts


SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "re_docred_sample"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--documents",
        type=Path,
        default=SAMPLE / "dev.json",
        help="JSON file of documents in DocRED's form (default: the sample of Re-DocRED)",
    )
    parser.add_argument(
        "--train-documents",
        type=Path,
        default=SAMPLE / "train.json",
        help="JSON file of the documents whose facts Ign F1 ignores (default: the sample of Re-DocRED)",
    )
    parser.add_argument("--num-documents", type=int, default=1000, help="the file is repeated, or cut, to this many")
    parser.add_argument("--num-predictions", type=int, default=40000)
    parser.add_argument("--runs", type=int, default=5, help="the median of this many runs is printed")
    return parser.parse_args()


def repeated(documents: list[dict], count: int) -> list[dict]:
    """Returns `count` documents with different titles."""
    copies = (documents[index % len(documents)] for index in range(count))
    return [{**document, "title": f"{document['title']} ({index})"} for index, document in enumerate(copies)]


def random_predictions(documents: list[dict], count: int) -> list[dict]:
    """Returns predictions: gold facts and random ones, about half of each."""
    generator = random.Random(0)
    gold = [(document["title"], label) for document in documents for label in document["labels"]]
    relations = sorted({label["r"] for _, label in gold})
    # A single entity makes no pair.
    related = [document for document in documents if len(document["vertexSet"]) > 1]
    predictions = [
        {"title": title, "h_idx": label["h"], "t_idx": label["t"], "r": label["r"], "evidence": label.get("evidence")}
        for title, label in generator.sample(gold, min(count // 2, len(gold)))
    ]
    while len(predictions) < count:
        document = generator.choice(related)
        head, tail = generator.sample(range(len(document["vertexSet"])), 2)
        evidence = [generator.randrange(len(document["sents"]))]
        fact = {"h_idx": head, "t_idx": tail, "r": generator.choice(relations), "evidence": evidence}
        predictions.append({"title": document["title"], **fact})
    generator.shuffle(predictions)
    return predictions


def median_seconds(function, runs: int) -> float:
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    arguments = parse_arguments()
    documents = repeated(json.loads(arguments.documents.read_text(encoding="utf-8")), arguments.num_documents)
    train_facts = named_facts(json.loads(arguments.train_documents.read_text(encoding="utf-8")))
    predictions = random_predictions(documents, arguments.num_predictions)
    scores = score_facts(predictions, documents, train_facts)
    seconds = median_seconds(lambda: score_facts(predictions, documents, train_facts), arguments.runs)

    print(f"machine: {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"documents: {len(documents):,}, after {arguments.documents.name}, {len(predictions):,} predictions")
    print(f"scores: {len(scores)}, among them F1 {scores['f1']:.2f} and Ign F1 {scores['ign_f1']:.2f}")
    print(f"time: {seconds:.3f} s (median of {arguments.runs} runs)")


if __name__ == "__main__":
    main()
