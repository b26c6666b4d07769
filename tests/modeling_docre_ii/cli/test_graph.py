"""`docre-ii graph`: triples in files to a graph, and what is wrong with them."""

import networkx
import pytest

from modeling_docre_ii.cli.graph import main
from tests.graph_triples import triple, write_jsonl, write_shards


DOCUMENTS = [
    ("first", [triple("Lyon", "P17", "France", 0.75), triple("Paris", "P17", "France", 0.625)]),
    ("second", [triple("Lyon", "P17", "France", 0.875)]),
]


@pytest.fixture
def run():
    return lambda *arguments: main(list(map(str, arguments)))


@pytest.mark.parametrize("write", [write_jsonl, write_shards])
def test_triples_become_a_graph(run, tmp_path, capsys, write):
    triples = write(tmp_path / "triples.jsonl", DOCUMENTS)
    output = tmp_path / "new" / "graph.graphml"
    run(triples, "--output", output)

    assert capsys.readouterr().out == f"{output}: 3 nodes and 2 edges of 2 documents\n"
    edges = networkx.read_graphml(output).edges(data="num_documents")
    assert set(edges) == {("name:LOC:lyon", "name:LOC:france", 2), ("name:LOC:paris", "name:LOC:france", 1)}


@pytest.mark.parametrize("limit", [("--min_score", 0.7), ("--min_documents", 2)])
def test_limits_leave_out_edges(run, tmp_path, capsys, limit):
    run(write_jsonl(tmp_path / "triples.jsonl", DOCUMENTS), "--output", tmp_path / "graph", *limit)

    assert capsys.readouterr().out.endswith("graph: 2 nodes and 1 edge of 2 documents\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["triple.jsonl", "--output", "graph"], "there is no file or folder .*, did you mean .*triples.jsonl'"),
        (
            ["triples.jsonl", "--output", "graph.gexf"],
            r"'graph.gexf' is no known format of a graph: .*\.graphml or \.ttl",
        ),
        (["triples.jsonl", "--output", "graph", "--min_score", "2"], "`min_score` must be from 0 to 1, got 2.0"),
        (["triples.jsonl", "--output", "graph", "--min_documents", "0"], "`min_documents` must be at least 1, got 0"),
        (
            ["damaged", "--output", "damaged/graph"],
            "`output` is 'damaged/graph', in the folder of the triples 'damaged'",
        ),
        (
            ["damaged", "--output", "damaged/../damaged/g.ttl"],
            "in the folder of the triples 'damaged': name another pl",
        ),
        (["unfinished", "--output", "graph"], "1 of 2 files are missing, triples-00001-of-00002.parquet. Start"),
        (["damaged", "--output", "graph"], "triples-00001-of-00002.parquet is damaged"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "triples.jsonl", DOCUMENTS)
    last = "triples-00001-of-00002.parquet"
    (write_shards("unfinished", DOCUMENTS, 1) / last).unlink()
    (write_shards("damaged", DOCUMENTS, 1) / last).write_bytes(b"PAR1")
    with pytest.raises(SystemExit, match=f"^docre-ii graph: .*{message}") as error:
        run(*arguments)

    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*graph*"))
