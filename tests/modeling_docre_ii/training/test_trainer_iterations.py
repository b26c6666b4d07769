"""The Trainer and the iterations of a model: the predictions of each, their scores, their number and the threshold."""

import copy
import math

import pytest
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, score_facts
from modeling_docre_ii.evaluation.matching import ignored_pairs
from modeling_docre_ii.training import calibrating
from modeling_docre_ii.training.calibration import move_threshold
from modeling_docre_ii.training.predictions import unpack_facts
from tests.held_out_thresholds import naive_held_out


RELATIONS = ["Na", "P1", "P2", "P3"]


def naive_f1(margins, gold, threshold=0.0):
    predicted = {fact for fact, margin in margins.items() if margin > threshold}
    return 200 * len(predicted & gold) / (len(predicted) + len(gold))


def naive_best_f1(margins, gold):
    """Over all thresholds from 4 below the present one on."""
    thresholds = [margin - 1e-6 for margin in margins.values() if margin > -4.0]
    return max(naive_f1(margins, gold, threshold) for threshold in thresholds)


@pytest.fixture
def scored(tiny_model, related, one_by_one):
    """
    A model with two iterations, rows whose facts it finds in part, these facts, and the margins of the base module and
    of each iteration: {(document, head, tail, relation): logit_r - logit_TH} of all candidates.
    """
    model = tiny_model(num_iterations=2)
    margins = [{}, {}, {}]
    with torch.no_grad():
        model.inference_module.classifier.bias[0] += 0.5
        for row, output in one_by_one(model, related):
            for found, logits in zip(margins, (output.base_logits, *output.iteration_logits), strict=True):
                for head, tail in torch.tensor(row["pair_mask"]).nonzero().tolist():
                    threshold, *others = logits[0, head, tail].tolist()
                    for relation, logit in enumerate(others, start=1):
                        found[row["document_index"], head, tail, relation] = logit - threshold
    gold = [fact for fact, margin in margins[-1].items() if margin > -1.5][::2]
    rows = [
        row | {"labels": [list(fact) for index, *fact in gold if index == row["document_index"]]} for row in related
    ]
    return model, rows, set(gold), margins


@pytest.mark.parametrize("gather_all", [False, True])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_predictions_of_every_iteration_are_those_of_the_model(scored, make_trainer, gather_all, batch_size):
    model, rows, _, margins = scored
    trainer = make_trainer(
        model, evaluation=rows, per_device_eval_batch_size=batch_size, calibrate_threshold=gather_all
    )
    predictions = trainer.predict(trainer.eval_dataset).predictions

    gathered_to = 4.0 if gather_all else 0.0
    for found, expected in zip(predictions, margins, strict=True):
        rows_found = found[found[..., 0] >= 0]
        scores = {tuple(int(value) for value in row[:4]): row[4] for row in rows_found}
        assert len(scores) == len(rows_found)
        assert scores == pytest.approx(
            {fact: 1 / (1 + math.exp(-margin)) for fact, margin in expected.items() if margin > -gathered_to}, abs=1e-5
        )
        unpacked = unpack_facts(found, RELATIONS, 7)
        facts = {
            (index, fact.head, fact.tail, fact.relation) for index, facts in enumerate(unpacked) for fact in facts
        }
        assert facts == {(*pair, RELATIONS[relation]) for (*pair, relation), margin in expected.items() if margin > 0}


