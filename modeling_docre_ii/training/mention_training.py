"""Fine-tunes a token-classification model on the mentions of documents."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from ..configuration_docre_ii import DocREIIConfig
from ..configuration_loading import load_config
from ..documents import DocumentError, name_of
from ..entity_finding import MENTION_MODEL_FOLDER
from ..evaluation.matching import check_titles
from ..evaluation.mention_scores import score_extractions
from ..evaluation.plain_texts import plain_text_of
from ..mention_extraction import EncodedText, Span, TokenClassificationExtractor, TokenWindows, Window
from ..utils.cpu_bf16 import try_bf16_in_all_processes, warn_of_float32
from .capital_marking import MARK, is_uncased, mark_capitals


# [start, end) in characters, and a type.
TypedSpan = tuple[int, int, str]

# The loss leaves out this label.
_IGNORED = -100


@dataclass
class MentionTrainingArguments(TrainingArguments):
    r"""
    [`TrainingArguments`] with defaults for a small encoder.

    Args:
        learning_rate (`float`, *optional*, defaults to 3e-4):
            Peak learning rate. Encoders of the size of BERT want 5e-5.
        num_train_epochs (`float`, *optional*, defaults to 10):
            Number of epochs.
        per_device_train_batch_size (`int`, *optional*, defaults to 4):
            Number of windows in a batch.
        warmup_steps (`float`, *optional*, defaults to 0.1):
            Linear warm-up: a share of all steps below 1, a number of steps otherwise.
        bf16 (`bool`, *optional*, defaults to `False`):
            As in transformers, but used on a CPU only if a trial finds bf16 to work and to be faster than float32.
    """

    # The heading of these arguments in the help of an `HfArgumentParser`.
    _argument_group_name = "training"

    learning_rate: float = field(default=3e-4, metadata={"help": "Peak learning rate."})
    num_train_epochs: float = field(default=10.0, metadata={"help": "Number of epochs."})
    per_device_train_batch_size: int = field(default=4, metadata={"help": "Number of windows in a batch."})
    warmup_steps: float = field(
        default=0.1, metadata={"help": "Linear warm-up: a share of all steps if below 1, else a number of steps."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "Order of the windows: random, or by length."}
    )
    save_strategy: str = field(default="no", metadata={"help": "When to save checkpoints."})

    def __post_init__(self) -> None:
        # Without `use_cpu`, transformers refuses `bf16` on a machine without an accelerator.
        self.use_cpu: bool = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()
        # `accelerate launch --mixed_precision bf16` requests it in the environment.
        self.bf16: bool = self.mixed_precision == "bf16"
        if self.bf16 and self.device.type == "cpu":
            trial = try_bf16_in_all_processes()
            if not trial.is_faster:
                self.bf16 = False
                self.mixed_precision: str = "no"
                warn_of_float32(trial)


def train_mention_model(
    documents: Sequence[Mapping[str, Any]],
    validation_documents: Sequence[Mapping[str, Any]] | None,
    model_name_or_path: str,
    args: TrainingArguments,
) -> dict[str, float]:
    r"""
    Fine-tunes a token-classification model on documents, and saves it.

    The types of the mentions become labels (`"B-PER"`, `"I-PER"`). The model reads the texts as
    [`TokenClassificationExtractor`] does, in windows. Half of the documents are read as raw text ([`detokenize`]),
    the others as tokens with spaces between them, so that the model knows both. Of mentions that overlap, it learns
    the longest. For an uncased encoder, the saved tokenizer marks capital letters ([`mark_capitals`]).

    Args:
        documents (`list[dict]`):
            Documents to learn from: in DocRED's form, or plain texts with `entities`.
        validation_documents (`list[dict]`, *optional*):
            Documents to score the model on.
        model_name_or_path (`str`):
            A pretrained text encoder: a local folder or a name on the Hub.
        args ([`TrainingArguments`]):
            Training arguments, such as [`MentionTrainingArguments`]. Model and tokenizer are saved in `output_dir`,
            from where [`TokenClassificationExtractor`] loads them. The pipelines of transformers do too, but take the
            mark of a capital letter for a word of its own.

    Returns:
        `dict[str, float]`: the `train_loss`; `mention_f1` and `typed_mention_f1` with their precision and recall (see
        [`score_extractions`]) on the raw validation texts; and the same with `spaced_` on their tokens with spaces
        between them.

    Raises:
        [`DocumentError`]: a document is malformed.
        [`PredictionError`]: two validation documents have the same title.
        `OSError`: there is no such encoder.
        `ValueError`: the documents have no mention, or `model_name_or_path` is a DocRE-II checkpoint.
    """
    if load_config(model_name_or_path).model_type == DocREIIConfig.model_type:
        raise ValueError(
            f"{model_name_or_path!r} is a DocRE-II checkpoint, expected a text encoder. Its mention model, if it has "
            f"one, is in its folder {MENTION_MODEL_FOLDER!r}"
        )
    set_seed(args.seed)
    choose = random.Random(args.seed)
    texts = [plain_text_of(document, spaced=choose.random() < 0.5) for document in documents]
    names = mention_labels(texts)
    tokenizer = AutoTokenizer.from_pretrained(model_name_or_path)
    if is_uncased(tokenizer) and MARK in tokenizer.get_vocab():
        tokenizer = mark_capitals(tokenizer)
    config = AutoConfig.from_pretrained(
        model_name_or_path, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)}
    )
    # With dropout of the attention, sdpa takes a slow path on CPUs.
    for dropout in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, dropout):
            setattr(config, dropout, 0.0)
    config.dtype = None
    model = _load_quietly(model_name_or_path, config)
    windows = TokenWindows(tokenizer, config)
    data: dict[str, Any] = {"train_dataset": MentionWindows(texts, windows, names)}
    validation_texts = [plain_text_of(document) for document in validation_documents or ()]
    check_titles(text["title"] for text in validation_texts)
    if validation_texts:
        data["eval_dataset"] = MentionWindows(validation_texts, windows, names)
    collator = DataCollatorForTokenClassification(tokenizer, label_pad_token_id=_IGNORED)
    trainer = Trainer(model=model, args=args, processing_class=tokenizer, data_collator=collator, **data)
    # transformers believes that models with `**kwargs` divide the loss by `num_items_in_batch`, which these do not.
    trainer.model_accepts_loss_kwargs = False
    scores = {"train_loss": trainer.train().training_loss}
    trainer.save_model()
    if validation_texts:
        extractor = TokenClassificationExtractor(trainer.model, tokenizer, args.per_device_eval_batch_size)
        scores |= _score(extractor, validation_texts)
        spaced = [plain_text_of(document, spaced=True) for document in validation_documents or ()]
        scores |= {f"spaced_{name}": score for name, score in _score(extractor, spaced).items()}
    return scores


class MentionWindows(Dataset):
    """
    Windows over texts, with a label for the first piece of each word.

    Args:
        texts (`list[dict]`):
            Plain texts with `entities`, from [`plain_text_of`].
        windows ([`TokenWindows`]):
            Encodes the texts.
        names (`list[str]`):
            The labels, from [`mention_labels`]. Mentions of other types are left out.
    """

    def __init__(self, texts: Sequence[Mapping[str, Any]], windows: TokenWindows, names: Sequence[str]):
        ids = {name: index for index, name in enumerate(names)}
        self.rows: list[dict[str, list[int]]] = []
        for text, encoded in zip(texts, windows.encode([text["text"] for text in texts])):
            labels = [ids.get(name, 0) for name in label_words(encoded.words, without_overlaps(text["entities"]))]
            self.rows.extend(_row(windows, encoded, window, labels) for window in windows.split(encoded))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.rows[index]


def mention_labels(texts: Iterable[Mapping[str, Any]]) -> list[str]:
    """
    Lists the labels of a model for the mentions of texts.

    Args:
        texts (`list[dict]`):
            Plain texts with `entities`.

    Returns:
        `list[str]`: `"O"`, and `"B-"` and `"I-"` of each type, sorted.

    Raises:
        [`DocumentError`]: an entity has an empty type.
        `ValueError`: there is no mention.
    """
    texts = list(texts)
    for text in texts:
        for index, entity in enumerate(text["entities"]):
            if not entity["type"]:
                raise DocumentError(f"{name_of(text)}, entity {index}: 'type' is empty, and no label of its mentions")
    types = sorted({entity["type"] for text in texts for entity in text["entities"] if entity["mentions"]})
    if not types:
        raise ValueError("the documents to learn mentions from have no mention")
    return ["O", *(f"{place}-{kind}" for kind in types for place in "BI")]


def without_overlaps(entities: Iterable[Mapping[str, Any]]) -> list[TypedSpan]:
    """
    Lists the mentions of entities, and of those that overlap only the longest.

    Args:
        entities (`list[dict]`):
            The entities of a text, with `type` and `mentions`.

    Returns:
        `list[tuple[int, int, str]]`: start, end and type of each mention, in the order of the text. Of mentions of the
        same length the first is kept, and of types of one span the first in the alphabet.
    """
    mentions = {(start, end, entity["type"]) for entity in entities for start, end in entity["mentions"]}
    kept: list[TypedSpan] = []
    taken: set[int] = set()
    for start, end, kind in sorted(mentions, key=lambda mention: (mention[0] - mention[1], *mention)):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept.append((start, end, kind))
    return sorted(kept)


def label_words(words: Sequence[Span], mentions: Sequence[TypedSpan]) -> list[str]:
    """
    Labels the words of a text with its mentions.

    Args:
        words (`list[tuple[int, int]]`):
            The words, [start, end) in characters.
        mentions (`list[tuple[int, int, str]]`):
            Mentions that do not overlap, in the order of the text.

    Returns:
        `list[str]`: `"B-"` and the type for the first word of a mention, `"I-"` for the others, `"O"` elsewhere. A
        word that a mention cuts belongs to it, and to the first of two.
    """
    labels, position = ["O"] * len(words), 0
    for start, end, kind in mentions:
        while position < len(words) and words[position][1] <= start:
            position += 1
        prefix = "B"
        while position < len(words) and words[position][0] < end:
            labels[position] = f"{prefix}-{kind}"
            prefix = "I"
            position += 1
    return labels


def _load_quietly(name_or_path: str, config: PreTrainedConfig) -> PreTrainedModel:
    """Loads an encoder with a new head. That the weights of the head are missing is no news."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return AutoModelForTokenClassification.from_pretrained(
            name_or_path, config=config, ignore_mismatched_sizes=True
        )
    finally:
        logging.set_verbosity(verbosity)


