"""Bulk extraction of raw texts: entities are found shard by shard, and by one mention extractor."""

import json
from pathlib import Path
from types import SimpleNamespace

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import pipeline

from modeling_docre_ii import DocumentError, extract_to_parquet
from modeling_docre_ii.deployment.extraction_shards import METADATA_KEY
from tests.hub_model import make_model, make_processor, sample_documents
from tests.tagger import NAMES, save_tagger


TEXTS = [
    {"title": "engine", "text": "Ada Lovelace met Charles Babbage in London. The Analytical Engine was in England."},
    {"title": "poet", "text": "Lord Byron left England. Ada Lovelace did not."},
    {"title": "force", "text": "Lark Force was in Rabaul, far from London."},
    {"title": "nobody", "text": "Nobody was there."},
    {"title": "again", "text": "Babbage was born in London. Ada Lovelace was an English writer."},
]
GIVEN = {
    "title": "given",
    "text": "Lark Force was in Rabaul.",
    "entities": [{"type": "ORG", "mentions": [[0, 10]]}, {"type": "LOC", "mentions": [[18, 24]]}],
}


@pytest.fixture(scope="module")
def processor():
    return make_processor(sample_documents(4))


@pytest.fixture(scope="module")
def model(processor):
    model = make_model(processor).eval()
    with torch.no_grad():
        model.inference_module.classifier.bias[0] -= 1.0
    return model


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    save_tagger(folder)
    return str(folder)


def rows_of(folder):
    tables = [pq.read_table(path).to_pylist() for path in sorted(Path(folder).glob("*.parquet"))]
    return sorted(key_of(row["document"], row) for table in tables for row in table)


def key_of(index, row):
    return (index, row["title"], row["head_name"], row["head_type"], row["relation"], row["tail_name"])


@pytest.fixture(scope="module")
def expected(model, processor, tagger):
    """Triples of each text alone, from the pipeline."""
    extractor = pipeline(
        "document-relation-extraction", model=model, processor=processor, mention_extractor=tagger, device="cpu"
    )
    rows = []
    for index, document in enumerate([*TEXTS, GIVEN]):
        for triple in extractor(document):
            row = {f"{side}_{field}": triple[side][field] for side in ("head", "tail") for field in ("name", "type")}
            rows.append(key_of(index, row | {"title": document["title"], "relation": triple["relation"]}))
    assert len(rows) > 20
    return sorted(rows)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_triples_are_those_of_the_pipeline(model, processor, tagger, expected, tmp_path, as_dataset):
    documents = [*TEXTS, GIVEN]
    if as_dataset:  # texts have None for entities
        documents = datasets.Dataset.from_list([{"entities": None} | document for document in documents])
    extract_to_parquet(
        model, processor, documents, tmp_path, documents_per_shard=2, batch_size=2, mention_extractor=tagger
    )
    assert rows_of(tmp_path) == expected


class Tagger:
    """Finds the names of the test in the texts that it can read, and counts them."""

    def __init__(self, unreadable=()):
        self.unreadable, self.read = unreadable, []

    def __call__(self, text):
        if text in self.unreadable:
            raise RuntimeError("the tagger has failed")
        self.read.append(text)
        mentions = []
        for kind, names in NAMES.items():
            for name in names:
                if (start := text.find(name)) >= 0 and text[start - 8 : start] != "Charles ":
                    mentions.append({"start": start, "end": start + len(name), "type": kind})
        return mentions


def test_a_run_that_failed_repeats_no_text_of_a_finished_shard(model, processor, tmp_path):
    failing, working = Tagger(unreadable=[TEXTS[4]["text"]]), Tagger()
    with pytest.raises(RuntimeError, match="the tagger has failed"):
        extract_to_parquet(model, processor, TEXTS, tmp_path, documents_per_shard=2, mention_extractor=failing)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    found = extract_to_parquet(model, processor, TEXTS, tmp_path, documents_per_shard=2, mention_extractor=working)
    assert found.is_complete
    assert working.read == [TEXTS[4]["text"]]


def say_nothing(text):
    return []


def join_all(text, mentions):
    return [{"type": "MISC", "mentions": [[mention["start"], mention["end"]] for mention in mentions]}]


