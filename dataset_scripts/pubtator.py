"""Abstracts in the PubTator format, as documents of CDR and GDA."""

from typing import Any

from modeling_docre_ii.annotation_formats.pubtator import Abstract
from modeling_docre_ii.annotation_formats.source_files import fail
from modeling_docre_ii.quoting import quote
from modeling_docre_ii.text_documents import document_from_text


def to_document(abstract: Abstract, head_type: str, tail_type: str) -> dict[str, Any]:
    """
    Makes a document of an abstract, with the PMID as its title.

    Entities are told apart by type and identifier, and ordered by their first mention. A mention with several
    identifiers belongs to several entities, an ungrounded mention to none. A sentence ends where the title ends.

    Args:
        abstract ([`Abstract`]):
            The abstract.
        head_type (`str`), tail_type (`str`):
            Types of the arguments of its facts.

    Raises:
        [`DocumentError`]: a fact names an identifier without a mention of its type, or is repeated.
    """
    # Spans are keys, because mentions with several identifiers can repeat them.
    spans: dict[tuple[str, str], dict[tuple[int, int], None]] = {}
    for annotation in sorted(abstract.annotations, key=lambda annotation: (annotation.start, annotation.end)):
        for identifier in annotation.ids:
            spans.setdefault((annotation.type, identifier), {})[annotation.start, annotation.end] = None
    entities = [
        {"mentions": list(mentions), "type": kind, "kb_id": kb_id} for (kind, kb_id), mentions in spans.items()
    ]
    document = document_from_text(abstract.pmid, abstract.text, entities, breaks=[len(abstract.title) + 1])
    index = {entity: position for position, entity in enumerate(spans)}
    facts: dict[tuple[int, int, str], None] = {}
    for place, relation, head, tail in abstract.facts:
        for kind, identifier in ((head_type, head), (tail_type, tail)):
            if (kind, identifier) not in index:
                fail(
                    place, f"abstract {abstract.pmid}: {relation} of {kind} {quote(identifier)}, which has no mention"
                )
        fact = (index[head_type, head], index[tail_type, tail], relation)
        if fact in facts:
            fail(place, f"abstract {abstract.pmid}: {relation} of {head[:40]} and {tail[:40]} is repeated")
        facts[fact] = None
    document["labels"] = [{"h": head, "t": tail, "r": relation, "evidence": []} for head, tail, relation in facts]
    return document
