#!/usr/bin/env python
"""
Fine-tune DocRE-II on your own documents and relations, in Python.

    python examples/finetune_own_corpus.py --model_name_or_path google-bert/bert-base-cased --output_dir outputs/own
    python examples/finetune_own_corpus.py --model_name_or_path outputs/quickstart --output_dir outputs/own \
        --push_to_hub true --hub_model_id org/docre-ii-companies

A text encoder is trained in both stages. A DocRE-II checkpoint keeps all it has learned but its classifiers, which are
made new for your relations. Any of transformers' `TrainingArguments` can be given. The same without a line of Python:
`run_docre.py --relations_file RELATIONS.json` (see the README).
"""

import copy
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoConfig, HfArgumentParser, pipeline, set_seed

from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
)


@dataclass
class OwnCorpusArguments:
    """Which model is trained on which documents."""

    model_name_or_path: str = field(metadata={"help": "A text encoder or a DocRE-II checkpoint."})
    train_file: str = field(
        default="examples/own_corpus/train.json",
        metadata={"help": "JSON list of documents: plain texts with character spans, or in DocRED's form."},
    )
    validation_file: str = field(default="examples/own_corpus/dev.json", metadata={"help": "The same, to score on."})
    relations_file: str = field(
        default="examples/own_corpus/relations.json", metadata={"help": "JSON object: relation id -> readable name."}
    )


def train_encoder(encoder, relations, documents, dev_documents, args):
    """Trains both stages, and returns the Trainer of the second."""
    processor = DocREIIProcessor.from_encoder_pretrained(encoder, relations=relations)
    data = {"train_dataset": documents, "eval_dataset": dev_documents, "processing_class": processor}

    stage_1_args = copy.copy(args)
    stage_1_args.output_dir, stage_1_args.push_to_hub = os.path.join(args.output_dir, "stage_1"), False
    model = DocREIIForRelationExtraction.from_encoder_pretrained(encoder, processor=processor, num_iterations=0)
    stage_1 = DocREIITrainer(model=model, args=stage_1_args, **data)
    stage_1.train()
    stage_1.save_model()

    model = DocREIIForRelationExtraction.from_base_pretrained(stage_1_args.output_dir)
    stage_2 = DocREIITrainer(model=model, args=args, **data)
    stage_2.train()
    return stage_2


def train_checkpoint(checkpoint, relations, documents, dev_documents, args):
    """Trains a DocRE-II model on other relations, and returns its Trainer."""
    processor = DocREIIProcessor.from_pretrained(checkpoint, relations=relations)
    model = DocREIIForRelationExtraction.from_pretrained(
        checkpoint, **processor.label_maps, ignore_mismatched_sizes=True
    )
    trainer = DocREIITrainer(
        model=model, args=args, train_dataset=documents, eval_dataset=dev_documents, processing_class=processor
    )
    trainer.train()
    return trainer


def main() -> None:
    parser = HfArgumentParser((OwnCorpusArguments, DocREIITrainingArguments))
    parser.set_defaults(num_train_epochs=20, per_device_train_batch_size=2, logging_steps=10)
    parser.set_defaults(encoder_learning_rate=1e-4, base_learning_rate=1e-4, learning_rate=5e-4)
    own, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)
    relations, documents, dev_documents = (
        json.loads(Path(path).read_text(encoding="utf-8"))
        for path in (own.relations_file, own.train_file, own.validation_file)
    )
    is_checkpoint = AutoConfig.from_pretrained(own.model_name_or_path).model_type == "docre_ii"
    train = train_checkpoint if is_checkpoint else train_encoder
    trainer = train(own.model_name_or_path, relations, documents, dev_documents, args)
    print(f"F1 on {len(dev_documents)} documents: {trainer.evaluate()['eval_f1']:.2f}")
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()

    # Anyone can now load it:
    model = args.hub_model_id if args.push_to_hub else args.output_dir
    extractor = pipeline("document-relation-extraction", model=model)
    for triple in extractor(dev_documents[0]):
        head, tail = triple["head"]["name"], triple["tail"]["name"]
        print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")


if __name__ == "__main__":
    main()
