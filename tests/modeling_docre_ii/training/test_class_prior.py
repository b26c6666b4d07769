"""The classifier of a new base module starts at the frequencies of the relations, counted by hand."""

import copy
import math

import pytest
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIITrainer
from modeling_docre_ii.training.class_prior import start_at_frequencies
from tests.hub_model import make_model, make_processor, sample_documents


@pytest.fixture(scope="module")
def documents():
    return sample_documents(3)


@pytest.fixture(scope="module")
def processor(documents):
    return make_processor(documents)


@pytest.fixture
def base(processor):
    config = copy.deepcopy(make_model(processor).config)
    config.num_iterations = 0
    return DocREIIForRelationExtraction(config)


def expected_bias(documents, relations):
    pairs = sum(len(document["vertexSet"]) * (len(document["vertexSet"]) - 1) for document in documents)
    facts = [fact["r"] for document in documents for fact in document["labels"]]
    odds = [0.0, *(math.log((facts.count(relation) + 0.5) / pairs) for relation in relations[1:])]
    return [value - sum(odds) / len(odds) for value in odds]


def make_trainer(model, documents, processor, make_args, **settings):
    return DocREIITrainer(
        model, make_args(prior_bias=True, **settings), train_dataset=documents, processing_class=processor
    )


def test_biases_are_the_log_odds_of_the_relations(base, documents, processor, make_args):
    make_trainer(base, documents, processor, make_args)
    expected = expected_bias(documents, processor.relations)
    assert base.docre_ii.classifier.bias.tolist() == pytest.approx(expected, abs=1e-5)
    assert expected[0] == max(expected), "most pairs have no relation"


def test_unlabeled_documents_do_not_count(base, documents, processor):
    features = processor(documents, return_labels=True)
    rows = [dict(zip(features, values)) for values in zip(*features.values())]
    # As of `DistilledDocuments`, in which labeled documents have -100.
    labeled = [row | {"teacher_probabilities": torch.full((2, 4), -100.0)} for row in rows]
    taught = rows[0] | {"labels": [], "teacher_probabilities": torch.zeros(2, 4)}
    start_at_frequencies(base, [*labeled, taught])
    expected = expected_bias(documents, processor.relations)
    assert base.docre_ii.classifier.bias.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_trained_classifier_and_stage_2_stay_as_they_are(base, documents, processor, make_args):
    base.docre_ii.classifier.bias.data[1] = 0.25
    whole = make_model(processor)
    for model in (base, whole):
        before = model.docre_ii.classifier.bias.tolist()
        make_trainer(model, documents, processor, make_args)
        assert model.docre_ii.classifier.bias.tolist() == before


def test_models_of_model_init_start_there_too(base, documents, processor, make_args):
    made = []

    def model_init():
        made.append(copy.deepcopy(base))
        return made[-1]

    args = make_args(prior_bias=True, max_steps=1, learning_rate=0.0, report_to="none")
    trainer = DocREIITrainer(model_init=model_init, args=args, train_dataset=documents, processing_class=processor)
    trainer.train()
    expected = expected_bias(documents, processor.relations)
    assert made[-1].docre_ii.classifier.bias.tolist() == pytest.approx(expected, abs=1e-5)
    assert len(made) == 2


def test_streamed_features_are_refused(base, documents):
    with pytest.raises(ValueError, match="`prior_bias` counts relations before the training, which streamed"):
        start_at_frequencies(base, iter([]))
