"""Dicts in the forms of LangChain's and LlamaIndex's classes, validated by models with the same fields."""

import json

from pydantic import BaseModel, ConfigDict

from modeling_docre_ii.knowledge_graph import to_langchain, to_llama_index


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# The fields of langchain_neo4j.graphs.graph_document and langchain_core.documents.
class Node(Model):
    id: str | int
    type: str = "Node"
    properties: dict


class Relationship(Model):
    source: Node
    target: Node
    type: str
    properties: dict


class Document(Model):
    page_content: str
    metadata: dict
    type: str


class GraphDocument(Model):
    nodes: list[Node]
    relationships: list[Relationship]
    source: Document


# The fields of llama_index.core.graph_stores.types.
class EntityNode(Model):
    name: str
    label: str = "entity"
    properties: dict

    @property
    def id(self):
        return self.name.replace('"', " ")


class Relation(Model):
    label: str
    source_id: str
    target_id: str
    properties: dict


def test_langchain_has_a_graph_for_each_document_with_triples(small):
    documents = [GraphDocument(**fields) for fields in to_langchain(small, {1: "The Lyon is French."})]

    assert [document.source.metadata for document in documents] == [
        {"title": "first", "document": 0},
        {"title": "second", "document": 1},
    ]
    assert [document.source.page_content for document in documents] == ["", "The Lyon is French."]
    assert [[node.id for node in document.nodes] for document in documents] == [
        ["Q142", "name:LOC:lyon"],
        ["Q142", "name:LOC:lyon", "name:PER:lyon"],
    ]
    triples = [
        [(row.source.id, row.type, row.target.id, row.properties["score"]) for row in document.relationships]
        for document in documents
    ]
    assert triples == [
        # The higher of two scores.
        [("name:LOC:lyon", "COUNTRY", "Q142", 0.75)],
        [("name:LOC:lyon", "COUNTRY", "Q142", 0.875), ("name:PER:lyon", "PLACE_OF_BIRTH", "name:LOC:lyon", 0.5625)],
    ]
    assert documents[0].nodes[0].properties == {
        "name": "France",
        "names": ["France", "French Republic"],
        "num_documents": 2,
        "kb_id": "Q142",
    }


def test_llama_index_finds_every_node_of_a_relation_by_its_id(small):
    fields = to_llama_index(small)
    nodes = {node.id: node for node in (EntityNode(**node) for node in fields["nodes"])}
    relations = [Relation(**relation) for relation in fields["relations"]]

    # Two nodes are named Lyon.
    assert list(nodes) == ["France", "Lyon (name:LOC:lyon)", "Lyon (name:PER:lyon)"]
    assert [(row.source_id, row.label, row.target_id) for row in relations] == [
        ("Lyon (name:LOC:lyon)", "COUNTRY", "France"),
        ("Lyon (name:PER:lyon)", "PLACE_OF_BIRTH", "Lyon (name:LOC:lyon)"),
    ]
    assert nodes["France"].label == "LOC"
    assert relations[0].properties["mean_score"] == 0.75


def test_hostile_names_keep_nodes_apart_and_are_json(hostile):
    fields = json.loads(json.dumps(to_llama_index(hostile)))
    ids = [EntityNode(**node).id for node in fields["nodes"]]

    assert len(set(ids)) == len(hostile.nodes)
    assert {relation[side] for relation in fields["relations"] for side in ("source_id", "target_id")} == set(ids)
    documents = [GraphDocument(**document) for document in json.loads(json.dumps(to_langchain(hostile)))]
    assert sum(len(document.relationships) for document in documents) == sum(
        len({one.document for one in edge.evidence}) for edge in hostile.edges
    )
