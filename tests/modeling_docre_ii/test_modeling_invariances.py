"""What the result of a document does not depend on: the rest of the batch, padding, and the order of anything."""

import pytest
import torch


PADDING = {
    "input_ids": 0,
    "attention_mask": 0,
    "mention_positions": -1,
    "mention_entities": -1,
    "pair_mask": False,
    "labels": -100,
}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
VARIANTS = [
    {},
    {"cross_attention": "full"},
    {"relation_embedding": "multi_label", "iteration_update": "accumulate"},
    {"relation_embedding": "soft", "relation_temperature": 0.5},
    {"add_base_logits": True, "use_fusion": False},
]


def padded(batch, extra):
    """The batch with `extra` more columns of padding in every tensor."""
    wider = {}
    for name, tensor in batch.items():
        shape = list(tensor.shape)
        for dimension in range(1, 3 if name == "pair_mask" else 2):
            shape[dimension] += extra
        wider[name] = torch.full(shape, PADDING[name], dtype=tensor.dtype)
        wider[name][tuple(slice(size) for size in tensor.shape)] = tensor
    return wider


def renamed(document, new_index):
    """The document with entity i as entity `new_index[i]`."""
    return document | {
        "mention_entities": new_index[document["mention_entities"]],
        "labels": torch.cat([new_index[document["labels"][..., :2]], document["labels"][..., 2:]], dim=-1),
    }


def test_fewer_candidates_leave_the_others_as_they_are(tiny_model, tiny_batch):
    model = tiny_model()
    logits = model(**tiny_batch).logits
    restricted = torch.zeros_like(tiny_batch["pair_mask"])
    restricted[0, 0, 2] = restricted[1, 1, 0] = True
    restricted_logits = model(**tiny_batch | {"pair_mask": restricted}).logits

    torch.testing.assert_close(restricted_logits[restricted], logits[restricted])
    assert not restricted_logits[~restricted].any()


@pytest.mark.parametrize("window_size", [64, 16])
def test_result_does_not_depend_on_the_rest_of_the_batch(tiny_model, tiny_batch, alone, window_size):
    model = tiny_model(window_size=window_size, window_overlap=6)
    logits = model(**tiny_batch).logits

    for row, entities in enumerate([3, 2]):
        alone_logits = model(**alone(tiny_batch, row)).logits[0]
        torch.testing.assert_close(alone_logits, logits[row, :entities, :entities], **CLOSE)


@pytest.mark.parametrize("extra", [1, 60])
def test_result_does_not_depend_on_padding(tiny_model, tiny_batch, extra):
    model = tiny_model()
    output, wider = model(**tiny_batch), model(**padded(tiny_batch, extra))

    assert wider.logits.shape == (2, 3 + extra, 3 + extra, 4)
    torch.testing.assert_close(wider.logits[:, :3, :3], output.logits, **CLOSE)
    torch.testing.assert_close(wider.loss, output.loss, **CLOSE)


def test_ids_under_the_padding_are_not_read(tiny_model, tiny_batch):
    model = tiny_model()
    changed = torch.where(tiny_batch["attention_mask"] == 1, tiny_batch["input_ids"], 77)

    torch.testing.assert_close(
        model(**tiny_batch | {"input_ids": changed}).logits, model(**tiny_batch).logits, **CLOSE
    )


def test_order_of_the_entities_only_permutes_the_result(tiny_model, tiny_batch, alone):
    model = tiny_model()
    document = alone(tiny_batch, 0)
    new_index = torch.tensor([2, 0, 1])
    output, permuted = model(**document), model(**renamed(document, new_index))

    for head in range(3):
        for tail in range(3):
            torch.testing.assert_close(
                permuted.logits[0, new_index[head], new_index[tail]], output.logits[0, head, tail], **CLOSE
            )
    torch.testing.assert_close(permuted.loss, output.loss, **CLOSE)


def test_order_of_the_mentions_does_not_matter(tiny_model, tiny_batch):
    model = tiny_model()
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = {name: tiny_batch[name][:, order] for name in ("mention_positions", "mention_entities")}

    torch.testing.assert_close(model(**tiny_batch | shuffled).logits, model(**tiny_batch).logits, **CLOSE)


