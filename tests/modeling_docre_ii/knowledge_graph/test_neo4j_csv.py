"""CSV for Neo4j's import, as Python's csv reads it: RFC 4180, as `neo4j-admin` does with its default quoting."""

import csv
import json

from modeling_docre_ii.knowledge_graph.neo4j_csv import write_neo4j_csv


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_small_graph_is_as_expected(small, tmp_path):
    write_neo4j_csv(small, tmp_path)

    assert (tmp_path / "nodes.csv").read_text(encoding="utf-8").splitlines() == [
        "id:ID,name,type,kb_id,names,num_documents:int,:LABEL",
        'Q142,France,LOC,Q142,"[""France"", ""French Republic""]",2,Entity;LOC',
        'name:LOC:lyon,Lyon,LOC,,"[""Lyon"", ""the Lyon""]",2,Entity;LOC',
        'name:PER:lyon,Lyon,PER,,"[""Lyon""]",1,Entity;PER',
    ]
    lines = (tmp_path / "relationships.csv").read_text(encoding="utf-8").splitlines()
    assert (
        lines[0] == ":START_ID,:END_ID,:TYPE,relation,name,score:double,mean_score:double,num_documents:int,evidence"
    )
    assert lines[1].startswith('name:LOC:lyon,Q142,COUNTRY,P17,country,0.875,0.75,2,"[{""document"": 1, ')
    assert lines[2].startswith("name:PER:lyon,name:LOC:lyon,PLACE_OF_BIRTH,P19,place of birth,0.5625,0.5625,1,")


def test_hostile_names_are_read_back(hostile, tmp_path):
    write_neo4j_csv(hostile, tmp_path)
    nodes, relationships = rows_of(tmp_path / "nodes.csv"), rows_of(tmp_path / "relationships.csv")

    assert [
        (row["id:ID"], row["name"], row["type"], row["kb_id"], tuple(json.loads(row["names"]))) for row in nodes
    ] == [(node.id, node.name, node.type, node.kb_id or "", node.names) for node in hostile.nodes.values()]
    assert [(row[":START_ID"], row["relation"], row["name"], row[":END_ID"]) for row in relationships] == [
        (edge.head, edge.relation, edge.relation_name, edge.tail) for edge in hostile.edges
    ]
    assert [float(row["score:double"]) for row in relationships] == [edge.score for edge in hostile.edges]
    assert [[one["title"] for one in json.loads(row["evidence"])] for row in relationships] == [
        [one.title for one in edge.evidence] for edge in hostile.edges
    ]


def test_every_node_has_its_label_and_every_relationship_its_nodes_and_type(hostile, tmp_path):
    write_neo4j_csv(hostile, tmp_path)
    nodes, relationships = rows_of(tmp_path / "nodes.csv"), rows_of(tmp_path / "relationships.csv")

    # As Neo4j splits labels.
    labels = [row[":LABEL"].split(";") for row in nodes]
    assert [len(of_node) for of_node in labels] == [2 if row["type"] else 1 for row in nodes]
    assert all(of_node[0] == "Entity" and all(label.strip() for label in of_node) for of_node in labels)
    ids = [row["id:ID"] for row in nodes]
    assert len(set(ids)) == len(ids)
    assert {row[side] for row in relationships for side in (":START_ID", ":END_ID")} == set(ids)
    assert all(row[":TYPE"] for row in relationships)
