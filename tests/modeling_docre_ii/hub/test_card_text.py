"""The sentences of the model card on what was trained and what was chosen."""

import pytest

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.hub.card_text import choice_sentence, stages_sentence
from modeling_docre_ii.hub.training_record import TrainedStage


def config(num_iterations):
    return DocREIIConfig(num_iterations=num_iterations, id2label={0: "Na", 1: "P1"})


def test_an_inference_module_that_was_left_out_is_named():
    stages = {1: TrainedStage({}, []), 2: TrainedStage({"freeze_base": True}, [])}
    assert "left out" in stages_sentence(stages, config(0))
    assert "left out" not in stages_sentence({1: stages[1]}, config(0))
    assert "left out" not in stages_sentence(stages, config(2))


@pytest.mark.parametrize(
    ("chosen", "start"),
    [
        (set(), ""),
        ({"calibrate_threshold"}, "The threshold was chosen"),
        ({"calibrate_iterations", "calibrate_threshold"}, "The number of iterations and the threshold were chosen"),
        (
            {"load_best_model_at_end", "calibrate_iterations", "calibrate_threshold"},
            "The best checkpoint (by `f1`), the number of iterations and the threshold were chosen",
        ),
    ],
)
def test_what_was_chosen_on_the_scored_documents_is_listed(chosen, start):
    names = ("load_best_model_at_end", "calibrate_iterations", "calibrate_threshold")
    last = {name: name in chosen for name in names} | {"metric_for_best_model": "f1"}
    sentence = choice_sentence(last, ["validation"])
    assert sentence.startswith(start) and bool(sentence) == bool(start)
    assert choice_sentence(last, ["test"]) == ""
