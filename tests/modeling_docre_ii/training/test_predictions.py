"""Predictions are packed into an array for gathering, and come out as the same facts."""

import numpy as np
import pytest
import torch

from modeling_docre_ii import PredictedFact
from modeling_docre_ii.decoding import predicted_facts
from modeling_docre_ii.training.predictions import (
    load_predictions,
    pack_facts,
    save_predictions,
    unpack_facts,
    unpack_with_evidence,
)


RELATIONS = ["Na", "P1", "P2", "P3"]
PADDING = [-100.0] * 5


def test_packed_by_hand():
    facts = torch.tensor([[0, 1, 0, 2], [2, 0, 1, 1], [2, 0, 1, 3], [2, 1, 0, 3]])
    packed = pack_facts(facts, torch.tensor([0.75, 0.5, 0.25, 1.0]), torch.tensor([7, 2, 4]))
    assert packed.dtype == torch.float64
    assert packed.tolist() == [
        [[7, 1, 0, 2, 0.75], PADDING, PADDING],
        [PADDING, PADDING, PADDING],
        [[4, 0, 1, 1, 0.5], [4, 0, 1, 3, 0.25], [4, 1, 0, 3, 1.0]],
    ]


def test_evidence_is_packed_behind_the_score():
    facts = torch.tensor([[0, 1, 0, 2], [1, 0, 1, 1], [1, 0, 1, 3]])
    evidence = torch.tensor([[4, 0, -1], [2, -1, -1], [0, 5, 3]])
    packed = pack_facts(facts, torch.tensor([0.75, 0.625, 0.25]), torch.tensor([1, 0]), evidence)

    assert packed.tolist() == [
        [[1, 1, 0, 2, 0.75, 4, 0, -100], [-100.0] * 8],
        [[0, 0, 1, 1, 0.625, 2, -100, -100], [0, 0, 1, 3, 0.25, 0, 5, 3]],
    ]
    unpacked = [[PredictedFact(0, 1, "P1", 0.625, (2,))], [PredictedFact(1, 0, "P2", 0.75, (0, 4))]]
    assert unpack_facts(packed.numpy(), RELATIONS, 2) == unpacked
    empty = pack_facts(facts[:0], torch.zeros(0), torch.tensor([3, 5]), evidence[:0])
    assert empty.tolist() == [[[-100.0] * 8]] * 2


def test_source_of_unpacked_evidence():
    mentions = [[{"sent_id": sentence}] for sentence in (1, 1)]
    documents = [{"vertexSet": mentions}]
    plain = np.array([[[0, 0, 1, 1, 0.75]]])
    with_evidence = np.array([[[0, 0, 1, 1, 0.75, 3, -100]]])

    def sources(packed, *sources):
        return [unpack_with_evidence(packed, RELATIONS, documents, source)[0][0].evidence for source in sources]

    assert sources(plain, None, "rule", "none") == [(1,), (1,), ()]
    assert sources(with_evidence, None, "model", "rule", "none") == [(1, 3), (1, 3), (1,), ()]


def test_a_batch_without_predictions_keeps_its_shape():
    packed = pack_facts(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0), torch.tensor([3, 5]))
    assert packed.tolist() == [[PADDING], [PADDING]]


def test_indices_of_large_corpora_are_exact():
    packed = pack_facts(torch.tensor([[0, 0, 1, 1]]), torch.tensor([0.75]), torch.tensor([2**24 + 1]))
    assert int(packed[0, 0, 0]) == 2**24 + 1