def _row(windows: TokenWindows, text: EncodedText, window: Window, labels: Sequence[int]) -> dict[str, list[int]]:
    ids = windows.input_ids(text, window)
    row = [_IGNORED] * len(ids)
    for piece, label in zip(text.first_pieces, labels):
        if window.keep_start <= piece < window.keep_end:
            row[len(windows.prefix) + piece - window.start] = label
    return {"input_ids": ids, "labels": row}


def _score(extractor: TokenClassificationExtractor, texts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found = extractor([text["text"] for text in texts])
    predictions = [
        {
            "title": text["title"],
            "text": text["text"],
            "entities": [
                {"type": mention["type"], "mentions": [[mention["start"], mention["end"]]]} for mention in mentions
            ],
            "triples": [],
        }
        for text, mentions in zip(texts, found)
    ]
    # An entity of white space alone has no mention in a raw text. Facts, which are on entities, do not count here.
    entities = [[entity for entity in text["entities"] if entity["mentions"]] for text in texts]
    gold = [{**text, "entities": of_text, "labels": []} for text, of_text in zip(texts, entities)]
    scores = score_extractions(predictions, gold)
    return {name: score for name, score in scores.items() if name.startswith(("mention_", "typed_mention_"))}


__all__ = [
    "MentionTrainingArguments",
    "MentionWindows",
    "label_words",
    "mention_labels",
    "train_mention_model",
    "without_overlaps",
]
