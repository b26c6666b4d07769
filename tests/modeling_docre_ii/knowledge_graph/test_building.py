"""Knowledge graphs: entities and relations are merged over documents, from objects and from files alike."""

import json
import random

import pytest
from transformers import pipeline

from modeling_docre_ii import DocumentError, document_from_text, extract_to_parquet
from modeling_docre_ii.knowledge_graph import build_graph, read_graph
from tests.graph_triples import entity, hostile_documents, triple, write_jsonl, write_shards
from tests.hub_model import make_model, make_processor, sample_documents


TEXT = "Naloxone reverses clonidine. It is used in Rabaul."
ENTITIES = [
    {"type": "Chemical", "kb_id": "D009270", "mentions": [[0, 8], [29, 31]]},
    {"type": "Chemical", "kb_id": "D003000", "mentions": [[18, 27]]},
    {"type": "LOC", "mentions": [[43, 49]]},
]


def graph_of(documents, **limits):
    titles = [{"title": title, "text": "A text.", "entities": []} for title, _ in documents]
    return build_graph(titles, [triples for _, triples in documents], **limits)


def without_indices(graph):
    """Nodes and edges, without the indices of documents."""
    edges = [(*edge[:-1], [one._replace(document=0) for one in edge.evidence]) for edge in graph.edges]
    return graph.nodes, edges


def test_a_small_graph_is_as_counted_by_hand(small):
    assert [(*node,) for node in small.nodes.values()] == [
        # "French Republic" once, "France" twice.
        ("Q142", "France", "LOC", "Q142", ("France", "French Republic"), 2),
        # "Lyon" three times, "the Lyon" once.
        ("name:LOC:lyon", "Lyon", "LOC", None, ("Lyon", "the Lyon"), 2),
        ("name:PER:lyon", "Lyon", "PER", None, ("Lyon",), 1),
    ]
    country, birth = small.edges
    assert country[:-1] == ("name:LOC:lyon", "P17", "country", "Q142", 0.875, (0.75 + 0.625 + 0.875) / 3, 2)
    assert [(*one,) for one in country.evidence] == [
        (1, "second", 0.875, (), ((0, 9),)),
        (0, "first", 0.75, (0, 1), None),
        (0, "first", 0.625, (2,), None),
    ]
    assert birth[:-1] == ("name:PER:lyon", "P19", "place of birth", "name:LOC:lyon", 0.5625, 0.5625, 1)
    assert small.num_documents == 2


@pytest.mark.parametrize(
    ("names", "num_nodes"),
    [
        (["The United Nations", "united  nations", "United Nations'", "UNITED\nNATIONS"], 1),
        (["Peña", "Pena"], 1),
        (["U.S.", "US"], 1),
        (["C", "C++", "C#"], 3),
        # Within a document these may be one entity. Over documents nothing says so.
        (["UN", "United Nations"], 2),
        (["Obama", "Barack Obama"], 2),
        (["東京", "东京"], 2),
    ],
)
def test_names_are_merged_as_within_a_document_if_they_are_the_same(names, num_nodes):
    graph = graph_of([(name, [triple(name, "P17", entity("Earth", "PLANET"))]) for name in names])

    assert len(graph.nodes) == num_nodes + 1


def test_identifiers_do_not_collide():
    """Types, names and knowledge bases that a naive identifier would confuse."""
    entities = [
        entity("12:30", "TIME"),
        entity("30", "TIME:12"),
        entity("x", "LOC", kb_id="name:TIME:12:30"),
        entity("x", "LOC", kb_id="name%3ATIME:12:30"),
        entity("x", "LOC", kb_id="MESH:D1"),
        entity("d1", "MESH"),
        entity("x", "Gene", kb_id="10090"),
        entity("10090", "Gene"),
        entity("x", "LOC", kb_id="Gene:10090"),
        entity("x", "LOC", kb_id="number:Gene:10090"),
        entity("x", "LOC", kb_id="number%3AGene:10090"),
        entity("x", "Ge:ne", kb_id="10090"),
        entity("a/b", "DATE"),
        entity("a%2Fb", "DATE"),
    ]
    graph = graph_of([("t", [triple(one, "P17", entity("Earth", "PLANET")) for one in entities])])

    assert len(graph.nodes) == len(entities) + 1
    assert "MESH:D1" in graph.nodes


def test_a_knowledge_base_decides_against_names_and_types():
    paris, texas = entity("Paris", kb_id="Q90"), entity("Paris", kb_id="Q830149")
    graph = graph_of(
        [("a", [triple(paris, "P17", texas)]), ("b", [triple(entity("Lutetia", "ORG", "Q90"), "P17", texas)])]
    )

    assert set(graph.nodes) == {"Q90", "Q830149"}
    # One of each: the first in alphabetical order.
    assert graph.nodes["Q90"][1:5] == ("Lutetia", "LOC", "Q90", ("Lutetia", "Paris"))


