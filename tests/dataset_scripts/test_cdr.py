import gzip
import os
import shutil
from pathlib import Path

import pytest

from dataset_scripts.cdr import CDR
from modeling_docre_ii.documents import DocumentError, check_document, with_relation_ids


HERE = Path(__file__).parent
SAMPLE = str(HERE / "cdr_sample.PubTator.txt")
MESH_SAMPLE = str(HERE / "mesh_sample.txt")
SHARED_CDR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdr"
NAMES = {"train": "CDR_TrainingSet", "validation": "CDR_DevelopmentSet", "test": "CDR_TestSet"}

needs_corpus = pytest.mark.skipif(not SHARED_CDR.is_dir(), reason="the corpora are not beside the checkout")


def build(tmp_path, **kwargs):
    return CDR(cache_dir=str(tmp_path / "cache"), **kwargs)


def load(tmp_path, split=None, **kwargs):
    builder = build(tmp_path, **kwargs)
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


def documents(rows):
    return [with_relation_ids(row, rows.features["labels"].feature["r"].names) for row in rows]


def raw_abstracts(path):
    """Reads PMID -> text, mentions (start, end, type, set of ids) and pairs, only by splitting lines."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as stream:
        blocks = [block.strip("\n").split("\n") for block in stream.read().split("\n\n") if block.strip()]
    abstracts = {}
    for title, abstract, *lines in blocks:
        pmid, _, title = title.split("|", 2)
        fields = [line.split("\t") for line in lines]
        mentions = [
            (int(columns[1]), int(columns[2]), columns[4], set(columns[5].split("|")) - {"-1"})
            for columns in fields
            if len(columns) > 4
        ]
        pairs = {(columns[2], columns[3]) for columns in fields if len(columns) == 4}
        abstracts[pmid] = (title + " " + abstract.split("|", 2)[2], mentions, pairs)
    return abstracts


def token_starts_and_ends(sentences, text):
    """Finds the characters at which each token starts and ends, in the order of the text."""
    spans, position = [], 0
    for sentence in sentences:
        spans.append([])
        for token in sentence:
            while text[position].isspace():
                position += 1
            assert text.startswith(token, position)
            spans[-1].append((position, position + len(token)))
            position += len(token)
    return spans


def check_against_file(rows, path):
    """Checks that the documents have exactly the mentions of the file, at the same characters."""
    abstracts = raw_abstracts(path)
    assert [row["title"] for row in rows] == list(abstracts)
    for document in documents(rows):
        check_document(document)
        text, mentions, pairs = abstracts[document["title"]]
        assert "".join(token for sentence in document["sents"] for token in sentence) == "".join(text.split())
        tokens = token_starts_and_ends(document["sents"], text)
        found = set()
        for entity in document["vertexSet"]:
            for mention in entity:
                inside = tokens[mention["sent_id"]][slice(*mention["pos"])]
                start, end = inside[0][0], inside[-1][1]
                assert text[start:end] == mention["name"]
                found.add((start, end, mention["type"], mention["kb_id"]))
            assert len({(mention["type"], mention["kb_id"]) for mention in entity}) == 1
        assert found == {(start, end, kind, kb_id) for start, end, kind, kb_ids in mentions for kb_id in kb_ids}
        assert sum(map(len, document["vertexSet"])) == len(found)
        identifiers = [entity[0]["kb_id"] for entity in document["vertexSet"]]
        kinds = [entity[0]["type"] for entity in document["vertexSet"]]
        facts = [(label["h"], label["t"]) for label in document["labels"]]
        assert len(facts) == len(pairs) and {label["r"] for label in document["labels"]} <= {"CID"}
        assert {(identifiers[head], identifiers[tail]) for head, tail in facts} == pairs
        assert {(kinds[head], kinds[tail]) for head, tail in facts} == {("Chemical", "Disease")}


def test_rows_hold_what_the_file_holds(tmp_path):
    corpus = load(tmp_path, data_files={"train": SAMPLE, "test": SAMPLE})
    assert {split: len(rows) for split, rows in corpus.items()} == {"train": 5, "test": 5}
    for rows in corpus.values():
        check_against_file(rows, SAMPLE)
        assert rows.features["labels"].feature["r"].names == ["Na", "CID"]


def uncounted_names(rows, title):
    row = next(row for row in rows if row["title"] == title)
    return [(row["vertexSet"][pair["h"]][0]["name"], row["vertexSet"][pair["t"]][0]) for pair in row["uncounted"]]


def test_hypernyms_are_marked_with_the_tree_and_only_with_it(tmp_path):
    with_tree = load(tmp_path, split="train", data_files=SAMPLE, mesh_tree_file=MESH_SAMPLE)
    without = load(tmp_path, split="train", data_files=SAMPLE)
    assert "uncounted" not in without.column_names, "no claim about what nobody looked for"
    # Sensorineural hearing loss is induced; hearing loss and auditory toxicity (hearing disorders) are above it.
    marked = [(head, tail["name"]) for head, tail in uncounted_names(with_tree, "2234245")]
    assert marked == [("desferrioxamine", "Ocular and auditory toxicity"), ("desferrioxamine", "hearing loss")]
    assert [tail["kb_id"] for _, tail in uncounted_names(with_tree, "2234245")] == ["D006311", "D034381"]
    assert [len(row["uncounted"]) for row in with_tree] == [0, 0, 2, 0, 0]
    assert list(with_tree.remove_columns("uncounted")) == list(without)


def test_the_folder_of_the_authors_is_found_plain_or_packed(tmp_path):
    folder = tmp_path / "CDR.Corpus"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "CDR_TestSet.PubTator.txt")
    (folder / "CDR_TrainingSet.PubTator.txt.gz").write_bytes(gzip.compress(Path(SAMPLE).read_bytes()))
    (folder / "CDR_TrainingSet.BioC.xml").write_text("<xml/>")
    corpus = load(tmp_path, data_dir=str(folder))
    assert sorted(corpus) == ["test", "train"] and list(corpus["train"]) == list(corpus["test"])
    # If a file and its gzipped copy exist, only one is read.
    shutil.copy(SAMPLE, folder / "CDR_TrainingSet.PubTator.txt")
    assert len(load(tmp_path, data_dir=str(folder))["train"]) == 5


def test_streaming_gives_the_same_rows(tmp_path):
    builder = build(tmp_path, data_files={"validation": SAMPLE}, mesh_tree_file=MESH_SAMPLE)
    streamed = list(builder.as_streaming_dataset(split="validation"))
    builder.download_and_prepare()
    assert streamed == list(builder.as_dataset(split="validation")) and len(streamed) == 5


def rewrite(path, old, new):
    """Edits a file without changing its size and times."""
    before = path.stat()
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_an_edit_of_any_file_is_noticed(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    abstracts, tree = folder / "CDR_TrainingSet.PubTator.txt", tmp_path / "tree.txt"
    shutil.copy(SAMPLE, abstracts)
    shutil.copy(MESH_SAMPLE, tree)
    arguments = {"data_dir": str(folder), "mesh_tree_file": str(tree), "split": "train"}
    assert [len(row["uncounted"]) for row in load(tmp_path, **arguments)] == [0, 0, 2, 0, 0]
    rewrite(tree, "D034381", "D034382")
    assert [len(row["uncounted"]) for row in load(tmp_path, **arguments)] == [0, 0, 1, 0, 0]
    rewrite(abstracts, "227508", "227509")
    assert load(tmp_path, **arguments)[1]["title"] == "227509"


def test_splits_add_up(tmp_path):
    parts = [tmp_path / "train.txt", tmp_path / "dev.txt"]
    blocks = Path(SAMPLE).read_text(encoding="utf-8").strip("\n").split("\n\n")
    for path, part in zip(parts, (blocks[:2], blocks[2:])):
        path.write_text("\n\n".join(part), encoding="utf-8")
    files = {"train": str(parts[0]), "dev": str(parts[1])}
    rows = load(tmp_path, data_files=files, split="train+validation")
    assert list(rows) == list(load(tmp_path, data_files=SAMPLE, split="train"))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_abstract_of_two_files_is_an_error_where_scores_are_taken(tmp_path, split):
    copy = shutil.copy(SAMPLE, tmp_path / "copy.txt")
    with pytest.raises(DocumentError, match=f"copy.txt: document '8638876' is already in the {split} split"):
        load(tmp_path, data_files={split: [SAMPLE, str(copy)]})
    assert len(load(tmp_path, data_files={"train": [SAMPLE, str(copy)]})["train"]) == 10


def test_a_broken_tree_is_named_with_its_line(tmp_path):
    path = tmp_path / "tree.txt"
    path.write_text("Tree Number\tDesc Ui\tTerm\nC09\n")
    with pytest.raises(DocumentError) as error:
        load(tmp_path, data_files=SAMPLE, mesh_tree_file=str(path))
    assert str(error.value).startswith(f"{path}, line 2: found 'C09")
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        build(tmp_path, data_files=SAMPLE, mesh_tree_file=str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize(
    ("config_name", "data_dir"), [("pubtator", False), ("pubtator", True), ("preprocessed", False)]
)
def test_what_to_pass_is_said_when_it_was_not_passed(tmp_path, config_name, data_dir):
    kwargs = {"data_dir": str(tmp_path)} if data_dir else {}
    with pytest.raises(ValueError, match="no files were given. Pass data_dir, a folder with CDR_TrainingSet"):
        load(tmp_path, config_name=config_name, **kwargs)


def test_file_that_is_named_replaces_the_one_in_the_folder(tmp_path):
    folder = tmp_path / "CDR.Corpus"
    folder.mkdir()
    text = Path(SAMPLE).read_text(encoding="utf-8")
    for name, content in (("CDR_TrainingSet", text), ("CDR_DevelopmentSet", text)):
        (folder / f"{name}.PubTator.txt").write_text(content, encoding="utf-8")
    (tmp_path / "own.txt").write_text(text.partition("\n\n")[0], encoding="utf-8")
    corpus = load(tmp_path, data_dir=str(folder), data_files={"dev": str(tmp_path / "own.txt")})
    assert {split: rows.num_rows for split, rows in corpus.items()} == {"train": 5, "validation": 1}


def test_the_info_describes_the_corpus(tmp_path):
    builder = build(tmp_path)
    assert (builder.config.name, str(builder.info.version)) == ("pubtator", "1.0.0")
    assert "li-etal-2016-biocreative" in builder.info.citation and builder.info.description.startswith("CDR")
    assert builder.candidate_types == [["Chemical", "Disease"]]
    assert builder.relation_names == {"Na": "no relation", "CID": "chemical-induced disease"}


@needs_corpus
def test_the_sample_is_of_the_corpus():
    corpus = {}
    for path in SHARED_CDR.glob("*.gz"):
        corpus |= raw_abstracts(str(path))
    sample = raw_abstracts(SAMPLE)
    assert {pmid: corpus[pmid] for pmid in sample} == sample


@needs_corpus
def test_the_published_corpus_has_the_published_counts(tmp_path):
    """Compares with the counts of EoG (Christopoulou et al., 2019), and with the mentions of the files."""
    tree = str(SHARED_CDR / "2017MeshTree.txt")
    corpus = load(tmp_path, data_dir=str(SHARED_CDR), mesh_tree_file=tree)
    expected = {"train": (1038, 4202, 9385), "validation": (1012, 4075, 9591)}
    assert set(expected) <= set(corpus)
    for split, (positives, negatives, mention_lines) in expected.items():
        rows = corpus[split]
        path = str(SHARED_CDR / f"{NAMES[split]}.PubTator.txt.gz")
        check_against_file(rows, path)
        assert len(rows) == 500 and sum(map(len, rows["labels"])) == positives
        assert sum(len(mentions) for _, mentions, _ in raw_abstracts(path).values()) == mention_lines
        counted = 0
        for row in rows:
            kinds = [entity[0]["type"] for entity in row["vertexSet"]]
            uncounted = {(pair["h"], pair["t"]) for pair in row["uncounted"]}
            facts = {(label["h"], label["t"]) for label in row["labels"]}
            assert {(kinds[head], kinds[tail]) for head, tail in uncounted} <= {("Chemical", "Disease")}
            assert not uncounted & facts and len(uncounted) == len(row["uncounted"])
            counted += kinds.count("Chemical") * kinds.count("Disease") - len(facts) - len(uncounted)
        assert counted == negatives
