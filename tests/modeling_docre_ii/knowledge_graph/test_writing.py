"""Outputs of a graph: the name decides the format, and files appear complete or not at all."""

import os

import pytest

from modeling_docre_ii.knowledge_graph import write_graph, writing
from modeling_docre_ii.knowledge_graph.writing import check_output


FOLDER = ["edges.parquet", "nodes.csv", "nodes.parquet", "relationships.csv"]


def test_the_name_decides_the_format(small, tmp_path):
    for name in ("graph.graphml", "graph.ttl", "graph"):
        write_graph(small, tmp_path / "new" / name)

    assert (tmp_path / "new" / "graph.graphml").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "new" / "graph.ttl").read_bytes().startswith(b"@prefix")
    assert sorted(os.listdir(tmp_path / "new" / "graph")) == FOLDER
    assert sorted(os.listdir(tmp_path / "new")) == ["graph", "graph.graphml", "graph.ttl"]


def test_a_graph_replaces_an_earlier_one(small, tmp_path):
    folder = tmp_path / "graph.v2"
    write_graph(small, f"{folder}{os.sep}")
    (folder / "nodes.csv").write_text("earlier", encoding="utf-8")
    write_graph(small, folder)

    assert (folder / "nodes.csv").read_text(encoding="utf-8").startswith("id:ID")
    assert os.listdir(tmp_path) == ["graph.v2"]


@pytest.mark.parametrize("was_there", [False, True])
def test_after_an_error_there_is_what_was_there(small, tmp_path, monkeypatch, was_there):
    if was_there:
        write_graph(small, tmp_path / "graph")
        (tmp_path / "graph" / "edges.parquet").unlink()

    def fail(graph, folder):
        (folder / "nodes.parquet").write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_parquet", fail)
    with pytest.raises(OSError, match="graph cannot be written: No space left on device"):
        write_graph(small, tmp_path / "graph")
    assert os.listdir(tmp_path) == (["graph"] if was_there else [])
    assert not was_there or len(os.listdir(tmp_path / "graph")) == 3


@pytest.mark.parametrize("name", ["graph.gexf", "graph.csv", "graph.GRAPHML", "triples.jsonl"])
def test_unknown_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}' is no known format .* ends in \.graphml or \.ttl, or a folder"):
        check_output(tmp_path / name)


def test_folders_of_other_files_and_files_are_refused(small, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("all of it", encoding="utf-8")
    with pytest.raises(ValueError, match="thesis' holds 'thesis.tex', which is no graph: name a new folder"):
        write_graph(small, tmp_path / "thesis")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="file' is a file, expected a folder"):
        check_output(tmp_path / "file")
    assert os.listdir(tmp_path / "thesis") == ["thesis.tex"]
