"""The document schema, DocRED's own: its checks and its counts."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .quoting import lone_surrogate, quote


NO_RELATION = "Na"

# What errors and warnings say to users who have a text without entities.
ENTITIES_HELP = (
    "The model relates entities: pass {'text': 'Charles Babbage ...', 'entities': [{'type': 'PER', 'mentions': "
    "[[0, 15]]}, ...]}, each mention as [start, end) in characters, or create the pipeline with a "
    "`mention_extractor` that finds them (docs/raw_text.md)"
)

# What an error expects of a name.
ENCODABLE = "text that UTF-8 can encode, without lone surrogates"

# Titles and names are quoted up to this length in messages.
_LONGEST_NAME = 80

_MISSING = object()


class DocumentError(ValueError):
    """Raised for a document, or a file of documents, that is malformed."""


def check_document(document: Mapping[str, Any], relations: Collection[str] | None = None) -> None:
    """
    Checks that a document is in DocRED's form.

    Tokens may be any string that UTF-8 can encode: the published corpora have tokens of a single (no-break) space.
    Sentences may be empty, but a document needs a token. Other keys are ignored, and the optional fields (`labels`, a
    label's `evidence`, a mention's `kb_id`, `uncounted`) may be missing or `None`.

    Args:
        document (`Mapping`):
            The document: `title`, `sents` (lists of tokens), `vertexSet` (entities, each a list of mentions with
            `name`, `sent_id`, `pos` = [start, end) in that sentence, `type`) and `labels` (facts with `h`, `t`, `r`).
            `uncounted` lists the pairs (`h`, `t`) that training and scoring leave out, in corpora with such pairs.
        relations (`Collection[str]`, *optional*):
            The relation ids that a fact may have. Defaults to any string but `"Na"`.

    Raises:
        [`DocumentError`]: a field is malformed. The message names the document, the entity and the mention (or the
            label), the field, and the value that was found and expected.

    Example:

    ```python
    >>> check_document({"title": "T", "sents": [["Paris"]], "vertexSet": [[{"name": "Paris", "sent_id": 0}]]})
    DocumentError: document 'T', entity 0, mention 0 ('Paris'): 'type' is missing, expected a string
    ```
    """
    if not isinstance(document, Mapping):
        raise DocumentError(f"document without a title: found {quote(document)}, expected a mapping")
    if is_plain_text(document):
        raise DocumentError(
            f"{name_of(document)} is a plain text, expected one in DocRED's form with 'sents' and "
            "'vertexSet': convert it with `document_from_text`"
        )
    title = document.get("title", _MISSING)
    if not isinstance(title, str) or not title.strip():
        _fail(document, "", "title", title, "a non-empty string")
    _check_encodable(document, "", "title", title)
    sentence_lengths = _check_sentences(document)
    entities = document.get("vertexSet", _MISSING)
    if not isinstance(entities, (list, tuple)):
        _fail(document, "", "vertexSet", entities, "a list of entities")
    for entity_index, mentions in enumerate(entities):
        if not isinstance(mentions, (list, tuple)) or not mentions:
            _fail(document, f"entity {entity_index}", None, mentions, "a non-empty list of mentions")
        for mention_index, mention in enumerate(mentions):
            _check_mention(document, entity_index, mention_index, mention, sentence_lengths)
    _check_labels(document, len(entities), len(sentence_lengths), relations)
    _check_uncounted(document, len(entities))


def _check_sentences(document: Mapping[str, Any]) -> list[int]:
    sentences = document.get("sents", _MISSING)
    if not isinstance(sentences, (list, tuple)):
        _fail(document, "", "sents", sentences, "a list of sentences")
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, (list, tuple)):
            _fail(document, f"sentence {index}", None, sentence, "a list of tokens")
        for token_index, token in enumerate(sentence):
            if not isinstance(token, str):
                _fail(document, f"sentence {index}, token {token_index}", None, token, "a string")
        if lone_surrogate("\n".join(sentence)):
            for token_index, token in enumerate(sentence):
                _check_encodable(document, f"sentence {index}, token {token_index}", None, token)
    lengths = [len(sentence) for sentence in sentences]
    if not any(lengths):
        _fail(document, "", "sents", sentences, "at least one token")
    return lengths


def _check_mention(
    document: Mapping[str, Any], entity_index: int, mention_index: int, mention: Any, sentence_lengths: list[int]
) -> None:
    def place() -> str:
        name = mention.get("name") if isinstance(mention, Mapping) else None
        suffix = f" ({quote(name, _LONGEST_NAME)})" if isinstance(name, str) else ""
        return f"entity {entity_index}, mention {mention_index}{suffix}"

    def fail(field: str | None, found: Any, expected: str) -> NoReturn:
        _fail(document, place(), field, found, expected)

    if not isinstance(mention, Mapping):
        fail(None, mention, "a mapping")
    for field in ("name", "type"):
        value = mention.get(field, _MISSING)
        if not isinstance(value, str):
            fail(field, value, "a string")
        if not value.isascii():
            _check_encodable(document, place(), field, value)
    sentence = mention.get("sent_id", _MISSING)
    # `type(x) is int` keeps out bool, which is an int to isinstance.
    if type(sentence) is not int or not 0 <= sentence < len(sentence_lengths):
        fail("sent_id", sentence, f"a sentence index from 0 to {len(sentence_lengths) - 1}")
    span = mention.get("pos", _MISSING)
    if not isinstance(span, (list, tuple)) or len(span) != 2 or type(span[0]) is not int or type(span[1]) is not int:
        fail("pos", span, "[start, end), two integers")
    if not 0 <= span[0] < span[1] <= sentence_lengths[sentence]:
        length = sentence_lengths[sentence]
        fail("pos", span, f"[start, end) with 0 <= start < end <= {length}, the length of sentence {sentence}")
    identifier = mention.get("kb_id")
    if identifier is not None and not isinstance(identifier, str):
        fail("kb_id", identifier, "a string")
    if identifier is not None and not identifier.isascii():
        _check_encodable(document, place(), "kb_id", identifier)


def _check_labels(
    document: Mapping[str, Any], num_entities: int, num_sentences: int, relations: Collection[str] | None
) -> None:
    labels = document.get("labels")
    if labels is None:
        return
    if not isinstance(labels, (list, tuple)):
        _fail(document, "", "labels", labels, "a list of facts")
    # Hashed once per document, so that a list of relations is not searched for every fact.
    known = None if relations is None else frozenset(relations)
    for index, label in enumerate(labels):
        if not isinstance(label, Mapping):
            _fail(document, f"label {index}", None, label, "a mapping")
        _check_pair(document, f"label {index}", label, num_entities)
        relation = label.get("r", _MISSING)
        if not isinstance(relation, str) or relation == NO_RELATION or (known is not None and relation not in known):
            _fail(document, f"label {index}", "r", relation, _relation_expected(relation, known))
        _check_encodable(document, f"label {index}", "r", relation)
        _check_evidence(document, index, label.get("evidence"), num_sentences)


def _check_uncounted(document: Mapping[str, Any], num_entities: int) -> None:
    uncounted = document.get("uncounted")
    if uncounted is None:
        return
    if not isinstance(uncounted, (list, tuple)):
        _fail(document, "", "uncounted", uncounted, "a list of pairs")
    related = {(label["h"], label["t"]) for label in document.get("labels") or ()}
    for index, pair in enumerate(uncounted):
        place = f"uncounted pair {index}"
        if not isinstance(pair, Mapping):
            _fail(document, place, None, pair, "a mapping")
        _check_pair(document, place, pair, num_entities)
        if (pair["h"], pair["t"]) in related:
            _fail(document, place, None, pair, "a pair without a fact")


def _check_pair(document: Mapping[str, Any], place: str, pair: Mapping[str, Any], num_entities: int) -> None:
    for field in ("h", "t"):
        entity = pair.get(field, _MISSING)
        if type(entity) is not int or not 0 <= entity < num_entities:
            _fail(document, place, field, entity, _entity_range(num_entities))
    if pair["h"] == pair["t"]:
        _fail(document, place, "t", pair["t"], "an entity other than the head 'h'")


def _check_evidence(document: Mapping[str, Any], label_index: int, evidence: Any, num_sentences: int) -> None:
    if evidence is None:
        return
    if not isinstance(evidence, (list, tuple)):
        _fail(document, f"label {label_index}", "evidence", evidence, "a list of sentence indices")
    for sentence in evidence:
        if type(sentence) is not int or not 0 <= sentence < num_sentences:
            expected = f"sentence indices from 0 to {num_sentences - 1}"
            _fail(document, f"label {label_index}", "evidence", evidence, expected)


def _entity_range(num_entities: int) -> str:
    return f"an entity index from 0 to {num_entities - 1}" if num_entities else "no fact without an entity"


def _relation_expected(relation: Any, known: frozenset[str] | None) -> str:
    if not isinstance(relation, str):
        return "a relation id, a string (a class id of a `datasets` row is translated by `ClassLabel.int2str`)"
    if relation == NO_RELATION:
        return f"a relation: {NO_RELATION!r} is the class of pairs without a fact, so leave out this label"
    relations = (known or frozenset()) - {NO_RELATION}
    near = difflib.get_close_matches(relation, sorted(relations), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"one of the {len(relations)} relations of the corpus{hint}"


def name_of(document: Mapping[str, Any]) -> str:
    """Returns the name of a document in errors, with its title if it has one."""
    title = document.get("title")
    has_title = isinstance(title, str) and title.strip()
    return f"document {quote(title, _LONGEST_NAME)}" if has_title else "document without a title"


def is_plain_text(document: Mapping[str, Any]) -> bool:
    """Returns whether a document is a plain `text`, not in DocRED's form."""
    return "text" in document and document.get("vertexSet") is None


