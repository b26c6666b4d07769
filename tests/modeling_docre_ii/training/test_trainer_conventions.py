"""What users of transformers do with any model: its own Trainer, `model_init`, and a search of hyperparameters."""

import pytest
import torch
from datasets import IterableDataset
from transformers import Trainer, TrainingArguments

from modeling_docre_ii import DocREIITrainer, DocREIITrainingArguments
from tests.hub_model import make_model, make_processor, sample_documents


@pytest.fixture(scope="module")
def documents():
    """The second has no facts."""
    first, second = sample_documents(2)
    return [first, second | {"labels": []}]


@pytest.fixture(scope="module")
def processor(documents):
    return make_processor(documents)


def arguments(folder, kind=DocREIITrainingArguments, **settings):
    fixed = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "max_steps": 2, "warmup_steps": 0}
    return kind(output_dir=str(folder), **fixed, **settings)


@pytest.mark.parametrize("index", [0, 1])
def test_trainer_of_transformers_has_the_loss_of_the_model(documents, processor, tmp_path, index):
    """Its own count, of facts, would be 0 for the second document."""
    features = processor(documents, return_labels=True)
    row = {name: values[index] for name, values in features.items()}
    model = make_model(processor)
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, TrainingArguments, remove_unused_columns=False, label_names=["labels"], seed=3),
        train_dataset=[row],
        data_collator=lambda rows: processor([documents[index]], return_labels=True, return_tensors="pt"),
    )
    losses = []
    model.register_forward_hook(lambda module, inputs, output: losses.append(output.loss.item()))
    found = trainer.train().training_loss
    assert found == pytest.approx(sum(losses) / 2)
    expected = make_model(processor)(**processor([documents[index]], return_labels=True, return_tensors="pt")).loss
    assert losses[0] == pytest.approx(expected.item(), rel=0.5), "an average over pairs, apart from dropout and noise"


@pytest.mark.parametrize("freeze_base", [True, False])
def test_models_of_model_init_are_prepared_like_others(documents, processor, tmp_path, freeze_base):
    """As a search of hyperparameters does: without a model before each trial."""
    made = []

    def model_init():
        made.append(make_model(processor))
        return made[-1]

    trainer = DocREIITrainer(
        model_init=model_init,
        args=arguments(tmp_path, freeze_base=freeze_base, learning_rate=0.01, base_learning_rate=0.01),
        train_dataset=documents,
        processing_class=processor,
    )
    trainer.args.ema_decay = 0.5
    trainer.model = None
    trainer.train()
    before, after = make_model(processor).state_dict(), made[-1].state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "inference_module" in changed
    assert ("docre_ii" in changed) is not freeze_base
    assert all(parameter.requires_grad is not freeze_base for parameter in made[-1].docre_ii.parameters())


def test_models_of_model_init_have_the_relations_of_the_processor(documents, processor, tmp_path):
    other = make_processor(sample_documents(4))
    with pytest.raises(ValueError, match="the label map of the model is not that of its processor"):
        DocREIITrainer(
            model_init=lambda: make_model(other),
            args=arguments(tmp_path),
            train_dataset=documents,
            processing_class=processor,
        )


def test_columns_that_evaluation_needs_are_not_removed(tmp_path):
    with pytest.raises(ValueError, match="`remove_unused_columns` is not supported"):
        arguments(tmp_path, remove_unused_columns=True)


def test_a_budget_needs_all_features_at_once(documents, processor, tmp_path):
    features = processor(documents, return_labels=True)
    rows = [dict(zip(features, values)) for values in zip(*features.values())]
    stream = IterableDataset.from_generator(lambda: iter(rows))
    trainer = DocREIITrainer(
        make_model(processor),
        arguments(tmp_path, max_pairs_per_batch=10),
        train_dataset=stream,
        processing_class=processor,
    )
    with pytest.raises(ValueError, match="`max_pairs_per_batch` needs all training features at once"):
        trainer.train()


def test_features_without_labels_calibrate_nothing(documents, processor, tmp_path):
    trainer = DocREIITrainer(make_model(processor), arguments(tmp_path), processing_class=processor)
    features = processor(documents[1:])
    rows = [dict(zip(features, values), document_index=i) for i, values in enumerate(zip(*features.values()))]
    with pytest.raises(ValueError, match="the threshold is fitted on labels, but none of the documents has one"):
        trainer.calibrate_threshold(rows)
