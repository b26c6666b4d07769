"""Stage 2 learns from the predictions of bases that have not seen the documents."""

import pickle

import pytest
import torch
from datasets import Dataset
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.training.cross_fitting import (
    CrossFittedDocuments,
    held_out_documents,
    split_fold,
    write_held_out_logits,
)
from modeling_docre_ii.training.encoding import EncodedDocuments


LOGITS_ONLY = {"num_iterations": 2, "inference_features": "logits", "contrastive_loss_weight": 0.0}


@pytest.fixture
def encoded(related):
    return EncodedDocuments(Dataset.from_list([row | {"document_index": i} for i, row in enumerate(related)]), related)


@pytest.mark.parametrize(("num_documents", "num_folds"), [(7, 2), (10, 4), (3, 3)])
def test_every_document_is_held_out_once_and_trained_on_otherwise(num_documents, num_folds):
    folds = [split_fold(num_documents, num_folds, fold) for fold in range(num_folds)]

    assert sorted(place for _, held_out in folds for place in held_out) == list(range(num_documents))
    for kept, held_out in folds:
        assert sorted(kept + held_out) == list(range(num_documents))
        assert kept and abs(len(held_out) - num_documents / num_folds) < 1


@pytest.mark.parametrize(("num_documents", "num_folds"), [(3, 4), (3, 1)])
def test_folds_that_cannot_be_made_are_refused(num_documents, num_folds):
    with pytest.raises(ValueError, match=f"{num_folds} folds of {num_documents} documents"):
        split_fold(num_documents, num_folds, 0)


def test_module_on_given_logits_is_that_on_the_logits_of_its_own_base(tiny_model, tiny_batch):
    model = tiny_model(**LOGITS_ONLY, add_base_logits=True)
    expected = model(**tiny_batch)
    given = model(**tiny_batch, base_logits=expected.base_logits)

    for name in ("loss", "base_loss", "inference_loss", "logits", "base_logits"):
        torch.testing.assert_close(given[name], expected[name])
    other = model(**tiny_batch, base_logits=expected.base_logits + torch.randn_like(expected.base_logits))
    assert not torch.allclose(other.logits, expected.logits, atol=0.01)


def test_given_logits_may_have_another_precision_than_the_module(tiny_model, tiny_batch):
    """Those that a cross-fit stored are float32 in every batch."""
    model = tiny_model(**LOGITS_ONLY, add_base_logits=True)
    base_logits = model(**tiny_batch).base_logits
    expected = model(**tiny_batch, base_logits=base_logits).logits
    found = model.bfloat16()(**tiny_batch, base_logits=base_logits).logits

    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.1)


def test_module_reads_only_the_margins_of_the_logits(tiny_model, tiny_batch):
    """Whatever is added to all logits of a pair changes nothing but, with `add_base_logits`, those of the pair."""
    model = tiny_model(**LOGITS_ONLY)
    base_logits = model(**tiny_batch).base_logits

    shifted = model(**tiny_batch, base_logits=base_logits + 3 * torch.rand_like(base_logits[..., :1]))
    torch.testing.assert_close(shifted.logits, model(**tiny_batch).logits)


@pytest.mark.parametrize("changes", [{"num_iterations": 0}, {"num_iterations": 1}])
def test_given_logits_need_a_module_that_reads_only_logits(tiny_model, tiny_batch, changes):
    model = tiny_model(**changes)

    with pytest.raises(ValueError, match="need an inference module with `inference_features='logits'`"):
        model(**tiny_batch, base_logits=torch.zeros(2, 3, 3, 4))