def is_raw_text(document: Any) -> bool:
    """Returns whether a document is a text without entities."""
    if not isinstance(document, Mapping):
        return isinstance(document, str)
    return is_plain_text(document) and document.get("entities") is None


def _check_encodable(document: Mapping[str, Any], place: str, field: str | None, value: str) -> None:
    if surrogate := lone_surrogate(value):
        _fail(document, place, field, value, f"text that UTF-8 can encode, without the lone surrogate {surrogate}")


def _fail(document: Mapping[str, Any], place: str, field: str | None, found: Any, expected: str) -> NoReturn:
    parts = [name_of(document)]
    if place:
        parts.append(place)
    state = "is missing" if found is _MISSING else f"is {quote(found)}"
    subject = f"{field!r} {state}" if field else f"found {quote(found)}"
    raise DocumentError(f"{', '.join(parts)}: {subject}, expected {expected}")


@dataclass(frozen=True)
class CorpusCounts:
    """
    Counts of a corpus.

    Args:
        documents (`int`): Number of documents.
        entities (`int`): Number of entities.
        mentions (`int`): Number of mentions of all entities.
        facts (`int`): Number of labels.
        pairs (`int`): Number of ordered pairs of two different entities of one document.
        documents_without_label (`int`): Number of documents whose labels are missing or empty.
    """

    documents: int = 0
    entities: int = 0
    mentions: int = 0
    facts: int = 0
    pairs: int = 0
    documents_without_label: int = 0

    def __add__(self, other: "CorpusCounts") -> "CorpusCounts":
        if not isinstance(other, CorpusCounts):
            return NotImplemented
        return CorpusCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __str__(self) -> str:
        return ", ".join(f"{value:,} {_noun(name, value)}" for name, value in vars(self).items())


