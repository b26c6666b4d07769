"""A tiny model and its Trainer, for clients that push it to the test Hub."""

import json
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIConfig,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
)


SAMPLE = Path(__file__).parents[1] / "examples" / "re_docred_sample"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def sample_documents(count):
    """Returns the shortest documents of the sample."""
    documents = json.loads((SAMPLE / "train.json").read_text(encoding="utf-8"))
    return sorted(documents, key=lambda document: sum(map(len, document["sents"])))[:count]


def make_tokenizer(documents):
    """Makes a tokenizer with one token for each word of the documents."""
    words = {word for document in documents for sentence in document["sents"] for word in sentence}
    vocabulary = [*SPECIAL, "*", *sorted(words - {"*"})]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def make_processor(documents):
    relations = sorted({fact["r"] for document in documents for fact in document["labels"]})
    names = {"P17": "country"}
    return DocREIIProcessor(make_tokenizer(documents), ["Na", *relations], relation_names=names)


def save_checkpoint(folder):
    """Saves a tiny model and its processor, and returns the folder as a string."""
    processor = make_processor(sample_documents(4))
    make_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def make_encoder_config(tokenizer):
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
    )


def make_model(processor):
    torch.manual_seed(0)
    return DocREIIForRelationExtraction(
        DocREIIConfig(
            encoder_config=make_encoder_config(processor.tokenizer),
            id2label=dict(enumerate(processor.relations)),
            pair_hidden_size=12,
            pair_intermediate_size=20,
            pair_bilinear_rank=6,
            pair_feature_size=10,
            num_iterations=2,
            inference_hidden_size=16,
            inference_intermediate_size=12,
            initializer_range=0.3,
        )
    )


def make_trainer(documents, repository, **settings):
    """Makes a Trainer that trains a tiny model for two steps and pushes it to a repository."""
    processor = make_processor(documents)
    arguments = {
        "output_dir": repository.split("/")[1],
        "push_to_hub": True,
        "hub_model_id": repository,
        "max_steps": 2,
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": "none",
    }
    return DocREIITrainer(
        model=make_model(processor),
        args=DocREIITrainingArguments(**(arguments | settings)),
        train_dataset=Dataset.from_dict(dict(processor(documents, return_labels=True))),
        data_collator=DataCollatorForRelationExtraction(processor.tokenizer),
        processing_class=processor,
    )
