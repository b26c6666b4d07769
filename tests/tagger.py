"""A token-classification model that knows some names, made by hand."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast


NAMES = {
    "PER": ["Ada Lovelace", "Lord Byron", "Charles Babbage", "Babbage"],
    "LOC": ["London", "England", "English", "Rabaul"],
    "ORG": ["Lark Force"],
    "MISC": ["Analytical Engine"],
}


def save_tagger(folder: Path, names: dict[str, list[str]] | None = None, model: type = models.WordPiece) -> None:
    """
    Saves a model that labels the words of names, whatever is beside them, and nothing else.

    transformers knows where words end from the pieces of a WordPiece tokenizer, and guesses with any other.

    Args:
        folder (`Path`): The folder.
        names (`dict[str, list[str]]`, *optional*): Names by type. Defaults to `NAMES`.
        model (`type`, *optional*): Class of the tokenizer's model.
    """
    names = NAMES if names is None else names
    labels = ["O", *(f"{place}-{kind}" for kind in names for place in "BI")]
    known: dict[str, set[str]] = {}
    for kind, of_kind in names.items():
        for name in of_kind:
            for index, word in enumerate(name.split()):
                known.setdefault(word, set()).add(f"{'I' if index else 'B'}-{kind}")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", *known]
    backend = Tokenizer(model({word: index for index, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    # No layer: the label of a word is the place of the 1 in its embedding.
    size = len(labels) + 1
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=size,
        num_hidden_layers=0,
        num_attention_heads=1,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    tagger = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in tagger.bert.embeddings.parameters():
            parameter.zero_()
        tagger.bert.embeddings.LayerNorm.weight.fill_(1.0)
        tagger.classifier.weight.copy_(torch.eye(size)[: len(labels)])
        tagger.classifier.bias.zero_()
        for index, word in enumerate(vocabulary):
            for label in known.get(word, {"O"}):
                # A word that begins names and goes on with others goes on if it can.
                weight = 0.9 if label[0] == "B" and len(known[word]) > 1 else 1.0
                tagger.bert.embeddings.word_embeddings.weight[index, labels.index(label)] = weight
    tagger.save_pretrained(folder)
