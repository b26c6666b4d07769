"""The precision of the stages of a run: that of the stage that is finished or resumed."""

import pytest

from modeling_docre_ii.cli.stages import reuse_precision_of_stages
from modeling_docre_ii.training.precision import Precision
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


FASTER = BF16Trial(slowdown=0.4)
BF16, FLOAT32 = Precision(bf16=True), Precision()


@pytest.fixture
def both_stages(make_args, set_bf16_trial, tmp_path):
    """Makes the arguments of a run of both stages on a CPU that is faster in bf16."""

    def make(**stage_2):
        set_bf16_trial(FASTER)
        training = {stage: make_args(**({"bf16": True} | (stage_2 if stage == 2 else {}))) for stage in (1, 2)}
        training[1].output_dir = str(tmp_path / "out" / "stage_1")
        return training

    return make


def test_stage_2_uses_the_precision_of_a_finished_stage_1(both_stages, record_precision):
    record_precision(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=2, checkpoint=None)
    assert training[2].precision == FLOAT32


def test_stage_2_that_asks_for_something_else_gets_it(both_stages, record_precision):
    record_precision(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages(bf16=True, bf16_full_eval=True)
    reuse_precision_of_stages(training, first_stage=2, checkpoint=None)
    assert training[2].precision == Precision(bf16=True, bf16_full_eval=True)


@pytest.mark.parametrize("stage", [1, 2])
def test_both_stages_use_the_precision_of_the_resumed_one(both_stages, record_precision, stage):
    checkpoint = record_precision(BF16, FLOAT32)
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=stage, checkpoint=checkpoint)
    assert [args.precision for args in training.values()] == [FLOAT32, FLOAT32]


def test_request_of_the_resumed_stage_is_that_of_its_checkpoint(both_stages, record_precision):
    training = both_stages(bf16=False)
    with pytest.raises(ValueError, match="was trained with `bf16=True`"):
        reuse_precision_of_stages(training, first_stage=2, checkpoint=record_precision(BF16, BF16))


def test_run_that_begins_reuses_nothing(both_stages, record_precision):
    record_precision(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=1, checkpoint=None)
    assert [args.precision for args in training.values()] == [BF16, BF16]
