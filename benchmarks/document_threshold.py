"""
Measures what `document_threshold_weight` is worth for a trained model.

    python benchmarks/document_threshold.py --checkpoint outputs/quickstart --validation_file DEV.json
    python benchmarks/document_threshold.py --checkpoint outputs/cdr_minilm --dataset_name cdr --data_dir CDR_FOLDER \
        --mesh_tree_file 2017MeshTree.txt

F1 of the base module and of the last iteration on the validation documents, at the best and at held-out thresholds,
with the hypernym filter of CDR if there is a tree. And what it costs: from the same documents without the entities of
their facts, so that no fact is left, in how many the calibrated model predicts one. The model is not changed: set the
weight in its `config.json`, or in `model_kwargs` of a training.
"""

import argparse
import tempfile

import torch

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
)
from modeling_docre_ii.decoding import predicted_facts
from modeling_docre_ii.entity_pairs import candidate_pairs


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a trained model")
    parser.add_argument("--dataset_name", default="re_docred", help="corpus of the documents, as for run_docre.py")
    parser.add_argument("--validation_file", nargs="+", help="its files")
    parser.add_argument("--data_dir", help="its folder, in place of files")
    parser.add_argument("--mesh_tree_file", help="CDR: the MeSH tree")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0])
    parser.add_argument("--batch_size", type=int, default=4)
    return parser.parse_args()


def read_documents(args):
    corpus = load_corpus(
        args.dataset_name,
        files={"validation": args.validation_file} if args.validation_file else None,
        data_dir=args.data_dir,
        mesh_tree_file=args.mesh_tree_file,
    )
    return list(corpus.documents("validation"))


def without_facts(documents, processor):
    """Yields documents without the entities of their facts, if there is still a pair of others."""
    for document in documents:
        related = {fact[side] for fact in document["labels"] for side in ("h", "t")}
        entities = [mentions for entity, mentions in enumerate(document["vertexSet"]) if entity not in related]
        remains = {"title": document["title"], "sents": document["sents"], "vertexSet": entities}
        if any(map(any, candidate_pairs(remains, processor.candidate_types))):
            yield remains


@torch.inference_mode()
def share_with_facts(model, processor, documents, batch_size):
    """Returns for how many of the documents, in percent, the last iteration predicts a fact."""
    count = 0
    for start in range(0, len(documents), batch_size):
        inputs = processor(documents[start : start + batch_size], return_tensors="pt")
        facts, _ = predicted_facts(model(**inputs).logits, processor.max_labels_per_pair)
        count += len(facts[:, 0].unique())
    return 100 * count / max(len(documents), 1)


def main():
    args = parse_arguments()
    documents = read_documents(args)
    model = DocREIIForRelationExtraction.from_pretrained(args.checkpoint)
    processor = DocREIIProcessor.from_pretrained(args.checkpoint)
    with tempfile.TemporaryDirectory() as folder:  # a Trainer makes its output folder
        training_args = DocREIITrainingArguments(
            output_dir=folder,
            per_device_eval_batch_size=args.batch_size,
            calibrate_threshold=True,  # so that predictions below the threshold are scored as well
            report_to=[],
            disable_tqdm=True,
        )
        trainer = DocREIITrainer(model=model, args=training_args, processing_class=processor, eval_dataset=documents)
    free = list(without_facts(documents, processor))
    biases = {name: value.clone() for name, value in model.state_dict().items() if name.endswith("classifier.bias")}
    print(f"{len(documents)} documents, at the best and at held-out thresholds; {len(free)} without facts")
    names = {"base": "base_", "full": ""} if model.config.num_iterations else {"base": ""}
    heads = [text for name in names for text in (f"{name}, best", f"{name}, held-out")]
    print(f"{'weight':>6}" + "".join(f"{head:>16}" for head in (*heads, "fact-free, in %")))
    for weight in args.weights:
        model.config.document_threshold_weight, model.config.document_threshold_offset = weight, 0.0
        trainer.calibrate_threshold()  # predictions far below the threshold are not scored
        metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval").metrics
        scores = [
            metrics[f"eval_{prefix}{kind}f1"]
            for prefix in names.values()
            for kind in ("calibrated_", "cross_calibrated_")
        ]
        scores.append(share_with_facts(model, processor, free, args.batch_size))
        print(f"{weight:>6g}" + "".join(f"{score:>16.2f}" for score in scores), flush=True)
        model.load_state_dict(biases, strict=False)  # without a weight, calibration moves a bias


if __name__ == "__main__":
    main()
