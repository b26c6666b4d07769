"""Errors while documents are read or written name the file and the document, or the folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_scripts.cdr import CDR
from dataset_scripts.corpus import load_corpus
from dataset_scripts.docred import DocRED
from modeling_docre_ii.documents import DocumentError


ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "dataset_scripts" / "cdr_sample.PubTator.txt"
TRAIN = ROOT / "examples" / "re_docred_sample" / "train.json"
# The kernel refuses to write files of more than 20 kB, as a full disk does.
ON_A_FULL_DISK = """
import resource, sys
from dataset_scripts.docred import DocRED
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    DocRED(config_name="re_docred", data_files={"train": sys.argv[1]}, cache_dir=sys.argv[2]).download_and_prepare()
except OSError as error:
    print(error)
"""


class Careless(DocRED):
    """A builder that someone else wrote, and that fails at the second document."""

    def _read_documents(self, path, split):
        documents = super()._read_documents(path, split)
        yield next(documents)
        place, document = next(documents)
        yield place, document | {"labels": [{"h": 0, "t": 1, "r": document["relation"]}]}


class CarelessFeatures(DocRED):
    """A builder whose second document has another type of column than it declares."""

    def _generate_examples(self, split, files):
        for index, (key, example) in enumerate(super()._generate_examples(split, files)):
            yield key, example | ({"vertexSet": [[{"name": "Paris", "sent_id": "first"}]]} if index == 1 else {})


@pytest.mark.parametrize(
    ("builder", "place"), [(Careless, "item 0: .* KeyError: 'relation'"), (CarelessFeatures, r"item \d+: .* Arrow")]
)
def test_every_error_of_a_builder_names_the_file(tmp_path, builder, place):
    builder = builder(config_name="re_docred", data_files={"train": str(TRAIN)}, cache_dir=str(tmp_path))
    with pytest.raises(DocumentError, match=f"^{TRAIN}, {place}"):
        builder.download_and_prepare()


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of Unix")
def test_a_full_disk_is_named_by_its_folder(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(TRAIN), str(tmp_path / "cache")],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.count("\n") == 1, run.stderr
    assert run.stdout.startswith(str(tmp_path / "cache")) and "writing the documents there failed" in run.stdout


def test_a_byte_order_mark_before_abstracts_is_skipped(tmp_path):
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + SAMPLE.read_bytes())
    found = []
    for path in (SAMPLE, tmp_path / "marked.txt"):
        builder = CDR(data_files={"test": str(path)}, cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        found.append(builder.as_dataset()["test"].to_list())
    assert found[0] == found[1]


def test_a_position_of_many_digits_is_named(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(f"10|t|Lithium.\n10|a|\n10\t0\t{'7' * 5_000}\tLithium\tChemical\tD1\n")
    builder = CDR(data_files={"test": str(path)}, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(
        DocumentError, match=f"^{path}, line 3: abstract 10, mention 'Lithium': start '0' and end '777"
    ):
        builder.download_and_prepare()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"P17": 5}', "the name of 'P17' is 5, expected a string"),
        (b'{"P17": %s}' % (b"9" * 5_000), "the name of 'P17' is an integer of 5,000 digits, expected a string"),
        (
            b'{"P17": %s%s}' % (b"[" * 10**5, b"]" * 10**5),
            r"the name of 'P17' is \[+\.\.\.\]+, expected a st",
        ),
        (rb'{"P\ud83d": "country"}', r"the id is 'P\\ud83d', expected text .* '\\ud83d' at character 1"),
        (rb'{"P17": "c\ud83d"}', r"the name of 'P17' is 'c\\ud83d', expected text .* '\\ud83d' at character 1"),
        (b'["P17"]', r"is \['P17'\], expected a dict"),
        (b'{"P17": "c', "is not JSON: Unterminated string"),
        (b'{"P17": "\xff"}', "is not JSON: 'utf-8' codec can't decode"),
    ],
)
def test_a_damaged_relations_file_is_named(tmp_path, content, message):
    path = tmp_path / "relations.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^`relations_file`: '{path}':? {message}"):
        load_corpus(relations_file=str(path), files={"train": [str(TRAIN)]})


def test_a_byte_order_mark_before_relations_is_skipped(tmp_path):
    path = tmp_path / "relations.json"
    path.write_bytes(b'\xef\xbb\xbf{"P17": "country"}')
    (tmp_path / "one.json").write_text('[{"title": "T", "sents": [["Paris"]], "vertexSet": []}]')
    corpus = load_corpus(relations_file=str(path), files={"train": [str(tmp_path / "one.json")]})
    assert corpus.relations == ["Na", "P17"]
