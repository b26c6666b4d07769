"""Pipeline of DocRE-II: documents, or plain texts with mention spans -> triples."""

import os
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, overload

from torch.utils.data import Dataset
from transformers import Pipeline

from .data_collator import DataCollatorForRelationExtraction
from .documents import DocumentError
from .processing_docre_ii import check_selection
from .text_documents import document_of


@dataclass
class EncodedDocument:
    """
    A document on its way through the pipeline.

    Args:
        document (`dict`):
            The document in DocRED's form, without its labels.
        spans (`list[list[tuple[int, int]]]`, *optional*):
            Of a plain text, the characters of every mention of every entity.
        features (`dict`, *optional*):
            What [`DocREIIProcessor`] makes of it.
    """

    document: dict[str, Any]
    spans: list[list[tuple[int, int]]] | None = None
    features: dict[str, Any] | None = None


class DocumentRelationExtractionPipeline(Pipeline):
    """
    Document-level relation extraction with any [`DocREIIForRelationExtraction`].

    Example:

    ```python
    >>> from transformers import pipeline

    >>> extractor = pipeline("document-relation-extraction", model="org/docre-ii-bert", trust_remote_code=True)
    >>> triples = extractor(
    ...     {
    ...         "text": "Lark Force was formed in March 1941. It was based in Rabaul, New Guinea.",
    ...         "entities": [
    ...             {"mentions": [[0, 10], [37, 39]], "type": "ORG"},
    ...             {"mentions": [[53, 59]], "type": "LOC"},
    ...             {"mentions": [[61, 71]], "type": "LOC"},
    ...         ],
    ...     }
    ... )
    >>> [(triple["head"]["name"], triple["relation_name"], triple["tail"]["name"]) for triple in triples]
    ```

    This pipeline is loaded from [`pipeline`] with the task `"document-relation-extraction"`.
    """

    default_input_names = "documents"

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ValueError("the pipeline needs the `processor` of its model")
        check_label_map(self.model.config.id2label, self.processor.relations)

    @overload
    def __call__(self, documents: Mapping[str, Any], **kwargs: Any) -> list[dict[str, Any]]: ...

    @overload
    def __call__(
        self, documents: list[Mapping[str, Any]] | list[dict[str, Any]], **kwargs: Any
    ) -> list[list[dict[str, Any]]]: ...

    @overload
    def __call__(
        self, documents: Dataset | Iterable[Mapping[str, Any]], **kwargs: Any
    ) -> Iterable[list[dict[str, Any]]]: ...

    def __call__(self, documents: Any, **kwargs: Any) -> Any:
        """
        Extracts the triples of one or several documents.

        Args:
            documents (`dict`, `list[dict]`, `Dataset` or any iterable of `dict`):
                Documents, each either in DocRED's form (`title`, `sents`, `vertexSet`; labels are ignored) or a plain
                `text` with `entities`: each a `type` and its `mentions`, a list of [start, end) in characters. The
                `title` of a plain text is optional.
            threshold (`float`, *optional*, defaults to 0.5):
                Score above which a triple is returned. At 0.5 it is what the model predicts.
            top_k (`int`, *optional*):
                Largest number of triples of a document. Defaults to all.
            explain (`bool`, *optional*, defaults to `False`):
                Whether to say why each triple was predicted.
            batch_size (`int`, *optional*, defaults to 1):
                Number of documents that go through the model at once.
            num_workers (`int`, *optional*, defaults to 0):
                Number of processes that encode documents while the model runs.

        Returns:
            `list[dict]` for one document, a list of them for a list, and a lazy iterator of them for any other
            iterable. Every triple has

            - `head`, `tail`: the `entity`, its index, `name`, `type`, and `mentions`, each with its `name` and its
              place: `sent_id` and `pos` in the sentence, or `start` and `end` in the plain text;
            - `relation`, `relation_name`: id and readable name;
            - `score`: the probability of the relation against "no relation".

            With `explain` also `iteration`, the first that predicted it (0: the base module), and `support`, the pairs
            it was inferred from, see [`DocREIIProcessor.explain`].

        Raises:
            [`DocumentError`]: a document is malformed; the message names it.
            `ValueError`: `threshold` or `top_k` is out of range, or `explain` for a model without an inference module.
        """
        if isinstance(documents, (tuple, list)):
            return super().__call__(list(documents), **kwargs) if documents else []
        if isinstance(documents, (Mapping, str, Dataset)) or not isinstance(documents, Iterable):
            return super().__call__(documents, **kwargs)
        # A `datasets.Dataset` is an iterable, but not a torch dataset.
        return super().__call__(_generate(documents), **kwargs)

    def _sanitize_parameters(
        self, threshold: float | None = None, top_k: int | None = None, explain: bool | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_selection(0.5 if threshold is None else threshold, top_k)
        given = {"threshold": threshold, "top_k": top_k, "explain": explain}
        return {}, {name: value for name, value in given.items() if value is not None}, {}

    def preprocess(self, document: Mapping[str, Any]) -> dict[str, EncodedDocument]:
        encoded = read_document(document)
        features = self.processor(encoded.document)
        encoded.features = {name: values[0] for name, values in features.items()}
        return {"encoded": encoded}

    def _forward(self, model_inputs: Mapping[str, Any], explain: bool = False, **selection: Any) -> dict[str, Any]:
        # `Pipeline` makes a list of them where several documents go through the model at once.
        is_batch = isinstance(model_inputs["encoded"], list)
        batch = model_inputs["encoded"] if is_batch else [model_inputs["encoded"]]
        collate = DataCollatorForRelationExtraction(self.processor.tokenizer)
        inputs = self._ensure_tensor_on_device(collate([encoded.features for encoded in batch]), self.device)
        outputs = self.model(**inputs, output_attentions=explain)
        decode = self.processor.explain if explain else self.processor.post_process_relation_extraction
        triples = decode(outputs, [encoded.document for encoded in batch], **selection)
        triples = [_at_characters(rows, encoded.spans) for rows, encoded in zip(triples, batch)]
        return {"triples": triples if is_batch else triples[0]}

    def postprocess(self, model_outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        return model_outputs["triples"]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        super().save_pretrained(save_directory, **kwargs)
        # Pipeline saves the tokenizer, but not the processor.
        self.processor.save_pretrained(save_directory, **kwargs)


def differing(labels: Collection[str], relations: Collection[str]) -> str:
    """Describes in a few words how a label map (`labels`) differs from that of its counterpart (`relations`)."""
    surplus, missing = sorted(set(labels) - set(relations)), sorted(set(relations) - set(labels))
    said = [f"{verb} {reprlib.repr(names)}" for verb, names in (("it has", surplus), ("it lacks", missing)) if names]
    return " and ".join(said) or "it has the same relations in another order"


def check_label_map(id2label: Mapping[int, str], relations: list[str]) -> None:
    """
    Checks that a model and a processor have the same relations.

    Args:
        id2label (`dict[int, str]`):
            Label map of the model.
        relations (`list[str]`):
            Relations of the processor, in the order of the classes.

    Raises:
        `ValueError`: they do not. The message names the differences.
    """
    labels = [label for _, label in sorted(id2label.items())]
    if labels != relations:
        raise ValueError(f"the label map of the model is not that of its processor: {differing(labels, relations)}")


def read_document(document: Mapping[str, Any]) -> EncodedDocument:
    """
    Reads a document as users of the pipeline pass it.

    Args:
        document (`dict`):
            A document in DocRED's form, or a plain text with entities.

    Returns:
        [`EncodedDocument`], not yet encoded.

    Raises:
        [`DocumentError`]: it is neither, or a plain text is malformed.
    """
    if not isinstance(document, Mapping):
        raise DocumentError(f"found {reprlib.repr(document)}, expected a document or a text with entities, a mapping")
    if not {"sents", "text"} & set(document):
        raise DocumentError(
            f"document {document.get('title')!r} has the keys {sorted(document)}, expected a document with "
            "'title', 'sents' and 'vertexSet', or a text with 'text' and 'entities'"
        )
    # Prediction needs no labels, which a row of a built dataset has as class indices.
    document = {name: value for name, value in document.items() if name != "labels"}
    if "text" not in document:
        return EncodedDocument(document)
    if document.get("title") is None:
        document = document | {"title": _first_words(document["text"])}
    read = document_of(document)
    return EncodedDocument(read, [[tuple(span) for span in entity["mentions"]] for entity in document["entities"]])


def _first_words(text: Any, length: int = 40) -> str:
    """Returns a title for a text without one, for error messages."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _at_characters(triples: list[dict[str, Any]], spans: list[list[tuple[int, int]]] | None) -> list[dict[str, Any]]:
    """Adds where the mentions of a plain text are in its characters."""
    if spans is None:
        return triples
    for triple in triples:
        for pair in (triple, *triple.get("support", ())):
            for side in ("head", "tail"):
                entity = pair[side]
                pair[side] = entity | {
                    "mentions": [
                        {"name": mention["name"], "start": start, "end": end}
                        for mention, (start, end) in zip(entity["mentions"], spans[entity["entity"]])
                    ]
                }
    return triples


def _generate(documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield from documents


__all__ = ["DocumentRelationExtractionPipeline"]
