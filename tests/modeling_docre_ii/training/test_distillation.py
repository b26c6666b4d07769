"""A model learns from the predictions of teachers for unlabeled documents."""

import json
import math
import pickle
import re

import pytest
import torch
from datasets import Dataset
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii.losses import distillation_loss, mean_threshold_loss
from modeling_docre_ii.training.distillation import (
    DistilledDocuments,
    Teacher,
    document_digest,
    mean_probabilities,
    write_teacher_probabilities,
)
from modeling_docre_ii.training.encoding import EncodedDocuments
from tests.hub_model import make_encoder_config, make_model, make_processor, sample_documents


NUM_LABELS = 4
RELATIONS = ["Na", "P1", "P2", "P3"]


def test_loss_is_the_cross_entropy_with_the_teacher():
    generator = torch.Generator().manual_seed(0)
    logits, expected = torch.randn(5, 4, generator=generator), torch.rand(5, 4, generator=generator)
    loss = distillation_loss(logits, expected)

    for pair in range(5):
        total = 0.0
        for relation in (1, 2, 3):
            student = 1 / (1 + math.exp(float(logits[pair, 0] - logits[pair, relation])))
            teacher = float(expected[pair, relation])
            total -= teacher * math.log(student) + (1 - teacher) * math.log(1 - student)
        assert float(loss[pair]) == pytest.approx(total, rel=1e-5)


def test_loss_is_smallest_where_the_margins_are_those_of_the_teacher():
    logits = torch.randn(6, 4, requires_grad=True, generator=torch.Generator().manual_seed(1))
    distillation_loss(logits, (logits - logits[:, :1]).sigmoid().detach()).sum().backward()

    torch.testing.assert_close(logits.grad, torch.zeros(6, 4))


@pytest.mark.parametrize("sample", [None, torch.tensor([True, False, True, True])])
def test_pairs_with_labels_keep_the_adaptive_threshold_loss(sample):
    generator = torch.Generator().manual_seed(2)
    logits, labels = torch.randn(4, 4, generator=generator), torch.rand(4, 4, generator=generator) < 0.3
    taught = torch.rand(4, 4, generator=generator)
    taught[2:] = -100
    found = mean_threshold_loss(logits, labels, 4, sample, taught)

    total, chosen = 0.0, [pair for pair in range(4) if sample is None or sample[pair]]
    for pair in chosen:
        row = slice(pair, pair + 1)
        alone = mean_threshold_loss(logits[row], labels[row], 1)
        total += float(distillation_loss(logits[row], taught[row]) if pair < 2 else alone)
    assert float(found) == pytest.approx(total * 4 / len(chosen) / 4, rel=1e-5)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_batch_of_labeled_and_unlabeled_documents_has_the_losses_of_both(tiny_model, tiny_batch, num_iterations):
    model = tiny_model(num_iterations=num_iterations)
    taught = torch.rand(2, 3, 3, NUM_LABELS, generator=torch.Generator().manual_seed(3))
    taught[0] = -100
    batch = tiny_batch | {"labels": tiny_batch["labels"].clone()}
    batch["labels"][1] = -100
    outputs = model(**batch, teacher_probabilities=taught)

    first, second = (batch["pair_mask"][place] for place in (0, 1))
    alone = model(**{name: values[:1] for name, values in batch.items()})
    for name, logits in (("base_loss", outputs.base_logits), ("inference_loss", outputs.logits)):
        if num_iterations or name == "base_loss":
            total = alone[name] * first.sum() + distillation_loss(logits[1][second], taught[1][second]).sum()
            torch.testing.assert_close(outputs[name], total / (first.sum() + second.sum()))


def test_noise_takes_what_the_teacher_predicts_for_labels(tiny_model, tiny_batch):
    """With `training_relations: gold` and no noise, the module reads the relations that the teacher predicts."""
    settings = {"training_relations": "gold", "max_noise_rate": 0.0, "contrastive_loss_weight": 0.0}
    still = {name: 0.0 for name in ("pair_dropout", "inference_dropout")}
    model = tiny_model(num_iterations=1, **settings, **still).train()
    model.docre_ii.encoder.eval()
    relations = torch.zeros(2, 3, 3, NUM_LABELS)
    for document, fact in enumerate(tiny_batch["labels"]):
        for head, tail, relation in fact[fact[:, 0] >= 0].tolist():
            relations[document, head, tail, relation] = 1.0
    unlabeled = tiny_batch | {"labels": torch.full((2, 1, 3), -100)}

    taught = model(**unlabeled, teacher_probabilities=relations).logits
    torch.testing.assert_close(taught, model(**tiny_batch).logits)
    assert not torch.allclose(taught, model(**unlabeled, teacher_probabilities=0 * relations).logits)


