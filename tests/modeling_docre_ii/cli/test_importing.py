"""`docre-ii import`: a corpus for training and its relations, counts of what was left out, and errors."""

import json
from pathlib import Path

import pytest

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii.cli.importing import FORMATS, main, make_parser


SAMPLE = Path(__file__).parents[2] / "dataset_scripts" / "cdr_sample.PubTator.txt"
TEXT = "Sony works with Ericsson. Ericsson AB is Swedish."
ANN = """\
T1\tORG 0 4\tSony
T2\tORG 16 24\tEricsson
T3\tORG 26 37\tEricsson AB
R1\tpartner_of Arg1:T1 Arg2:T2
R2\tsame Arg1:T2 Arg2:T3
#1\tAnnotatorNotes T1\tsure
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "brat", "sony")
    return tmp_path / "brat"


def write(folder, name, ann=ANN):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(TEXT, encoding="utf-8")
    (folder / f"{name}.ann").write_text(ann, encoding="utf-8")


def run(*arguments):
    main([str(argument) for argument in arguments])


def error_of(*arguments):
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    assert "\n" not in str(end.value)
    return str(end.value)


def test_a_folder_becomes_a_corpus_that_training_reads(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    output, relations = tmp_path / "corpus" / "train.jsonl", tmp_path / "corpus" / "relations.json"
    run("brat", folder, "--output", output, "--coreference", "same")

    assert capsys.readouterr().out.splitlines() == [
        f"{output}: 1 document, 2 entities, 3 mentions, 1 fact",
        f"{relations}: 1 relation",
        "left out: 1 note",
    ]
    (line,) = output.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "title": "sony",
        "text": TEXT,
        "entities": [{"type": "ORG", "mentions": [[0, 4]]}, {"type": "ORG", "mentions": [[16, 24], [26, 37]]}],
        "labels": [{"h": 0, "t": 1, "r": "partner_of"}],
    }
    assert json.loads(relations.read_text()) == {"partner_of": "partner of"}
    corpus = load_corpus(files={"train": [str(output)]}, relations_file=str(relations))
    (document,) = corpus.documents("train")
    assert [fact["r"] for fact in document["labels"]] == ["partner_of"] and len(document["vertexSet"][1]) == 2


def test_relations_of_an_earlier_import_keep_their_place_and_name(folder, tmp_path, capsys):
    relations = tmp_path / "relations.json"
    relations.write_text('{"zeta": "the last letter", "partner_of": "works with"}')
    run("brat", folder, "--output", tmp_path / "dev.jsonl", "--coreference", "same")
    assert f"{relations}: 2 relations\n" in capsys.readouterr().out
    assert relations.read_text() == '{"zeta": "the last letter", "partner_of": "works with"}'

    run("brat", folder, "--output", tmp_path / "dev.jsonl")
    assert list(json.loads(relations.read_text()).items()) == [
        ("zeta", "the last letter"),
        ("partner_of", "works with"),
        ("same", "same"),
    ]
    assert f"{relations}: 3 relations, 1 of them new\n" in capsys.readouterr().out


def test_after_an_error_the_files_are_as_before(folder, tmp_path):
    output = tmp_path / "train.jsonl"
    run("brat", folder, "--output", output)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    write(folder, "zz", ANN.replace("0 4", "1 5"))
    message = error_of("brat", folder, "--output", output)

    expected = f"docre-ii import: {folder / 'zz.ann'}, line 1, T1: the text at 1 5 is 'ony ', expected 'Sony'"
    assert message == expected
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_formats_have_their_own_options(tmp_path, capsys):
    output = tmp_path / "cdr.jsonl"
    run("pubtator", SAMPLE, "--output", output, "--relations_file", tmp_path / "cdr_relations.json")
    assert capsys.readouterr().out.startswith(f"{output}: 5 documents, ")
    with pytest.raises(SystemExit):
        run("pubtator", SAMPLE, "--output", output, "--layer", "custom.Span")
    assert "unrecognized arguments: --layer custom.Span" in capsys.readouterr().err
    assert set(FORMATS) == {"brat", "label_studio", "inception", "bioc", "pubtator"}
    args = make_parser("docre-ii import").parse_args(["bioc", "a.xml", "--output", "b.jsonl", "--identifier", "MESH"])
    assert (args.format, args.identifier, args.coreference, args.leave_out) == ("bioc", "MESH", [], [])


def test_errors_are_one_line(folder, tmp_path):
    output = tmp_path / "train.jsonl"
    assert error_of("brat", folder, "--output", tmp_path / "train.json") == (
        f"docre-ii import: `output` is '{tmp_path / 'train.json'}', expected a name that ends in .jsonl"
    )
    assert error_of("brat", tmp_path / "bra", "--output", output) == (
        f"docre-ii import: there is no file or folder '{tmp_path / 'bra'}', did you mean '{tmp_path / 'brat'}'?"
    )
    assert error_of("brat", folder, "--output", output, "--coreference", "same", "sane") == (
        "docre-ii import: `coreference`: no document has the relation 'sane'"
    )
    write(folder / "more", "sony")
    (folder / "more").rename(folder.parent / "more")
    (tmp_path / "tasks.json").write_text('[{"id": 1, "data": {"text": "Hello there"}, "annotations": []}]')
    assert error_of("label_studio", tmp_path / "tasks.json", "--output", output) == (
        "docre-ii import: there is no annotated document"
    )
    (tmp_path / "tasks.json").write_text(
        json.dumps([{"id": 1, "data": {"text": "Hello there"}, "annotations": [{"result": []}]}] * 2)
    )
    place = f"{tmp_path / 'tasks.json'}, task 1"
    assert error_of("label_studio", tmp_path / "tasks.json", "--output", output) == (
        f"docre-ii import: {place}: document '1' is already in {place}"
    )
    (tmp_path / "relations.json").write_text('{"a": 1}')
    assert error_of("brat", folder, "--output", output) == (
        f"docre-ii import: {tmp_path / 'relations.json'}: the name of 'a' is 1, expected a string"
    )
    assert not output.exists()


BIOC = """\
<collection><document><id>1</id><passage><offset>0</offset><text>BRAF binds MEK.</text>
<annotation id="1"><infon key="type">Gene</infon><location offset="0" length="4"/></annotation>
<annotation id="2"><infon key="type">Gene</infon><location offset="11" length="3"/></annotation>
<relation id="R"><infon key="type">bind</infon><node refid="1" role=""/><node refid="2" role=""/></relation>
</passage></document></collection>
"""


@pytest.mark.parametrize("below", [".", "corpus"])
def test_no_output_becomes_an_export_of_the_next_import(tmp_path, below):
    exports = tmp_path / "exports"
    (exports / below).mkdir(parents=True)
    (exports / "own.xml").write_text(BIOC)
    output, relations = exports / below / "train.jsonl", exports / below / "relations.json"
    assert error_of("bioc", exports, "--output", output) == (
        f"docre-ii import: `relations_file` is '{relations}', in a folder whose .json files are read, so that the "
        "next import would read it: name a file elsewhere"
    )
    assert [path.name for path in exports.rglob("*") if path.is_file()] == ["own.xml"]
    for _ in range(2):
        run("bioc", exports, "--output", output, "--relations_file", tmp_path / "relations.json")
        assert len(output.read_text().splitlines()) == 1


def test_outputs_beside_exports_with_other_endings_are_fine(folder):
    for _ in range(2):
        run("brat", folder, "--output", folder / "train.jsonl")
    assert (folder / "relations.json").is_file()


def test_no_output_replaces_the_export(tmp_path):
    export = tmp_path / "export.jsonl"
    export.write_text(SAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert error_of("pubtator", export, "--output", tmp_path / "." / "export.jsonl") == (
        f"docre-ii import: `output` is '{export}', which is the file that is read: name another file"
    )
    assert "`relations_file` is " in error_of(
        "pubtator", export, "--output", tmp_path / "train.jsonl", "--relations_file", export
    )
    assert export.read_text(encoding="utf-8") == SAMPLE.read_text(encoding="utf-8")


def test_the_documents_need_a_file_of_their_own(folder, tmp_path):
    (tmp_path / "out" / "corpus.jsonl").mkdir(parents=True)
    for output, relations in (("out/corpus.jsonl", "relations.json"), ("same.jsonl", "same.jsonl")):
        message = error_of("brat", folder, "--output", tmp_path / output, "--relations_file", tmp_path / relations)
        assert "is a folder or the file of the relations: name another file for the documents" in message
        assert not (tmp_path / relations).exists()


def test_the_example_becomes_the_documents_beside_it(tmp_path):
    example = Path(__file__).parents[3] / "examples" / "own_corpus"
    run("brat", example / "brat", "--output", tmp_path / "dev.jsonl")
    expected = json.loads((example / "dev.json").read_text(encoding="utf-8"))
    documents = [json.loads(line) for line in (tmp_path / "dev.jsonl").read_text(encoding="utf-8").splitlines()]

    assert [spans_of(document) for document in documents] == sorted(map(spans_of, expected))
    relations = json.loads((example / "relations.json").read_text(encoding="utf-8"))
    assert set(json.loads((tmp_path / "relations.json").read_text())) == set(relations)


def spans_of(document):
    """Title, text, and the entities and facts by their characters, in one order."""
    entities = [(entity["type"], entity["mentions"]) for entity in document["entities"]]
    facts = [(entities[fact["h"]], fact["r"], entities[fact["t"]]) for fact in document["labels"]]
    return document["title"], document["text"], sorted(entities), sorted(facts)
