"""The files of configuration/accelerate as accelerate reads them, and FSDP as far as a CPU has it."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from transformers import AutoModel

from modeling_docre_ii import DocREIIForRelationExtraction


FOLDER = Path(__file__).parents[3] / "configuration" / "accelerate"
TYPES = {
    "cpu_2_processes": DistributedType.MULTI_GPU,
    "gpu_8": DistributedType.MULTI_GPU,
    "fsdp": DistributedType.FSDP,
    "deepspeed_zero2": DistributedType.DEEPSPEED,
    "deepspeed_zero3": DistributedType.DEEPSPEED,
}
SCRIPT = """
from accelerate.utils import DistributedType

for resumed in (None, str(folder / "fsdp" / "checkpoint-3")):
    args = make_args("fsdp")
    # accelerate would leave out FSDP on a CPU without a word.
    args.distributed_state.distributed_type = DistributedType.MULTI_GPU
    train_dataset = Dataset.from_list(rows).remove_columns("document_index")
    trainer = DocREIITrainer(model=load_model("fsdp"), args=args, train_dataset=train_dataset, data_collator=collate)
    assert trainer.accelerator.distributed_type == DistributedType.FSDP
    trainer.train(resume_from_checkpoint=resumed)
    output = trainer.predict(Dataset.from_list(rows))
    trainer.save_model(str(folder / ("resumed" if resumed else "trained")))
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
if trainer.is_world_process_zero():
    torch.save({"losses": losses, "test_loss": output.metrics["test_loss"]}, folder / "found.pt")
"""


def test_there_is_a_test_for_every_file():
    assert {path.stem for path in FOLDER.iterdir()} == set(TYPES)


@pytest.mark.parametrize("name", list(TYPES))
def test_accelerate_reads_it(name):
    path = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(path))
    parser = launch_command_parser()
    args = parser.parse_args(["--config_file", str(path), "run_docre.py"])
    written = yaml.safe_load(path.read_text())
    for section in ("fsdp_config", "deepspeed_config"):
        for key in written.get(section, {}):
            assert hasattr(args, key), f"accelerate knows no {key!r}"
    args, _, _ = _validate_launch_command(args)

    assert config.distributed_type == TYPES[name]
    assert args.num_processes == written["num_processes"] == (2 if name == "cpu_2_processes" else 8)
    # So that `bf16` of a run is what counts.
    assert args.mixed_precision == "no"
    assert (args.use_fsdp, args.use_deepspeed) == (name == "fsdp", name.startswith("deepspeed"))
    if args.use_deepspeed:
        assert args.zero_stage == int(name[-1])
        assert args.gradient_accumulation_steps == args.gradient_clipping == "auto"
    if args.use_fsdp:
        assert (args.fsdp_version, args.fsdp_state_dict_type) == (2, "FULL_STATE_DICT")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_fsdp_learns_as_one_process_and_saves_what_can_be_loaded(launch, features, make_trainer, stage):
    settings = {"num_train_epochs": 3, "learning_rate": 2e-3, "encoder_learning_rate": 1e-3, "weight_decay": 0.1}
    # Some gradients are rounding and nothing else, which Adam is not to make steps of.
    settings |= {"base_learning_rate": 1e-3, "max_grad_norm": 1.0, "logging_steps": 1, "adam_epsilon": 1e-3}
    of_two = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 3}
    runs = {"fsdp": {"model": "base" if stage == 1 else "iterating", "settings": settings | of_two}}
    launcher = ["accelerate.commands.launch", "--main_process_port=0", "--num_processes=2"]
    folder, load = launch(SCRIPT, features, runs, *launcher, f"--config_file={FOLDER / 'fsdp.yaml'}")

    model = load("fsdp")
    trainer = make_trainer(model, features, features, **settings, per_device_train_batch_size=4, save_strategy="no")
    trainer.train()
    found = torch.load(folder / "found.pt")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert found["losses"] == pytest.approx(losses, rel=1e-3)
    assert found["test_loss"] == pytest.approx(trainer.evaluate()["eval_loss"], rel=1e-3)
    for name in ("trained", "resumed", "fsdp/checkpoint-6"):
        weights = DocREIIForRelationExtraction.from_pretrained(folder / name).state_dict()
        for weight_name, weight in model.state_dict().items():
            torch.testing.assert_close(weights[weight_name], weight, rtol=1e-2, atol=1e-4, msg=weight_name)
    # Where this package is not installed, the code in the folder is read.
    config = json.loads((folder / "trained" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_docre_ii.DocREIIForRelationExtraction"
    assert (folder / "trained" / "modeling_docre_ii.py").exists()
    assert AutoModel.from_pretrained(folder / "trained").num_parameters() == model.num_parameters()
