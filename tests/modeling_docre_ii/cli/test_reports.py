"""The report of a run: of packed predictions, with and without labels."""

import json

import numpy as np

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii.cli.reports import write_report


def read(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.partition('id="report-data">')[2].partition("</script>")[0])


def pack(relations, *facts):
    """Facts (document, head, tail, relation, score) as [`DocREIITrainer`] gathers them."""
    return np.array([[[*fact[:3], relations.index(fact[3]), fact[4]]] for fact in facts], dtype=np.float32)


def test_predictions_on_labeled_and_unlabeled_documents(sample_documents, tmp_path):
    dev = sample_documents["dev"][:2]
    file = tmp_path / "dev.json"
    file.write_text(json.dumps(dev), encoding="utf-8")
    corpus = load_corpus("re_docred", files={"validation": [str(file)]})
    label = dev[0]["labels"][0]
    packed = [pack(corpus.relations, (0, label["h"], label["t"], label["r"], 0.75))]

    path = write_report(tmp_path / "run", corpus, "validation", list(corpus.documents("validation")), packed)
    assert path == tmp_path / "run" / "report.html"
    data = read(path)
    assert data["heading"] == "run: validation documents" and data["has_gold"]
    (first,) = [triple for triple in data["documents"][0]["triples"] if triple["found"]]
    assert (first["h"], first["t"], first["r"], first["score"]) == (label["h"], label["t"], label["r"], 0.75)
    assert first["outcome"] == "correct"

    titles = ["Same", "Same", "Same (2)"]
    same = [{**dev[0], "title": title, "labels": []} for title in titles]
    path = write_report(tmp_path / "run", corpus, "test", same, packed)
    assert path == tmp_path / "run" / "report_test.html"
    data = read(path)
    assert not data["has_gold"]
    assert [document["title"] for document in data["documents"]] == ["Same", "Same (3)", "Same (2)"]
    assert [len(document["triples"]) for document in data["documents"]] == [1, 0, 0]
