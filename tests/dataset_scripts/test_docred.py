import gzip
import json
import logging
import os
from pathlib import Path

import datasets
import pytest

from dataset_scripts.docred import DocRED
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii.documents import DocumentError


ROOT = Path(__file__).resolve().parents[2]
TRAIN = str(ROOT / "examples" / "re_docred_sample" / "train.json")
DEV = str(ROOT / "examples" / "re_docred_sample" / "dev.json")
SHARED_DATA = ROOT.parent / "shared" / "data"


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def build(tmp_path, data_files, config_name="re_docred", **kwargs):
    return DocRED(config_name=config_name, data_files=data_files, cache_dir=str(tmp_path / "cache"), **kwargs)


def load(tmp_path, data_files, **kwargs):
    builder = build(tmp_path, data_files, **kwargs)
    builder.download_and_prepare()
    return builder.as_dataset()


def as_published(row, features):
    """Returns a row of the dataset in the form of the published files."""
    relation = features["labels"].feature["r"]
    return {**row, "labels": [{**label, "r": relation.int2str(label["r"])} for label in row["labels"]]}


def without_redundant_keys(document):
    fields = ("name", "sent_id", "pos", "type")
    entities = [
        [{field: mention[field] for field in fields} for mention in entity] for entity in document["vertexSet"]
    ]
    return {**document, "vertexSet": entities}


def with_optional_fields(document):
    """The published files have no identifiers and no uncounted pairs."""
    entities = [[{**mention, "kb_id": None} for mention in entity] for entity in document["vertexSet"]]
    return {**document, "vertexSet": entities, "uncounted": None}


def test_the_dataset_holds_what_the_files_hold(tmp_path):
    corpus = load(tmp_path, {"train": [TRAIN], "validation": [DEV]})
    assert {split: rows.num_rows for split, rows in corpus.items()} == {"train": 80, "validation": 20}
    for rows, path in ((corpus["train"], TRAIN), (corpus["validation"], DEV)):
        documents = [with_optional_fields(without_redundant_keys(document)) for document in read(path)]
        assert [as_published(row, rows.features) for row in rows] == documents
    first = corpus["train"][0]
    assert (first["title"], len(first["vertexSet"]), len(first["labels"])) == ("Li Jiancheng", 17, 29)
    # P3373 (sibling) is class 19 of the official rel2id.
    assert first["labels"][0] == {"h": 0, "t": 10, "r": 19, "evidence": [2]}


def test_streaming_gives_the_same_rows(tmp_path):
    builder = build(tmp_path, {"train": [TRAIN], "validation": [DEV]})
    streamed = list(builder.as_streaming_dataset(split="validation"))
    assert streamed == list(load(tmp_path, {"validation": DEV})["validation"])


def test_the_info_describes_the_corpus(tmp_path):
    for name in ("docred", "docred_distant", "re_docred"):
        info = DocRED(config_name=name, cache_dir=str(tmp_path)).info
        assert info.license == "MIT" and info.description and "yao-etal-2019-docred" in info.citation
        assert info.config_name == name and str(info.version) == "1.0.0"
        assert ("Re-DocRED" in info.homepage) == (name == "re_docred") == ("tan-etal-2022" in info.citation)
    names = info.features["labels"].feature["r"].names
    assert len(names) == 97 and names[:4] == ["Na", "P17", "P131", "P27"] and names[96] == "P1198"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the corpora are not beside the checkout")
def test_relations_are_the_official_ones_in_the_official_order():
    identifiers = read(SHARED_DATA / "docred" / "rel2id.json")
    assert {name: index for index, name in enumerate(DOCRED_RELATIONS)} == identifiers
    assert {**read(SHARED_DATA / "docred" / "rel_info.json"), "Na": "no relation"} == DOCRED_RELATIONS


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the corpora are not beside the checkout")
def test_the_published_files_load_and_a_test_file_has_no_labels(tmp_path):
    folder = SHARED_DATA / "re-docred"
    files = {"train": f"{folder}/train.json", "dev": f"{folder}/dev.json", "test": f"{SHARED_DATA}/docred/test.json"}
    corpus = load(tmp_path, files)
    assert {split: len(rows) for split, rows in corpus.items()} == {"train": 400, "validation": 100, "test": 1000}
    assert sum(map(len, corpus["train"]["labels"])) == 13949
    assert all(labels == [] for labels in corpus["test"]["labels"])


