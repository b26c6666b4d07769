"""Scores of mentions, counted by hand."""

import pytest

from modeling_docre_ii.evaluation.mention_scores import score_mentions


def mention(start, end, kind):
    return {"start": start, "end": end, "type": kind, "score": 1.0}


def test_scores_of_two_texts():
    entities = [
        [{"type": "A", "mentions": [[0, 3], [5, 8]]}, {"type": "B", "mentions": [[0, 3]]}],
        [{"type": "A", "mentions": [[1, 2]]}],
    ]
    predictions = [[mention(0, 3, "B"), mention(5, 8, "C"), mention(5, 7, "A")], [mention(0, 3, "A")]]

    scores = score_mentions(predictions, entities)

    # 2 of 4 predicted spans, of 3; with types 1 of 4, of 4.
    assert [scores[f"mention_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(
        [50, 200 / 3, 400 / 7]
    )
    assert [scores[f"typed_mention_{name}"] for name in ("precision", "recall", "f1")] == [25, 25, 25]


def test_nothing_to_find_and_nothing_found():
    assert set(score_mentions([[]], [[]]).values()) == {0.0}
    assert score_mentions([[]], [[{"type": "A", "mentions": [[0, 1]]}]])["mention_f1"] == 0