def _noun(name: str, count: int) -> str:
    """Names what is counted: `"documents"`, or `"document"` if there is one."""
    plural, *rest = name.split("_")
    singular = plural[:-3] + "y" if plural.endswith("ies") else plural[:-1]
    return " ".join([singular if count == 1 else plural, *rest])


def check_relations(relations: Mapping[str, str] | Sequence[str] | None) -> list[str]:
    """
    Checks the relations of a model.

    Args:
        relations (`dict[str, str]` or `list[str]`):
            The relations in the order of the model's classes, as [`DocREIIProcessor`] takes them.

    Returns:
        `list[str]`: the classes of the model, the no-relation class first.

    Raises:
        `ValueError`: they are no distinct strings that UTF-8 can encode, or there are none.
    """
    given = list(relations) if isinstance(relations, (Mapping, list, tuple)) else []
    classes = given if NO_RELATION in given else [NO_RELATION, *given]
    is_named = all(isinstance(relation, str) for relation in classes)
    if not is_named or len(classes) < 2 or len(set(classes)) != len(classes) or classes[0] != NO_RELATION:
        raise ValueError(
            f"`relations` must be a list or a mapping of distinct relation ids, at least one, with {NO_RELATION!r} "
            f"first if at all, got {quote(relations)}"
        )
    for relation in filter(lone_surrogate, classes):
        raise ValueError(f"`relations`: found {quote(relation)}, expected {ENCODABLE}")
    return classes


def count_documents(documents: Iterable[Mapping[str, Any]]) -> CorpusCounts:
    """
    Counts the documents, entities, mentions, facts and pairs of a corpus.

    Args:
        documents (`Iterable[Mapping]`): Documents that pass [`check_document`].

    Returns:
        [`CorpusCounts`]: the sums over all documents.
    """
    num_documents = num_entities = num_mentions = num_facts = num_pairs = num_unlabelled = 0
    for document in documents:
        entities, labels = document["vertexSet"], document.get("labels") or ()
        num_documents += 1
        num_entities += len(entities)
        num_mentions += sum(map(len, entities))
        num_facts += len(labels)
        num_pairs += len(entities) * (len(entities) - 1)
        num_unlabelled += not labels
    return CorpusCounts(num_documents, num_entities, num_mentions, num_facts, num_pairs, num_unlabelled)


def with_relation_ids(row: Mapping[str, Any], relations: Sequence[str]) -> dict[str, Any]:
    """
    Converts a row of a dataset, with relations as class indices, to a document.

    Args:
        row (`Mapping`):
            A row as the builders write it, `r` an index into `relations`.
        relations (`Sequence[str]`):
            Relation ids in the order of the classes, the names of the `ClassLabel`.

    Returns:
        `dict`: the document, `r` a relation id.

    Raises:
        [`DocumentError`]: a label has no class, such as -1, which a `ClassLabel` takes for a missing one.
    """
    labels = list(row.get("labels") or [])
    for index, label in enumerate(labels):
        if label["r"] not in range(len(relations)):
            _fail(row, f"label {index}", "r", label["r"], f"a class from 0 to {len(relations) - 1}")
    return {**row, "labels": [{**label, "r": relations[label["r"]]} for label in labels]}
