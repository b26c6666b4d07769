"""The learning rate of each parameter, independent of the groups of the optimizer."""

import pytest

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.training.parameter_groups import split_by_learning_rate


@pytest.mark.parametrize(
    ("num_iterations", "pretrained", "rate"), [(0, "docre_ii.encoder.", 2e-4), (2, "docre_ii.", 3e-5)]
)
def test_pretrained_parameters_get_their_rate_and_the_rest_keep_that_of_their_group(
    tiny_model, tmp_path, num_iterations, pretrained, rate
):
    model = tiny_model(num_iterations=num_iterations)
    args = DocREIITrainingArguments(
        output_dir=str(tmp_path), encoder_learning_rate=2e-4, base_learning_rate=3e-5, report_to=[]
    )
    parameters = dict(model.named_parameters())
    encoder = [parameter for name, parameter in parameters.items() if name.startswith("docre_ii.encoder.")]
    others = [parameter for name, parameter in parameters.items() if not name.startswith("docre_ii.encoder.")]
    groups = split_by_learning_rate(
        [{"params": encoder, "lr": 0.5, "weight_decay": 0.1}, {"params": others, "lr": 0.7}], model, args
    )

    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found) == len(parameters)
    for name, parameter in parameters.items():
        in_encoder = name.startswith("docre_ii.encoder.")
        expected = rate if name.startswith(pretrained) else 0.5 if in_encoder else 0.7
        assert found[id(parameter)]["lr"] == expected, name
        assert found[id(parameter)].get("weight_decay") == (0.1 if in_encoder else None), name
    assert all(group["params"] for group in groups)