def test_a_number_of_two_knowledge_bases_is_two_nodes():
    """10090 is a gene of NCBI Gene, and the mouse of NCBI Taxonomy."""
    gene, again = entity("UST", "Gene", "10090"), entity("uronyl 2-sulfotransferase", "Gene", "10090")
    mouse, disease = entity("mice", "Species", "10090"), entity("melanoma", "Disease", "MESH:D008545")
    graph = graph_of(
        [("a", [triple(one, "P17", disease) for one in (gene, mouse)]), ("b", [triple(again, "P17", disease)])]
    )

    assert {node.name: (node.type, node.kb_id, node.num_documents) for node in graph.nodes.values()} == {
        "UST": ("Gene", "10090", 2),
        "mice": ("Species", "10090", 1),
        "melanoma": ("Disease", "MESH:D008545", 2),
    }
    assert set(graph.nodes) == {"number:Gene:10090", "number:Species:10090", "MESH:D008545"}


def test_two_entities_of_a_document_that_are_one_node_give_a_loop():
    graph = graph_of([("a", [triple(entity("Paris", index=0), "P17", entity("PARIS", index=1))])])

    assert [(edge.head, edge.tail) for edge in graph.edges] == [("name:LOC:paris", "name:LOC:paris")]


def test_the_order_of_documents_and_triples_changes_indices_only():
    generator = random.Random(0)
    names, kb_ids = ["Lyon", "LYON", "the Lyon", "Paris", "Pâris"], [None, None, "Q1", "Q2"]
    documents = []
    for number in range(40):
        sides = [entity(generator.choice(names), generator.choice("AB"), generator.choice(kb_ids)) for _ in range(6)]
        triples = [
            triple(head, generator.choice(("P17", "P19")), tail, generator.random())
            for head, tail in zip(sides, sides[1:])
        ]
        documents.append((f"title {number % 7}", triples))
    expected = without_indices(graph_of(documents))

    for _ in range(5):
        generator.shuffle(documents)
        shuffled = [(title, generator.sample(triples, len(triples))) for title, triples in documents]
        assert without_indices(graph_of(shuffled)) == expected
    assert any(edge[6] > 3 for edge in expected[1])


def test_limits_keep_edges_and_their_nodes(small_documents):
    assert [edge.relation for edge in graph_of(small_documents, min_score=0.875).edges] == ["P17"]
    assert set(graph_of(small_documents, min_documents=2).nodes) == {"Q142", "name:LOC:lyon"}
    assert graph_of(small_documents, min_documents=2).nodes["name:LOC:lyon"].num_documents == 2
    # All evidence stays, also that below the limit.
    assert len(graph_of(small_documents, min_score=0.8).edges[0].evidence) == 3
    assert graph_of(small_documents, min_documents=3).nodes == {}
    for limits in ({"min_score": 1.1}, {"min_score": float("nan")}, {"min_documents": 0}):
        with pytest.raises(ValueError, match=f"^`{next(iter(limits))}` must be"):
            graph_of(small_documents, **limits)


def test_names_and_types_are_those_of_the_edges_that_are_kept():
    kept = triple(entity("UK", kb_id="Q145"), "P17", "London", 0.95)
    left_out = triple(entity("Great Britain", "GPE", kb_id="Q145"), "P17", "Leeds", 0.3)
    graph = graph_of([("first", [kept]), ("second", [left_out]), ("third", [left_out])], min_score=0.9)
    assert (*graph.nodes["Q145"],) == ("Q145", "UK", "LOC", "Q145", ("UK",), 1)


def test_a_document_has_one_vote_on_a_name():
    """However many of its triples have the entity."""
    often = [triple(entity("germany (FRG)", kb_id="Q183"), "P17", name) for name in ("Bonn", "Kiel", "Ulm")]
    once = [(f"{number}", [triple(entity("Germany", kb_id="Q183"), "P17", "Bonn")]) for number in range(2)]
    assert graph_of([("often", often), *once]).nodes["Q183"].names == ("Germany", "germany (FRG)")


@pytest.mark.parametrize("documents_per_shard", [1, 2, 100])
def test_files_give_the_graph_of_the_objects(hostile, tmp_path, documents_per_shard):
    assert read_graph(write_jsonl(tmp_path / "triples.jsonl", hostile_documents())) == hostile
    assert read_graph(write_shards(tmp_path / "triples", hostile_documents(), documents_per_shard)) == hostile


