r"""
Measures what the relation matrix could be worth at most: what true relations of the other pairs add to a base module.

    python benchmarks/gain_limit.py --cross_fitted outputs/cross_fitted --train_documents TRAIN.json \
      --documents DEV.json

A cross-fitted run (`run_docre.py --cross_fit_folds 3`) has predictions of its training documents by bases that have
not seen them. Small inference modules are trained on these and correct the base module of the run, which stays as it
is. They read logits only. The logits of the other pairs are

- `predictions`: what the base module predicts, as always;
- `gold, 1/2` and `gold, 3/4`: the true relations for this share of the pairs, drawn at random, and predictions for
  the rest. Only the rest is learned and scored. Every pair is in the rest once, so that none is ever told its own
  relations.

One iteration. F1 is that at the best threshold, Infer F1 that of pairs with a two-step path of gold facts, at the same
threshold; `gain` is over the base module, `+-` the standard deviation over the seeds.
"""

import argparse
import json
import math
import statistics
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.entity_pairs import EntityPairs, dense_labels
from modeling_docre_ii.inference_module import InferenceModule
from modeling_docre_ii.losses import adaptive_threshold_loss
from modeling_docre_ii.training.calibration import best_threshold, f1_at_threshold, shifted_scores
from modeling_docre_ii.training.cross_fitting import CrossFittedDocuments
from modeling_docre_ii.training.encoding import encode_dataset


# The number of groups into which the pairs of a document are shared. One of them has predictions, the others gold.
NUM_GROUPS = {"predictions": 1, "gold, 1/2": 2, "gold, 3/4": 4}
# How far the logits of gold relations are above or below the threshold class.
SURE_MARGIN = 6.0