def test_every_iteration_is_scored_at_its_threshold_and_at_the_best(scored, documents_of, make_trainer):
    model, rows, gold, margins = scored
    documents = documents_of(rows)
    metrics = make_trainer(
        model,
        evaluation=rows,
        documents=documents,
        train_facts=set(),
        per_device_eval_batch_size=3,
        calibrate_threshold=True,
    ).evaluate()

    submitted = [
        [
            {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": RELATIONS[relation]}
            for (index, head, tail, relation), margin in found.items()
            if margin > 0
        ]
        for found in margins
    ]
    expected = {f"eval_{name}": score for name, score in score_facts(submitted[-1], documents, set()).items()}
    for name, found, facts in zip(("base", "iteration_1", "iteration_2"), margins, submitted, strict=True):
        expected[f"eval_{name}_f1"] = naive_f1(found, gold)
        expected[f"eval_{name}_infer_f1"] = score_facts(facts, documents)["infer_f1"]
        expected[f"eval_{name}_calibrated_f1"] = naive_best_f1(found, gold)
        gathered = {fact: margin for fact, margin in found.items() if margin > -4.0}
        held_out = [
            {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": RELATIONS[relation]}
            for index, head, tail, relation in naive_held_out(gathered, gold)
        ]
        expected[f"eval_{name}_cross_calibrated_f1"] = score_facts(held_out, documents)["f1"]
        expected[f"eval_{name}_infer_cross_calibrated_f1"] = score_facts(held_out, documents)["infer_f1"]
    for score in ("calibrated_f1", "cross_calibrated_f1", "infer_cross_calibrated_f1"):
        expected[f"eval_{score}"] = expected[f"eval_iteration_2_{score}"]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert {name for name in metrics if "f1" in name} == {name for name in expected if "f1" in name}
    assert metrics["eval_f1"] == pytest.approx(naive_f1(margins[-1], gold))
    assert 0 < metrics["eval_f1"] < metrics["eval_calibrated_f1"]


def test_uncounted_pairs_count_neither_in_the_filtered_score_nor_for_the_threshold(scored, documents_of, make_trainer):
    model, rows, gold, margins = scored
    related_pairs = {fact[:3] for fact in gold}
    free = sorted({fact[:3] for fact, margin in margins[-1].items() if margin > -1.0} - related_pairs)
    uncounted = set(free[1:])
    assert uncounted and free[0] not in uncounted
    documents = documents_of(rows)
    for index, document in enumerate(documents):
        document["uncounted"] = [{"h": head, "t": tail} for doc, head, tail in sorted(uncounted) if doc == index]

    trainer = make_trainer(model, evaluation=rows, documents=documents, calibrate_threshold=True)
    metrics = trainer.evaluate()
    assert metrics["eval_f1"] == pytest.approx(naive_f1(margins[-1], gold))
    for name, found in zip(("base", "iteration_1", "iteration_2"), margins, strict=True):
        counted = {fact: margin for fact, margin in found.items() if fact[:3] not in uncounted}
        assert metrics[f"eval_{name}_filtered_f1"] == pytest.approx(naive_f1(counted, gold))
        assert metrics[f"eval_{name}_calibrated_f1"] == pytest.approx(naive_best_f1(counted, gold))
    assert metrics["eval_base_filtered_f1"] > metrics["eval_base_f1"]

    trainer.calibrate_threshold(ignored=uncounted)
    assert trainer.evaluate()["eval_filtered_f1"] >= metrics["eval_filtered_f1"]


def test_threshold_of_the_base_is_put_where_the_counted_pairs_are_best(
    tiny_model, related, documents_of, make_trainer
):
    model = tiny_model(num_iterations=0)
    documents = documents_of(related)
    for document in documents:
        facts = {(label["h"], label["t"]) for label in document["labels"]}
        size = range(len(document["vertexSet"]))
        free = [(head, tail) for head in size for tail in size if head != tail and (head, tail) not in facts]
        document["uncounted"] = [{"h": head, "t": tail} for head, tail in free[::2]]
    trainer = make_trainer(model, evaluation=related, documents=documents, calibrate_threshold=True)
    best = trainer.evaluate()["eval_calibrated_f1"]
    trainer.calibrate_threshold(ignored=ignored_pairs(documents))
    assert trainer.evaluate()["eval_filtered_f1"] == pytest.approx(best)


@pytest.mark.parametrize(
    "variant",
    [{}, {"iteration_update": "accumulate", "relation_embedding": "multi_label"}, {"add_base_logits": True}],
    ids=str,
)
@pytest.mark.parametrize("start", [-3.0, 0.0, 3.0])
def test_calibration_never_lowers_f1_and_moves_one_bias_alone(
    tiny_model, related, documents_of, make_trainer, variant, start
):
    model = tiny_model(num_iterations=2, **variant)
    bias = model.inference_module.classifier.bias
    with torch.no_grad():
        bias[0] += start
    trainer = make_trainer(model, evaluation=related, documents=documents_of(related), calibrate_threshold=True)
    before, expected = trainer.evaluate()["eval_f1"], copy.deepcopy(model.state_dict())
    shift = trainer.calibrate_threshold()

    after = trainer.evaluate()["eval_f1"]
    assert after >= before
    if start == 3.0:
        assert shift < 0 and after > before
    moved = expected["inference_module.classifier.bias"]
    moved[0] += shift
    assert bias[0].item() == pytest.approx(moved[0].item(), abs=1e-5)
    moved[0] = bias[0].detach()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, expected[name]), name
    assert bias.requires_grad


@pytest.mark.parametrize(("num_iterations", "failing_call"), [(0, 1), (2, 1), (2, 2), (2, 3)])
def test_calibration_that_fails_leaves_the_bias_as_it_was(
    tiny_model, related, make_trainer, monkeypatch, num_iterations, failing_call
):
    model = tiny_model(num_iterations=num_iterations)
    classifier = (model.inference_module if num_iterations else model.docre_ii).classifier
    with torch.no_grad():
        classifier.bias[0] += 3.0
    trainer = make_trainer(model, evaluation=related, calibrate_threshold=True)
    before, predict, seen = classifier.bias.detach().clone(), trainer.predict, []

    def interrupted(*args, **kwargs):
        seen.append(classifier.bias.detach().clone())
        if len(seen) == failing_call:
            raise RuntimeError("out of memory")
        return predict(*args, **kwargs)

    monkeypatch.setattr(trainer, "predict", interrupted)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.calibrate_threshold()
    assert len(seen) == failing_call
    assert failing_call == 1 or not torch.equal(seen[-1], before)
    assert torch.equal(classifier.bias, before)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_as_many_iterations_are_kept_as_do_best(scored, make_trainer, tmp_path, best):
    model, rows, _, margins = scored
    gold = {fact for fact, margin in margins[best].items() if margin > -0.5}
    rows = [row | {"labels": [list(fact) for index, *fact in gold if index == row["document_index"]]} for row in rows]
    f1 = [naive_best_f1(found, gold) for found in margins]
    assert f1[best] > max([*f1[:best], *f1[best + 1 :]])
    weights, base = copy.deepcopy(model.state_dict()), model.docre_ii
    trainer = make_trainer(model, evaluation=rows)
    before = trainer.predict(trainer.eval_dataset).predictions

    kept = trainer.calibrate_iterations()
    names = ("base", "iteration_1", "iteration_2")
    expected_f1 = {f"{name}_calibrated_f1": value for name, value in zip(names, f1)}
    assert kept == pytest.approx({"num_iterations": best, **expected_f1})
    after = trainer.predict(trainer.eval_dataset).predictions
    assert len(after) == best + 1
    assert all((found == expected).all() for found, expected in zip(after, before))
    trainer.save_model(tmp_path)
    loaded, info = DocREIIForRelationExtraction.from_pretrained(tmp_path, output_loading_info=True)
    assert loaded.config.num_iterations == best and not any(info.values())
    left_out = () if best else ("inference_module.", "contrastive_predictor.")
    expected = {name: weight for name, weight in weights.items() if not name.startswith(left_out or "no such name")}
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.state_dict().items())
    assert model.base_model is base


