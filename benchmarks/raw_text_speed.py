"""
Measures the parts of reading raw text: finding mentions, linking them, relations.

    python benchmarks/raw_text_speed.py --checkpoint outputs/quickstart
    python benchmarks/raw_text_speed.py --checkpoint outputs/redocred_minilm --documents DEV.json --num_documents 64

Documents in DocRED's form are written as plain texts. The parts take turns on each batch. A time is the median over
rounds, after one that warms up.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from transformers import pipeline

import modeling_docre_ii  # noqa: F401  # registers the pipeline
from modeling_docre_ii.evaluation.plain_texts import plain_text_of


ROOT = Path(__file__).parents[1]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a trained model with a mention model")
    parser.add_argument("--mention_extractor", help="a token-classification model (default: the checkpoint's own)")
    parser.add_argument("--documents", default=str(ROOT / "examples/re_docred_sample/dev.json"))
    parser.add_argument("--num_documents", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def run_round(extractor, batches):
    """Returns the seconds of each part for all batches."""
    finder = extractor.entity_finder
    seconds = {"mentions": 0.0, "mentions and linking": 0.0, "relations": 0.0}
    for batch in batches:
        started = time.perf_counter()
        finder.extractor([text["text"] for text in batch])
        found = time.perf_counter()
        documents = extractor.find_entities(batch)
        linked = time.perf_counter()
        extractor(documents, batch_size=len(batch))
        seconds["mentions"] += found - started
        seconds["mentions and linking"] += linked - found
        seconds["relations"] += time.perf_counter() - linked
    return seconds


def main():
    args = parse_arguments()
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))[: args.num_documents]
    texts = [{"title": text["title"], "text": text["text"]} for text in map(plain_text_of, documents)]
    texts.sort(key=lambda text: len(text["text"]))
    batches = [texts[start : start + args.batch_size] for start in range(0, len(texts), args.batch_size)]
    extractor = pipeline(
        "document-relation-extraction", model=args.checkpoint, mention_extractor=args.mention_extractor
    )
    rounds = [run_round(extractor, batches) for _ in range(args.rounds + 1)][1:]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32; {len(texts)} documents")
    print(f"{'':22}{'documents/s':>12}{'x relations':>13}")
    for part in rounds[0]:
        median = statistics.median(seconds[part] for seconds in rounds)
        ratio = statistics.median(seconds[part] / seconds["relations"] for seconds in rounds)
        print(f"{part:22}{len(texts) / median:>12.1f}{ratio:>13.2f}")


if __name__ == "__main__":
    main()