@pytest.mark.parametrize(
    ("data_files", "splits"),
    [
        (DEV, ["train"]),
        ([DEV, TRAIN], ["train"]),
        ({"dev": DEV}, ["validation"]),
        ({"test": [DEV]}, ["test"]),
        ({"test": DEV, "train": TRAIN}, ["test", "train"]),
    ],
)
def test_any_of_the_splits_may_be_given(tmp_path, data_files, splits):
    assert sorted(load(tmp_path, data_files)) == splits


def test_relative_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path / "mine.json", read(DEV)[:3])
    monkeypatch.chdir(tmp_path)
    assert len(load(tmp_path, {"validation": "mine.json"})["validation"]) == 3


def test_gzip_reads_like_plain_json_and_files_keep_their_order(tmp_path):
    packed = tmp_path / "dev.json.gz"
    packed.write_bytes(gzip.compress(Path(DEV).read_bytes()))
    titles = load(tmp_path, {"train": [str(packed), TRAIN]})["train"]["title"]
    assert list(titles) == [document["title"] for document in read(DEV) + read(TRAIN)]


def test_an_edit_is_noticed_even_with_the_same_size_and_time(tmp_path):
    documents = read(DEV)[:2]
    path = tmp_path / "mine.json"
    write(path, documents)
    before = path.stat()
    assert load(tmp_path, {"train": str(path)})["train"][0]["title"] == documents[0]["title"]
    documents[0]["title"] = documents[0]["title"][::-1]
    write(path, documents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load(tmp_path, {"train": str(path)})["train"][0]["title"] == documents[0]["title"]


def test_the_same_files_are_prepared_once(tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes(Path(DEV).read_bytes())
    builders = [build(tmp_path, {"train": path}) for path in (DEV, str(copy))]
    assert builders[0].cache_dir == builders[1].cache_dir
    assert builders[0].cache_dir != build(tmp_path, {"test": DEV}).cache_dir


def test_parquet_keeps_rows_and_features(tmp_path):
    rows = load(tmp_path, {"validation": DEV})["validation"]
    rows.to_parquet(str(tmp_path / "dev.parquet"))
    files = {"validation": str(tmp_path / "dev.parquet")}
    again = datasets.load_dataset("parquet", data_files=files, split="validation", cache_dir=str(tmp_path / "parquet"))
    assert again.features == rows.features
    assert again.features["labels"].feature["r"].names == list(DOCRED_RELATIONS)
    assert list(again) == list(rows)


def test_an_own_corpus_brings_its_own_relations(tmp_path):
    document = read(DEV)[0]
    document["labels"] = [{"h": 0, "t": 1, "r": "near"}]
    path = write(tmp_path / "mine.json", [document])
    for relations in ({"in": "lies in", "near": "is near"}, {"in": "lies in", "near": "is near", "Na": "nothing"}):
        builder = build(tmp_path, {"train": path}, config_name=None, relations=relations)
        builder.download_and_prepare()
        rows = builder.as_dataset()["train"]
        assert list(builder.relation_names) == rows.features["labels"].feature["r"].names == ["Na", "in", "near"]
        assert rows[0]["labels"] == [{"h": 0, "t": 1, "r": 2, "evidence": []}]
    assert builder.relation_names == {"Na": "nothing", "in": "lies in", "near": "is near"}
    # The order defines the class ids, so another order is another dataset.
    rows = load(tmp_path, {"train": path}, config_name=None, relations={"near": "is near", "in": "lies in"})["train"]
    assert rows[0]["labels"][0]["r"] == 1
    with pytest.raises(ValueError, match=r"relations is \['near'\], expected a dict"):
        build(tmp_path, {"train": path}, relations=["near"])


def test_the_counts_of_each_split_are_logged(tmp_path):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("datasets.docre_ii")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        load(tmp_path, {"train": TRAIN})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    counts = "80 documents, 1,573 entities, 2,178 mentions, 2,731 facts, 32,654 pairs, 1 document without label"
    assert messages == [f"re_docred, train: {counts}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"title": "A", "sen', "expected one JSON list of documents, but reading it failed: Unterminated string"),
        (b"", "expected one JSON list of documents, but reading it failed: Expecting value"),
        (b'{"title": "A"}\n{"title": "B"}', "expected one JSON list of documents, but reading it failed: Extra data"),
        (b'["\xff"]', "reading it failed: 'utf-8' codec"),
        (b'{"title": "A"}', "found a JSON dict, expected a list of documents"),
        (b"[]", "found an empty list, expected a list of documents"),
        (b'[{"title": "A"}]', "'sents' is missing"),
    ],
)
def test_a_broken_file_is_named_and_leaves_nothing_behind(tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    builder = build(tmp_path, {"train": str(path)})
    with pytest.raises(DocumentError) as error:
        builder.download_and_prepare()
    assert str(error.value).startswith(str(path)) and message in str(error.value)
    assert not list((tmp_path / "cache").rglob("*.arrow")) and not list((tmp_path / "cache").rglob("*.incomplete"))
    path.write_bytes(Path(DEV).read_bytes())
    assert len(load(tmp_path, {"train": str(path)})["train"]) == 20


@pytest.mark.parametrize("cut", [10, -10])
def test_a_broken_gzip_file_is_named(tmp_path, cut):
    path = tmp_path / "dev.json.gz"
    path.write_bytes(gzip.compress(Path(DEV).read_bytes())[:cut])
    with pytest.raises(DocumentError, match="dev.json.gz: reading it failed: (Compressed file ended|.*CRC)"):
        load(tmp_path, {"train": str(path)})
    path.write_bytes(b"[]")
    with pytest.raises(DocumentError, match="dev.json.gz: .*Not a gzipped file"):
        load(tmp_path, {"train": str(path)})


def test_a_broken_document_is_named_with_its_file_and_place(tmp_path):
    documents = read(DEV)
    documents[7]["vertexSet"][2][0]["pos"] = [3, 99]
    path = write(tmp_path / "mine.json", documents)
    name = documents[7]["vertexSet"][2][0]["name"]
    expected = f"{path}, item 7: document {documents[7]['title']!r}, entity 2, mention 0 ({name!r}): 'pos' is [3, 99]"
    with pytest.raises(DocumentError) as error:
        load(tmp_path, {"train": path})
    assert str(error.value).startswith(expected)
    with pytest.raises(DocumentError) as error:
        list(build(tmp_path, {"train": path}).as_streaming_dataset(split="train"))
    assert str(error.value).startswith(expected)


def test_a_repeated_title_is_an_error_where_scores_are_taken(tmp_path):
    path = write(tmp_path / "mine.json", read(DEV)[:2])
    with pytest.raises(
        DocumentError, match="'Santa Elena de Uairén' is already in the validation split, from .*dev.json"
    ):
        load(tmp_path, {"validation": [DEV, path]})
    assert len(load(tmp_path, {"train": [DEV, path], "test": path})["train"]) == 22


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"data_files": None},
            "DocRED: no files were given. Pass data_files, such as .* published at https://github.com/thunlp/",
        ),
        ({"data_files": None, "data_dir": "data"}, "data_dir: 're_docred' reads the files named in data_files"),
        ({"data_files": {"valid": DEV}}, "names a split 'valid', expected some of train, validation, dev, test"),
        ({"data_files": {"dev": DEV, "validation": DEV}}, "both 'validation' and 'dev'"),
        ({"data_files": {"dev": str(ROOT / "examples" / "none*.json")}}, "matches no file for the split 'dev'"),
    ],
)
def test_what_to_pass_is_said_when_it_was_not_passed(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **kwargs).download_and_prepare()


