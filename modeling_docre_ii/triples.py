"""Triples as users see them: predicted facts with names, places and evidence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .decoding import PredictedFact


# A span of characters, [start, end).
Span = tuple[int, int]


def describe_entity(index: int, mentions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Describes an entity as head or tail of a triple.

    Args:
        index (`int`):
            The entity, an index into `vertexSet`.
        mentions (`list[dict]`):
            Its mentions in DocRED's form.

    Returns:
        `dict`: `entity`, `name` and `type` of its first mention, all `mentions` with `name`, `sent_id` and `pos`, and
        the first `kb_id` of its mentions, if they have one.
    """
    described = {
        "entity": index,
        "name": mentions[0]["name"],
        "type": mentions[0]["type"],
        "mentions": [
            {"name": mention["name"], "sent_id": mention["sent_id"], "pos": list(mention["pos"])}
            for mention in mentions
        ],
    }
    identifier = kb_id_of(mentions)
    return described if identifier is None else described | {"kb_id": identifier}


def kb_id_of(mentions: Iterable[Mapping[str, Any]]) -> str | None:
    """Returns the first `kb_id` of mentions that is not empty, `None` without any."""
    return next((mention["kb_id"] for mention in mentions if mention.get("kb_id")), None)


def named_triples(
    facts: Iterable[PredictedFact], document: Mapping[str, Any], relation_names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """
    Converts predicted facts of one document to triples with names.

    Args:
        facts (`Iterable[PredictedFact]`):
            The predictions.
        document (`dict`):
            The document.
        relation_names (`dict[str, str]`):
            Relation id -> readable name.

    Returns:
        `list[dict]`: see [`~DocREIIProcessor.name_facts`].
    """
    entities = [describe_entity(index, mentions) for index, mentions in enumerate(document["vertexSet"])]
    return [
        {
            "head": entities[fact.head],
            "relation": fact.relation,
            "relation_name": relation_names.get(fact.relation, fact.relation),
            "tail": entities[fact.tail],
            "score": fact.score,
            "evidence": list(fact.evidence),
        }
        for fact in sorted(facts, key=lambda fact: -fact.score)
    ]


def at_characters(
    triples: list[dict[str, Any]], mention_spans: Sequence[Sequence[Span]], sentence_spans: Sequence[Span]
) -> list[dict[str, Any]]:
    """
    Gives the places of mentions and of evidence in characters of a plain text.

    Args:
        triples (`list[dict]`):
            Triples of a document. The mentions get `start` and `end` in place of `sent_id` and `pos`, and each triple
            gets `evidence_spans`.
        mention_spans (`list[list[tuple[int, int]]]`):
            Characters of every mention of every entity.
        sentence_spans (`list[tuple[int, int]]`):
            Characters of every sentence.
    """
    for triple in triples:
        for pair in (triple, *triple.get("support", ())):
            for side in ("head", "tail"):
                entity = pair[side]
                pair[side] = entity | {
                    "mentions": [
                        {"name": mention["name"], "start": start, "end": end}
                        for mention, (start, end) in zip(entity["mentions"], mention_spans[entity["entity"]])
                    ]
                }
        triple["evidence_spans"] = [list(sentence_spans[sentence]) for sentence in triple["evidence"]]
    return triples
