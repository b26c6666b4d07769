"""
Measures what `inference_margin` saves and costs: pairs, time and F1 of a trained model.

    python benchmarks/inference_margin.py --checkpoint outputs/redocred_minilm --documents DEV.json

Time is relative to the bare encoder: both read the same batches, and all margins take turns on each batch. A ratio is
the median over rounds, after one that warms up. F1 is that of the last iteration on all documents, at the model's own
threshold and at the best one. `1 iteration` is the share of documents whose relation matrix the first iteration did
not change, so that no other is computed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
from model_cost import encoder_step, make_batches, run_round

from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
)
from modeling_docre_ii.entity_pairs import ActivePairs, EntityPairs
from modeling_docre_ii.relation_matrix import changed_documents


MARGINS = (None, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a trained model with an inference module")
    parser.add_argument("--documents", required=True, help="JSON list of documents in DocRED's form, with labels")
    parser.add_argument("--num_documents", type=int, default=64, help="documents that are timed")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.set_defaults(bf16=False)
    return parser.parse_args()


def with_margin(margin):
    """Returns a forward pass with a margin."""

    def forward(batch, model):
        model.config.inference_margin = margin
        return model(**batch)

    return forward


def time_ratios(args, model, processor):
    """Returns the time of each margin relative to the bare encoder."""
    variants = {"bare encoder": (model.docre_ii.encoder, encoder_step, None)}
    variants |= {margin: (model, with_margin(margin), None) for margin in MARGINS}
    batches = make_batches(args, processor)
    rounds = [run_round("inference", variants, batches, args) for _ in range(args.rounds + 1)][1:]
    return {
        margin: statistics.median(seconds[margin] / seconds["bare encoder"] for seconds in rounds)
        for margin in MARGINS
    }


@torch.inference_mode()
def count(model, batches):
    """Returns the share of active pairs, and that of the documents that the first iteration does not change."""
    num_active = num_pairs = num_fixed = num_documents = 0
    for batch in batches:
        pairs = EntityPairs.from_mask(batch["pair_mask"])
        given = {name: tensor for name, tensor in batch.items() if name not in ("labels", "evidence")}
        output = model.docre_ii(**given, pairs=pairs)
        base = output.pair_logits
        first = model.inference_module(output.pair_features, base, pairs).logits[0]
        active = ActivePairs.within_margin(base, pairs, model.config.inference_margin)
        before, after = (model.inference_module.read_relations(active.select(rows)) for rows in (base, first))
        changed, _ = changed_documents(before, after, active.pairs)
        num_fixed += 0 if isinstance(changed, slice) else int((~changed).sum())
        num_active, num_pairs = num_active + len(active.pairs.document), num_pairs + len(base)
        num_documents += pairs.num_documents
    return num_active / num_pairs, num_fixed / num_documents


def main():
    args = parse_arguments()
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))
    model = DocREIIForRelationExtraction.from_pretrained(args.checkpoint).eval()
    processor = DocREIIProcessor.from_pretrained(args.checkpoint)
    ratios = time_ratios(args, model, processor)
    with tempfile.TemporaryDirectory() as folder:  # a Trainer makes its output folder
        training_args = DocREIITrainingArguments(
            output_dir=folder,
            calibrate_threshold=True,  # so that predictions below the threshold are scored as well
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = DocREIITrainer(model=model, args=training_args, processing_class=processor, eval_dataset=documents)
    args.num_documents = len(documents)
    batches = make_batches(args, processor)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32; {len(documents)} documents")
    print(f"{'margin':>6}{'pairs left':>12}{'x encoder':>11}{'F1':>8}{'best F1':>9}{'1 iteration':>13}")
    for margin in MARGINS:
        model.config.inference_margin = margin
        metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval").metrics
        share, fixed = count(model.eval(), batches)
        scores = f"{metrics['eval_f1']:>8.2f}{metrics['eval_calibrated_f1']:>9.2f}"
        print(f"{str(margin):>6}{share:>12.1%}{ratios[margin]:>11.2f}{scores}{fixed:>13.0%}")


if __name__ == "__main__":
    main()