def test_the_fewest_of_equally_good_iterations_are_kept(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=2, add_base_logits=True)
    with torch.no_grad():  # every iteration repeats the base module
        for parameter in model.inference_module.classifier.parameters():
            parameter.zero_()
    trainer = make_trainer(model, evaluation=related)
    assert trainer.calibrate_iterations()["num_iterations"] == 0
    assert model.inference_module is None


def test_uncounted_pairs_do_not_choose_iterations(scored, make_trainer):
    model, rows, _, margins = scored
    pairs = sorted({fact[:3] for fact in margins[0]})
    gold = {fact for fact, margin in margins[0].items() if margin > -0.5 and fact[:3] in pairs[::4]}
    rows = [row | {"labels": [list(fact) for index, *fact in gold if index == row["document_index"]]} for row in rows]
    uncounted = set(pairs) - set(pairs[::4])
    counted = [{fact: margin for fact, margin in found.items() if fact[:3] not in uncounted} for found in margins]
    f1, f1_of_all = ([naive_best_f1(found, gold) for found in of] for of in (counted, margins))
    assert f1.index(max(f1)) != f1_of_all.index(max(f1_of_all))

    trainer = make_trainer(model, evaluation=rows)
    assert trainer.calibrate_iterations(ignored=uncounted)["num_iterations"] == f1.index(max(f1))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_training_ends_with_the_iterations_and_their_threshold(
    tiny_model, related, documents_of, make_trainer, ema_decay
):
    model = tiny_model(num_iterations=2)
    settings = {"max_steps": 2, "calibrate_iterations": True, "calibrate_threshold": True, "ema_decay": ema_decay}
    trainer = make_trainer(model, related, evaluation=related, documents=documents_of(related), **settings)
    with torch.no_grad():  # iterations that find nothing
        model.inference_module.classifier.weight.zero_()
    metrics = trainer.train().metrics

    assert metrics["num_iterations"] == model.config.num_iterations == 0
    scores = trainer.evaluate()
    assert scores["eval_f1"] == pytest.approx(scores["eval_calibrated_f1"])
    assert not any(name.startswith(("eval_base_", "eval_iteration_")) for name in scores)