def test_unpacked_by_hand():
    packed = np.array(
        [
            [[3, 0, 1, 2, 0.75], PADDING, PADDING],
            [PADDING, PADDING, PADDING],
            # The second is at the threshold, not above it.
            [[1, 2, 0, 3, 0.51], [1, 2, 1, 3, 0.5], [1, 0, 2, 1, 0.9]],
            [[2, 0, 1, 1, 0.3], PADDING, PADDING],
        ]
    )
    facts = unpack_facts(packed, RELATIONS, num_documents=5)
    assert facts == [
        [],
        [PredictedFact(2, 0, "P3", 0.51), PredictedFact(0, 2, "P1", 0.9)],
        [],
        [PredictedFact(0, 1, "P2", 0.75)],
        [],
    ]
    assert [type(value) for value in facts[1][0]] == [int, int, str, float, tuple]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("margin", [0.0, 2.0])
def test_there_and_back(dtype, margin):
    """Of random logits, every relation above the threshold class comes back, and no other, in batches of any order."""
    logits = torch.randn(6, 4, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask = ~torch.eye(4, dtype=torch.bool).repeat(6, 1, 1)
    # The last document has no relation.
    logits[5, ..., 0] = 9.0
    indices = torch.tensor([6, 3, 1, 0, 4, 2])
    batches = [
        pack_facts(*predicted_facts(logits[part], 3, mask[part], margin), indices[part])
        for part in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    most_facts = max(batch.shape[1] for batch in batches)
    gathered = np.concatenate(
        [np.pad(batch, ((0, 0), (0, most_facts - batch.shape[1]), (0, 0)), constant_values=-100) for batch in batches]
    )
    expected = {}
    for row, index in enumerate(indices.tolist()):
        for head in range(4):
            for tail in range(4):
                threshold, *others = logits[row, head, tail].float().tolist()
                for relation, logit in enumerate(others, start=1):
                    if head != tail and logit > threshold:
                        score = 1 / (1 + np.exp(threshold - logit))
                        expected[index, head, tail, RELATIONS[relation]] = pytest.approx(score, abs=1e-6)
    facts = unpack_facts(gathered, RELATIONS, num_documents=7)
    found = {(index, *fact[:3]): fact.score for index, of_document in enumerate(facts) for fact in of_document}
    assert found == expected
    assert sum(map(len, facts)) == len(expected) > 50
    assert (gathered[..., 0] >= 0).sum() > len(expected) or not margin


DOCUMENTS = [
    {"sents": [[name, "met", "Ada"]], "vertexSet": [[{"name": name, "sent_id": 0, "pos": [0, 1], "type": "PER"}]]}
    for name in ("Babbage", "Byron")
]


def test_saved_predictions_are_loaded_without_padding(tmp_path):
    base = np.array([[[3, 0, 1, 2, 0.75], PADDING], [[1, 2, 0, 3, 1 / 3], [1, 2, 1, 3, 0.5]]])
    nothing = np.array([[PADDING]])
    save_predictions(tmp_path / "saved.npz", [base, nothing], DOCUMENTS)
    found = load_predictions(tmp_path / "saved.npz", DOCUMENTS)
    assert [array.tolist() for array in found] == [
        [[3, 0, 1, 2, 0.75], [1, 2, 0, 3, 1 / 3], [1, 2, 1, 3, 0.5]],
        [],
    ]
    assert unpack_facts(found[0], RELATIONS, 4) == unpack_facts(base, RELATIONS, 4)
    assert unpack_facts(found[1], RELATIONS, 4) == [[]] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["saved.npz"]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut", b"no archive"])
def test_saved_predictions_that_are_damaged_are_named(tmp_path, content):
    path = tmp_path / "saved.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="the predictions '.*saved.npz' cannot be read"):
        load_predictions(path, DOCUMENTS)


def test_saved_predictions_on_other_documents_are_refused(tmp_path):
    save_predictions(tmp_path / "saved.npz", [np.array([[PADDING]])], DOCUMENTS)
    for others in (DOCUMENTS[:1], DOCUMENTS[::-1], [*DOCUMENTS, DOCUMENTS[0]], []):
        with pytest.raises(ValueError, match="the predictions '.*saved.npz' are on other documents"):
            load_predictions(tmp_path / "saved.npz", others)
