"""`docre-ii extract`: files, folders and standard input to triples, and what is wrong with them."""

import io
import json
import shutil
import sys

import pyarrow.parquet as pq
import pytest
from transformers import pipeline

from modeling_docre_ii import document_from_text, score_facts
from modeling_docre_ii.cli.extract import main
from modeling_docre_ii.cli.scoring import main as score
from modeling_docre_ii.knowledge_graph import read_graph
from tests.html_page import Page
from tests.hub_model import sample_documents, save_checkpoint
from tests.tagger import save_tagger


TEXT = "Lark Force was formed in March 1941. It was based in Rabaul."
ENTITIES = [{"type": "ORG", "mentions": [[0, 10]]}, {"type": "LOC", "mentions": [[53, 59]]}]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def extractor(checkpoint):
    return pipeline("document-relation-extraction", model=checkpoint)


@pytest.fixture
def inputs(tmp_path):
    """Two JSON lines and a document in DocRED's form."""
    in_docred_form = document_from_text("third", TEXT, ENTITIES)
    documents = [{"title": "first", "text": TEXT, "entities": ENTITIES}, {"text": TEXT, "entities": ENTITIES[:1]}]
    path = tmp_path / "inputs.jsonl"
    lines = [json.dumps(document) for document in [*documents, in_docred_form]]
    path.write_text("\n".join([lines[0], "", *lines[1:]]), encoding="utf-8")
    return path


@pytest.fixture
def run(checkpoint):
    def call(*arguments):
        main([*map(str, arguments), "--model", checkpoint])

    return call


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_have_the_triples_of_the_pipeline(run, extractor, inputs, tmp_path, capsys):
    output = tmp_path / "out" / "triples.jsonl"
    run(inputs, "--output", output, "--threshold", 0.3, "--batch_size", 2)
    lines = read_lines(output)

    expected = [extractor(document, threshold=0.3) for document in read_lines_of_inputs(inputs)]
    assert [[strip(triple) for triple in line["triples"]] for line in lines] == [
        [strip(triple) for triple in triples] for triples in expected
    ]
    assert sum(map(len, expected)) > 0
    assert [line["title"] for line in lines] == ["first", "Lark Force was formed in March 1941. ...", "third"]
    assert lines[0]["text"] == TEXT and lines[0]["entities"] == ENTITIES
    assert set(lines[2]) == {"title", "triples"}
    count = sum(map(len, expected))
    assert capsys.readouterr().out.strip() == f"{output}: {count:,} triples of 3 documents"


def read_lines_of_inputs(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def strip(triple):
    """A triple with a rounded score: batches differ by rounding."""
    return {**triple, "score": round(triple["score"], 4)}


def test_a_folder_gets_parquet_files(run, extractor, inputs, tmp_path):
    run(inputs, "--output", tmp_path / "triples")
    rows = pq.read_table(tmp_path / "triples").to_pylist()

    expected = [extractor(document) for document in read_lines_of_inputs(inputs)]
    assert len(rows) == sum(map(len, expected))


def test_without_output_the_triples_are_printed(run, extractor, inputs, capsys):
    run(inputs, "--threshold", 0.3)
    printed = capsys.readouterr().out

    triples = extractor({"text": TEXT, "entities": ENTITIES}, threshold=0.3)
    assert f"first: {len(triples)} triples predicted" in printed
    for triple in triples:
        assert f"{triple['head']['name']}  --{triple['relation_name']}-->  {triple['tail']['name']}" in printed


def test_explanations_are_printed(run, inputs, capsys):
    run(inputs, "--explain", "--threshold", 0.3)
    assert "(found in iteration" in capsys.readouterr().out


def test_explanations_are_written(run, inputs, tmp_path):
    run(inputs, "--output", tmp_path / "triples.jsonl", "--explain", "--threshold", 0.3)

    assert all("iteration" in triple for line in read_lines(tmp_path / "triples.jsonl") for triple in line["triples"])


def test_a_page_shows_what_is_printed(run, extractor, inputs, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    run(inputs, "--html", page, "--explain", "--threshold", 0.3)
    printed = capsys.readouterr().out

    given = read_lines_of_inputs(inputs)
    expected = [extractor(document, threshold=0.3, explain=True) for document in given]
    documents = Page(page.read_text(encoding="utf-8")).data["documents"]
    assert [document["title"] for document in documents] == [
        "first",
        "Lark Force was formed in March 1941. ...",
        "third",
    ]
    assert [
        [(row["r"], row["h"], row["t"], row["iteration"]) for row in document["triples"]] for document in documents
    ] == [
        [(row["relation"], row["head"]["entity"], row["tail"]["entity"], row["iteration"]) for row in rows]
        for rows in expected
    ]
    assert [document["sents"] for document in documents[:2]] == [
        ["Lark Force was formed in March 1941.", "It was based in Rabaul."]
    ] * 2
    assert documents[2]["sents"] == given[2]["sents"]
    num_triples = sum(map(len, expected))
    assert printed.count("(found ") == num_triples > 0
    assert printed.endswith(f"{page}: {num_triples:,} triples of 3 documents\n")


def test_a_page_is_written_beside_lines(run, inputs, tmp_path, capsys):
    run(inputs, "--html", tmp_path / "page.html", "--output", tmp_path / "triples.jsonl", "--threshold", 0.3)
    documents = Page((tmp_path / "page.html").read_text(encoding="utf-8")).data["documents"]

    lines = read_lines(tmp_path / "triples.jsonl")
    assert [[row["name"] for row in document["triples"]] for document in documents] == [
        [row["relation_name"] for row in line["triples"]] for line in lines
    ]
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "triples.jsonl"),
        str(tmp_path / "page.html"),
    ]


