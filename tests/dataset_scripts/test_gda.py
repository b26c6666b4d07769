import logging
import os
import shutil
from pathlib import Path

import pytest

from dataset_scripts.gda import GDA, read_pmids
from modeling_docre_ii.documents import DocumentError


HERE = Path(__file__).parent
SAMPLE = HERE / "gda_sample"
SHARED_PMIDS = HERE.parents[2] / "shared" / "data" / "gda" / "train_pmids.txt"


@pytest.fixture
def folder(tmp_path):
    """Copies the sample, so that a test can edit it: RENET's two folders and a list of training PMIDs."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "GDA"))


def build(tmp_path, folder, **kwargs):
    kwargs = {"train_pmids_file": str(folder / "train_pmids.txt"), **kwargs}
    return GDA(data_dir=str(folder), cache_dir=str(tmp_path / "cache"), **kwargs)


def load(tmp_path, folder, split=None, **kwargs):
    builder = build(tmp_path, folder, **kwargs)
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


def names(row):
    return [[mention["name"] for mention in mentions] for mentions in row["vertexSet"]]


def identifiers(row):
    return [(mentions[0]["type"], mentions[0]["kb_id"]) for mentions in row["vertexSet"]]


def facts(row):
    kb_ids = [kb_id for _, kb_id in identifiers(row)]
    return {(kb_ids[label["h"]], kb_ids[label["t"]]) for label in row["labels"]}


def test_the_list_cuts_the_training_folder(tmp_path, folder):
    corpus = load(tmp_path, folder)
    titles = {split: [row["title"][-1] for row in rows] for split, rows in corpus.items()}
    # The order is that of the files, not of the list, which can hold other PMIDs.
    assert titles == {"train": ["1", "2", "3", "5"], "validation": ["4", "6"], "test": ["7", "8"]}


def test_rows_hold_what_the_files_hold(tmp_path, folder):
    corpus = load(tmp_path, folder)
    row = corpus["train"][1]
    assert row["title"] == "90000002"
    assert row["sents"][0][:3] == ["Association", "of", "the"] and row["sents"][1][:3] == ["APOE", "was", "typed"]
    assert identifiers(row) == [("Gene", "348"), ("Disease", "D000544")]
    # The ungrounded memory loss belongs to no entity.
    assert names(row) == [["APOE", "APOE"], ["Alzheimer disease", "Alzheimer disease", "AD", "AD"]]
    assert row["vertexSet"][0] == [
        {"name": "APOE", "sent_id": 0, "pos": [3, 4], "type": "Gene", "kb_id": "348"},
        {"name": "APOE", "sent_id": 1, "pos": [0, 1], "type": "Gene", "kb_id": "348"},
    ]
    assert row["labels"] == [{"h": 0, "t": 1, "r": 1, "evidence": []}] and "uncounted" not in row
    expected = {
        "90000001": {("672", "D001943"), ("675", "D001943")},
        "90000002": {("348", "D000544")},
        "90000003": {("7124", "D001172"), ("7124", "D015535")},
        "90000004": set(),
        "90000005": {("1080", "D010195"), ("6690", "D010195")},
        "90000006": {("540", "D006527")},
        "90000007": {("3949", "D006937"), ("255738", "D006937")},
        "90000008": set(),
    }
    assert {row["title"]: facts(row) for rows in corpus.values() for row in rows} == expected
    for rows in corpus.values():
        assert rows.features["labels"].feature["r"].names == ["Na", "GDA"]
        for row in rows:
            for mention in (mention for mentions in row["vertexSet"] for mention in mentions):
                tokens = row["sents"][mention["sent_id"]][slice(*mention["pos"])]
                assert "".join(tokens) == mention["name"].replace(" ", "")


def test_several_ids_of_one_mention_are_an_entity_each(tmp_path, folder):
    row = load(tmp_path, folder, split="train")[2]
    assert identifiers(row) == [
        ("Gene", "7124"),
        ("Gene", "3569"),
        ("Disease", "D001172"),
        ("Gene", "3123"),
        ("Gene", "3119"),
        ("Disease", "D015535"),
    ]
    assert names(row)[2:] == [
        ["rheumatoid arthritis", "rheumatoid or psoriatic arthritis"],
        ["HLA-DRB1/DQB1"],
        ["HLA-DRB1/DQB1"],
        ["rheumatoid or psoriatic arthritis"],
    ]
    assert row["vertexSet"][3][0]["pos"] == row["vertexSet"][4][0]["pos"]


def test_a_mention_inside_a_word_is_a_token(tmp_path, folder):
    row = load(tmp_path, folder, split="validation")[0]
    assert row["sents"][2] == ["Pseudo", "hypertension", "was", "excluded", "."]
    assert row["vertexSet"][1][2] == {
        "name": "hypertension", "sent_id": 2, "pos": [1, 2], "type": "Disease", "kb_id": "D006973"
    }  # fmt: skip


def test_streaming_gives_the_same_rows_and_splits_add_up(tmp_path, folder):
    corpus = load(tmp_path, folder)
    for split, rows in corpus.items():
        assert list(build(tmp_path, folder).as_streaming_dataset(split=split)) == list(rows)
    both = load(tmp_path, folder, split="train+validation")
    assert list(both) == [*corpus["train"], *corpus["validation"]]


@pytest.mark.parametrize(
    ("absent", "splits"), [("testing_data", ["train", "validation"]), ("training_data", ["test"])]
)
def test_one_folder_is_enough(tmp_path, folder, absent, splits):
    shutil.rmtree(folder / absent)
    assert sorted(load(tmp_path, folder)) == splits


def test_order_blank_lines_and_spaces_do_not_matter(tmp_path, folder):
    before = list(load(tmp_path, folder, split="train"))
    mentions, labels = folder / "training_data" / "anns.txt", folder / "training_data" / "labels.csv"
    lines = [line for line in mentions.read_text().split("\n") if line]
    mentions.write_text("\r\n".join(lines[::-1]))
    heading, *rows = labels.read_text().split()
    labels.write_text("\n".join([heading, "", *(", ".join(row.split(",")) for row in rows[::-1])]))
    after = list(load(tmp_path, folder, split="train"))
    assert [(row["vertexSet"], facts(row)) for row in after] == [(row["vertexSet"], facts(row)) for row in before]


def test_a_corpus_without_validation_has_none_and_says_so(tmp_path, folder):
    (folder / "train_pmids.txt").write_text("\n".join(f"9000000{number}" for number in range(1, 7)))
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("datasets.docre_ii")
    logger.addHandler(handler)
    try:
        corpus = load(tmp_path, folder)
    finally:
        logger.removeHandler(handler)
    assert {split: len(rows) for split, rows in corpus.items()} == {"train": 6, "test": 2}
    path = folder / "training_data" / "abstracts.txt"
    assert len(messages) == 1 and messages[0].startswith(f"{path}: all of the 6 abstracts are in the list")


def test_a_corpus_without_training_abstracts_is_refused_with_the_way_out(tmp_path, folder):
    path = folder / "training_data" / "abstracts.txt"
    with pytest.raises(DocumentError) as error:
        load(tmp_path, folder, train_pmids_file=None)
    message = f"{path}: none of the 6 abstracts of training_data is in the list of training PMIDs, "
    assert str(error.value).startswith(message) and str(error.value).endswith("pass your own list as train_pmids_file")
    # The test split alone does not need the list.
    shutil.rmtree(folder / "training_data")
    assert len(load(tmp_path, folder, train_pmids_file=None)["test"]) == 2


def test_the_published_list_is_in_the_package(tmp_path, folder):
    pmids = read_pmids(build(tmp_path, folder, train_pmids_file=None).config.list_of_training)
    assert len(pmids) == 23353 and "18086781" in pmids
    configuration = (HERE.parents[1] / "setup.cfg").read_text()
    assert "\ndataset_scripts = *.txt\n" in configuration.split("[options.package_data]")[1].split("\n[")[0]


@pytest.mark.skipif(not SHARED_PMIDS.is_file(), reason="the corpora are not beside the checkout")
def test_the_list_is_the_published_one(tmp_path, folder):
    own = Path(build(tmp_path, folder, train_pmids_file=None).config.list_of_training)
    assert own.read_bytes() == SHARED_PMIDS.read_bytes()


def rewrite(path, old, new):
    """Edits a file without changing its size and times."""
    before, content = path.stat(), path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_an_edit_of_any_file_is_noticed(tmp_path, folder):
    def sixth():
        (row,) = (row for rows in load(tmp_path, folder).values() for row in rows if row["title"][-1] == "6")
        return row

    training = folder / "training_data"
    assert (identifiers(sixth())[1], facts(sixth())) == (("Gene", "540"), {("540", "D006527")})
    rewrite(training / "abstracts.txt", "novel deletion", "small deletion")
    assert "small" in sixth()["sents"][1]
    rewrite(training / "labels.csv", "90000006,540,D006527,1", "90000006,540,D006527,0")
    assert facts(sixth()) == set()
    rewrite(training / "anns.txt", "Gene\t540", "Gene\t541")
    assert identifiers(sixth())[1] == ("Gene", "541")
    rewrite(folder / "train_pmids.txt", "90000005", "90000006")
    assert sixth() in load(tmp_path, folder, split="train")
    rewrite(folder / "testing_data" / "labels.csv", "3949,D006937,1", "3949,D006937,0")
    assert facts(load(tmp_path, folder, split="test")[0]) == {("255738", "D006937")}


def check_broken(tmp_path, folder, place, message):
    with pytest.raises(DocumentError) as error:
        load(tmp_path, folder)
    assert str(error.value).startswith(place) and message in str(error.value)
    left = [found for found in (tmp_path / "cache").rglob("*") if found.suffix in (".arrow", ".incomplete")]
    assert not left


BROKEN_LINES = [
    # abstracts.txt: 90000002 has lines 5-7.
    ("abstracts.txt", 6, [], 5, "abstract 90000002 has 2 lines, expected 3 and an empty line: its PMID, its title"),
    ("abstracts.txt", 7, [""], 5, "abstract 90000002 has 2 lines, expected 3 and an empty line"),
    ("abstracts.txt", 8, [], 5, "abstract 90000002 has 6 lines, expected 3 and an empty line"),
    ("abstracts.txt", 5, [], 5, "found 'Association of the APOE epsilon4 allele ', expected a PMID, a number alone"),
    ("abstracts.txt", 5, ["PMID 90000002"], 5, "found 'PMID 90000002', expected a PMID"),
    ("abstracts.txt", 5, ["90000001"], 5, "abstract 90000001 repeats that at "),
    # anns.txt: line 2 is of BRCA2, 90000001, 10 to 15.
    ("anns.txt", 2, ["90000009\t10\t15\tBRCA2\tGene\t675"], 2, "PMID '90000009', expected that of an abstract in"),
    ("anns.txt", 2, ["90000001\t10\t15\tBRCA2\tGene"], 2, "5 fields, expected 6 or 7 of a mention"),
    ("anns.txt", 2, ["90000001,10,15,BRCA2,Gene,675"], 2, "1 fields, expected 6 or 7 of a mention"),
    ("anns.txt", 2, ["90000001\tx\t15\tBRCA2\tGene\t675"], 2, "mention 'BRCA2': start 'x' and end '15', expected the"),
    ("anns.txt", 2, ["90000001\t11\t15\tBRCA2\tGene\t675"], 2, "mention 'BRCA2': the text from 11 to 15 is 'RCA2'"),
    ("anns.txt", 2, ["90000001\t10\t999\tBRCA2\tGene\t675"], 2, "[10, 999), expected start < end <= 2"),
    ("anns.txt", 2, ["90000001\t10\t15\tBRCA2\tChemical\t675"], 2, "type 'Chemical', expected Gene or Disease"),
    ("anns.txt", 2, ["90000001\t10\t15\tBRCA2\tGene\t"], 2, "ids '', expected -1 or one id or several"),
    # Mentions of the other split are checked too.
    ("anns.txt", 42, ["90000006\t14\t27\tWilson disease\tDisease\tD006527"], 42, "the text from 14 to 27 is 'Wilson"),
    # labels.csv: line 8 is 90000002,348,D000544,1.
    ("labels.csv", 1, [], 1, "found the row '90000001,672,D001943,1', expected a heading first"),
    ("labels.csv", 8, ["90000009,348,D000544,1"], 8, "PMID '90000009', expected that of an abstract in abstracts.txt"),
    ("labels.csv", 8, ["90000002,348,D000544,2"], 8, "abstract 90000002: label '2', expected 0 or 1"),
    ("labels.csv", 8, ["90000002,348,D000544,"], 8, "abstract 90000002: label '', expected 0 or 1"),
    ("labels.csv", 8, ["90000002,348,D000544"], 8, "3 fields, expected 4 (PMID, gene, disease, 0 or 1)"),
    ("labels.csv", 8, ["90000002\t348\tD000544\t1"], 8, "1 fields, expected 4 (PMID, gene, disease, 0 or 1)"),
    ("labels.csv", 8, ["90000002,349,D000544,1"], 8, "GDA of Gene '349', which has no mention"),
    ("labels.csv", 8, ["90000002,348,D000545,1"], 8, "GDA of Disease 'D000545', which has no mention"),
    ("labels.csv", 8, ["90000002,D000544,348,1"], 8, "GDA of Gene 'D000544', which has no mention"),
    ("labels.csv", 8, ["90000002,-1,D000544,1"], 8, "GDA of Gene '-1', which has no mention"),
    ("labels.csv", 8, ['90000002,"348,D000544,1'], 21, "this is not CSV: unexpected end of data"),
]


@pytest.mark.parametrize(("name", "number", "lines", "line", "message"), BROKEN_LINES)
def test_a_broken_line_is_named_and_leaves_nothing_behind(tmp_path, folder, name, number, lines, line, message):
    path = folder / "training_data" / name
    content = path.read_text().rstrip("\n").split("\n")
    path.write_text("\n".join([*content[: number - 1], *lines, *content[number:]]))
    check_broken(tmp_path, folder, f"{path}, line {line}: ", message)


@pytest.mark.parametrize("label", ["0", "1"])
def test_a_doubled_pair_is_named_with_both_places(tmp_path, folder, label):
    path = folder / "training_data" / "labels.csv"
    path.write_text(path.read_text() + f"90000002,348,D000544,{label}\n")
    there = f"'348' and 'D000544' with label {label} repeats that with label 1 at {path}, line 8"
    check_broken(tmp_path, folder, f"{path}, line 22: abstract 90000002: ", there)


def test_a_negative_pair_of_an_id_without_mention_is_no_fact(tmp_path, folder):
    path = folder / "training_data" / "labels.csv"
    path.write_text(path.read_text() + "90000002,349,D000544,0\n")
    assert facts(load(tmp_path, folder, split="train")[1]) == {("348", "D000544")}


@pytest.mark.parametrize("part", ["training_data", "testing_data"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("abstracts.txt", b"", "the file has no abstract"),
        ("abstracts.txt", b"\n\n", "the file has no abstract"),
        ("anns.txt", b"\n", "the file has no mention"),
        ("labels.csv", b"", "the file has no heading"),
        ("abstracts.txt", b"1\nMeni\xe8re\nx\n", "reading it failed: 'utf-8' codec"),
        ("anns.txt", b"90000001\t0\t5\tMeni\xe8re", "reading it failed: 'utf-8' codec"),
        ("labels.csv", b"pmid\n\xe8\n", "reading it failed: 'utf-8' codec"),
        ("abstracts.txt", None, "the file does not exist"),
        ("anns.txt", None, "the file does not exist"),
        ("labels.csv", None, "the file does not exist"),
    ],
)
def test_a_broken_file_is_named_and_leaves_nothing_behind(tmp_path, folder, part, name, content, message):
    path = folder / part / name
    path.unlink() if content is None else path.write_bytes(content)
    check_broken(tmp_path, folder, f"{path}: ", message)


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("90000001\nPMC2\n", ", line 2", "found 'PMC2', expected a PMID, a number"),
        ("\n", "", "the file has no PMID"),
        (None, "", "the file does not exist"),
    ],
)
def test_a_broken_list_is_named(tmp_path, folder, content, place, message):
    path = folder / "train_pmids.txt"
    path.unlink() if content is None else path.write_text(content)
    check_broken(tmp_path, folder, f"{path}{place}: ", message)


def test_what_to_pass_is_said_when_it_was_not_passed(tmp_path):
    for kwargs in ({}, {"data_dir": str(tmp_path)}, {"config_name": "preprocessed"}):
        builder = GDA(cache_dir=str(tmp_path / "cache"), **kwargs)
        with pytest.raises(
            ValueError, match="GDA: no files were given. Pass data_dir, a folder with training_data or"
        ):
            builder.download_and_prepare()
    with pytest.raises(
        ValueError, match="renet reads a data_dir, not data_files, which need the configuration 'preproc"
    ):
        GDA(data_files=str(SAMPLE / "train_pmids.txt"), cache_dir=str(tmp_path / "cache"))


def test_the_info_describes_the_corpus(tmp_path, folder):
    builder = build(tmp_path, folder)
    assert (builder.config.name, str(builder.info.version)) == ("renet", "1.0.0")
    assert "wu-etal-2019-renet" in builder.info.citation and builder.info.description.startswith("GDA")
    assert builder.candidate_types == [["Gene", "Disease"]]
    assert builder.relation_names == {"Na": "no relation", "GDA": "gene-disease association"}
