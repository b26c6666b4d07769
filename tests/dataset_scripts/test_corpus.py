"""What the command line says about documents, and the corpus that is made of it."""

import json
import logging
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from dataset_scripts.corpus import load_corpus, make_builder
from dataset_scripts.docred import DocRED
from modeling_docre_ii.cli.arguments import DataArguments
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
    """What `push_to_hub` of a built corpus leaves on the Hub is Parquet; a folder of it is read in the same way."""
    builder = DocRED(config_name="re_docred", data_files=FILES, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    for split, dataset in builder.as_dataset().items():
        dataset.to_parquet(tmp_path / "corpus" / f"{split}-00000-of-00001.parquet")

    corpus = load_corpus(DataArguments(dataset_name=str(tmp_path / "corpus")))
    assert corpus.relation_names == builder.relation_names
    for split, path in (("train", "train.json"), ("validation", "dev.json")):
        for document, original in zip(corpus.documents(split), read(SAMPLE / path), strict=True):
            assert (document["title"], document["sents"]) == (original["title"], original["sents"])
            assert [(fact["h"], fact["t"], fact["r"]) for fact in document["labels"]] == [
                (fact["h"], fact["t"], fact["r"]) for fact in original["labels"]
            ]


def test_relations_of_parquet_have_the_names_of_a_file(tmp_path):
    """Parquet carries the ids alone."""
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
    assert load_corpus(DataArguments(dataset_name=name)).relation_names == {"Na": "no relation"} | {
        relation: relation for relation in relations
    }
    # The file names the classes; their order is that of the dataset.
    with_names = load_corpus(DataArguments(dataset_name=name, relations_file=str(folder / "relations.json")))
    assert list(with_names.relation_names.items()) == [("Na", "no relation"), *relations.items()]


def test_relations_that_are_no_classes_are_refused(tmp_path):
    labels = [{"h": 0, "t": 1, "r": "P17"}]
    Dataset.from_list([{"title": "a", "sents": [["a"]], "vertexSet": [], "labels": labels}]).to_parquet(
        tmp_path / "corpus" / "train.parquet"
    )
    with pytest.raises(ValueError, match="`r` as a ClassLabel"):
        load_corpus(DataArguments(dataset_name=str(tmp_path / "corpus")))


def test_several_files_are_one_split():
    arguments = DataArguments(dataset_name="re_docred", train_file=[*FILES["train"], *FILES["validation"]])
    corpus = load_corpus(arguments)
    titles = [document["title"] for path in (*FILES["train"], *FILES["validation"]) for document in read(path)]
    assert [document["title"] for document in corpus.documents("train")] == titles


def test_facts_of_the_training_and_of_the_distant_documents_are_kept_apart():
    arguments = DataArguments(
        dataset_name="re_docred", validation_file=FILES["validation"], distant_file=FILES["train"]
    )
    corpus = load_corpus(arguments)
    assert corpus.train_facts is None
    assert corpus.distant_facts == named_facts(read(SAMPLE / "train.json"))
    assert list(corpus.splits) == ["validation"]


def test_corpus_of_abstracts_knows_its_candidates_and_what_does_not_count():
    arguments = DataArguments(dataset_name="cdr", validation_file=[CDR_SAMPLE], mesh_tree_file=MESH_SAMPLE)
    corpus = load_corpus(arguments)
    assert corpus.candidate_types == [["Chemical", "Disease"]]
    assert corpus.relation_names == {"Na": "no relation", "CID": "chemical-induced disease"}
    documents = list(corpus.documents("validation"))
    assert {label["r"] for document in documents for label in document["labels"]} == {"CID"}
    assert any(document["uncounted"] for document in documents)


@pytest.fixture
def uncountable(tmp_path):
    """A corpus with a row that cannot be counted: it has no entities."""
    labels = List({"h": Value("int32"), "t": Value("int32"), "r": ClassLabel(names=["Na", "P17"])})
    features = Features({"title": Value("string"), "labels": labels})
    for split in ("train", "test"):
        rows = Dataset.from_dict({"title": ["a", "b"], "labels": [[], []]}, features=features)
        rows.to_parquet(tmp_path / "corpus" / f"{split}-00000-of-00001.parquet")
    return str(tmp_path / "corpus")


def test_documents_are_counted_where_the_counts_are_shown(uncountable, caplog):
    caplog.set_level(logging.INFO, logger="run_docre")
    with pytest.raises(KeyError, match="vertexSet"):
        load_corpus(DataArguments(dataset_name=uncountable))
    caplog.set_level(logging.WARNING, logger="run_docre")
    assert len(load_corpus(DataArguments(dataset_name=uncountable)).splits["test"]) == 2


def test_documents_that_are_predicted_in_bulk_are_not_read_at_the_start(uncountable, tmp_path, caplog):
    (tmp_path / "corpus" / "train-00000-of-00001.parquet").unlink()
    caplog.set_level(logging.INFO, logger="run_docre")
    load_corpus(DataArguments(dataset_name=uncountable, triples_dir=str(tmp_path / "triples")))
    assert caplog.messages == ["test: 2 documents"]


def test_documents_of_training_are_counted_before_a_bulk_prediction_as_well(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="run_docre")
    arguments = DataArguments(dataset_name="re_docred", train_file=FILES["train"], test_file=FILES["validation"])
    arguments.triples_dir = str(tmp_path / "triples")
    load_corpus(arguments)
    documents = read(SAMPLE / "train.json")
    entities = sum(len(document["vertexSet"]) for document in documents)
    assert caplog.messages[0].startswith(f"train: {len(documents)} documents, {entities:,} entities, ")
    assert caplog.messages[1] == f"test: {len(read(SAMPLE / 'dev.json'))} documents"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset_name": "re_docre"}, "`dataset_name`: unknown name 're_docre', did you mean 're_docred'?"),
        ({"mesh_tree_file": MESH_SAMPLE}, "`mesh_tree_file`: the corpus 'docred' has no use for it"),
        (
            {"dataset_name": "gda", "mesh_tree_file": MESH_SAMPLE},
            "`mesh_tree_file`: the corpus 'gda' has no use for it",
        ),
        ({"dataset_name": "cdr", "train_pmids_file": MESH_SAMPLE}, "`train_pmids_file`: the corpus 'cdr' has no use"),
        (
            {"dataset_name": "cdr", "dataset_config_name": "preprocessed", "mesh_tree_file": MESH_SAMPLE},
            "mesh_tree_file: preprocessed files have their own marks",
        ),
        (
            {"dataset_name": "cdr", "dataset_config_name": "preprocesed"},
            "`dataset_config_name`: unknown name 'preprocesed', did you mean 'preprocessed'?",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        make_builder(DataArguments(**{"train_file": [CDR_SAMPLE], **arguments}))
    assert message in str(error.value)


def test_file_of_another_corpus_is_named():
    with pytest.raises(DocumentError, match="cdr_sample.PubTator.txt: expected one JSON list"):
        load_corpus(DataArguments(dataset_name="docred", train_file=[CDR_SAMPLE]))


def test_folder_without_the_files_of_the_corpus_says_which_are_looked_for(tmp_path):
    with pytest.raises(ValueError, match="CDR_TrainingSet.PubTator.txt"):
        load_corpus(DataArguments(dataset_name="cdr", data_dir=str(tmp_path)))
