"""Distillation: a model learns from what others predict for unlabeled documents."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from ..configuration_docre_ii import DocREIIConfig
from ..configuration_loading import load_config
from ..data_collator import DataCollatorForRelationExtraction
from ..decoding import check_finite
from ..documents import name_of
from ..entity_pairs import EntityPairs
from ..loaded_weights import check_weights
from ..quoting import quote
from ..utils.atomic_write import atomic_write
from .encoding import EncodedDocuments


# Marks, in a batch, the pairs of documents that no teacher predicted.
_HAS_LABELS = -100.0


class Teacher:
    """
    A trained model that predicts documents for another.

    Args:
        name_or_path (`str`):
            A model of either stage, on the Hub or in a folder.
        relations (`Sequence[str]`):
            The relations that it must have, in this order.

    Raises:
        `OSError`: there is no such model.
        `ValueError`: it is no DocRE-II model, its checkpoint lacks weights ([`WeightsError`]), or it has other
            relations.
    """

    def __init__(self, name_or_path: str, relations: Sequence[str]):
        config = load_config(name_or_path)  # names a missing checkpoint
        if config.model_type != DocREIIConfig.model_type:
            raise ValueError(f"the teacher {name_or_path!r} is a {config.model_type!r} model, not one of DocRE-II")
        self.name = name_or_path
        self.processor = AutoProcessor.from_pretrained(name_or_path)
        if list(self.processor.relations) != list(relations):
            raise ValueError(
                f"the teacher {name_or_path!r} has other relations than the documents, or in another order"
            )
        self.model = AutoModel.from_pretrained(name_or_path).eval()
        check_weights(self.model)
        if torch.cuda.is_available():
            self.model = self.model.to("cuda")
        self.collate = DataCollatorForRelationExtraction(self.processor.tokenizer)

    @torch.no_grad()
    def margins(self, documents: Sequence[Mapping[str, Any]]) -> list[torch.Tensor]:
        """
        Predicts how far every relation is above the threshold class.

        Args:
            documents (`Sequence[dict]`):
                A batch of documents in DocRED's form. Labels are not read.

        Returns:
            `list[torch.FloatTensor]`: for every document `logit_r - logit_TH`, of shape `(num_pairs, num_labels)`.

        Raises:
            [`NonFiniteLogitsError`]: the logits of a document are NaN or infinite.
        """
        features = self.processor(documents, skip_uncounted=True)
        inputs = self.collate([dict(zip(features, values)) for values in zip(*features.values())])
        logits = self.model(**{name: values.to(self.model.device) for name, values in inputs.items()}).logits
        check_finite([logits], lambda place: name_of(documents[place]))
        pairs = EntityPairs.from_mask(inputs["pair_mask"])
        rows = pairs.to_rows(logits.cpu()).float()
        of_documents = [rows[pairs.document == row] for row in range(len(documents))]
        return [of_document - of_document[:, :1] for of_document in of_documents]


def mean_probabilities(teachers: Sequence[Teacher], documents: Sequence[Mapping[str, Any]]) -> list[torch.Tensor]:
    """
    Predicts a batch of documents with all teachers.

    Args:
        teachers (`Sequence[Teacher]`):
            The teachers.
        documents (`Sequence[dict]`):
            A batch of documents in DocRED's form.

    Returns:
        `list[torch.FloatTensor]`: for every document, the sigmoid of the mean of [`Teacher.margins`] over the
        teachers, of shape `(num_pairs, num_labels)`, 0 for the threshold class.

    Raises:
        `ValueError`: the teachers have not the same types of candidates.
        [`NonFiniteLogitsError`]: the logits of a document are NaN or infinite.
    """
    first, *others = teachers
    for teacher in others:
        if _shown_types(teacher.processor.candidate_types) != _shown_types(first.processor.candidate_types):
            raise ValueError(
                f"{teacher.name!r} and {first.name!r} have not the same candidates: teachers need the same "
                "`candidate_types`"
            )
    probabilities = []
    for margins in zip(*(teacher.margins(documents) for teacher in teachers)):
        probability = torch.stack(margins).mean(0).sigmoid()
        probability[:, 0] = 0.0  # the threshold class is no relation
        probabilities.append(probability)
    return probabilities


def write_teacher_probabilities(
    teachers: Sequence[Teacher], documents: Sequence[Mapping[str, Any]], path: str | Path, batch_size: int = 8
) -> None:
    """
    Writes what several models predict for unlabeled documents.

    These are the probabilities of all relations. The file is in the safetensors format and holds, for each document,
    its title, a digest of its tokens and entities, and a float16 tensor of shape `(num_pairs, num_labels)`, under the
    number of the document; and the relations and types of candidates of the models.

    Args:
        teachers (`Sequence[Teacher]`):
            The models.
        documents (`Sequence[dict]`):
            The documents in DocRED's form. Labels are not read.
        path (`str` or `Path`):
            The file. It is written atomically.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the models at once.

    Raises:
        `OSError`: the file cannot be written.
        `ValueError`, [`NonFiniteLogitsError`]: as [`mean_probabilities`].
    """
    probabilities: dict[str, torch.Tensor] = {}
    for start in logging.tqdm(range(0, len(documents), batch_size), desc="Predicting", unit=" batches"):
        batch = [documents[place] for place in range(start, min(start + batch_size, len(documents)))]
        for probability in mean_probabilities(teachers, batch):
            probabilities[str(len(probabilities))] = probability.half()
    metadata = {f"title_{place}": str(document["title"]) for place, document in enumerate(documents)}
    metadata |= {f"digest_{place}": document_digest(document) for place, document in enumerate(documents)}
    processor = teachers[0].processor
    metadata |= {"relations": json.dumps(list(processor.relations))}
    metadata |= {"candidate_types": _shown_types(processor.candidate_types)}
    with atomic_write(Path(path)) as partial_file:
        save_file(probabilities, partial_file, metadata=metadata)


def _shown_types(candidate_types: Sequence[Sequence[str]] | None) -> str:
    return json.dumps(candidate_types and sorted(map(list, candidate_types)))


def document_digest(document: Mapping[str, Any]) -> str:
    """
    Returns a digest of what a teacher reads of a document.

    Args:
        document (`dict`):
            A document in DocRED's form.

    Returns:
        `str`: of its tokens and of the places and types of its mentions, entity by entity.
    """
    entities = [
        [[mention["sent_id"], list(mention["pos"]), mention["type"]] for mention in mentions]
        for mentions in document["vertexSet"]
    ]
    return hashlib.sha256(json.dumps([document["sents"], entities]).encode()).hexdigest()[:16]


class DistilledDocuments(EncodedDocuments):
    """
    Labeled documents, and unlabeled ones with predictions of teachers.

    An encoded document has `teacher_probabilities`, -100 everywhere if it has labels.

    Args:
        encoded ([`EncodedDocuments`]):
            The documents with labels first, then the unlabeled ones, whose labels are empty.
        num_labeled (`int`):
            Number of documents with labels.
        path (`str` or `Path`):
            The file, from [`write_teacher_probabilities`], on all of the unlabeled documents.
        relations (`Sequence[str]`):
            The relations of the processor of the model.
        candidate_types (`list[list[str]]`, *optional*):
            Its types of candidates.

    Raises:
        `FileNotFoundError`: the file is missing.
        `ValueError`: it is damaged, or was written for other documents, relations or types of candidates.
    """

    def __init__(
        self,
        encoded: EncodedDocuments,
        num_labeled: int,
        path: str | Path,
        relations: Sequence[str],
        candidate_types: Sequence[Sequence[str]] | None = None,
    ):
        super().__init__(encoded.features, encoded.source)
        self.path, self.num_labeled, self.num_labels = Path(path), num_labeled, len(relations)
        written = [self._written.get(name) for name in ("relations", "candidate_types")]
        if written != [json.dumps(list(relations)), _shown_types(candidate_types)]:
            raise ValueError(
                f"the teacher's predictions {str(self.path)!r} are not for this model: they have other relations or "
                "candidate types, or another order of the relations. Write them again with `docre-ii teach`"
            )
        for place in range(num_labeled, len(encoded)):
            self._check(place)

    @cached_property
    def _file(self) -> Any:
        try:
            return safe_open(self.path, framework="pt")
        except SafetensorError as error:
            raise ValueError(f"the teacher's predictions {str(self.path)!r} are damaged: {error}") from error

    @cached_property
    def _written(self) -> Mapping[str, str]:
        return self._file.metadata() or {}

    def _check(self, place: int) -> None:
        number, document = place - self.num_labeled, self.source[place]
        title, written = document["title"], self._written.get(f"title_{number}")
        is_same = self._written.get(f"digest_{number}") == document_digest(document)
        if written != title or not is_same:
            there = "it ends before" if written is None else f"it has {quote(written)} there"
            if written == title:
                there = "it has other tokens or entities there"
            raise ValueError(
                f"the teacher's predictions {str(self.path)!r} are not on these documents: unlabeled document "
                f"{number} is {quote(title)}, but {there}. Write them again with `docre-ii teach`"
            )
        shape = list(self._file.get_slice(str(number)).get_shape())
        wanted = [sum(map(sum, self.features[place]["pair_mask"])), self.num_labels]
        if shape != wanted:
            raise ValueError(
                f"document {quote(title)}: the teacher predicted {shape[0]} pairs and {shape[1]} classes, but the "
                f"model has {wanted[0]} and {wanted[1]}: teachers need the relations and candidate types of the model"
            )

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a DataLoader open the file again.
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    def __getitem__(self, index: int) -> dict[str, Any]:
        feature = super().__getitem__(index)
        number = feature["document_index"] - self.num_labeled
        if number >= 0:
            return feature | {"teacher_probabilities": self._file.get_tensor(str(number))}
        shape = (sum(map(sum, feature["pair_mask"])), self.num_labels)
        return feature | {"teacher_probabilities": torch.full(shape, _HAS_LABELS)}


__all__ = ["DistilledDocuments", "Teacher", "document_digest", "mean_probabilities", "write_teacher_probabilities"]
