"""Encodes documents for the Trainer and keeps them for scoring."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import datasets
from torch.utils.data import Dataset
from transformers import TrainingArguments

from .. import __version__
from ..documents import with_relation_ids
from ..evaluation.matching import check_titles
from ..processing_docre_ii import DocREIIProcessor
from ..text_documents import document_of


# Documents in DocRED's form, plain texts with entities, or the features of either.
Documents: TypeAlias = Sequence[Mapping[str, Any]] | datasets.Dataset | Dataset

# Types of the features. Arrow would take those of lists from the first documents, where they may all be empty.
_INDEX, _INDICES = datasets.Value("int64"), datasets.List(datasets.Value("int64"))
_FEATURES = {
    "input_ids": _INDICES,
    "mention_positions": _INDICES,
    "mention_entities": _INDICES,
    "pair_mask": datasets.List(datasets.List(datasets.Value("bool"))),
    "sentence_ids": datasets.List(datasets.Value("int32")),
    "labels": datasets.List(_INDICES),
    "evidence": datasets.List(datasets.List(datasets.Value("int32"))),
    "document_index": _INDEX,
}
# Number of documents that go through the tokenizer at once.
_BATCH_SIZE = 100


class EncodedDocuments(Dataset):
    """
    Features of documents, one item a document, and the documents themselves.

    Args:
        features (`datasets.Dataset`):
            The output of [`DocREIIProcessor`], and the `document_index` of each document.
        source (`Sequence[dict]`):
            The documents in DocRED's form, relations as ids. They may be read from disk one at a time.
    """

    def __init__(self, features: datasets.Dataset, source: Sequence[Mapping[str, Any]]):
        self.features = features
        self.source = source

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.features[index]

    @property
    def has_labels(self) -> bool:
        """`bool`: whether any document has labels."""
        return "labels" in self.features.column_names

    @cached_property
    def documents(self) -> list[Mapping[str, Any]]:
        """`list[dict]`: the documents, in memory from the first access on."""
        return list(self.source)


def ensure_encoded(
    dataset: Documents | Mapping[str, Documents] | None,
    processor: DocREIIProcessor | None,
    args: TrainingArguments,
    for_training: bool = False,
) -> Any:
    """
    Encodes the documents of a Trainer, unless they are encoded already.

    Args:
        dataset (`Sequence[dict]`, `Dataset` or a `dict` of them, *optional*):
            Documents or features.
        processor ([`DocREIIProcessor`], *optional*):
            Processor of the model, needed for documents.
        args ([`TrainingArguments`]):
            Arguments of the Trainer. Its main process encodes a `datasets.Dataset`, the others read its cache.
        for_training (`bool`, *optional*, defaults to `False`):
            As for [`encode_dataset`].

    Returns:
        [`EncodedDocuments`] for documents, a `dict` of them for a `dict`. Features and `None` are returned unchanged.

    Raises:
        [`DocumentError`]: a document is malformed or has an unknown relation.
        `ValueError`: there are documents, but no processor.
    """
    if isinstance(dataset, dict):
        return {name: ensure_encoded(documents, processor, args) for name, documents in dataset.items()}
    if is_encoded(dataset):
        return dataset
    if processor is None:
        raise ValueError("documents need a `processing_class`, the DocREIIProcessor that encodes them")
    with args.main_process_first(desc="encoding the documents"):
        return encode_dataset(dataset, processor, for_training)


def is_encoded(dataset: Any) -> bool:
    """Returns whether a dataset holds features already, and not documents."""
    if dataset is None or isinstance(dataset, EncodedDocuments):
        return True
    if isinstance(dataset, (datasets.Dataset, datasets.IterableDataset)):
        return "input_ids" in (dataset.column_names or ["input_ids"])
    if isinstance(dataset, Sequence):
        return len(dataset) > 0 and isinstance(dataset[0], Mapping) and "input_ids" in dataset[0]
    return True


def encode_dataset(
    documents: Sequence[Mapping[str, Any]] | datasets.Dataset,
    processor: DocREIIProcessor,
    for_training: bool = False,
    num_proc: int | None = None,
    are_checked: bool = False,
) -> EncodedDocuments:
    """
    Encodes documents for a [`DocREIITrainer`].

    Args:
        documents (`Sequence[dict]` or `datasets.Dataset`):
            Documents in DocRED's form, or plain texts with `entities`, each with a `title` and, for training and
            scoring, `labels`. Relations are ids or, in a `datasets.Dataset`, a `ClassLabel`.
        processor ([`DocREIIProcessor`]):
            Processor of the model.
        for_training (`bool`, *optional*, defaults to `False`):
            Whether to leave out the `uncounted` pairs.
        num_proc (`int`, *optional*):
            Number of processes that encode a `datasets.Dataset`.
        are_checked (`bool`, *optional*, defaults to `False`):
            Whether the documents have passed [`check_document`], like those of a builder, and are not checked again.

    Returns:
        [`EncodedDocuments`], without `labels` if no document has any.

    Raises:
        [`DocumentError`]: a document is malformed or has an unknown relation. The message names it.
        [`PredictionError`]: two documents with labels, which are not for training, have the same title.
        `ValueError`: there are no documents, they are streamed, or none of those for training has a label.
    """
    if isinstance(documents, datasets.IterableDataset):
        raise ValueError("streamed documents cannot be encoded for a Trainer: pass a list or a `datasets.Dataset`")
    if not len(documents):
        raise ValueError("there are no documents to encode")

    def encode_batch(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        features = processor(
            batch, return_labels=has_labels, skip_uncounted=for_training, check_documents=not are_checked
        )
        return [dict(zip(features, values)) for values in zip(*features.values())]

    if not isinstance(documents, datasets.Dataset):
        documents = [document_of(document) for document in documents]
        has_labels = any(isinstance(document, Mapping) and document.get("labels") for document in documents)
        _check_for_training(for_training, has_labels)
        rows = [
            row
            for start in range(0, len(documents), _BATCH_SIZE)
            for row in encode_batch(documents[start : start + _BATCH_SIZE])
        ]
        indexed = [row | {"document_index": index} for index, row in enumerate(rows)]
        if has_labels and not for_training:
            check_titles(document["title"] for document in documents)
        return EncodedDocuments(datasets.Dataset.from_list(indexed), documents)

    kept = DatasetDocuments(documents)
    has_labels = "labels" in documents.column_names and any(documents["labels"])
    _check_for_training(for_training, has_labels)

    def encode_rows(batch: Mapping[str, list], indices: list[int], made_by: str) -> dict[str, list]:
        rows = [dict(zip(batch, values)) for values in zip(*batch.values())]
        encoded = encode_batch([kept.read(row) for row in rows])
        return {name: [row[name] for row in encoded] for name in encoded[0]} | {"document_index": indices}

    names = [*encode_batch([kept[0]])[0], "document_index"]
    features = documents.map(
        encode_rows,
        batched=True,
        batch_size=_BATCH_SIZE,
        with_indices=True,
        fn_kwargs={"made_by": __version__},  # for the cache: other code may encode the same documents differently
        features=datasets.Features({name: _FEATURES[name] for name in names}),
        num_proc=num_proc,
        remove_columns=documents.column_names,
        desc="Tokenizing",
    )
    if has_labels and not for_training:
        check_titles(documents["title"])
    return EncodedDocuments(features, kept)


class DatasetDocuments(Sequence):
    """
    Rows of a `datasets.Dataset` as documents, read from disk one at a time.

    Args:
        rows (`datasets.Dataset`):
            Rows in DocRED's form or plain texts with `entities`; relations are ids or a `ClassLabel`.
    """

    def __init__(self, rows: datasets.Dataset):
        self.rows = rows
        label = rows.features.get("labels")
        relation = getattr(label, "feature", None) or {}
        relation = relation.get("r") if isinstance(relation, Mapping) else None
        self._relations = relation.names if isinstance(relation, datasets.ClassLabel) else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.read(self.rows[index])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.read(row) for row in self.rows)

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a row as a document, relations as ids."""
        # A column that only some rows have is `None` in the others.
        row = {name: value for name, value in row.items() if value is not None}
        row = with_relation_ids(row, self._relations) if self._relations else row
        return document_of(row) if "text" in row else row


def _check_for_training(for_training: bool, has_labels: bool) -> None:
    if for_training and not has_labels:
        raise ValueError("none of the training documents has a label")


__all__ = ["DatasetDocuments", "Documents", "EncodedDocuments", "encode_dataset", "ensure_encoded", "is_encoded"]