def test_document_with_one_entity_has_no_pair(tiny_model, tiny_batch, alone):
    document = alone(tiny_batch, 0) | {
        "mention_entities": torch.zeros(1, 5, dtype=torch.long),
        "pair_mask": torch.zeros(1, 1, 1, dtype=torch.bool),
        "labels": torch.full((1, 1, 3), -100),
    }
    output = tiny_model()(**document)

    assert output.logits.tolist() == [[[[0.0] * 4]]]
    assert output.loss.item() == 0.0
    output.loss.backward()


def test_document_without_an_entity_leaves_the_batch_alone(tiny_model, tiny_batch):
    model = tiny_model()
    expected = model(**tiny_batch)
    batch = {
        name: torch.cat([tensor, torch.full_like(tensor[:1], PADDING[name])]) for name, tensor in tiny_batch.items()
    }
    batch["input_ids"][2, :4], batch["attention_mask"][2, :4] = 7, 1
    output = model(**batch)
    output.loss.backward()

    torch.testing.assert_close(output.logits[:2], expected.logits, **CLOSE)
    torch.testing.assert_close(output.loss, expected.loss, **CLOSE)
    assert not output.logits[2].any()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# With an inference module


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_iterations_do_not_depend_on_the_rest_of_the_batch(tiny_model, tiny_batch, alone, variant):
    model = tiny_model(num_iterations=3, **variant)
    together = model(**tiny_batch)

    for row, entities in enumerate([3, 2]):
        single = model(**alone(tiny_batch, row))
        for iteration, logits in enumerate(together.iteration_logits):
            torch.testing.assert_close(
                single.iteration_logits[iteration][0], logits[row, :entities, :entities], **CLOSE
            )


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_iterations_do_not_depend_on_padding(tiny_model, tiny_batch, variant):
    model = tiny_model(num_iterations=3, **variant)
    output, wider = model(**tiny_batch), model(**padded(tiny_batch, 5))

    for logits, wider_logits in zip(output.iteration_logits, wider.iteration_logits, strict=True):
        torch.testing.assert_close(wider_logits[:, :3, :3], logits, **CLOSE)
    torch.testing.assert_close(wider.loss, output.loss, **CLOSE)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_order_of_the_entities_only_permutes_the_iterations(tiny_model, tiny_batch, alone, variant):
    model = tiny_model(num_iterations=3, **variant)
    document = alone(tiny_batch, 0)
    new_index = torch.tensor([2, 0, 1])
    output, permuted = model(**document), model(**renamed(document, new_index))

    for logits, permuted_logits in zip(output.iteration_logits, permuted.iteration_logits, strict=True):
        for head in range(3):
            for tail in range(3):
                torch.testing.assert_close(
                    permuted_logits[0, new_index[head], new_index[tail]], logits[0, head, tail], **CLOSE
                )
    torch.testing.assert_close(permuted.loss, output.loss, **CLOSE)


def test_order_of_the_documents_only_permutes_the_iterations(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=3)
    output, reverse = model(**tiny_batch), model(**{name: tensor.flip(0) for name, tensor in tiny_batch.items()})

    for logits, reverse_logits in zip(output.iteration_logits, reverse.iteration_logits, strict=True):
        torch.testing.assert_close(reverse_logits.flip(0), logits, **CLOSE)


@pytest.mark.parametrize("training", [False, True])
def test_document_with_one_entity_has_nothing_to_infer(tiny_model, tiny_batch, alone, training):
    model = tiny_model(num_iterations=2).train(training)
    document = alone(tiny_batch, 0) | {
        "mention_entities": torch.zeros(1, 5, dtype=torch.long),
        "pair_mask": torch.zeros(1, 1, 1, dtype=torch.bool),
        "labels": torch.full((1, 1, 3), -100),
    }
    output = model(**document)

    assert output.logits.tolist() == [[[[0.0] * 4]]]
    assert output.loss.item() == 0.0
    output.loss.backward()


def test_document_without_an_entity_leaves_the_iterations_alone(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=3)
    expected = model(**tiny_batch)
    batch = {
        name: torch.cat([tensor, torch.full_like(tensor[:1], PADDING[name])]) for name, tensor in tiny_batch.items()
    }
    batch["input_ids"][2, :4], batch["attention_mask"][2, :4] = 7, 1
    output = model(**batch)
    output.loss.backward()

    for logits, expected_logits in zip(output.iteration_logits, expected.iteration_logits, strict=True):
        torch.testing.assert_close(logits[:2], expected_logits, **CLOSE)
        assert not logits[2].any()
    torch.testing.assert_close(output.loss, expected.loss, **CLOSE)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
