"""The scripts in benchmarks/ import what they need and have a `--help`. test_docs.py runs them."""

import runpy
import sys
from pathlib import Path

import pytest


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_benchmark_starts_and_explains_itself(monkeypatch, capsys, path):
    if path.stem == "deployment_cost":
        pytest.importorskip("onnxruntime")
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # as when Python runs the script

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {path.name}")