class Document(NamedTuple):
    """The candidate pairs of a document: their index, logits of a base module, and labels."""

    pairs: EntityPairs
    logits: torch.Tensor
    labels: torch.Tensor
    is_inferred: torch.Tensor


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cross_fitted", type=Path, required=True, help="output folder of a run with cross_fit_folds")
    parser.add_argument("--train_documents", type=Path, required=True, help="JSON list, the training file of the run")
    parser.add_argument("--documents", type=Path, required=True, help="JSON list with labels, to score on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--num_train_epochs", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--hidden_size", type=int, default=128)
    return parser.parse_args()


def make_document(pair_mask, facts, logits_of, num_labels):
    """Indexes the pairs of a document; `logits_of` is given the index."""
    pairs = EntityPairs.from_mask(torch.as_tensor(pair_mask)[None])
    labels = dense_labels(torch.as_tensor(facts).long().view(1, -1, 3), pairs.num_entities, num_labels)
    related = labels[0, :, :, 1:].any(-1).float()
    two_steps = (related @ related > 0)[None, :, :, None]
    return Document(pairs, logits_of(pairs).float(), pairs.to_rows(labels), pairs.to_rows(two_steps)[:, 0])


@torch.no_grad()
def read_documents(args, model, processor):
    """Returns the training documents with the logits of the folds, and the others with those of the model."""
    encoded = encode_dataset(json.loads(args.train_documents.read_text(encoding="utf-8")), processor)
    fold_files = sorted(args.cross_fitted.glob("stage_1/fold_*/held_out_logits.safetensors"))
    if not fold_files:
        raise SystemExit(f"{args.cross_fitted} has no predictions of folds: run `run_docre.py --cross_fit_folds 3`")
    train = [
        make_document(row["pair_mask"], row["labels"], lambda _, row=row: row["base_logits"], model.config.num_labels)
        for row in CrossFittedDocuments(encoded, fold_files)
    ]
    scored = []
    for document in json.loads(args.documents.read_text(encoding="utf-8")):
        inputs = processor([document], return_labels=True, return_tensors="pt")
        given = {name: inputs[name] for name in processor.model_input_names}
        scored.append(
            make_document(
                inputs["pair_mask"][0],
                inputs["labels"],
                lambda pairs, given=given: model.docre_ii(**given, pairs=pairs).pair_logits,
                model.config.num_labels,
            )
        )
    return train, scored


def draw_groups(document, matrix):
    return torch.randint(NUM_GROUPS[matrix], document.logits.shape[:1])


def refined_logits(module, document, is_hidden):
    """Returns logits of the pairs whose relations are hidden, refined by one iteration over all pairs."""
    gold = torch.where(document.labels, SURE_MARGIN, -SURE_MARGIN)
    gold[:, 0] = 0.0
    shown = torch.where(is_hidden[:, None], document.logits, gold)
    return (document.logits + module(None, shown, document.pairs).logits[0])[is_hidden]


def hidden_loss(module, document, matrix):
    is_hidden = draw_groups(document, matrix) == 0
    return adaptive_threshold_loss(refined_logits(module, document, is_hidden), document.labels[is_hidden])


def train(args, config, documents, matrix):
    module = InferenceModule(config, config.pair_feature_size).train()
    torch.nn.init.zeros_(module.classifier.weight)  # what is not learned yet changes nothing
    optimizer = torch.optim.AdamW(module.parameters(), lr=args.learning_rate, weight_decay=0.01)
    num_steps = args.num_train_epochs * math.ceil(len(documents) / args.batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
    for _ in range(args.num_train_epochs):
        for places in torch.randperm(len(documents)).split(args.batch_size):
            torch.cat([hidden_loss(module, documents[place], matrix) for place in places.tolist()]).mean().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return module.eval()


@torch.no_grad()
def predict(module, document, matrix):
    """Returns logits of all pairs, each with its own relations hidden."""
    groups, logits = draw_groups(document, matrix), torch.empty_like(document.logits)
    for group in range(NUM_GROUPS[matrix]):
        logits[groups == group] = refined_logits(module, document, groups == group)
    return logits


def score(documents, logits):
    """Returns F1 at the best threshold, and Infer F1 there."""
    scores = torch.cat([(rows[:, 1:] - rows[:, :1]).sigmoid() for rows in logits]).numpy()
    is_correct = torch.cat([document.labels[:, 1:] for document in documents]).numpy()
    is_inferred = torch.cat([document.is_inferred for document in documents]).numpy()
    shift, f1 = best_threshold(scores.ravel(), is_correct.ravel(), int(is_correct.sum()))
    scores = shifted_scores(scores, np.full(scores.shape, shift))
    inferred = is_correct[is_inferred]
    return f1, f1_at_threshold(scores[is_inferred], inferred, int(inferred.sum()))


def train_and_score(args, config, documents, scored, matrix, seed):
    torch.manual_seed(seed)
    module = train(args, config, documents, matrix)
    return score(scored, [predict(module, document, matrix) for document in scored])


def module_config(args, config):
    config = deepcopy(config)
    options = {"inference_hidden_size": args.hidden_size, "inference_intermediate_size": args.hidden_size}
    options |= {"num_iterations": 1, "inference_features": "logits", "relation_embedding": "soft"}
    # The logits that it adds to are added here, since those that it is shown are others.
    options |= {"add_base_logits": False, "inference_margin": None}
    for name, value in options.items():
        setattr(config, name, value)
    return config


def main():
    args = parse_arguments()
    folder = args.cross_fitted / "stage_1"
    model = DocREIIForRelationExtraction.from_pretrained(folder, num_iterations=0).eval()
    documents, scored = read_documents(args, model, DocREIIProcessor.from_pretrained(folder))
    base = score(scored, [document.logits for document in scored])
    print(
        f"{len(documents)} documents trained on, {len(scored)} scored, seeds {args.seeds}, torch {torch.__version__}"
    )
    print(f"{'other pairs':<14}{'F1':>8}{'gain':>8}{'+-':>6}{'Infer F1':>10}{'gain':>8}{'+-':>6}")
    print(f"{'base module':<14}{base[0]:>8.2f}{'':>14}{base[1]:>10.2f}", flush=True)
    config = module_config(args, model.config)
    for matrix in NUM_GROUPS:
        runs = [train_and_score(args, config, documents, scored, matrix, seed) for seed in args.seeds]
        line = f"{matrix:<14}"
        for found, start, width in zip(zip(*runs), base, (8, 10)):
            spread = statistics.stdev(found) if len(found) > 1 else 0.0
            line += f"{statistics.mean(found):>{width}.2f}{statistics.mean(found) - start:>+8.2f}{spread:>6.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
