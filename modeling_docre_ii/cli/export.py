"""Exports a checkpoint to ONNX, its encoder to int8 too: `docre-ii export`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..configuration_docre_ii import DocREIIConfig
from ..configuration_loading import load_config
from ..deployment.exported_model import ENCODER_FILE
from ..deployment.onnx_export import export_onnx
from ..deployment.openvino_int8 import quantize_openvino
from ..entity_finding import checkpoint_of, find_mention_model, save_mention_model
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..utils.wording import counted
from .arguments import DataArguments
from .corpora import read_corpus
from .parsing import parse_some_arguments
from .process_setup import one_line_errors, setup_logging


DESCRIPTION = """\
Exports a checkpoint to ONNX, for onnxruntime and OpenVINO, with its processor and its mention model. With --int8, the
encoder is also quantized for OpenVINO, with training documents to calibrate it.

    docre-ii export --checkpoint outputs/quickstart --output_dir exported
    docre-ii export --checkpoint outputs/quickstart --output_dir exported --int8 --dataset_name re_docred \\
        --train_file TRAIN.json
    docre-ii extract article.txt --model exported --backend openvino
"""

# Documents that calibrate the encoder, if nothing else is said.
NUM_CALIBRATION_DOCUMENTS = 40


@dataclass
class ExportArguments:
    """The model and its export."""

    _argument_group_name = "export"

    checkpoint: str = field(metadata={"help": "A model on the Hub or in a folder."})
    output_dir: str = field(metadata={"help": "Folder to write."})
    int8: bool = field(
        default=False,
        metadata={
            "help": "Also write an encoder in int8, which OpenVINO runs. Training documents calibrate it: the first "
            f"{NUM_CALIBRATION_DOCUMENTS}, or as many as --max_train_documents says."
        },
    )


def main(argv: list[str], prog: str = "docre-ii export") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii export"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments, a file or the checkpoint are malformed, or a package is missing, with a message
            that says how.
    """
    with one_line_errors(prog, ValueError, OSError, ImportError):
        args, data_args = parse_some_arguments((ExportArguments, DataArguments), argv, DESCRIPTION, prog)
        setup_logging()
        if load_config(args.checkpoint).model_type != DocREIIConfig.model_type:
            raise ValueError(f"`checkpoint`: {args.checkpoint!r} is not a DocRE-II checkpoint")
        for name in () if args.int8 else ("train_file", "data_dir", "max_train_documents"):
            if getattr(data_args, name) is not None:
                raise ValueError(f"`{name}` calibrates the encoder in int8: add `--int8`")
        # Before the export, which takes a minute.
        documents = _calibration_documents(data_args) if args.int8 else []
        print(f"{args.output_dir}: {export_checkpoint(args.checkpoint, args.output_dir)}")
        if args.int8:
            quantize_openvino(args.output_dir, documents)
            print(f"{args.output_dir}: encoder in int8, calibrated with {counted(len(documents), 'document')}")


def export_checkpoint(checkpoint: str, folder: str) -> str:
    """
    Exports a model, its processor and its mention model, if it has one.

    Args:
        checkpoint (`str`):
            Name on the Hub or folder.
        folder (`str`):
            Folder to write.

    Returns:
        `str`: what was written, for the user.

    Raises:
        `ValueError`: the folder is a file, or holds a checkpoint or anything else but an exported model.
    """
    if not folder or Path(folder).is_file():
        raise ValueError(f"`output_dir` is {folder!r}, expected a folder")
    if any((Path(folder) / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        raise ValueError(
            f"`output_dir`: {folder!r} holds a checkpoint, whose configuration and mention model an export would "
            "replace: choose another folder"
        )
    if Path(folder).is_dir() and os.listdir(folder) and not (Path(folder) / ENCODER_FILE).is_file():
        raise ValueError(f"`output_dir`: {folder!r} holds other files, and no exported model: choose an empty folder")
    model = DocREIIForRelationExtraction.from_pretrained(checkpoint, dtype=torch.float32)
    mention_model = find_mention_model(*checkpoint_of(model))
    export_onnx(model, AutoProcessor.from_pretrained(checkpoint), folder)
    if mention_model is None:
        return "exported model"
    save_mention_model(mention_model, folder)
    return "exported model, with its mention model"


def _calibration_documents(data_args: DataArguments) -> list[dict[str, Any]]:
    data_args.max_train_documents = data_args.max_train_documents or NUM_CALIBRATION_DOCUMENTS
    corpus = read_corpus(data_args)
    if "train" not in corpus.splits:
        raise ValueError("`int8` needs documents to calibrate the encoder: set `train_file`")
    return list(corpus.documents("train"))
