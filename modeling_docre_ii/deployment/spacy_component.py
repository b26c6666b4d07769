"""DocRE-II as a component of spaCy pipelines: `nlp.add_pipe("docre_ii")`."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from transformers import pipeline
from transformers.utils import logging

from ..configuration_loading import load_config
from ..mention_formats import row_of_spacy_span
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline


logger = logging.get_logger(__name__)

# The attributes of a `Doc` that the component sets.
RELATIONS, TRIPLES = "relations", "triples"


@Language.factory(
    "docre_ii",
    assigns=[f"doc._.{RELATIONS}", f"doc._.{TRIPLES}"],
    default_config={
        "spans_key": None,
        "type_map": {},
        "threshold": 0.5,
        "top_k": None,
        "evidence": None,
        "batch_size": 8,
        "device": None,
    },
)
def make_component(
    nlp: Language,
    name: str,
    model: str,
    spans_key: str | None,
    type_map: dict[str, str | None],
    threshold: float,
    top_k: int | None,
    evidence: str | None,
    batch_size: int,
    device: str | None,
) -> "RelationExtractor":
    """Makes the component, see [`RelationExtractor`]."""
    options = {"threshold": threshold, "top_k": top_k, "evidence": evidence}
    return RelationExtractor(model, spans_key, type_map, options, batch_size, device)


class RelationExtractor:
    r"""
    Extracts the relations between the entities of a `Doc`.

    Entities are the spans of `doc.ents`. Those that one cluster of a coreference model holds are one
    (`doc.spans["coref_clusters_*"]`, or `doc._.coref_clusters` of fastcoref), and so are those whose names
    [`link_mentions`] joins.

    It sets two attributes:

    - `doc._.relations`, a list of plain dicts with the keys of GLiREL: `head_text` and `tail_text` (the tokens of the
      first mention), `head_pos` and `tail_pos` (its [start, end) in tokens), `label` (the name of the relation) and
      `score`; and with `relation` (its id), `head_mentions` and `tail_mentions` (all mentions, [start, end) in tokens)
      and `evidence` (the sentences that state it, [start, end) in tokens);
    - `doc._.triples`, the same as `(head, label, tail)`, both ends as `Span`s.

    The weights are not part of `nlp.to_disk` and `nlp.to_bytes`: a loaded pipeline reads them from `model`.

    Args:
        model (`str`):
            A checkpoint: a local folder or a name on the Hub. It is loaded when the first `Doc` is read.
        spans_key (`str`, *optional*):
            The group of `doc.spans` that holds the mentions. Defaults to `doc.ents`.
        type_map (`dict[str, str]`, *optional*):
            The model's entity types for the labels of the spans, see [`EntityFinder`].
        options (`dict`, *optional*):
            Arguments of a call of [`DocumentRelationExtractionPipeline`], such as `threshold`.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once in `nlp.pipe`.
        device (`str`, *optional*):
            Where the model runs.

    Example:

    ```python
    >>> nlp = spacy.load("en_core_web_sm")
    >>> nlp.add_pipe("docre_ii", config={"model": "outputs/quickstart"})
    >>> doc = nlp("Charles Babbage was born in London.")
    >>> for head, label, tail in doc._.triples:
    ...     print(head, label, tail)
    ```
    """

    def __init__(
        self,
        model: str,
        spans_key: str | None = None,
        type_map: Mapping[str, str | None] | None = None,
        options: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        device: str | None = None,
    ):
        self.model = model
        self.spans_key = spans_key
        self.type_map = dict(type_map or {})
        self.options = {name: value for name, value in (options or {}).items() if value is not None}
        self.batch_size = batch_size
        self.device = device
        register_attributes()

    @cached_property
    def extractor(self) -> DocumentRelationExtractionPipeline:
        """[`DocumentRelationExtractionPipeline`]: the model."""
        load_config(self.model)  # names a missing model
        return pipeline("document-relation-extraction", model=self.model, type_map=self.type_map, device=self.device)

    def __call__(self, doc: Doc) -> Doc:
        """Sets the attributes of a `Doc`."""
        (doc,) = self._extract([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int | None = None) -> Iterator[Doc]:
        """Sets the attributes of a stream of `Doc`s, several at once."""
        for docs in spacy.util.minibatch(stream, size=batch_size or self.batch_size):
            yield from self._extract(list(docs))

    def _extract(self, docs: list[Doc]) -> list[Doc]:
        # A Doc of white space has no entities, and is no text for the model.
        read = [doc for doc in docs if doc.text.strip()]
        triples = self.extractor([self._as_text(doc) for doc in read], batch_size=self.batch_size, **self.options)
        for doc in docs:
            doc._.set(RELATIONS, [])
        for doc, rows in zip(read, triples):
            doc._.set(RELATIONS, [as_relation(doc, row) for row in rows])
        return docs

    def _as_text(self, doc: Doc) -> dict[str, Any]:
        spans = doc.ents if self.spans_key is None else doc.spans.get(self.spans_key, ())
        if self.spans_key is not None and self.spans_key not in doc.spans:
            groups = ", ".join(map(repr, sorted(doc.spans))) or "none"
            logger.warning_once(
                f"a text has no triples, because it has no group of spans {self.spans_key!r} (`spans_key`): its "
                f"groups are {groups}"
            )
        return {"text": doc.text, "mentions": [row_of_spacy_span(span) for span in spans], "clusters": doc}

    def to_bytes(self, exclude: Iterable[str] = ()) -> bytes:
        """Returns nothing: all settings are in the configuration of the pipeline."""
        return b""

    def from_bytes(self, data: bytes, exclude: Iterable[str] = ()) -> "RelationExtractor":
        """Reads nothing."""
        return self

    def to_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> None:
        """Writes nothing."""

    def from_disk(self, path: str | Path, exclude: Iterable[str] = ()) -> "RelationExtractor":
        """Reads nothing."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Another process loads the model itself.
        return {name: value for name, value in vars(self).items() if name != "extractor"}


