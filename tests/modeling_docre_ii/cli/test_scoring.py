"""Files of predictions, scored from the command line: one, several runs, two compared, and malformed ones."""

import copy
import json
from pathlib import Path

import pytest

import run_docre
from dataset_scripts.cdr import CDR
from modeling_docre_ii import write_submission
from modeling_docre_ii.cli.scoring import main
from modeling_docre_ii.evaluation.plain_texts import plain_text_of
from modeling_docre_ii.evaluation.tables import SCORE_GROUPS


def spaced_text_of(document):
    """The tokens with spaces between them."""
    return plain_text_of(document, spaced=True)


ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests" / "dataset_scripts" / "cdr_sample.PubTator.txt"
DOCUMENTS = ["--dataset_name", "cdr", "--validation_file", str(SAMPLE)]
DOCUMENTS += ["--mesh_tree_file", str(SAMPLE.with_name("mesh_sample.txt"))]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """All facts of five real abstracts."""
    builder = CDR(data_files={"train": str(SAMPLE)}, cache_dir=str(tmp_path_factory.mktemp("cache")))
    builder.download_and_prepare()
    return [
        {"title": row["title"], "h_idx": label["h"], "t_idx": label["t"], "r": "CID", "evidence": []}
        for row in builder.as_dataset(split="train")
        for label in row["labels"]
    ]


@pytest.fixture
def scored(tmp_path, capsys):
    """Writes files of predictions, scores them and returns what is printed."""

    def score(*options, **files):
        for name, predictions in files.items():
            write_submission(tmp_path / f"{name}.json", predictions)
        options = [str(tmp_path / f"{option}.json") if option in files else option for option in options]
        main([*DOCUMENTS, *options])
        return capsys.readouterr().out

    return score


def table_row(printed, name):
    """The numbers behind a name at the beginning of a line."""
    (line,) = [line for line in printed.splitlines() if line.startswith(name + "  ")]
    return line.removeprefix(name).split()


def fewer_f1(count):
    """F1 of all facts but one, from its definition."""
    return 200 * (count - 1) / (2 * count - 1)


def test_one_file_is_scored_by_relation_as_well(scored, facts):
    printed = scored("--score_files", "fewer", fewer=facts[1:])
    f1, recall = fewer_f1(len(facts)), 100 * (len(facts) - 1) / len(facts)
    assert table_row(printed, "all facts") == [f"{f1:.2f}", "100.00", f"{recall:.2f}"]
    assert f"{f1:.2f}" in table_row(printed, "chemical-induced disease (CID)")


def test_runs_of_several_seeds_are_summed_up(scored, facts):
    printed = scored("--score_files", "all", "fewer", all=facts, fewer=facts[1:])
    fewer = fewer_f1(len(facts))
    mean, deviation = (100 + fewer) / 2, (100 - fewer) / 2**0.5
    assert table_row(printed.partition("2 runs")[2], "all facts") == [f"{mean:.2f}", f"{deviation:.2f}", "2"]


def test_two_files_are_compared(scored, facts):
    printed = scored("--score_files", "all", "--compare_with", "fewer", all=facts, fewer=facts[1:])
    fewer = fewer_f1(len(facts))
    row = table_row(printed.partition("1,000 resamples")[2], "filtered: without uncounted pairs")
    assert row[:3] == ["100.00", f"{fewer:.2f}", f"{100 - fewer:+.2f}"]


def test_every_f1_of_a_file_is_compared(tmp_path, capsys):
    """Also Ign F1 against the distant documents, which are other documents here than those of training."""
    path, train = ROOT / "examples/re_docred_sample/dev.json", ROOT / "examples/re_docred_sample/train.json"
    documents = json.loads(path.read_text(encoding="utf-8"))
    facts = [
        {"title": document["title"], "h_idx": label["h"], "t_idx": label["t"], "r": label["r"]}
        for document in documents
        for label in document["labels"]
    ]
    (tmp_path / "distant.json").write_text(json.dumps(documents[:5]), encoding="utf-8")
    for name, predictions in (("all", facts), ("fewer", facts[::2])):
        (tmp_path / f"{name}.json").write_text(json.dumps(predictions), encoding="utf-8")
    files = {"train": train, "distant": tmp_path / "distant.json", "validation": path}
    words = ["--dataset_name", "re_docred", *(f"--{name}_file={file}" for name, file in files.items())]
    main([*words, f"--score_files={tmp_path / 'fewer.json'}", f"--compare_with={tmp_path / 'all.json'}"])

    scores, _, compared = capsys.readouterr().out.partition("1,000 resamples")
    names = [name for name in SCORE_GROUPS.values() if f"\n{name}  " in scores]
    assert {"all facts", SCORE_GROUPS["ign_"], SCORE_GROUPS["ign_distant_"], "Infer"} < set(names)
    for name in names:
        assert table_row(compared, name)[0] == table_row(scores, name)[0]


def test_prediction_on_an_unknown_title_is_refused(scored, facts):
    unknown = facts[0] | {"title": "no such abstract"}
    for files in (("all", "more"), ("all", "--compare_with", "more")):
        with pytest.raises(SystemExit, match=r"^docre-ii score: .*more\.json: document 'no such abstract': predicted"):
            scored("--score_files", *files, more=[*facts, unknown], all=facts)


