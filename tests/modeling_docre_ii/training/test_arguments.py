import json
from functools import cached_property

import pytest
import torch
from transformers import TrainingArguments

from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.training.precision import Precision
from modeling_docre_ii.utils import cpu_bf16
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


FASTER = BF16Trial(slowdown=0.4)
SLOWER = BF16Trial(slowdown=1.7)
DYING = BF16Trial(failure="ends the process with SIGILL")
SWITCHED_OFF = "`bf16` is switched off, and float32 is used instead: "
BF16, FLOAT32 = Precision(bf16=True), Precision()


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (SLOWER, "bf16 takes 1.7 times as long as float32 on this CPU"),
        (DYING, "a bf16 matrix product ends the process with SIGILL on this CPU"),
    ],
)
@pytest.mark.parametrize("name", ["bf16", "bf16_full_eval"])
def test_bf16_is_switched_off_where_it_is_slower_or_does_not_work(
    make_args, set_bf16_trial, caplog, trial, reason, name
):
    set_bf16_trial(trial)
    args = make_args(**{name: True})

    assert (args.bf16, args.bf16_full_eval, args.mixed_precision) == (False, False, "no")
    assert args.requested_precision == Precision(**{name: True})
    assert [log.getMessage() for log in caplog.records] == [SWITCHED_OFF + reason]


def test_bf16_stays_on_where_it_is_faster(make_args, set_bf16_trial, caplog):
    set_bf16_trial(FASTER)
    args = make_args(bf16=True, bf16_full_eval=True)

    assert (args.bf16, args.bf16_full_eval, args.mixed_precision) == (True, True, "bf16")
    assert not caplog.records


@pytest.mark.parametrize(("trial", "used"), [(FASTER, "bf16"), (SLOWER, "no")])
def test_accelerate_launch_can_ask_for_bf16(make_args, set_bf16_trial, monkeypatch, trial, used):
    set_bf16_trial(trial)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    args = make_args()

    assert (args.mixed_precision, args.bf16) == (used, used == "bf16")
    assert args.requested_precision == BF16


def test_a_process_uses_one_gpu(make_args, monkeypatch, caplog):
    """The `DataParallel` of transformers cannot gather documents of different sizes."""

    def find_devices(args):
        args._n_gpu = 3
        return torch.device("cpu")

    devices = cached_property(find_devices)
    devices.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", devices)
    args = make_args(per_device_train_batch_size=2)
    assert (args.n_gpu, args.train_batch_size) == (1, 2)
    assert "one of 3 GPUs is used: to train on all, start with `accelerate launch`" in caplog.text


def test_bf16_is_not_tried_where_it_is_not_asked_for(make_args, monkeypatch, caplog):
    monkeypatch.setattr(cpu_bf16, "try_bf16", lambda: pytest.fail("bf16 was tried"))
    assert make_args().precision == FLOAT32
    assert not caplog.records


def test_one_run_warns_once(set_bf16_trial, tmp_path, caplog):
    set_bf16_trial(SLOWER)
    stage_2 = json.dumps({"num_train_epochs": 1})
    arguments = ["--bf16=true", "--use_cpu=true", f"--stage_2={stage_2}", f"--output_dir={tmp_path}"]
    training = parse_arguments(arguments).training

    assert [args.precision for args in training.values()] == [FLOAT32, FLOAT32]
    assert [log.getMessage() for log in caplog.records] == [f"{SWITCHED_OFF}{SLOWER}"]


# A training that is resumed


@pytest.mark.parametrize(("used", "trial"), [(BF16, SLOWER), (BF16, FASTER), (FLOAT32, FASTER), (FLOAT32, DYING)])
def test_resumed_training_uses_the_precision_it_was_started_in(
    make_args, set_bf16_trial, record_precision, used, trial
):
    set_bf16_trial(trial)
    args = make_args(bf16=True)
    args.reuse_precision(record_precision(requested=BF16, used=used))

    assert args.precision == used
    assert args.mixed_precision == ("bf16" if used.bf16 else "no")


def test_training_in_bf16_is_not_resumed_on_a_cpu_without(make_args, set_bf16_trial, record_precision):
    set_bf16_trial(DYING)
    args = make_args(bf16=True)
    message = (
        "checkpoint-3 was trained in bf16, but a bf16 matrix product ends .* SIGILL .*: resume it on another machine"
    )
    with pytest.raises(ValueError, match=message):
        args.reuse_precision(record_precision(requested=BF16, used=BF16))


@pytest.mark.parametrize(
    ("requested", "settings", "message"),
    [
        (BF16, {}, "was trained with `bf16=True`: set this"),
        (FLOAT32, {"bf16": True}, "was trained with `bf16=False`: set this"),
        (BF16, {"bf16": True, "bf16_full_eval": True}, "was trained with `bf16_full_eval=False`: set this"),
    ],
)
def test_resumed_training_does_not_change_the_request(
    make_args, set_bf16_trial, record_precision, requested, settings, message
):
    set_bf16_trial(FASTER)
    with pytest.raises(ValueError, match=f"checkpoint-3 {message}"):
        make_args(**settings).reuse_precision(record_precision(requested=requested, used=requested))


def test_what_was_used_in_the_end_can_be_requested_instead(make_args, set_bf16_trial, record_precision):
    set_bf16_trial(FASTER)
    args = make_args(bf16=False)
    args.reuse_precision(record_precision(requested=BF16, used=FLOAT32))
    assert args.precision == FLOAT32


@pytest.mark.parametrize("state", [None, {}, {"stateful_callbacks": None}, {"stateful_callbacks": {"Other": {}}}])
def test_checkpoint_without_a_record_changes_nothing(make_args, set_bf16_trial, tmp_path, state):
    set_bf16_trial(FASTER)
    args = make_args(bf16=True)
    if state is not None:
        (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    args.reuse_precision(str(tmp_path))
    assert args.precision == BF16


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("per_device_train_batch_size", 1),
        ("per_device_eval_batch_size", 1),
        ("gradient_accumulation_steps", 1),
        ("max_tokens_per_batch", 1),
        ("max_pairs_per_batch", 1),
        ("num_train_epochs", 0),
        ("learning_rate", 0),
        ("encoder_learning_rate", 0),
        ("base_learning_rate", 0),
        ("weight_decay", 0),
        ("dataloader_num_workers", 0),
        ("seed", 0),
    ],
)
def test_values_that_are_too_small_are_refused_at_once(make_args, name, least):
    assert getattr(make_args(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"^`{name}` must be at least {least}, got {least - 1}$"):
        make_args(**{name: least - 1})
