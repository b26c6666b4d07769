"""A corpus read from files or from Parquet, and arguments that contradict each other."""

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, List

from dataset_scripts.corpus import load_corpus, make_builder
from dataset_scripts.docred import DocRED
from modeling_docre_ii.documents import DocumentError
from modeling_docre_ii.evaluation.scores import named_facts


SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "re_docred_sample"
FILES = {"train": [str(SAMPLE / "train.json")], "validation": [str(SAMPLE / "dev.json")]}
CDR_SAMPLE = str(Path(__file__).with_name("cdr_sample.PubTator.txt"))
MESH_SAMPLE = str(Path(__file__).with_name("mesh_sample.txt"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_documents_from_parquet_are_those_from_the_files(tmp_path):
    """`push_to_hub` writes Parquet to the Hub. A folder of Parquet files is read in the same way."""
    builder = DocRED(config_name="re_docred", data_files=FILES, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    for split, dataset in builder.as_dataset().items():
        dataset.to_parquet(tmp_path / "corpus" / f"{split}-00000-of-00001.parquet")

    corpus = load_corpus(str(tmp_path / "corpus"))
    assert corpus.relation_names == builder.relation_names
    for split, path in (("train", "train.json"), ("validation", "dev.json")):
        for document, original in zip(corpus.documents(split), read(SAMPLE / path), strict=True):
            assert (document["title"], document["sents"]) == (original["title"], original["sents"])
            assert [(fact["h"], fact["t"], fact["r"]) for fact in document["labels"]] == [
                (fact["h"], fact["t"], fact["r"]) for fact in original["labels"]
            ]


def test_relations_of_parquet_have_the_names_of_a_file(tmp_path):
    """Parquet has only the ids."""
    relations = {
        "owner": "subsidiary of",
        "founder": "founded by",
        "based": "headquartered in",
        "employer": "works for",
    }
    folder = SAMPLE.parent / "own_corpus"
    files = {"train": [str(folder / "train.json")]}
    builder = DocRED(relations=relations, data_files=files, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    builder.as_dataset(split="train").to_parquet(tmp_path / "corpus" / "train.parquet")

    name = str(tmp_path / "corpus")
    assert load_corpus(name).relation_names == {"Na": "no relation"} | {relation: relation for relation in relations}
    # The file has the names, the dataset the order of the classes.
    with_names = load_corpus(name, relations_file=str(folder / "relations.json"))
    assert list(with_names.relation_names.items()) == [("Na", "no relation"), *relations.items()]


def test_relations_that_are_no_classes_are_refused(tmp_path):
    labels = [{"h": 0, "t": 1, "r": "P17"}]
    Dataset.from_list([{"title": "a", "sents": [["a"]], "vertexSet": [], "labels": labels}]).to_parquet(
        tmp_path / "corpus" / "train.parquet"
    )
    with pytest.raises(ValueError, match="`r` as a ClassLabel"):
        load_corpus(str(tmp_path / "corpus"))


@pytest.mark.parametrize("names", [["works_for", "based_in"], ["works_for", "Na"]])
def test_classes_that_do_not_begin_with_no_relation_are_refused(tmp_path, names):
    features = DocRED(relations={"r": "r"}, data_files=FILES).info.features
    features["labels"] = List({**features["labels"].feature, "r": ClassLabel(names=names)})
    row = {name: None for name in features} | {"title": "a", "sents": [["a"]], "vertexSet": [], "labels": []}
    Dataset.from_list([row], features=features).to_parquet(tmp_path / "corpus" / "train.parquet")
    with pytest.raises(ValueError, match="begins with 'works_for', expected class 0 to be 'Na'"):
        load_corpus(str(tmp_path / "corpus"))


@pytest.mark.parametrize(
    "row",
    [
        {"title": "a", "sents": [["a"]], "vertexSet": []},
        {
            "title": "a",
            "sents": [["a"]],
            "vertexSet": [],
            "labels": {"head": [0], "tail": [1], "relation_id": ["P"]},
        },
        {"title": "a", "text": "a", "entities": [], "labels": []},
    ],
    ids=["no labels", "the form of thunlp/docred", "a plain text"],
)
def test_dataset_in_another_form_is_refused(tmp_path, row):
    Dataset.from_list([row]).to_parquet(tmp_path / "corpus" / "train.parquet")
    with pytest.raises(ValueError, match=f"the dataset has the columns {', '.join(row)}, expected .*docs/corpora.md"):
        load_corpus(str(tmp_path / "corpus"))


@pytest.mark.parametrize("option", ["mesh_tree_file", "train_pmids_file"])
def test_dataset_takes_no_options_of_files(option):
    with pytest.raises(ValueError, match=f"`{option}` is for the files of a corpus, not for a dataset"):
        load_corpus("org/corpus", **{option: MESH_SAMPLE})


def test_file_names_are_no_patterns(tmp_path):
    documents = read(SAMPLE / "dev.json")
    names = ["t[1].json", "t1.json", "q?.json", "qq.json", "all*.json", "all of it.json"]
    for name, document in zip(names, documents):
        (tmp_path / name).write_text(json.dumps([document]), encoding="utf-8")
    for name, document in zip(names, documents):
        corpus = load_corpus("re_docred", files={"train": [str(tmp_path / name)]})
        assert [row["title"] for row in corpus.documents("train")] == [document["title"]]
    folder = tmp_path / "x [1]"
    folder.mkdir()
    (folder / "dev.json").write_text(json.dumps(documents[:1]), encoding="utf-8")
    builder = DocRED(config_name="docred", data_files=str(folder / "dev.json"))
    assert builder.config.data_files == {"train": [str(folder / "dev.json")]}


def test_several_files_are_one_split():
    corpus = load_corpus("re_docred", files={"train": [*FILES["train"], *FILES["validation"]]})
    titles = [document["title"] for path in (*FILES["train"], *FILES["validation"]) for document in read(path)]
    assert [document["title"] for document in corpus.documents("train")] == titles


def test_facts_of_the_training_and_of_the_distant_documents_are_kept_apart():
    files = {"validation": FILES["validation"]}
    corpus = load_corpus("re_docred", files=files, distant_file=FILES["train"])
    assert corpus.train_facts is None
    assert corpus.distant_facts == named_facts(read(SAMPLE / "train.json"))
    assert list(corpus.splits) == ["validation"]


def test_distant_documents_have_the_relations_of_the_corpus():
    folder = SAMPLE.parent / "own_corpus"
    files = {"validation": [str(folder / "dev.json")]}
    distant = [str(folder / "train.json")]
    corpus = load_corpus(files=files, relations_file=str(folder / "relations.json"), distant_file=distant)
    assert corpus.distant_facts == named_facts(
        load_corpus(files={"train": distant}, relations_file=str(folder / "relations.json")).documents("train")
    )


def test_titles_of_unlabeled_documents_may_repeat(tmp_path):
    unlabeled = [str(SAMPLE / "dev.json"), str(tmp_path / "again.json")]
    Path(unlabeled[1]).write_bytes(Path(unlabeled[0]).read_bytes())
    corpus = load_corpus("re_docred", files={"train": FILES["train"]}, unlabeled_file=unlabeled)
    assert len(corpus.splits["unlabeled"]) == 2 * len(read(unlabeled[0]))


def test_unlabeled_documents_follow_the_training_documents_without_labels():
    """Their files have labels here, which are not to be read."""
    corpus = load_corpus("re_docred", files={"train": FILES["train"]}, unlabeled_file=FILES["validation"])
    labeled, unlabeled = read(SAMPLE / "train.json"), read(SAMPLE / "dev.json")
    rows = corpus.taught_rows

    assert any(document["labels"] for document in unlabeled)
    assert [row["title"] for row in rows] == [document["title"] for document in labeled + unlabeled]
    assert [row["sents"] for row in rows] == [document["sents"] for document in labeled + unlabeled]
    assert [len(row["labels"]) for row in rows] == [len(row["labels"]) for row in labeled] + [0] * len(unlabeled)
    assert corpus.train_facts == named_facts(labeled)


@pytest.mark.parametrize("name", ["re_docred", "org/corpus"])
def test_unlabeled_documents_need_training_documents_from_files(name):
    with pytest.raises(ValueError, match="`unlabeled_file` needs training documents that are read from files"):
        load_corpus(name, unlabeled_file=FILES["train"])


def test_unlabeled_abstracts_have_their_uncounted_pairs():
    files = {"train": [CDR_SAMPLE]}
    corpus = load_corpus("cdr", files=files, unlabeled_file=[CDR_SAMPLE], mesh_tree_file=MESH_SAMPLE)
    uncounted = [row["uncounted"] for row in corpus.splits["train"]]
    assert [row["uncounted"] for row in corpus.taught_rows] == uncounted * 2


def test_corpus_of_abstracts_knows_its_candidates_and_what_does_not_count():
    corpus = load_corpus("cdr", files={"validation": [CDR_SAMPLE]}, mesh_tree_file=MESH_SAMPLE)
    assert corpus.candidate_types == [["Chemical", "Disease"]]
    assert corpus.relation_names == {"Na": "no relation", "CID": "chemical-induced disease"}
    documents = list(corpus.documents("validation"))
    assert {label["r"] for document in documents for label in document["labels"]} == {"CID"}
    assert any(document["uncounted"] for document in documents)


def test_corpus_in_docred_form_has_uncounted_pairs_if_a_document_lists_them(tmp_path):
    """The column is there with or without them. CDR has it with a `mesh_tree_file`."""
    documents = [{**document, "labels": []} for document in read(SAMPLE / "dev.json")[:2]]
    found = []
    for uncounted in (None, [], [{"h": 1, "t": 0}]):
        path = tmp_path / "own.json"
        path.write_text(json.dumps([documents[0], documents[1] | {"uncounted": uncounted}]), encoding="utf-8")
        found.append(load_corpus("re_docred", files={"validation": [str(path)]}).has_uncounted)
    assert found == [False, True, True]
    files = {"validation": [CDR_SAMPLE]}
    assert [load_corpus("cdr", files=files, mesh_tree_file=tree).has_uncounted for tree in (None, MESH_SAMPLE)] == [
        False,
        True,
    ]


def test_facts_of_the_training_documents_are_computed_once():
    corpus = load_corpus("re_docred", files=FILES)
    assert corpus.train_facts == named_facts(read(SAMPLE / "train.json"))
    assert corpus.train_facts is corpus.train_facts


def test_first_documents_alone_are_kept():
    corpus = load_corpus("re_docred", files=FILES, max_documents={"train": 3, "validation": None, "test": 5})
    titles = [document["title"] for document in read(SAMPLE / "train.json")]
    assert [document["title"] for document in corpus.documents("train")] == titles[:3]
    assert len(corpus.splits["validation"]) == 20
    assert len(corpus.train_facts) == len(named_facts(read(SAMPLE / "train.json")[:3]))
    assert len(load_corpus("re_docred", files=FILES, max_documents={"train": 10_000}).splits["train"]) == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset_name": "re_docre"}, "`dataset_name`: unknown name 're_docre', did you mean 're_docred'?"),
        ({"mesh_tree_file": MESH_SAMPLE}, "`mesh_tree_file`: the corpus 'docred' does not use it"),
        (
            {"dataset_name": "gda", "mesh_tree_file": MESH_SAMPLE},
            "`mesh_tree_file`: the corpus 'gda' does not use it",
        ),
        (
            {"dataset_name": "cdr", "train_pmids_file": MESH_SAMPLE},
            "`train_pmids_file`: the corpus 'cdr' does not use it",
        ),
        (
            {"dataset_name": "cdr", "dataset_config_name": "preprocessed", "mesh_tree_file": MESH_SAMPLE},
            "mesh_tree_file: preprocessed files mark uncounted pairs themselves",
        ),
        (
            {"dataset_name": "gda", "dataset_config_name": "preprocessed", "train_pmids_file": MESH_SAMPLE},
            "train_pmids_file: the files of 'preprocessed' are split already",
        ),
        (
            {"dataset_name": "cdr", "dataset_config_name": "preprocesed"},
            "`dataset_config_name`: unknown name 'preprocesed', did you mean 'preprocessed'?",
        ),
        (
            {"dataset_name": "re_docred", "dataset_config_name": "preprocessed"},
            "`dataset_config_name`: unknown name 'preprocessed'",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        make_builder(files={"train": [CDR_SAMPLE]}, **arguments)
    assert message in str(error.value)


@pytest.fixture
def relations_file(tmp_path):
    path = tmp_path / "relations.json"
    path.write_text('{"P17": "country"}', encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"mesh_tree_file": MESH_SAMPLE},
            "`mesh_tree_file`: the corpus 'docred' does not use it, remove this argument",
        ),
        ({"dataset_name": "re_docred", "train_pmids_file": MESH_SAMPLE}, "`train_pmids_file`: the corpus 're_docred'"),
        ({"dataset_name": "cdr", "mesh_tree_file": MESH_SAMPLE}, "and the files of 'cdr' have another: remove `datas"),
        ({"dataset_name": "gda"}, "`relations_file` is for your own corpus in DocRED's form"),
        ({"dataset_name": "re_docre"}, "`dataset_name`: unknown name 're_docre', did you mean 're_docred'?"),
        ({"dataset_config_name": "preprocessed"}, "`dataset_config_name`: your own corpus, with a `relations_file`"),
    ],
)
def test_your_own_relations_take_no_options_of_other_corpora(relations_file, arguments, message):
    with pytest.raises(ValueError) as error:
        make_builder(files={"train": FILES["train"]}, relations_file=relations_file, **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["docred", "docred_distant", "re_docred"])
def test_your_own_relations_may_go_with_a_corpus_in_the_same_form(relations_file, name):
    """`quickstart.yaml` names Re-DocRED, and the documentation runs it with a `relations_file`."""
    builder = make_builder(name, files={"train": FILES["train"]}, relations_file=relations_file)
    assert builder.relation_names == {"Na": "no relation", "P17": "country"}
    assert "RE-DocRED" not in builder.info.description.upper() and not builder.info.citation


def test_file_of_another_corpus_is_named():
    with pytest.raises(DocumentError, match="cdr_sample.PubTator.txt: expected one JSON list"):
        load_corpus("docred", files={"train": [CDR_SAMPLE]})


def test_folder_without_the_files_of_the_corpus_says_which_are_looked_for(tmp_path):
    with pytest.raises(ValueError, match="CDR_TrainingSet.PubTator.txt"):
        load_corpus("cdr", data_dir=str(tmp_path))