@pytest.mark.parametrize("lost", [0.0, 200.0])
def test_iterations_that_lose_to_the_base_once_calibrated_are_removed(
    scored, documents_of, make_trainer, monkeypatch, lost
):
    """A threshold that is moved changes what iterations read, and so their F1: here it is said to be lower."""
    model, rows, _, margins = scored
    gold = {fact for fact, margin in margins[2].items() if margin > -0.5}
    rows = [row | {"labels": [list(fact) for index, *fact in gold if index == row["document_index"]]} for row in rows]
    moves = []

    def move(model, predict):
        shift, f1 = move_threshold(model, predict)
        moves.append((model.config.num_iterations, shift))
        return shift, f1 - lost if model.config.num_iterations else f1

    monkeypatch.setattr(calibrating, "move_threshold", move)
    rates = {"learning_rate": 0.0, "base_learning_rate": 0.0}  # so that iteration 2 stays the best
    settings = {"max_steps": 1, "calibrate_iterations": True, "calibrate_threshold": True, **rates}
    trainer = make_trainer(model, rows, evaluation=rows, documents=documents_of(rows), **settings)
    metrics = trainer.train().metrics

    assert metrics["iteration_2_calibrated_f1"] == max(s for name, s in metrics.items() if name.endswith("ted_f1"))
    assert [iterations for iterations, _ in moves] == ([2, 0] if lost else [2])
    assert metrics["num_iterations"] == model.config.num_iterations == moves[-1][0]
    assert metrics["threshold_shift"] == moves[-1][1]
    scores = trainer.evaluate()
    expected = metrics["base_calibrated_f1"] if lost else metrics["iteration_2_own_f1"]
    assert scores["eval_f1"] == pytest.approx(expected)


def test_iterations_cannot_be_chosen_where_there_are_none(tiny_model, related, make_trainer):
    settings = {"max_steps": 1, "calibrate_iterations": True}
    with pytest.raises(ValueError, match="`calibrate_iterations` has nothing to choose: the model has no inference"):
        make_trainer(tiny_model(num_iterations=0), related, evaluation=related, **settings).train()
    with pytest.raises(ValueError, match="`calibrate_iterations` needs an `eval_dataset`"):
        make_trainer(tiny_model(num_iterations=2), related, **settings).train()
