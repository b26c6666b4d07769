"""
Measures what `document_threshold_weight` is worth for a trained model.

    python benchmarks/document_threshold.py --checkpoint outputs/quickstart --validation_file DEV.json
    python benchmarks/document_threshold.py --checkpoint outputs/cdr_minilm --dataset_name cdr --data_dir CDR_FOLDER \
        --mesh_tree_file 2017MeshTree.txt

F1 of the base module and of the last iteration on the validation documents, at the best and at held-out thresholds,
with the hypernym filter of CDR if there is a tree. The model is not changed: set the weight in its `config.json`, or
in `model_kwargs` of a training.
"""

import argparse
import tempfile

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
)


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
    print(f"{len(documents)} documents, at the best and at held-out thresholds")
    names = {"base": "base_", "full": ""} if model.config.num_iterations else {"base": ""}
    print(f"{'weight':>6}" + "".join(f"{f'{name}, best':>12}{f'{name}, held-out':>16}" for name in names))
    for weight in args.weights:
        model.config.document_threshold_weight, model.config.document_threshold_offset = weight, 0.0
        if weight:
            trainer.calibrate_threshold()  # predictions far below the threshold are not scored
        metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval").metrics
        scores = [
            f"{metrics[f'eval_{prefix}calibrated_f1']:>12.2f}{metrics[f'eval_{prefix}cross_calibrated_f1']:>16.2f}"
            for prefix in names.values()
        ]
        print(f"{weight:>6g}" + "".join(scores), flush=True)


if __name__ == "__main__":
    main()
