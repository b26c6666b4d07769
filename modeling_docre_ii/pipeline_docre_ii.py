"""Pipeline of DocRE-II: extracts triples from documents or plain texts."""

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from torch.utils.data import Dataset
from transformers import Pipeline
from transformers.utils import logging

from .data_collator import DataCollatorForRelationExtraction
from .decoding import check_selection
from .documents import ENTITIES_HELP, DocumentError, check_document, is_plain_text, name_of
from .evidence import evidence_source
from .explanation import check_can_explain
from .loaded_weights import check_weights
from .quoting import quote
from .text_documents import check_text, document_of, sentence_spans
from .triples import Span, at_characters


logger = logging.get_logger(__name__)

# The arguments of a call beside the documents. `Pipeline` reads those that belong to batches.
_BATCH_ARGUMENTS = ("batch_size", "num_workers")
_ARGUMENTS = ("threshold", "top_k", "explain", "evidence", *_BATCH_ARGUMENTS)

# A list has a progress bar if it takes longer than this, in seconds.
_PROGRESS_BAR_DELAY = 2.0


@dataclass
class EncodedDocument:
    """
    A document on its way through the pipeline.

    Args:
        document (`dict`):
            The document in DocRED's form, without its labels.
        mention_spans (`list[list[tuple[int, int]]]`, *optional*):
            Characters of every mention of every entity, for a plain text.
        sentence_spans (`list[tuple[int, int]]`, *optional*):
            Characters of every sentence, for a plain text.
        features (`dict`, *optional*):
            Model inputs from [`DocREIIProcessor`].
    """

    document: dict[str, Any]
    mention_spans: list[list[Span]] | None = None
    sentence_spans: list[Span] | None = None
    features: dict[str, Any] | None = None


