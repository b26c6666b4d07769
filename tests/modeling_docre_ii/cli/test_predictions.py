"""What is printed and written of predicted triples."""

import json

from modeling_docre_ii.cli.predictions import print_triples, write_predictions


def triple(head, tail, score):
    return {"head": {"name": head}, "relation_name": "country", "tail": {"name": tail}, "score": score}


PREDICTIONS = [
    {"title": "Jōyō", "triples": [triple("Jōyō", "Japan", 0.987), triple("Uji", "Japan", 0.5)]},
    {"title": "empty", "triples": []},
    {"title": "third", "triples": [triple("a", "b", 0.6)]},
]


def test_first_triples_of_the_first_documents_are_printed(capsys):
    print_triples(PREDICTIONS, num_documents=2, num_triples=1)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Jōyō: 2 triples predicted",
        "  0.99  Jōyō  --country-->  Japan",
        "",
        "empty: 0 triples predicted",
    ]


def test_predictions_are_written_as_readable_json(tmp_path):
    path = tmp_path / "predictions.json"
    write_predictions(path, PREDICTIONS)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == PREDICTIONS and "Jōyō" in text
    assert list(tmp_path.iterdir()) == [path]
