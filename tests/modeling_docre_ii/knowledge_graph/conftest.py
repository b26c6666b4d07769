"""A small graph that is counted by hand, and one with hostile names."""

import pytest

from modeling_docre_ii.knowledge_graph import build_graph
from tests.graph_triples import entity, hostile_documents, triple


@pytest.fixture(scope="session")
def small_documents():
    """Three documents: two state that Lyon is in France, one of them twice."""
    france = entity("France", kb_id="Q142")
    return [
        ("first", [triple("Lyon", "P17", france, 0.75, (0, 1)), triple("Lyon", "P17", france, 0.625, (2,))]),
        (
            "second",
            [
                triple("the Lyon", "P17", entity("French Republic", kb_id="Q142"), 0.875, (), [[0, 9]]),
                triple(entity("Lyon", "PER"), "P19", "Lyon", 0.5625),
            ],
        ),
        ("third", []),
    ]


@pytest.fixture(scope="session")
def small(small_documents):
    return graph_of(small_documents)


@pytest.fixture(scope="session")
def hostile():
    return graph_of(hostile_documents())


def graph_of(documents):
    titles = [{"title": title, "text": "A text.", "entities": []} for title, _ in documents]
    return build_graph(titles, [triples for _, triples in documents])