@pytest.mark.parametrize("change", ["extractor", "names", "type_map", "linker", "none"])
def test_triples_of_another_mention_extractor_are_not_mixed_with(model, processor, tagger, tmp_path, change):
    folder = tmp_path / "triples"
    extract_to_parquet(model, processor, TEXTS, folder, mention_extractor=tagger)
    before = rows_of(folder)
    save_tagger(tmp_path / "tagger", {"PER": ["Ada Lovelace"]} if change == "names" else None)
    options = {
        "extractor": {"mention_extractor": say_nothing},
        "type_map": {"mention_extractor": tagger, "type_map": {"LOC": None}},
        "linker": {"mention_extractor": tagger, "linker": join_all},
    }.get(change, {"mention_extractor": str(tmp_path / "tagger")})
    if change == "none":  # the same model in another folder
        assert extract_to_parquet(model, processor, TEXTS, folder, **options).is_complete
    else:
        with pytest.raises(FileExistsError, match=r"of another run \(`entities` \w+, here \w+\)"):
            extract_to_parquet(model, processor, TEXTS, folder, **options)
    assert rows_of(folder) == before


def test_documents_with_entities_do_not_load_the_mention_model(model, processor, tmp_path):
    """A mention model without weights is an error for raw texts, and for nothing else."""
    checkpoint, folder = tmp_path / "checkpoint", tmp_path / "triples"
    model.save_pretrained(checkpoint)
    (checkpoint / "mention_model").mkdir()
    (checkpoint / "mention_model" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    loaded = type(model).from_pretrained(checkpoint)

    extract_to_parquet(loaded, processor, [GIVEN, GIVEN | {"title": "second"}], folder)
    described = json.loads(pq.read_metadata(next(folder.glob("*.parquet"))).metadata[METADATA_KEY])
    assert described["entities"] is None
    with pytest.raises(OSError, match="mention_model|no file named"):
        extract_to_parquet(loaded, processor, TEXTS, tmp_path / "raw")


def tagged(text, *mentions):
    """What spaCy's `Doc` has, without spaCy; test_spacy_component.py uses the real one."""
    ents = [
        SimpleNamespace(start_char=text.index(name), end_char=text.index(name) + len(name), label_=kind, kb_id_="")
        for name, kind in mentions
    ]
    methods = {"__str__": lambda self: self.text, "has_extension": lambda self, name: False}
    document = type("Doc", (), {"text": text, "ents": tuple(ents), "spans": {}} | methods)
    return {"title": text, "text": text, "mentions": document()}


def test_triples_of_other_mentions_of_a_spacy_doc_are_not_mixed_with(model, processor, tmp_path):
    texts = ["Ada was in London.", "Babbage was in London."]
    first = [tagged(text, (text.split()[0], "PER"), ("London", "LOC")) for text in texts]
    other = [tagged(text, (text.split()[0], "ORG"), ("London", "LOC")) for text in texts]
    options = {"documents_per_shard": 1, "process_index": 0}
    extract_to_parquet(model, processor, first, tmp_path, num_processes=2, **options)
    with pytest.raises(FileExistsError, match=r"of another run \(`documents` \w+, here \w+\)"):
        extract_to_parquet(model, processor, other, tmp_path, num_processes=1, **options)
    again = [tagged(text, (text.split()[0], "PER"), ("London", "LOC")) for text in texts]
    assert extract_to_parquet(model, processor, again, tmp_path, num_processes=1, **options).is_complete


@pytest.mark.parametrize(
    ("documents", "options", "error", "message"),
    [
        (pd.DataFrame([GIVEN]), {}, DocumentError, "found a DataFrame, expected documents: pass its rows"),
        ([TEXTS[0], None], {}, DocumentError, r"documents\[1\]: found None, expected a document"),
        ([None, TEXTS[0]], {}, DocumentError, r"documents\[0\]: found None, expected a document"),
        (
            [GIVEN | {"mentions": []}],
            {},
            DocumentError,
            r"documents\[0\]: .* has 'entities' and 'mentions', expected only",
        ),
        ([GIVEN], {"batch_size": 2.5}, ValueError, "expected integers of at least 1, got .* and batch_size=2.5"),
        ([GIVEN], {"documents_per_shard": "2"}, ValueError, "got documents_per_shard='2'"),
        ([GIVEN], {"documents_per_shard": 0}, ValueError, "got documents_per_shard=0"),
    ],
)
def test_what_is_no_list_of_documents_is_refused(
    model, processor, tagger, tmp_path, documents, options, error, message
):
    with pytest.raises(error, match=message):
        extract_to_parquet(model, processor, documents, tmp_path, mention_extractor=tagger, **options)
    assert not list(tmp_path.glob("*.parquet"))


def test_a_series_is_read_by_its_rows_whatever_its_index_is(model, processor, tagger, expected, tmp_path):
    series = pd.Series([*TEXTS, GIVEN], index=range(len(TEXTS) + 1, 0, -1))
    extract_to_parquet(model, processor, series, tmp_path, mention_extractor=tagger)
    assert rows_of(tmp_path) == expected