@pytest.fixture
def documents():
    return sample_documents(4)


@pytest.fixture
def teachers(documents, tmp_path):
    """Two teachers that differ in their weights."""
    processor = make_processor(documents)
    for seed in (0, 1):
        torch.manual_seed(seed)
        make_model(processor).save_pretrained(tmp_path / f"teacher_{seed}")
        processor.save_pretrained(tmp_path / f"teacher_{seed}")
    return [Teacher(str(tmp_path / f"teacher_{seed}"), processor.relations) for seed in (0, 1)]


def test_file_has_the_mean_of_the_teachers(teachers, documents, tmp_path):
    path = tmp_path / "teacher.safetensors"
    write_teacher_probabilities(teachers, documents, path, batch_size=3)

    with safe_open(path, framework="pt") as file, torch.no_grad():
        assert sorted(file.keys()) == ["0", "1", "2", "3"]
        for place, document in enumerate(documents):
            assert file.metadata()[f"title_{place}"] == document["title"]
            batch = teachers[0].processor([document], return_tensors="pt")
            first, second = (teacher.model(**batch).logits[batch["pair_mask"]] for teacher in teachers)
            margins = (first - first[:, :1] + second - second[:, :1]) / 2
            found = file.get_tensor(str(place)).float()
            assert not found[:, 0].any()
            torch.testing.assert_close(found[:, 1:], margins[:, 1:].sigmoid(), rtol=1e-3, atol=1e-3)


def test_teachers_of_other_candidates_are_refused(teachers, documents):
    # As many pairs, in the other direction.
    for teacher, types in zip(teachers, (["PER", "LOC"], ["LOC", "PER"])):
        teacher.processor.candidate_types = [types]

    with pytest.raises(ValueError, match="teacher_1' and .*teacher_0' have not the same candidates"):
        mean_probabilities(teachers, documents)


def test_teacher_of_other_relations_is_refused(teachers):
    with pytest.raises(ValueError, match="teacher_0' has other relations than the documents"):
        Teacher(teachers[0].name, ["Na", "P1"])


def test_model_that_cannot_teach_is_refused(teachers, documents, tmp_path):
    make_encoder_config(teachers[0].processor.tokenizer).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="encoder' is a 'bert' model, not one of DocRE-II"):
        Teacher(str(tmp_path / "encoder"), teachers[0].processor.relations)

    path = tmp_path / "teacher_0" / "model.safetensors"
    weights = {name: weight for name, weight in load_file(path).items() if "inference_module.classifier" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="teacher_0' lacks .*inference_module.classifier"):
        Teacher(teachers[0].name, teachers[0].processor.relations)


def test_file_for_documents_that_have_changed_is_refused(teachers, documents, tmp_path):
    path = tmp_path / "teacher.safetensors"
    write_teacher_probabilities(teachers, documents, path)
    processor = teachers[0].processor

    def distilled(changed):
        features = [{"pair_mask": mask, "labels": []} for mask in processor(changed, skip_uncounted=True)["pair_mask"]]
        encoded = EncodedDocuments(Dataset.from_list(features), changed)
        return DistilledDocuments(encoded, 0, path, processor.relations)

    assert len(distilled(documents)) == 4
    reversed_entities = documents[1] | {"vertexSet": documents[1]["vertexSet"][::-1]}
    message = f"unlabeled document 1 is {documents[1]['title']!r}, but it has other tokens or entities there"
    with pytest.raises(ValueError, match=re.escape(message)):
        distilled([documents[0], reversed_entities, *documents[2:]])


def encoded_rows(rows, num_unlabeled):
    """Rows of which the last have no labels, with titles."""
    features = [
        row | {"document_index": place, "labels": [] if place >= len(rows) - num_unlabeled else row["labels"]}
        for place, row in enumerate(rows)
    ]
    return EncodedDocuments(Dataset.from_list(features), [source_of(place) for place in range(len(features))])


def source_of(place):
    """What the file says of a row's document."""
    return {"title": f"document {place}", "sents": [["a", str(place)]], "vertexSet": []}


def teacher_file(path, rows, first):
    """Probabilities for the rows from `first` on."""
    torch.manual_seed(4)
    tensors = {
        str(place - first): torch.rand(sum(map(sum, rows[place]["pair_mask"])), NUM_LABELS).half()
        for place in range(first, len(rows))
    }
    metadata = {f"title_{place}": source_of(place + first)["title"] for place in range(len(tensors))}
    metadata |= {f"digest_{place}": document_digest(source_of(place + first)) for place in range(len(tensors))}
    save_file(tensors, path, metadata=metadata | {"relations": json.dumps(RELATIONS), "candidate_types": "null"})
    return tensors