# Plain texts

OWN_CORPUS = ROOT / "examples" / "own_corpus"
OWN_RELATIONS = read(OWN_CORPUS / "relations.json")


def test_plain_texts_are_read_as_documents(tmp_path):
    file = str(OWN_CORPUS / "train.json")
    corpus = load(tmp_path, {"train": [file]}, config_name=None, relations=OWN_RELATIONS)
    texts = read(file)

    assert len(corpus["train"]) == len(texts) == 10
    for row, text in zip(corpus["train"], texts, strict=True):
        assert row["title"] == text["title"]
        assert "".join(token for sentence in row["sents"] for token in sentence) == "".join(text["text"].split())
        for mentions, entity in zip(row["vertexSet"], text["entities"], strict=True):
            assert {mention["type"] for mention in mentions} == {entity["type"]}
            for mention, (start, end) in zip(mentions, entity["mentions"], strict=True):
                name = text["text"][start:end]
                tokens = row["sents"][mention["sent_id"]][slice(*mention["pos"])]
                assert mention["name"] == name
                assert "".join(tokens) == name.replace(" ", "")
        facts = as_published(row, corpus["train"].features)["labels"]
        assert [(fact["h"], fact["t"], fact["r"]) for fact in facts] == [
            (label["h"], label["t"], label["r"]) for label in text["labels"]
        ]


