"""Pipeline of DocRE-II: extracts triples from documents or plain texts."""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from torch.utils.data import Dataset, IterableDataset
from transformers import Pipeline
from transformers.utils import logging

from .data_collator import DataCollatorForRelationExtraction
from .decoding import check_selection
from .documents import ENTITIES_HELP, DocumentError, is_plain_text, is_raw_text, name_of
from .entity_finding import EntityFinder, checkpoint_of, find_mention_model, save_mention_model
from .entity_linking import Linker
from .evidence import evidence_source
from .explanation import check_can_explain
from .loaded_weights import check_label_map, check_weights, is_on_device
from .mention_extraction import TokenClassificationExtractor
from .quoting import quote
from .text_documents import (
    check_documents,
    check_given,
    check_is_no_table,
    checked_documents,
    document_of,
    sentence_spans,
    with_title,
)
from .triples import Span, at_characters


logger = logging.get_logger(__name__)

# The arguments of a call beside the documents. `Pipeline` reads those that belong to batches.
_BATCH_ARGUMENTS = ("batch_size", "num_workers")
_DEFAULTS: dict[str, Any] = {"threshold": 0.5, "top_k": None, "explain": False, "evidence": None}
_ARGUMENTS = (*_DEFAULTS, *_BATCH_ARGUMENTS)

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

    Args:
        mention_extractor (`str`, `TokenClassificationPipeline` or `Callable`, *optional*):
            What finds the mentions of texts without entities: a token-classification model, or any callable, such as a
            spaCy `Language`, that takes a text and returns mentions. See [`EntityFinder`]. Defaults to the mention
            model of the checkpoint (its folder `mention_model`), if it has one.
        linker (`Callable`, *optional*):
            Joins the mentions of one entity: text and mentions -> entities. Defaults to [`link_mentions`].
        type_map (`dict[str, str]`, *optional*):
            The model's entity types for those of the mention extractor, `None` to leave out the mentions of a type.

    The other arguments are those of [`Pipeline`] and of a call.
    """

    default_input_names = "documents"

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(
        self,
        *args: Any,
        mention_extractor: Any = None,
        linker: Linker | None = None,
        type_map: Mapping[str, str | None] | None = None,
        **kwargs: Any,
    ):
        if is_on_device(kwargs.get("model"), kwargs.get("device")):
            del kwargs["device"]  # with which `Pipeline` refuses a device map
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ValueError("the pipeline needs the `processor` of its model: pass `processor=`")
        check_label_map(self.model.config.id2label, self.processor.relations)
        check_weights(self.model)
        self._entity_finder = EntityFinder(
            mention_extractor, linker, type_map, _known_types(self.processor), self.device
        )
        self._checkpoint = checkpoint_of(self.model)
        self._has_warned = False

    @cached_property
    def entity_finder(self) -> EntityFinder:
        """[`EntityFinder`]: finds the entities of raw texts, with the mention model."""
        if not self._entity_finder.finds_mentions:
            self._entity_finder.extractor = find_mention_model(*self._checkpoint, self.device)
        return self._entity_finder

    def find_entities(self, texts: Any) -> Any:
        """
        Finds the entities of raw texts.

        Args:
            texts (`str`, `dict` or a list of them):
                One text or several, as a call takes them.

        Returns:
            `dict` for one text, a list of them for a list: `title`, `text` and `entities`, each with `type` and
            `mentions`, [start, end) in characters. A call takes them, so that the entities can be changed before.
            Documents that have entities are returned as they are.

        Raises:
            [`DocumentError`]: a text is malformed, or there is no mention extractor.
        """
        is_list = isinstance(texts, (tuple, list))
        documents = list(texts) if is_list else [texts]
        if is_list:
            check_documents(documents)
        else:
            check_given(texts)
        found = self.add_entities(documents, 0 if is_list else None)
        return found if is_list else found[0]

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
            documents (`str`, `dict`, a list of them, `Dataset` or any iterable of them):
                The documents. Each is a text, a mapping with `text` and `entities`, or in DocRED's form (`title`,
                `sents`, `vertexSet`). An entity of a text has a `type` and its `mentions`, a list of [start, end) in
                characters. Without `entities`, the mention extractor finds them; a mapping with `text` may also have
                the `mentions` and `clusters` of another tool, see [`read_mentions`]. The `title` of a text is
                optional. Labels are ignored.
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
            check_is_no_table(documents)
            if isinstance(documents, Dataset) or (is_iterable and not is_list):
                call = super().__call__
                return _Stream(lambda: call(self._streamed(documents, kwargs), **kwargs), documents)
            if is_list:
                check_documents(documents)
                documents = self.add_entities(documents, 0)
            else:
                check_given(documents)
                (documents,) = self.add_entities([documents])
        except DocumentError as error:
            raise error.with_traceback(None) from None
        if is_list:
            return super().__call__(documents, **kwargs) if documents else []
        return super().__call__(documents, **kwargs)

    def add_entities(self, documents: Sequence[Any], number_from: int | None = None) -> list[Any]:
        """
        Finds the entities of the raw texts among some documents.

        Args:
            documents (`Sequence`):
                Documents as a call takes them, checked. All but raw texts are returned as they are.
            number_from (`int`, *optional*):
                Number of the first document, for messages. Defaults to no numbers.

        Raises:
            [`DocumentError`]: there is no mention extractor, or what it found is malformed.
        """
        if not any(map(is_raw_text, documents)):
            return list(documents)
        titled = [with_title(given) if is_raw_text(given) else given for given in documents]
        return self.entity_finder(titled, number_from)

    def _streamed(self, documents: Dataset | Iterable[Any], kwargs: Mapping[str, Any]) -> Dataset | Iterator[Any]:
        """Returns documents as `Pipeline` takes them, checked. A `datasets.Dataset` is no dataset of torch."""
        if isinstance(documents, Dataset) and not isinstance(documents, IterableDataset):
            return _CheckedDataset(documents)
        return self._stream(documents, kwargs.get("batch_size", self._batch_size) or 1)

    def _stream(self, documents: Iterable[Any], size: int) -> Iterator[Any]:
        """Yields documents, each checked, with the entities of raw texts found for up to `size` at once."""
        waiting: list[Any] = []
        for index, document in enumerate(checked_documents(documents)):
            waiting.append(document)
            if len(waiting) == size or not is_raw_text(document):
                yield from self.add_entities(waiting, index + 1 - len(waiting))
                waiting = []
        yield from self.add_entities(waiting, index + 1 - len(waiting) if waiting else None)

    def get_iterator(self, inputs: Any, *args: Any, **kwargs: Any) -> Iterable[list[dict[str, Any]]]:
        triples = super().get_iterator(inputs, *args, **kwargs)
        if not isinstance(inputs, list):  # the caller reads a stream, and knows how long it is
            return triples
        return logging.tqdm(
            triples, total=len(inputs), desc="Extracting triples", unit=" documents", delay=_PROGRESS_BAR_DELAY
        )

    def _sanitize_parameters(self, **given: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        for name in [name for name in given if name not in _DEFAULTS]:
            near = difflib.get_close_matches(name, _ARGUMENTS, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"the relation extraction pipeline has no argument {name!r}{hint} "
                f"(arguments of a call: {', '.join(_ARGUMENTS)})"
            )
        # `None` in a call takes back what the pipeline was created with.
        values = {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}
        checked = _DEFAULTS | values
        check_selection(checked["threshold"], checked["top_k"])
        if not isinstance(checked["explain"], bool):
            raise ValueError(f"`explain` must be True or False, got {quote(checked['explain'])}")
        if checked["explain"]:
            check_can_explain(self.model.config)
        if checked["evidence"] is not None:
            evidence_source(checked["evidence"], self.model.config)
        return {}, values, {}

    def preprocess(self, document: Mapping[str, Any]) -> dict[str, EncodedDocument]:
        (document,) = self.add_entities([document])  # a torch dataset is read here
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
        for encoded in batch if self.processor.mark_types else []:
            kinds = {mention["type"] for mentions in encoded.document["vertexSet"] for mention in mentions}
            self._entity_finder.types.warn_of_given(kinds)
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
                found_none = self._entity_finder.finds_mentions
                logger.warning(_why_no_triples(encoded.document, self.processor.candidate_types, found_none))
                break

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        super().save_pretrained(save_directory, **kwargs)
        # Pipeline saves the tokenizer, but not the processor.
        self.processor.save_pretrained(save_directory, **kwargs)
        extractor = self._entity_finder.extractor
        if not isinstance(extractor, TokenClassificationExtractor):
            extractor = find_mention_model(*self._checkpoint, self.device)
        save_mention_model(extractor, save_directory)


class _CheckedDataset(Dataset):
    """A dataset of torch whose documents are checked. Errors have the index of the document."""

    def __init__(self, documents: Any):
        self.documents = documents

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, index: int) -> Any:
        return next(checked_documents([self.documents[index]], index))


class _Stream:
    """Triples of streamed documents, as often as these can be read. Errors show none of the frames of `Pipeline`."""

    def __init__(self, start: Callable[[], Iterable[list[dict[str, Any]]]], documents: Any):
        self.start, self.documents = start, documents

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        try:
            yield from self.start()
        except DocumentError as error:
            raise error.with_traceback(None) from None

    def __len__(self) -> int:
        return len(self.documents)


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
    document = with_title(document)
    if not is_plain_text(document):
        return EncodedDocument(document)
    converted = document_of(document)
    spans = [[(int(start), int(end)) for start, end in entity["mentions"]] for entity in document["entities"]]
    return EncodedDocument(converted, spans, sentence_spans(document["text"], converted["sents"]))


def _known_types(processor: Any) -> list[str] | None:
    """Returns the entity types that a model knows, as far as its processor says."""
    if processor.entity_types is not None:
        return processor.entity_types
    pairs = processor.candidate_types
    return None if pairs is None else sorted({kind for pair in pairs for kind in pair})


def _why_no_triples(
    document: Mapping[str, Any], candidate_types: Sequence[Sequence[str]] | None, has_extractor: bool
) -> str:
    """Describes why a document has no candidate pair."""
    num_entities = len(document["vertexSet"])
    if num_entities < 2:
        advice = f". {ENTITIES_HELP}. A mention model of the checkpoint finds them where 'entities' is left out"
        advice = "" if has_extractor else advice
        reason = f"it has {num_entities or 'no'} {'entity' if num_entities else 'entities'}{advice}"
    else:
        found = sorted({mention["type"] for mentions in document["vertexSet"] for mention in mentions})
        reason = f"its entities have the types {found}, expected pairs (head, tail) of {candidate_types}"
    return (
        f"{name_of(document)} has no triples because {reason}. Further documents without a pair of "
        "entities are not reported"
    )


__all__ = ["DocumentRelationExtractionPipeline"]
