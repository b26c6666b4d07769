"""RDF in Turtle, as rdflib reads it."""

import pytest
from rdflib import Graph, Literal, Namespace, URIRef
from rdflib.namespace import RDF, RDFS, SKOS

from modeling_docre_ii.knowledge_graph import KnowledgeGraph
from modeling_docre_ii.knowledge_graph.turtle import write_turtle


WD, WDT = Namespace("http://www.wikidata.org/entity/"), Namespace("http://www.wikidata.org/prop/direct/")
OWN = "urn:docre-ii:"


def read(graph, path):
    write_turtle(graph, path)
    return Graph().parse(path, format="turtle")


def own(name):
    return URIRef(OWN + name)


def values(graph, subject, name):
    return sorted(value.toPython() for value in graph.objects(subject, own(name)))


@pytest.fixture
def statements_of(tmp_path):
    def read_statements(graph):
        found = read(graph, tmp_path / "graph.ttl")
        return found, {
            tuple(found.value(statement, part) for part in (RDF.subject, RDF.predicate, RDF.object)): statement
            for statement in found.subjects(RDF.type, RDF.Statement)
        }

    return read_statements


def test_wikidata_has_its_own_iris_and_all_else_ours(small, statements_of):
    found, statements = statements_of(small)
    lyon, person = own("entity:name:LOC:lyon"), own("entity:name:PER:lyon")

    assert set(statements) == {(lyon, WDT.P17, WD.Q142), (person, WDT.P19, lyon)}
    assert all(triple in found for triple in statements)
    assert found.value(WD.Q142, RDFS.label) == Literal("France")
    assert list(found.objects(WD.Q142, SKOS.altLabel)) == [Literal("French Republic")]
    assert found.value(person, RDF.type) == own("type:PER")
    assert found.value(WDT.P19, RDFS.label) == Literal("place of birth")
    assert found.value(WD.Q142, own("kbId")) == Literal("Q142")


def test_statements_have_scores_and_evidence(small, statements_of):
    found, statements = statements_of(small)
    statement = statements[own("entity:name:LOC:lyon"), WDT.P17, WD.Q142]

    assert values(found, statement, "score") == [0.875]
    assert values(found, statement, "meanScore") == [0.75]
    assert values(found, statement, "numDocuments") == [2]
    evidence = [
        tuple(values(found, one, name) for name in ("score", "document", "title", "sentence", "span"))
        for one in found.objects(statement, own("evidence"))
    ]
    assert sorted(evidence) == [
        ([0.625], [0], ["first"], [2], []),
        ([0.75], [0], ["first"], [0, 1], []),
        ([0.875], [1], ["second"], [], ["char=0,9"]),
    ]


def test_hostile_names_are_read_back(hostile, statements_of):
    found, statements = statements_of(hostile)

    assert len(statements) == len(hostile.edges)
    labels = {
        str(label) for entity, label in found.subject_objects(RDFS.label) if str(entity).startswith(OWN + "entity:")
    }
    assert labels == {node.name for node in hostile.nodes.values()}
    assert {str(iri).removeprefix(OWN + "entity:") for iri, _, _ in statements} <= set(hostile.nodes)
    names = {str(found.value(relation, RDFS.label)) for _, relation, _ in statements}
    assert names == {edge.relation_name for edge in hostile.edges}
    titles = {title for one in found.subjects(own("title")) for title in values(found, one, "title")}
    assert titles == {one.title for edge in hostile.edges for one in edge.evidence}


def test_an_empty_graph_is_a_graph(tmp_path):
    assert len(read(KnowledgeGraph({}, []), tmp_path / "graph.ttl")) == 0
