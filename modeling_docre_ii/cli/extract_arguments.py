"""Checks the arguments of `docre-ii extract` before a model is loaded."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers.utils import PROCESSOR_NAME

from ..decoding import check_selection
from ..deployment.exported_model import ENCODER_FILE
from ..knowledge_graph.writing import check_output


# The ending of files with a document a line. Any other output is a folder of Parquet files.
LINES = ".jsonl"
_PAGE = ".html"


def check_arguments(args: argparse.Namespace) -> None:
    """
    Checks arguments that depend on each other.

    Args:
        args (`argparse.Namespace`):
            The arguments.

    Raises:
        `ValueError`: `output` is empty or neither a .jsonl file nor a folder, `html` is no .html file or in the folder
            of `graph`, `graph` has no known ending or no `output`, an option has no effect on a folder, a number is
            out of range, or there is no such device.
    """
    check_selection(args.threshold, args.top_k)
    check_device(args.device)
    check_backend(args)
    if args.output == "":
        raise ValueError("`output` is empty: name a file that ends in .jsonl, or a folder")
    if args.graph is not None:
        if args.output is None:
            raise ValueError("`graph` needs an `output`: the graph is made of the triples in it")
        check_output(args.graph)
        graph, output = Path(args.graph).resolve(), Path(args.output).resolve()
        if graph == output or graph in output.parents or (output in graph.parents and not args.output.endswith(LINES)):
            raise ValueError(
                f"`graph` is {args.graph!r} and `output` {args.output!r}, one in the other: name another folder for "
                "the graph"
            )
    if args.batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {args.batch_size}")
    if args.html is not None and (not args.html.endswith(_PAGE) or Path(args.html).is_dir()):
        raise ValueError(f"`html` is {args.html!r}, expected the name of a file that ends in {_PAGE}")
    if args.html and args.graph and Path(args.graph).resolve() in Path(args.html).resolve().parents:
        raise ValueError(f"`html` is {args.html!r}, in the folder of the `graph` {args.graph!r}: name another place")
    for name in ("output", "html", "graph"):
        check_can_be_made(name, getattr(args, name))
    if args.output is None or args.output.endswith(LINES):
        if args.output is not None and Path(args.output).is_dir():
            raise ValueError(f"`output` is {args.output!r}, which is a folder: name another file")
        return
    if Path(args.output).suffix and not args.output.endswith(os.sep) and not Path(args.output).is_dir():
        raise ValueError(f"`output` is {args.output!r}, expected a name that ends in {LINES}, or a folder")
    given = {
        "threshold": args.threshold != 0.5,
        "top_k": args.top_k is not None,
        "explain": args.explain,
        "html": args.html is not None,
    }
    for name in [name for name, is_given in given.items() if is_given]:
        raise ValueError(f"`{name}` has no effect on Parquet files: name an `output` that ends in {LINES}")


def check_can_be_made(name: str, path: str | None) -> None:
    """
    Checks that an output lies in no file.

    Args:
        name (`str`):
            The argument.
        path (`str`, *optional*):
            Its value.

    Raises:
        `ValueError`: what should be a folder is a file.
    """
    for parent in [] if path is None else Path(path).resolve().parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"`{name}` is {path!r}, but {str(parent)!r} is a file and not a folder")


def check_not_read(args: argparse.Namespace, files: Sequence[str]) -> None:
    """
    Checks that no output replaces a text, or becomes one of the next run.

    Args:
        args (`argparse.Namespace`):
            The arguments.
        files (`list[str]`):
            The files that are read, from [`list_inputs`].

    Raises:
        `ValueError`: one does.
    """
    read = {Path(file).resolve() for file in [*files, *args.texts]}
    for name in ("output", "html", "graph"):
        path = getattr(args, name)
        if path is not None and Path(path).resolve() in read and not Path(path).is_dir():
            raise ValueError(f"`{name}` is {path!r}, which is one of the texts: name another file")
    if args.output is not None and args.output.endswith(LINES) and Path(args.output).resolve().parent in read:
        raise ValueError(
            f"`output` is {args.output!r}, in a folder whose texts are read, so that the next run would read it: name "
            "a file elsewhere"
        )


def check_device(name: str | None) -> None:
    """
    Checks that there is a device.

    Args:
        name (`str`, *optional*):
            Its name.

    Raises:
        `ValueError`: there is no such device.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`device` is {name!r}, which is not there: {str(error).splitlines()[0]}") from error


def check_backend(args: argparse.Namespace) -> None:
    """
    Checks arguments that an exported model has no use for.

    Args:
        args (`argparse.Namespace`):
            The arguments.

    Raises:
        `ValueError`: `device` or `explain` is given for an exported model.
    """
    if args.backend == "torch":
        return
    if args.device is not None:
        raise ValueError(f"`device` has no effect on `backend` {args.backend!r}, which runs on the CPU")
    if args.explain:
        raise ValueError(f"`explain` needs `backend` 'torch': {args.backend!r} returns no attention of pairs")


def check_model_folder(folder: str, backend: str) -> None:
    """
    Checks that a local folder holds all that the command needs.

    Args:
        folder (`str`):
            The folder. Names on the Hub pass.
        backend (`str`):
            What runs the model.

    Raises:
        `ValueError`: it has no processor, or an exported model for another backend.
    """
    path = Path(folder)
    if path.is_dir() and not (path / PROCESSOR_NAME).is_file():
        raise ValueError(f"`model`: {folder!r} has no {PROCESSOR_NAME}: save the processor there as well")
    if backend == "torch" and (path / ENCODER_FILE).is_file():
        raise ValueError(f"`model`: {folder!r} holds an exported model: add `--backend openvino` or `--backend onnx`")


def read_type_map(text: str) -> dict[str, str | None]:
    """
    Reads `--type_map`.

    Args:
        text (`str`):
            A JSON object.

    Raises:
        `ValueError`: it is not one.
    """
    try:
        type_map = json.loads(text)
    except ValueError as error:
        raise ValueError(f"`type_map` is not JSON: {error}") from error
    if not isinstance(type_map, dict):
        raise ValueError(f'`type_map` is {text!r}, expected a JSON object such as {{"PERSON": "PER"}}')
    return type_map


__all__ = ["LINES", "check_arguments", "check_model_folder", "check_not_read", "read_type_map"]
