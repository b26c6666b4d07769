"""Scores of teachers, against a loop over all thresholds."""

import pytest
import torch

from modeling_docre_ii.training.distillation import Teacher
from modeling_docre_ii.training.teacher_scores import score_teachers
from tests.hub_model import make_model, make_processor, sample_documents


@pytest.fixture(scope="module")
def documents():
    return sample_documents(9)


@pytest.fixture(scope="module")
def teachers(documents, tmp_path_factory):
    """Two teachers that differ in their weights, and predict something."""
    processor, found = make_processor(documents), []
    for seed in (3, 4):
        folder = tmp_path_factory.mktemp("teacher")
        torch.manual_seed(seed)
        model = make_model(processor)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            bias = model.inference_module.classifier.bias
            bias.copy_(torch.randn(bias.shape, generator=generator))
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        found.append(Teacher(str(folder), processor.relations))
    return found


def predictions_of(teachers, documents):
    """(margin, document, is a fact) of the four highest relations of each pair, by the mean of the teachers."""
    predictions = []
    for index, document in enumerate(documents):
        gold = {(label["h"], label["t"], label["r"]) for label in document["labels"]}
        rows = sum(teacher.margins([document])[0] for teacher in teachers) / len(teachers)
        count = len(document["vertexSet"])
        pairs = [(head, tail) for head in range(count) for tail in range(count) if head != tail]
        for (head, tail), row in zip(pairs, rows.tolist(), strict=True):
            relations = sorted(range(1, len(row)), key=lambda relation: -row[relation])[:4]
            names = teachers[0].processor.relations
            predictions += [(row[r], index, (head, tail, names[r]) in gold) for r in relations if row[r] > -4]
    return predictions


def f1(predictions, threshold, num_gold):
    kept = [is_fact for margin, _, is_fact in predictions if margin > threshold]
    return 200 * sum(kept) / (len(kept) + num_gold)


def best(predictions, num_gold):
    """The best F1, and the threshold halfway to the next prediction."""
    margins = sorted((margin for margin, *_ in predictions), reverse=True)
    cuts = [(high + low) / 2 for high, low in zip(margins, [*margins[1:], margins[-1] - 0.1])]
    return max(((f1(predictions, cut, num_gold), cut) for cut in cuts), key=lambda found: found[0])


def test_scores_are_those_of_the_best_and_of_held_out_thresholds(teachers, documents):
    scores = score_teachers(teachers, documents, batch_size=4)

    assert list(scores) == [teachers[0].name, teachers[1].name, "all together"]
    num_gold = [len({(label["h"], label["t"], label["r"]) for label in document["labels"]}) for document in documents]
    for name, group in zip(scores, (teachers[:1], teachers[1:], teachers)):
        predictions = predictions_of(group, documents)
        assert scores[name]["calibrated_f1"] == pytest.approx(best(predictions, sum(num_gold))[0], abs=0.05)
        kept = correct = 0
        for fold in range(4):
            others = [row for row in predictions if row[1] % 4 != fold]
            _, cut = best(others, sum(num_gold) - sum(num_gold[fold::4]))
            above = [is_fact for margin, index, is_fact in predictions if index % 4 == fold and margin > cut]
            kept, correct = kept + len(above), correct + sum(above)
        held_out = 200 * correct / (kept + sum(num_gold))
        assert scores[name]["cross_calibrated_f1"] == pytest.approx(held_out, abs=0.05)
    assert len({scores[name]["calibrated_f1"] for name in scores}) == 3


def test_one_teacher_is_not_scored_together(teachers, documents):
    assert list(score_teachers(teachers[:1], documents)) == [teachers[0].name]


def test_teachers_of_other_pairs_are_refused(teachers, documents, tmp_path):
    processor = make_processor(documents)
    processor.candidate_types = [["PER", "LOC"]]
    make_model(processor).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    other = Teacher(str(tmp_path), processor.relations)
    with pytest.raises(ValueError, match="takes other pairs for candidates: teachers need the same `candidate_types`"):
        score_teachers([teachers[0], other], documents)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "have no labels"),
        ([{"h": 0, "t": 1, "r": "P0"}], "document '.*': the teachers do not know the relation 'P0'"),
    ],
)
def test_labels_that_say_nothing_of_the_teachers_are_refused(teachers, documents, labels, message):
    with pytest.raises(ValueError, match=message):
        score_teachers(teachers, [document | {"labels": labels} for document in documents])