def test_the_pipeline_and_bulk_extraction_give_the_same_graph(tmp_path):
    """From a model: with and without identifiers, plain text and DocRED's form."""
    documents = [
        *sample_documents(2),
        {"title": "plain", "text": TEXT, "entities": ENTITIES},
        document_from_text("converted", TEXT, ENTITIES),
    ]
    processor = make_processor(sample_documents(4))
    model = make_model(processor).eval()
    extractor = pipeline("document-relation-extraction", model=model, processor=processor, device="cpu")
    triples = [extractor(document) for document in documents]
    expected = build_graph(documents, triples)
    extract_to_parquet(model, processor, documents, tmp_path / "triples", 2, batch_size=1)
    lines = [(document["title"], rows) for document, rows in zip(documents, triples)]

    assert read_graph(tmp_path / "triples") == expected
    assert read_graph(write_jsonl(tmp_path / "triples.jsonl", lines)) == expected
    assert {"D009270", "D003000"} < set(expected.nodes)
    assert expected.nodes["D009270"].num_documents == 2


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="there are only 1 lists of triples"):
        build_graph(["One.", "Two."], [[]])
    with pytest.raises(ValueError, match="there are only 1 documents"):
        build_graph(["One."], [[], []])
    with pytest.raises(ValueError, match="expected a list of documents, got a single one"):
        build_graph({"text": "One.", "entities": []}, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": None}, "'head' is None, expected an entity"),
        ({"head": {"type": "LOC"}}, "head: 'name' is missing, expected a string"),
        (
            {"tail": entity("a\ud83d")},
            r"tail: 'name' is 'a\\ud83d', .*without the lone surrogate '\\ud83d' at character 1",
        ),
        ({"tail": entity("a", "\udc00")}, "tail: 'type' is"),
        ({"tail": entity("a", kb_id=7)}, "tail: 'kb_id' is 7, expected a string"),
        ({"relation": 3}, "'relation' is 3, expected a string"),
        ({"relation": ""}, "'relation' is '', expected the id of a relation"),
        ({"relation_name": None}, "'relation_name' is None, expected a string"),
        ({"score": True}, "'score' is True, expected a number from 0 to 1"),
        ({"score": 1.5}, "'score' is 1.5"),
        ({"score": float("nan")}, "'score' is nan"),
        ({"evidence": [0, -1]}, r"'evidence' is \[0, -1\], expected a list of sentence indices"),
        ({"evidence_spans": [[0]]}, r"'evidence_spans' is \[\[0\]\], expected a list of \[start, end\)"),
    ],
)
def test_malformed_triples_are_named(tmp_path, change, message):
    documents = [("good", []), ("bad", [triple("a", "P17", "b"), triple("a", "P17", "b") | change])]
    with pytest.raises(DocumentError, match=f"^document 'bad', triple 1(, | *: ){message}"):
        graph_of(documents)
    lines = [json.dumps({"title": title, "triples": triples}) + "\n" for title, triples in documents]
    (tmp_path / "triples.jsonl").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(DocumentError, match=rf"triples\.jsonl, line 2: document 'bad', triple 1(, | *: ){message}"):
        read_graph(tmp_path / "triples.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON: "),
        ("3", "line 2: found 3, expected a document with its triples"),
        ('{"title": "a"}', "line 2: document 'a': 'triples' is missing, expected a list"),
        ('{"title": "a", "triples": {}}', r"line 2: document 'a': 'triples' is \{\}, expected a list"),
        ('{"triples": []}', r"line 2: documents\[1\]: 'title' is None, expected a string"),
        ('{"title": 1, "triples": []}', r"line 2: documents\[1\]: 'title' is 1, expected a string"),
        ('{"title": "\\ud83d", "triples": []}', r"line 2: documents\[1\]: 'title' is .*lone surrogate"),
        ('{"title": "a", "triples": [3]}', "line 2: document 'a', triple 0: found 3, expected a triple"),
    ],
)
def test_malformed_lines_are_named(tmp_path, line, message):
    path = write_jsonl(tmp_path / "triples.jsonl", [("good", [])])
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(DocumentError, match=rf"triples\.jsonl, {message}"):
        read_graph(path)


def test_other_files_and_folders_are_refused(tmp_path):
    (tmp_path / "triples.csv").write_text("", encoding="utf-8")
    for name, message in (
        ("triples.json", "there is no file or folder '.*triples.json', did you mean '.*triples.csv'"),
        ("triples.csv", r"expected a \.jsonl file"),
        ("", r"has no triples-\*\.parquet files"),
    ):
        with pytest.raises(ValueError, match=message):
            read_graph(tmp_path / name)