def register_attributes() -> None:
    """Registers `doc._.relations` and `doc._.triples`, if no other component has."""
    if not Doc.has_extension(RELATIONS):
        Doc.set_extension(RELATIONS, default=None)
    if not Doc.has_extension(TRIPLES):
        Doc.set_extension(TRIPLES, getter=spans_of_relations)


def as_relation(doc: Doc, triple: Mapping[str, Any]) -> dict[str, Any]:
    """
    Describes a triple by the tokens of its `Doc`.

    Args:
        doc (`Doc`):
            The `Doc`.
        triple (`dict`):
            From [`DocumentRelationExtractionPipeline`].

    Returns:
        `dict`: see [`RelationExtractor`].
    """
    sides: dict[str, Any] = {}
    for side in ("head", "tail"):
        mentions = [_tokens(doc, mention["start"], mention["end"]) for mention in triple[side]["mentions"]]
        start, end = mentions[0]
        sides |= {
            f"{side}_text": [token.text for token in doc[start:end]],
            f"{side}_pos": [start, end],
            f"{side}_mentions": mentions,
        }
    return {
        **sides,
        "label": triple["relation_name"],
        "relation": triple["relation"],
        "score": triple["score"],
        "evidence": [_tokens(doc, *span) for span in triple.get("evidence_spans", ())],
    }


def spans_of_relations(doc: Doc) -> list[tuple[Span, str, Span]]:
    """Returns `doc._.relations` as heads, labels and tails."""
    return [
        (doc[slice(*relation["head_pos"])], relation["label"], doc[slice(*relation["tail_pos"])])
        for relation in doc._.get(RELATIONS) or ()
    ]


def _tokens(doc: Doc, start: int, end: int) -> list[int]:
    span = doc.char_span(start, end, alignment_mode="expand")
    assert span is not None, "the characters are those of a mention"
    return [span.start, span.end]


__all__ = ["RelationExtractor", "as_relation", "make_component", "register_attributes", "spans_of_relations"]
