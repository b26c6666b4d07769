"""Reads the exports of annotation tools in tests, and spells out the documents that they become."""

from modeling_docre_ii.annotation_formats.annotated_text import Report, to_document
from modeling_docre_ii.documents import check_document
from modeling_docre_ii.text_documents import document_of


def read(reader, path, *options, coreference=(), leave_out=()):
    """Returns the documents of an export, all fit for training, and the report."""
    report = Report(leave_out)
    documents = [to_document(text, coreference, report) for text in reader(str(path), report, *options)]
    for document in documents:
        check_document(document_of(document))
    return documents, report


def entities_of(document):
    """Spells out the entities: type, mentions as text, and the identifier if there is one."""
    return [
        (
            entity["type"],
            [document["text"][start:end] for start, end in entity["mentions"]],
            *([entity["kb_id"]] if "kb_id" in entity else []),
        )
        for entity in document["entities"]
    ]


def facts_of(document):
    """Spells out the facts, with the first mention of each entity."""
    names = [names[0] for _, names, *_ in entities_of(document)]
    return [(names[fact["h"]], fact["r"], names[fact["t"]]) for fact in document["labels"]]


def counts_of(report):
    """Returns what was left out and changed, as one mapping from the words to the count."""
    return {noun + rest: count for (noun, rest), count in (report.left_out + report.changed).items()}