def test_identifiers_and_uncounted_pairs_are_kept(tmp_path):
    plain = {
        "title": "plain",
        "text": "Ulm is in Germany.",
        "entities": [{"type": "LOC", "mentions": [[0, 3]], "kb_id": "Q3012"}, {"type": "LOC", "mentions": [[10, 17]]}],
        "labels": [{"h": 0, "t": 1, "r": "P17"}],
        "uncounted": [{"h": 1, "t": 0}],
    }
    ulm = {"name": "Ulm", "sent_id": 0, "pos": [0, 1], "type": "LOC", "kb_id": "Q3012"}
    in_tokens = {"title": "tokens", "sents": [["Ulm", "."]], "vertexSet": [[ulm], [{**ulm, "kb_id": None}]]}
    documents = [plain, in_tokens, in_tokens | {"title": "none", "uncounted": []}]
    rows = load(tmp_path, {"test": [write(tmp_path / "own.json", documents)]})["test"]

    identifiers = [[[mention["kb_id"] for mention in mentions] for mentions in row["vertexSet"]] for row in rows]
    assert identifiers == [[["Q3012"], [None]]] * 3
    # A document that lists no pairs says something else than one without a list.
    assert rows["uncounted"] == [[{"h": 1, "t": 0}], None, []]


def test_a_cache_of_another_version_is_not_read(tmp_path, monkeypatch):
    """It may have other columns for the same files, or other tokens for the same texts."""
    new = build(tmp_path, {"test": DEV})
    assert build(tmp_path, {"test": DEV}).cache_dir == new.cache_dir
    monkeypatch.setattr("dataset_scripts.corpus_builder.__version__", "0.0.1")
    assert build(tmp_path, {"test": DEV}).cache_dir != new.cache_dir


def test_plain_texts_and_documents_go_into_one_file(tmp_path):
    documents = [*read(DEV)[:1], {"title": "T", "text": "Paris.", "entities": [], "labels": []}]
    corpus = load(tmp_path, {"test": [write(tmp_path / "both.json", documents)]})

    assert corpus["test"]["title"] == [documents[0]["title"], "T"]
    assert corpus["test"][1]["sents"] == [["Paris", "."]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "document without a title: 'title' is None"),
        ({"text": " ", "entities": []}, "document 'T': 'text' is ' ', expected at least one word"),
        ({"entities": [{"mentions": [[0, 99]], "type": "LOC"}]}, r"document 'T', entity 0, mention 0: the span is"),
        ({"labels": [{"h": 0, "t": 5, "r": "owner"}]}, "document 'T', label 0: 't' is 5, expected an entity index"),
        ({"labels": [{"h": 0, "t": 1, "r": "ownr"}]}, "document 'T', label 0: 'r' is 'ownr', .*did you mean 'owner'"),
    ],
)
def test_malformed_plain_text_is_named_with_its_file(tmp_path, changes, message):
    entities = [{"mentions": [[0, 5]], "type": "LOC"}, {"mentions": [[9, 15]], "type": "LOC"}]
    text = {"title": "T", "text": "Paris in France.", "entities": entities, "labels": []} | changes
    file = write(tmp_path / "own.json", [text])
    with pytest.raises(DocumentError, match=rf"own.json, item 0: {message}"):
        load(tmp_path, {"train": [file]}, config_name=None, relations=OWN_RELATIONS)
