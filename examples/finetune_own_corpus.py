#!/usr/bin/env python
"""
Own documents with own relations -> a checkpoint, in Python.

    python examples/finetune_own_corpus.py --model_name_or_path outputs/quickstart --output_dir outputs/own_corpus
    python examples/finetune_own_corpus.py --model_name_or_path google-bert/bert-base-cased --output_dir outputs/own \
        --push_to_hub true --hub_model_id org/docre-ii-companies

Starts from a DocRE-II checkpoint, whose classifiers are made new for the relations, or from any text encoder of
`AutoModel`: then this trains the base module alone. Both stages in one command, without a line of Python:
`run_docre.py --relations_file RELATIONS.json` (see the README). Any of transformers' `TrainingArguments` can be given.
"""

import json
from dataclasses import dataclass, field

from transformers import AutoConfig, AutoTokenizer, HfArgumentParser, pipeline, set_seed

from dataset_scripts.docred import DocRED
from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
    make_compute_metrics,
)
from modeling_docre_ii.documents import with_relation_ids


@dataclass
class OwnCorpusArguments:
    """What is trained on what."""

    model_name_or_path: str = field(metadata={"help": "A DocRE-II checkpoint or a text encoder."})
    train_file: str = field(
        default="examples/own_corpus/train.json",
        metadata={"help": "JSON list of documents: plain texts with character spans, or in DocRED's form."},
    )
    validation_file: str = field(default="examples/own_corpus/dev.json", metadata={"help": "The same, to score on."})
    relations_file: str = field(
        default="examples/own_corpus/relations.json", metadata={"help": "JSON object: relation id -> readable name."}
    )


def load_model(path: str, relation_names: dict[str, str]) -> tuple[DocREIIForRelationExtraction, DocREIIProcessor]:
    relations = list(relation_names)
    names = {"relations": relations, "relation_names": relation_names}
    label_map = {
        "id2label": dict(enumerate(relations)),
        "label2id": {relation: index for index, relation in enumerate(relations)},
    }
    if AutoConfig.from_pretrained(path).model_type == "docre_ii":
        model = DocREIIForRelationExtraction.from_pretrained(path, **label_map, ignore_mismatched_sizes=True)
        return model, DocREIIProcessor.from_pretrained(path, **names)
    processor = DocREIIProcessor(AutoTokenizer.from_pretrained(path), mention_anchor="token", **names)
    model = DocREIIForRelationExtraction.from_encoder_pretrained(
        path,
        num_iterations=0,
        num_prefix_tokens=processor.num_prefix_tokens,
        num_suffix_tokens=processor.num_suffix_tokens,
        **label_map,
    )
    return model, processor


def main() -> None:
    parser = HfArgumentParser((OwnCorpusArguments, DocREIITrainingArguments))
    parser.set_defaults(num_train_epochs=20, per_device_train_batch_size=2, logging_steps=10)
    parser.set_defaults(encoder_learning_rate=1e-4, base_learning_rate=1e-4, learning_rate=5e-4)
    own, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)

    with open(own.relations_file, encoding="utf-8") as file:
        builder = DocRED(
            relations=json.load(file), data_files={"train": own.train_file, "validation": own.validation_file}
        )
    builder.download_and_prepare()
    relations = list(builder.relation_names)
    documents = {
        split: [with_relation_ids(row, relations) for row in rows] for split, rows in builder.as_dataset().items()
    }
    model, processor = load_model(own.model_name_or_path, builder.relation_names)

    def encode(split):
        features = processor(documents[split], return_labels=True)
        rows = [dict(zip(features, values)) for values in zip(*features.values())]
        return [row | {"document_index": index} for index, row in enumerate(rows)]

    trainer = DocREIITrainer(
        model=model,
        args=args,
        train_dataset=[{key: row[key] for key in row if key != "document_index"} for row in encode("train")],
        eval_dataset=encode("validation"),
        data_collator=DataCollatorForRelationExtraction(processor.tokenizer),
        processing_class=processor,
        compute_metrics=make_compute_metrics(documents["validation"], relations),
    )
    trainer.train()
    metrics = trainer.evaluate()
    print(f"F1 on {len(documents['validation'])} documents: {metrics['eval_f1']:.2f}")
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()

    # Back as anyone would load it.
    extractor = pipeline(
        "document-relation-extraction", model=args.hub_model_id if args.push_to_hub else args.output_dir
    )
    with open(own.validation_file, encoding="utf-8") as file:
        document = json.load(file)[0]
    for triple in extractor(document):
        head, tail = triple["head"]["name"], triple["tail"]["name"]
        print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")


if __name__ == "__main__":
    main()