def test_text_files_folders_and_standard_input_are_read(run, tmp_path, monkeypatch):
    save_tagger(tmp_path / "tagger")
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "b.TXT").write_text("\ufeff" + TEXT, encoding="utf-8")
    (folder / "a.txt").write_text(TEXT.replace("\n", "\r\n"), encoding="utf-8")
    (folder / "notes.md").write_text("not read", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    output = tmp_path / "triples.jsonl"
    run(folder, "-", "--output", output, "--mention_extractor", tmp_path / "tagger")
    lines = read_lines(output)

    assert [line["title"] for line in lines] == ["a", "b", "standard input"]
    assert [line["text"] for line in lines] == [TEXT] * 3
    assert [line["entities"] for line in lines] == [ENTITIES] * 3
    triples = [[(row["relation"], round(row["score"], 4)) for row in line["triples"]] for line in lines]
    assert triples[1:] == [triples[0]] * 2


@pytest.mark.parametrize("name", ["inputs.json", "INPUTS.JSONL"])
def test_a_list_is_read_as_lines_are(run, inputs, tmp_path, name):
    run(inputs, "--output", tmp_path / "expected.jsonl")
    other = tmp_path / name
    documents = read_lines_of_inputs(inputs)
    other.write_text(
        json.dumps(documents) if name.endswith("json") else inputs.read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "out").mkdir()
    run(other, "--output", tmp_path / "out" / "triples.jsonl")

    assert read_lines(tmp_path / "out" / "triples.jsonl") == read_lines(tmp_path / "expected.jsonl")


def test_no_output_replaces_a_text_or_becomes_one(run, inputs, tmp_path):
    before = inputs.read_bytes()
    with pytest.raises(SystemExit, match=r"`output` is '.*inputs\.jsonl', which is one of the texts"):
        run(inputs, "--output", inputs)
    with pytest.raises(SystemExit, match="`output` is '.*', in a folder whose texts are read"):
        run(tmp_path, "--output", tmp_path / "triples.jsonl")

    assert inputs.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["inputs.jsonl"]


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.json"])
@pytest.mark.parametrize("output", ["out/triples.jsonl", "triples", None])
def test_no_documents_are_an_error(run, tmp_path, name, output):
    path = tmp_path / name
    path.write_text("[]" if name.endswith("json") else "\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="^docre-ii extract: there are no documents to extract triples from"):
        run(path, *(("--output", tmp_path / output) if output else ()))
    assert not list(tmp_path.rglob("triples*.*"))


def test_entities_of_text_files_are_found_for_parquet_files_too(run, extractor, tmp_path):
    save_tagger(tmp_path / "tagger")
    (tmp_path / "a.txt").write_text("Lark Force left Rabaul for London.", encoding="utf-8")
    options = ("--mention_extractor", tmp_path / "tagger", "--type_map", '{"ORG": null}')
    run(tmp_path / "a.txt", "--output", tmp_path / "triples", *options)
    (file,) = (tmp_path / "triples").glob("*.parquet")
    found = {(row["head_name"], row["relation"], row["tail_name"]) for row in pq.read_table(file).to_pylist()}

    cities = [{"type": "LOC", "mentions": [[16, 22]]}, {"type": "LOC", "mentions": [[27, 33]]}]
    expected = extractor({"title": "a", "text": "Lark Force left Rabaul for London.", "entities": cities})
    assert found == {(row["head"]["name"], row["relation"], row["tail"]["name"]) for row in expected}
    assert found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.txt: document 'a': 'text' is '', expected at least one word"),
        (b" \n", r"a\.txt: document 'a': 'text' is ' \\n', expected at least one word"),
        (b"caf\xe9", r"a\.txt: expected text in UTF-8, but .*0xe9"),
        (TEXT.encode(), "document 'a': 'entities' is missing"),
    ],
)
def test_malformed_text_files_are_named(run, tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SystemExit, match=f"^docre-ii extract: .*{message}"):
        run(tmp_path / "a.txt", "--output", tmp_path / "triples.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("3", "line 2: found 3, expected a document"),
        ('{"text": "A", "entities": [{"type": "PER", "mentions": [[0, 9]]}]}', "line 2: document 'A', entity 0, "),
        ('{"text": "A", "mentions": [{"type": "PER", "start": 0, "end": 9}]}', "line 2: document 'A': 'mentions', "),
        ('{"text": "A", "mentions": [], "clusters": 3}', "line 2: document 'A': 'mentions'"),
        ('{"text": "A", "entities": [], "clusters": []}', "line 2: document 'A' has 'entities' and 'clusters'"),
    ],
)
def test_malformed_lines_are_named_and_nothing_is_written(run, inputs, tmp_path, line, message):
    first, *rest = inputs.read_text(encoding="utf-8").splitlines()
    inputs.write_text("\n".join([first, line, *rest]), encoding="utf-8")
    with pytest.raises(SystemExit, match=rf"inputs\.jsonl, {message}"):
        run(inputs, "--output", tmp_path / "triples.jsonl", "--html", tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["inputs.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", r"list\.json: not JSON"),
        ("{}", r"list\.json: found {}, expected a list of documents"),
        (json.dumps([{"text": TEXT, "entities": []}, 3]), r"list\.json: documents\[1\]: found 3, expected a document"),
    ],
)
def test_malformed_lists_are_named(run, tmp_path, content, message):
    (tmp_path / "list.json").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / "list.json", "--output", tmp_path / "out" / "triples.jsonl")
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("output", ["triples.jsonl", "triples"])
def test_the_graph_of_the_triples_is_written_beside_them(run, inputs, tmp_path, capsys, output):
    run(inputs, "--output", tmp_path / output, "--graph", tmp_path / "graph")

    expected = read_graph(tmp_path / output)
    assert len(expected.edges) > 0
    assert pq.read_table(tmp_path / "graph" / "edges.parquet").num_rows == len(expected.edges)
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed.startswith(f"{tmp_path / 'graph'}: 2 nodes and {len(expected.edges)} edges of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--graph", "graph"], "`graph` needs an `output`"),
        (["--output", "triples", "--graph", "./triples"], "`graph` is './triples' and `output` 'triples', one in the"),
        (["--output", "triples", "--graph", "triples/graph"], "one in the other: name another folder for the graph"),
        (["--output", "out.e", "--graph", "out.e/graph"], "one in the other: name another folder for the graph"),
        (["--output", "out/triples.jsonl", "--graph", "out"], "one in the other: name another folder for the graph"),
        (["--output", f"{__file__}/triples.jsonl"], "`output` is .*, but '.*test_extract.py' is a file and not a"),
        (["--html", f"{__file__}/page.html"], "`html` is .*, but '.*test_extract.py' is a file"),
        (["--output", "triples", "--graph", "graph.png"], "'graph.png' is no known format of a graph"),
        (["--output", "triples.csv"], r"`output` is 'triples.csv', expected a name that ends in .jsonl, or a folder"),
        (["--output", "triples", "--top_k", "3"], "`top_k` has no effect on Parquet files"),
        (["--output", "triples", "--threshold", "0.4"], "`threshold` has no effect on Parquet files"),
        (["--output", "triples", "--html", "page.html"], "`html` has no effect on Parquet files"),
        (["--html", "page.txt"], "`html` is 'page.txt', expected the name of a file that ends in .html"),
        (
            ["--output", "a.jsonl", "--graph", "new", "--html", "new/page.html"],
            "`html` is 'new/page.html', in the folder of the `graph` 'new': name another place",
        ),
        (["--html", "."], "`html` is '.', expected the name of a file"),
        (["--output", ""], "`output` is empty"),
        (["--output", "triples", "--graph", ""], "the name of the graph is empty"),
        ([""], "the name of a text is empty"),
        (["--batch_size", "0"], "`batch_size` must be at least 1, got 0"),
        (["--type_map", "PER"], "`type_map` is not JSON"),
        (["--type_map", "[]"], r"`type_map` is '\[\]', expected a JSON object"),
        (["--threshold", "2"], "`threshold` must be a number"),
        (["--mention_extractor", "no-such-model"], "no-such-model"),
        (["--device", "abacus"], "`device` is 'abacus', which is not there"),
        (["--top_k", "0"], "`top_k` must be"),
        (["--backend", "onnx", "--device", "cpu"], "`device` has no effect on `backend` 'onnx'"),
        (["--backend", "openvino", "--explain"], "`explain` needs `backend` 'torch'"),
        (
            ["--backend", "openvino"],
            r"encoder\.onnx' is missing: export a model to this folder, with `docre-ii export`",
        ),
    ],
)
def test_malformed_arguments_are_refused(run, inputs, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run(inputs, *arguments)


def test_a_folder_is_no_file_of_lines(run, inputs, tmp_path):
    (tmp_path / "triples.jsonl").mkdir()
    with pytest.raises(SystemExit, match="`output` is '.*triples.jsonl', which is a folder: name another file"):
        run(inputs, "--output", tmp_path / "triples.jsonl")


def test_all_documents_are_checked_before_the_first_is_read(run, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_docre_ii.cli.extract.load_model", None)
    with inputs.open("a", encoding="utf-8") as file:
        file.write('\n{"text": "  "}')
    with pytest.raises(SystemExit, match="inputs.jsonl, line 5: .*expected at least one word"):
        run(inputs, "--output", tmp_path / "triples.jsonl")


def test_files_of_a_folder_that_are_not_read_are_named(run, inputs, caplog):
    for name in ("docs.json", "notes.md", ".ipynb_checkpoints", "._inputs.txt"):
        (inputs.parent / name).write_text("none of these is read", encoding="utf-8")
    run(inputs.parent)
    warnings = [record.getMessage() for record in caplog.records if record.name == "docre_ii"]
    read = "only the .txt, .jsonl and .ndjson files in it are read"
    assert warnings == [f"{inputs.parent}: {read}, and not docs.json, notes.md"]


def test_a_checkpoint_without_its_processor_and_an_exported_one_are_named(inputs, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "model")
    (tmp_path / "model" / "encoder.onnx").write_bytes(b"")
    with pytest.raises(
        SystemExit, match="model' holds an exported model: add `--backend openvino` or `--backend onnx`"
    ):
        main([str(inputs), "--model", str(tmp_path / "model")])
    (tmp_path / "model" / "processor_config.json").unlink()
    with pytest.raises(SystemExit, match="model' has no processor_config.json: save the processor there as well"):
        main([str(inputs), "--model", str(tmp_path / "model")])


def test_triples_of_labeled_documents_can_be_scored(run, tmp_path, capsys):
    """As docs/usage.md says."""
    documents = sample_documents(3)
    path, output = tmp_path / "dev.json", tmp_path / "triples.jsonl"
    path.write_text(json.dumps(documents), encoding="utf-8")
    run(path, "--output", output, "--threshold", "0.9")
    score(["--dataset_name", "re_docred", "--validation_file", str(path), "--score_files", str(output)])
    printed = capsys.readouterr().out
    facts = [
        {"title": line["title"], "h_idx": row["head"]["entity"], "t_idx": row["tail"]["entity"], "r": row["relation"]}
        for line in read_lines(output)
        for row in line["triples"]
    ]
    assert facts and f"{score_facts(facts, documents)['recall']:.2f}" in printed
    output.write_text('{"title": "a", "triples": [{"relation": "P17"}]}', encoding="utf-8")
    with pytest.raises(SystemExit, match="triples.jsonl, line 1: expected `title` and `triples`"):
        score(["--dataset_name", "re_docred", "--validation_file", str(path), "--score_files", str(output)])


def test_another_model_is_refused(inputs, tmp_path):
    save_tagger(tmp_path / "tagger")
    with pytest.raises(SystemExit, match="tagger' is not a DocRE-II checkpoint"):
        main([str(inputs), "--model", str(tmp_path / "tagger")])


def test_a_missing_model_is_named(inputs):
    with pytest.raises(SystemExit, match="'no-such-model' is not a local folder"):
        main([str(inputs), "--model", "no-such-model"])


def test_missing_files_are_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="there is no file or folder 'no.txt'"):
        run("no.txt")
    with pytest.raises(SystemExit, match=r"the folder '.*empty' has no .txt, .jsonl or .ndjson files"):
        run(tmp_path / "empty")