def test_held_out_logits_are_those_of_each_document_alone(
    make_trainer, tiny_model, encoded, related, one_by_one, tmp_path
):
    trainer = make_trainer(tiny_model(document_threshold_weight=0.5), per_device_eval_batch_size=2)
    held_out = held_out_documents(encoded, [0, 1, 3])
    write_held_out_logits(trainer, held_out, tmp_path / "first.safetensors")
    write_held_out_logits(trainer, held_out_documents(encoded, [2, 4]), tmp_path / "second.safetensors")
    fitted = CrossFittedDocuments(encoded, [tmp_path / "first.safetensors", tmp_path / "second.safetensors"])

    assert len(held_out) == 3 and held_out.source[2] is related[3]
    assert len(fitted) == len(related) == 5
    trainer.model.config.document_threshold_weight = 0.0  # which an inference module does not see
    with torch.no_grad():
        for place, (row, output) in enumerate(one_by_one(trainer.model, related)):
            mask = torch.tensor(row["pair_mask"])
            assert fitted[place]["base_logits"].dtype == torch.float16
            torch.testing.assert_close(
                fitted[place]["base_logits"].float(), output.base_logits[0][mask], rtol=1e-3, atol=1e-3
            )
            assert fitted[place] | {"base_logits": None} == encoded[place] | {"base_logits": None}
    # As for a worker of a DataLoader.
    assert torch.equal(pickle.loads(pickle.dumps(fitted))[4]["base_logits"], fitted[4]["base_logits"])


def test_collator_pads_the_logits_to_matrices(collate, related):
    rows = [torch.randn(sum(map(sum, row["pair_mask"])), 4) for row in related]
    batch = collate([row | {"base_logits": logits} for row, logits in zip(related, rows, strict=True)])

    pairs = EntityPairs.from_mask(batch["pair_mask"])
    assert batch["base_logits"].shape == (*batch["pair_mask"].shape, 4)
    assert not batch["base_logits"][~batch["pair_mask"]].any()
    assert torch.equal(pairs.to_rows(batch["base_logits"]), torch.cat(rows))
    with pytest.raises(ValueError, match="1 of the 2 documents of a batch have 'base_logits'"):
        collate([related[0] | {"base_logits": rows[0]}, related[1]])


def test_documents_without_logits_are_named(make_trainer, tiny_model, encoded, tmp_path):
    path = tmp_path / "fold_1" / "logits.safetensors"
    path.parent.mkdir()
    write_held_out_logits(make_trainer(tiny_model()), held_out_documents(encoded, [0, 2]), path)

    with pytest.raises(ValueError, match=r"no fold in '.*fold_1' has the logits of document 1"):
        CrossFittedDocuments(encoded, [path])


def test_damaged_logits_are_named(make_trainer, tiny_model, encoded, tmp_path):
    path = tmp_path / "logits.safetensors"
    write_held_out_logits(make_trainer(tiny_model()), encoded, path)
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(ValueError, match=r"the predictions '.*logits\.safetensors' are damaged"):
        CrossFittedDocuments(encoded, [path])


def test_training_on_given_logits_leaves_the_base_and_follows_their_gradient(
    make_trainer, deterministic_model, related, one_sgd_step
):
    """One step of SGD, against the gradient of the module alone."""
    torch.manual_seed(3)
    rows = [row | {"base_logits": torch.randn(sum(map(sum, row["pair_mask"])), 4).tolist()} for row in related]
    model = deterministic_model(**LOGITS_ONLY)
    expected = deterministic_model(**LOGITS_ONLY).train()
    trainer = make_trainer(model, rows, freeze_base=True, per_device_train_batch_size=5, **one_sgd_step)
    base, before = (parameters_to_vector(m.parameters()).detach() for m in (model.docre_ii, model.inference_module))
    trainer.train()

    batch = trainer.data_collator(rows)
    del batch["document_index"]
    expected(**batch).inference_loss.backward()
    gradient = parameters_to_vector([p.grad for p in expected.inference_module.parameters()])
    assert torch.equal(parameters_to_vector(model.docre_ii.parameters()), base)
    step = before - parameters_to_vector(model.inference_module.parameters())
    torch.testing.assert_close(step, gradient, rtol=1e-3, atol=1e-6)