def test_unlabeled_documents_have_the_teacher_and_others_a_mark(related, tmp_path):
    tensors = teacher_file(tmp_path / "teacher.safetensors", related, 3)
    encoded = encoded_rows(related, 2)
    distilled = DistilledDocuments(encoded, 3, tmp_path / "teacher.safetensors", RELATIONS)

    assert len(distilled) == 5
    for place in range(5):
        found = distilled[place]["teacher_probabilities"]
        assert found.shape == (sum(map(sum, related[place]["pair_mask"])), NUM_LABELS)
        assert torch.equal(found, tensors[str(place - 3)] if place >= 3 else torch.full_like(found, -100))
        assert distilled[place] | {"teacher_probabilities": None} == encoded[place] | {"teacher_probabilities": None}
    # As for a worker of a DataLoader.
    copied = pickle.loads(pickle.dumps(distilled))
    assert torch.equal(copied[4]["teacher_probabilities"], tensors["1"])


def test_file_for_other_documents_is_refused(related, tmp_path):
    teacher_file(tmp_path / "teacher.safetensors", related, 3)

    message = "unlabeled document 0 is 'document 2', but it has 'document 3' there. Write them again"
    with pytest.raises(ValueError, match=re.escape(message)):
        DistilledDocuments(encoded_rows(related, 2), 2, tmp_path / "teacher.safetensors", RELATIONS)


@pytest.mark.parametrize(
    ("relations", "candidate_types"),
    [
        (["Na", "P2", "P1", "P3"], None),
        (["Na", "P1", "P2", "P3", "P4"], None),
        (RELATIONS, [["PER", "LOC"]]),
    ],
)
def test_file_for_other_relations_or_candidates_is_refused(related, tmp_path, relations, candidate_types):
    teacher_file(tmp_path / "teacher.safetensors", related, 3)

    with pytest.raises(ValueError, match="teacher.safetensors' are not for this model: they have other relations"):
        DistilledDocuments(encoded_rows(related, 2), 3, tmp_path / "teacher.safetensors", relations, candidate_types)


def test_file_for_other_pairs_is_refused(related, tmp_path):
    teacher_file(tmp_path / "teacher.safetensors", related, 3)
    encoded = encoded_rows(related, 2)
    rows = [row | {"pair_mask": [[False] * len(line) for line in row["pair_mask"]]} for row in encoded.features]

    with pytest.raises(ValueError, match="document 'document 3': the teacher predicted"):
        DistilledDocuments(
            EncodedDocuments(Dataset.from_list(rows), encoded.source), 3, tmp_path / "teacher.safetensors", RELATIONS
        )


def test_file_that_is_too_short_or_damaged_is_refused(related, tmp_path):
    path = tmp_path / "teacher.safetensors"
    teacher_file(path, related[:4], 3)
    with pytest.raises(ValueError, match="unlabeled document 1 is 'document 4', but it ends before"):
        DistilledDocuments(encoded_rows(related, 2), 3, path, RELATIONS)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"the teacher's predictions '.*teacher\.safetensors' are damaged"):
        DistilledDocuments(encoded_rows(related, 2), 3, path, RELATIONS)
    with pytest.raises(FileNotFoundError):
        DistilledDocuments(encoded_rows(related, 2), 3, tmp_path / "none.safetensors", RELATIONS)


def test_training_follows_the_gradient_of_both_losses(
    make_trainer, deterministic_model, related, one_sgd_step, tmp_path
):
    """One step of SGD on labeled and unlabeled documents."""
    torch.manual_seed(5)
    rows = []
    for place, row in enumerate(related):
        shape = (sum(map(sum, row["pair_mask"])), NUM_LABELS)
        taught = torch.rand(shape) if place >= 3 else torch.full(shape, -100.0)
        labels = [] if place >= 3 else row["labels"]
        rows.append(row | {"labels": labels, "teacher_probabilities": taught.tolist()})
    model, expected = deterministic_model(num_iterations=0), deterministic_model(num_iterations=0).train()
    trainer = make_trainer(model, rows, per_device_train_batch_size=5, **one_sgd_step)
    before = parameters_to_vector(model.parameters()).detach()
    trainer.train()

    batch = trainer.data_collator(rows)
    del batch["document_index"]
    expected(**batch).loss.backward()
    gradient = parameters_to_vector([torch.zeros_like(p) if p.grad is None else p.grad for p in expected.parameters()])
    step = before - parameters_to_vector(model.parameters())
    torch.testing.assert_close(step, gradient, rtol=1e-3, atol=1e-6)