class DocumentRelationExtractionPipeline(Pipeline):
    """
    Document-level relation extraction with a [`DocREIIForRelationExtraction`].

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import modeling_docre_ii  # registers the pipeline

    >>> extractor = pipeline("document-relation-extraction", model="outputs/quickstart")
    >>> text = "Charles Babbage was an English mathematician. He was born in London, the capital of England."
    >>> entities = [
    ...     {"type": "PER", "mentions": [[0, 15], [46, 48]]},
    ...     {"type": "LOC", "mentions": [[61, 67]]},
    ...     {"type": "LOC", "mentions": [[23, 30], [84, 91]]},
    ... ]
    >>> for triple in extractor({"text": text, "entities": entities}):
    ...     print(triple["head"]["name"], triple["relation_name"], triple["tail"]["name"])
    ```

    This pipeline is loaded from [`pipeline`] with the task `"document-relation-extraction"`. A checkpoint carries its
    code, so that with `trust_remote_code=True` it loads without this package.

    The model finds no entities. To have a text without entities read, find them first with a tagger; see
    `docs/entities.md`.
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
            raise ValueError("the pipeline needs the `processor` of its model: pass `processor=`")
        check_label_map(self.model.config.id2label, self.processor.relations)
        check_weights(self.model)
        self._has_warned = False

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

        A list of documents is checked before the first is read, and shows a progress bar if it takes long
        (`transformers.utils.logging.disable_progress_bar()` turns it off). Other iterables are streamed.

        Args:
            documents (`dict`, `list[dict]`, `Dataset` or any iterable of `dict`):
                The documents. Each is a plain `text` with `entities`, or in DocRED's form (`title`, `sents`,
                `vertexSet`). An entity of a plain text has a `type` and its `mentions`, a list of [start, end) in
                characters. Its `title` is optional. Labels are ignored.
            threshold (`float`, *optional*, defaults to 0.5):
                Score above which a triple is returned. At 0.5 it is what the model predicts.
            top_k (`int`, *optional*):
                Largest number of triples of a document. Defaults to all.
            explain (`bool`, *optional*, defaults to `False`):
                Whether to say why each triple was predicted. Needs a model with an inference module.
            evidence (`str`, *optional*):
                Where the evidence of a triple comes from: the `"model"`, a `"rule"` or `"none"`. Defaults to the model
                if it was trained with an `evidence_loss_weight`, and to the rule otherwise. See
                [`~DocREIIProcessor.post_process_relation_extraction`].
            batch_size (`int`, *optional*, defaults to 1):
                Number of documents that go through the model at once.
            num_workers (`int`, *optional*, defaults to 0):
                Number of processes that encode documents while the model runs.

        Returns:
            `list[dict]` for one document, a list of them for a list, and a lazy iterable of them for any other
            iterable. Every triple has

            - `head`, `tail`: the `entity`, its index, `name`, `type`, and `mentions`, each with its `name` and its
              place: `sent_id` and `pos` in the sentence, or `start` and `end` in the plain text;
            - `relation`, `relation_name`: id and readable name;
            - `score`: the probability of the relation against "no relation";
            - `evidence`: the sentences that state it, as indices into `sents`. A plain text is split into sentences,
              and the triple also has `evidence_spans`, their [start, end) in characters.

            With `explain` also `iteration`, the first that predicted it (0: the base module), and `support`, the pairs
            it was inferred from, see [`DocREIIProcessor.explain`].

        Raises:
            [`DocumentError`]: a document is malformed. The message names it.
            `TypeError`: an argument is unknown.
            `ValueError`: `threshold` or `top_k` is out of range, `explain` is set for a model without an inference
                module, or `evidence="model"` for one that was not trained to find evidence.
        """
        # Checked here and not inside `Pipeline`, so that the traceback is short.
        self._sanitize_parameters(**{name: value for name, value in kwargs.items() if name not in _BATCH_ARGUMENTS})
        is_list = isinstance(documents, (tuple, list))
        is_iterable = isinstance(documents, Iterable) and not isinstance(documents, (Mapping, str))
        try:
            if isinstance(documents, Dataset) or (is_iterable and not is_list):
                # A `datasets.Dataset` is an iterable, but not a torch dataset. `Pipeline` reads the first document.
                streamed = documents if isinstance(documents, Dataset) else _checked(documents)
                return _Stream(super().__call__(streamed, **kwargs))
            if is_list:
                check_documents(documents)
            else:
                check_given(documents)
        except DocumentError as error:
            raise error.with_traceback(None) from None
        if is_list:
            return super().__call__(list(documents), **kwargs) if documents else []
        return super().__call__(documents, **kwargs)

    def get_iterator(self, inputs: Any, *args: Any, **kwargs: Any) -> Iterable[list[dict[str, Any]]]:
        triples = super().get_iterator(inputs, *args, **kwargs)
        if not isinstance(inputs, list):  # the caller reads a stream, and knows how long it is
            return triples
        return logging.tqdm(
            triples, total=len(inputs), desc="Extracting triples", unit=" documents", delay=_PROGRESS_BAR_DELAY
        )

    def _sanitize_parameters(
        self,
        threshold: float | None = None,
        top_k: int | None = None,
        explain: bool | None = None,
        evidence: str | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        for name in unknown:
            near = difflib.get_close_matches(name, _ARGUMENTS, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"the relation extraction pipeline has no argument {name!r}{hint} "
                f"(arguments of a call: {', '.join(_ARGUMENTS)})"
            )
        check_selection(0.5 if threshold is None else threshold, top_k)
        if explain is not None and not isinstance(explain, bool):
            raise ValueError(f"`explain` must be True or False, got {quote(explain)}")
        if explain:
            check_can_explain(self.model.config)
        if evidence is not None:
            evidence_source(evidence, self.model.config)
        given = {"threshold": threshold, "top_k": top_k, "explain": explain, "evidence": evidence}
        return {}, {name: value for name, value in given.items() if value is not None}, {}

    def preprocess(self, document: Mapping[str, Any]) -> dict[str, EncodedDocument]:
        encoded = read_document(document)
        features = self.processor(encoded.document)
        encoded.features = {name: values[0] for name, values in features.items()}
        return {"encoded": encoded}

    def _forward(
        self, model_inputs: Mapping[str, Any], explain: bool = False, evidence: str | None = None, **selection: Any
    ) -> dict[str, Any]:
        # `Pipeline` makes a list of several documents that go through the model at once.
        is_batch = isinstance(model_inputs["encoded"], list)
        batch = model_inputs["encoded"] if is_batch else [model_inputs["encoded"]]
        self._warn_without_pairs(batch)
        collate = DataCollatorForRelationExtraction(self.processor.tokenizer)
        inputs = self._ensure_tensor_on_device(collate([encoded.features for encoded in batch]), self.device)
        source = evidence_source(evidence, self.model.config)
        outputs = self.model(**inputs, output_attentions=explain, output_evidence=source == "model")
        decode = self.processor.explain if explain else self.processor.post_process_relation_extraction
        triples = decode(outputs, [encoded.document for encoded in batch], evidence=source, **selection)
        for rows, encoded in zip(triples, batch):
            if encoded.mention_spans is not None and encoded.sentence_spans is not None:
                at_characters(rows, encoded.mention_spans, encoded.sentence_spans)
        return {"triples": triples if is_batch else triples[0]}

    def postprocess(self, model_outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        return model_outputs["triples"]

    def _warn_without_pairs(self, batch: list[EncodedDocument]) -> None:
        """Warns once, of the first document that cannot have a triple."""
        for encoded in [] if self._has_warned else batch:
            if encoded.features is not None and not any(map(any, encoded.features["pair_mask"])):
                self._has_warned = True
                logger.warning(_why_no_triples(encoded.document, self.processor.candidate_types))
                break

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        super().save_pretrained(save_directory, **kwargs)
        # Pipeline saves the tokenizer, but not the processor.
        self.processor.save_pretrained(save_directory, **kwargs)


class _Stream:
    """Triples of streamed documents. Errors show none of the frames of `Pipeline`."""

    def __init__(self, triples: Iterable[list[dict[str, Any]]]):
        self.triples = triples

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        try:
            yield from self.triples
        except DocumentError as error:
            raise error.with_traceback(None) from None

    def __len__(self) -> int:
        return len(self.triples)  # type: ignore[arg-type]


def differing(labels: Collection[str], relations: Collection[str]) -> str:
    """Describes how a label map (`labels`) differs from another (`relations`)."""
    surplus, missing = sorted(set(labels) - set(relations)), sorted(set(relations) - set(labels))
    said = [f"{verb} {quote(names)}" for verb, names in (("it has", surplus), ("it lacks", missing)) if names]
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
        `ValueError`: they have others. The message names the differences.
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
    document = _without_labels(document)
    if not is_plain_text(document):
        return EncodedDocument(document)
    converted = document_of(document)
    spans = [[(int(start), int(end)) for start, end in entity["mentions"]] for entity in document["entities"]]
    return EncodedDocument(converted, spans, sentence_spans(document["text"], converted["sents"]))


def check_given(document: Any) -> None:
    """
    Checks a document as users of the pipeline pass it. Does not split a plain text.

    Raises:
        [`DocumentError`]: it is malformed.
    """
    document = _without_labels(document)
    if is_plain_text(document):
        check_text(document.get("title"), document["text"], document.get("entities"))
    else:
        check_document(document)


def check_documents(documents: Sequence[Any]) -> None:
    """
    Checks a list of documents as users of the pipeline pass it.

    Raises:
        [`DocumentError`]: one of them is malformed. The message has its index.
    """
    for _ in _checked(documents):
        pass


def _checked(documents: Iterable[Any]) -> Iterator[Any]:
    """Yields documents, each checked. Errors have the index of the document."""
    for index, document in enumerate(documents):
        try:
            check_given(document)
        except DocumentError as error:
            raise DocumentError(f"documents[{index}]: {error}") from None
        yield document


def _without_labels(document: Any) -> dict[str, Any]:
    """Returns a document without its labels, a plain text with a title."""
    if isinstance(document, str):
        raise DocumentError(f"found the text {quote(document)} without entities. {ENTITIES_HELP}")
    if not isinstance(document, Mapping):
        raise DocumentError(f"found {quote(document)}, expected a document, a mapping. {ENTITIES_HELP}")
    if not {"sents", "text"} & set(document):
        raise DocumentError(
            f"{name_of(document)} has the keys {quote(list(document))}, expected a text with 'text' and "
            "'entities', or a document with 'title', 'sents' and 'vertexSet'"
        )
    # Prediction needs no labels, which are class indices in a row of a built dataset.
    document = {name: value for name, value in document.items() if name != "labels"}
    if isinstance(document.get("text"), str) and document.get("title") is None:
        document["title"] = _first_words(document["text"])
    return document


def _why_no_triples(document: Mapping[str, Any], candidate_types: Sequence[Sequence[str]] | None) -> str:
    """Describes why a document has no candidate pair."""
    num_entities = len(document["vertexSet"])
    if num_entities < 2:
        reason = f"it has {num_entities or 'no'} {'entity' if num_entities else 'entities'}. {ENTITIES_HELP}"
    else:
        found = sorted({mention["type"] for mentions in document["vertexSet"] for mention in mentions})
        reason = f"its entities have the types {found}, expected pairs (head, tail) of {candidate_types}"
    return (
        f"{name_of(document)} has no triples because {reason}. Further documents without a pair of "
        "entities are not reported"
    )


def _first_words(text: str, length: int = 40) -> str:
    """Returns a title for a text without one, for error messages."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


__all__ = ["DocumentRelationExtractionPipeline"]
