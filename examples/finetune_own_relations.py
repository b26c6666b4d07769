#!/usr/bin/env python
"""
Fine-tune DocRE-II on your own documents and relations, in Python.

    python examples/finetune_own_relations.py --model_name_or_path outputs/quickstart --output_dir outputs/own
    python examples/finetune_own_relations.py --model_name_or_path google-bert/bert-base-cased \
        --output_dir outputs/own --push_to_hub true --hub_model_id YOU/docre-ii-companies

Start from a DocRE-II checkpoint or from a text encoder. A checkpoint keeps everything that it has learned but the
relations that are none of yours. An encoder is trained in both stages.

The documents of `examples/own_corpus` show the form. They are far too few to learn from. All arguments of
transformers' `TrainingArguments` work. `run_docre.py --relations_file RELATIONS.json` does the same from the command
line.
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


SUMMARY = "Fine-tune DocRE-II on your own documents and relations."


@dataclass
class OwnCorpusArguments:
    """The model to start from, and the documents."""

    model_name_or_path: str = field(metadata={"help": "A DocRE-II checkpoint or a text encoder."})
    train_file: str = field(
        default="examples/own_corpus/train.json",
        metadata={"help": "JSON list of documents: plain texts with character spans, or in DocRED's form."},
    )
    validation_file: str = field(
        default="examples/own_corpus/dev.json", metadata={"help": "JSON list of documents to score."}
    )
    relations_file: str = field(
        default="examples/own_corpus/relations.json", metadata={"help": "JSON object: relation id -> readable name."}
    )


def train_checkpoint(checkpoint, relations, documents, dev_documents, args):
    """Trains a DocRE-II checkpoint on other relations, and returns its Trainer."""
    processor = DocREIIProcessor.from_pretrained(checkpoint, relations=relations)
    model = DocREIIForRelationExtraction.from_pretrained(checkpoint).with_relations(processor.relations)
    trainer = DocREIITrainer(
        model=model, args=args, train_dataset=documents, eval_dataset=dev_documents, processing_class=processor
    )
    trainer.train()
    return trainer


def train_encoder(encoder, relations, documents, dev_documents, args):
    """Trains both stages on a text encoder, and returns the Trainer of the second."""
    processor = DocREIIProcessor.from_encoder_pretrained(encoder, relations=relations)
    data = {"train_dataset": documents, "eval_dataset": dev_documents, "processing_class": processor}

    # Stage 1: the encoder and the base module.
    stage_1_args = copy.copy(args)
    stage_1_args.output_dir, stage_1_args.push_to_hub = os.path.join(args.output_dir, "stage_1"), False
    model = DocREIIForRelationExtraction.from_encoder_pretrained(encoder, processor=processor, num_iterations=0)
    stage_1 = DocREIITrainer(model=model, args=stage_1_args, **data)
    stage_1.train()
    stage_1.save_model()

    # Stage 2: an inference module on top of it.
    model = DocREIIForRelationExtraction.from_base_pretrained(stage_1_args.output_dir)
    stage_2 = DocREIITrainer(model=model, args=args, **data)
    stage_2.train()
    return stage_2


def main() -> None:
    parser = HfArgumentParser((OwnCorpusArguments, DocREIITrainingArguments), description=SUMMARY)
    parser.set_defaults(num_train_epochs=20, per_device_train_batch_size=2, logging_steps=10)
    parser.set_defaults(encoder_learning_rate=1e-4, base_learning_rate=1e-4, learning_rate=5e-4)
    own, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)

    # 1. Relations and documents are plain JSON.
    relations, documents, dev_documents = (
        json.loads(Path(path).read_text(encoding="utf-8"))
        for path in (own.relations_file, own.train_file, own.validation_file)
    )

    # 2. Train. The Trainer encodes the documents.
    is_checkpoint = AutoConfig.from_pretrained(own.model_name_or_path).model_type == "docre_ii"
    train = train_checkpoint if is_checkpoint else train_encoder
    trainer = train(own.model_name_or_path, relations, documents, dev_documents, args)

    # 3. Score, save and, with `--push_to_hub true`, publish the model with its model card.
    print(f"F1 on {len(dev_documents)} documents: {trainer.evaluate()['eval_f1']:.2f}")
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()

    # 4. Anyone can now load it:
    model = args.hub_model_id if args.push_to_hub else args.output_dir
    extractor = pipeline("document-relation-extraction", model=model)
    for triple in extractor(dev_documents[0]):
        head, tail = triple["head"]["name"], triple["tail"]["name"]
        print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")


if __name__ == "__main__":
    main()