@pytest.mark.parametrize("options", [(), ("--compare_with", "all")])
def test_prediction_on_an_unknown_title_can_count_as_wrong(scored, facts, options):
    unknown = facts[0] | {"title": "no such abstract"}
    files = {"more": [*facts, unknown], "all": facts}
    printed = scored("--score_files", "more", *options, "--unknown_titles", "wrong", **files)
    precision = 100 * len(facts) / (len(facts) + 1)
    assert table_row(printed.partition("resamples")[0], "all facts")[1] == f"{precision:.2f}"


@pytest.mark.parametrize(("program", "prog"), [(main, "docre-ii score"), (run_docre.main, "run_docre.py")])
def test_file_that_is_no_submission_is_named(tmp_path, program, prog):
    path = tmp_path / "result.json"
    path.write_text('[{"title": "1", "h_idx": 0, "t_idx": 1}]', encoding="utf-8")
    with pytest.raises(SystemExit) as error:
        program([*DOCUMENTS, "--score_files", str(path)])
    assert str(error.value).startswith(f"{prog}: {path}: item 0: 'r' is missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (DOCUMENTS, "there is nothing to score: set `score_files`"),
        (["--train_file", "FILE", "--score_files", "FILE"], "no validation documents were given"),
        (["--validation_file", "FILE", "--score_files", "nowhere.json"], "`score_files`: there is no file"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_error(tmp_path, arguments, message):
    path = tmp_path / "documents.json"
    document = {"title": "a", "sents": [["a", "b"]], "vertexSet": [], "labels": []}
    path.write_text(json.dumps([document]), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"^docre-ii score: {message}"):
        main([str(path) if argument == "FILE" else argument for argument in arguments])


RAW_TEXT = ["--dataset_name", "re_docred", "--validation_file", str(ROOT / "examples/re_docred_sample/dev.json")]


@pytest.fixture
def extractions(sample_documents):
    """The gold entities of every document, and no triple."""
    return [spaced_text_of(document) | {"triples": []} for document in sample_documents["dev"]]


@pytest.fixture
def write_lines(tmp_path):
    def write(name, rows):
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def test_extractions_from_raw_text_are_scored(extractions, write_lines, capsys):
    clusters = {(row["title"], repr(entity["mentions"])) for row in extractions for entity in row["entities"]}
    path = write_lines("found.jsonl", extractions)
    main([*RAW_TEXT, "--score_files", path])
    printed = capsys.readouterr().out
    assert table_row(printed, "entities") == ["100.00", "100.00", "100.00"]
    assert table_row(printed, "relations, strict") == ["0.00", "0.00", "0.00"]
    assert table_row(printed, "gold facts with both entities") == ["100.00"]

    fewer = copy.deepcopy(extractions)
    del fewer[0]["entities"][0]
    count = len(clusters)
    other = write_lines("fewer.jsonl", fewer)
    main([*RAW_TEXT, "--score_files", path, other])
    printed = capsys.readouterr().out
    assert table_row(printed.partition(other)[2].partition("2 runs")[0], "entities")[2] == f"{100 - 100 / count:.2f}"
    assert table_row(printed.partition("2 runs")[2], "entities")[2] == "2"

    main([*RAW_TEXT, "--score_files", path, "--compare_with", other])
    row = table_row(capsys.readouterr().out.partition("1,000 resamples")[2], "entities")
    assert row[:3] == ["100.00", f"{fewer_f1(count):.2f}", f"{100 - fewer_f1(count):+.2f}"]


def test_malformed_extractions_are_one_clear_error(extractions, write_lines):
    bad = copy.deepcopy(extractions)
    bad[1]["entities"][0]["mentions"][0] = [5, 4]
    path = write_lines("bad.jsonl", bad)
    with pytest.raises(
        SystemExit, match=rf"^docre-ii score: {path}, line 2: document '.*', entity 0, mention 0: found"
    ):
        main([*RAW_TEXT, "--score_files", path])
    short = write_lines("short.jsonl", extractions[1:])
    with pytest.raises(SystemExit, match=f"^docre-ii score: {short}: document '.*': there is no prediction for it"):
        main([*RAW_TEXT, "--score_files", short])
    with pytest.raises(SystemExit, match="holds extractions from raw text and .*result.json relations of given"):
        main([*RAW_TEXT, "--score_files", short, write_lines("result.json", [])])


@pytest.mark.parametrize("order", [1, -1])
def test_corpus_of_both_forms_is_scored_on_its_entities_whatever_its_first_document_is(
    sample_documents, write_lines, capsys, order
):
    """What `docre-ii extract` writes of gold facts: with a text for a plain text, without for DocRED's form."""
    rows = []
    for index, document in enumerate(sample_documents["dev"]):
        triples = [
            {"head": {"entity": label["h"]}, "relation": label["r"], "tail": {"entity": label["t"]}}
            for label in document["labels"]
        ]
        entities = spaced_text_of(document) if index % 2 else {"title": document["title"]}
        rows.append(entities | {"triples": triples})
    main([*RAW_TEXT, "--score_files", write_lines("found.jsonl", rows[::order])])
    assert table_row(capsys.readouterr().out, "all facts") == ["100.00", "100.00", "100.00"]
