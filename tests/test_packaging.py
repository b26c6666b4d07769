"""The package: its metadata, and that wheel and source distribution work away from the repository."""

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

import modeling_docre_ii
from tests.documentation_folder import ENCODER, TINY_MODEL, write_placeholders


ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"
# Names that differ between import and distribution.
DISTRIBUTIONS = {"yaml": "pyyaml"}
# huggingface_hub needs jinja2 for a model card, but does not install it. transformers stores weights with safetensors.
USED_BY_OTHERS = {"jinja2", "safetensors"}
# transformers accepts only certain versions of tokenizers, and installs one.
CHOSEN_BY_OTHERS = {"tokenizers"}


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def requirements(text):
    return {re.split(r"[\[<>=]", line)[0] for line in text.split()}


def test_every_imported_package_is_declared(setup):
    paths = [*(ROOT / "modeling_docre_ii").rglob("*.py"), *(ROOT / "dataset_scripts").glob("*.py")]
    imported = set()
    for path in (*paths, ROOT / "run_docre.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
    imported -= {*sys.stdlib_module_names, "modeling_docre_ii", "dataset_scripts", "run_docre"}
    imported = {DISTRIBUTIONS.get(name, name) for name in imported} | USED_BY_OTHERS
    extras = setup["options.extras_require"]
    used = ("experiments", "graph", "onnx", "openvino", "spacy")
    extra = set().union(*(requirements(extras[name]) for name in used))

    assert requirements(setup["options"]["install_requires"]) == imported - extra - CHOSEN_BY_OTHERS


def test_citation_names_version_and_authors(setup, citation):
    assert citation["version"] == modeling_docre_ii.__version__
    assert ", ".join(author["name"] for author in citation["authors"]) == setup["metadata"]["author"]
    assert citation["license"] == setup["metadata"]["license"]


def test_workflow_runs_every_supported_python(setup):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    classifiers = re.findall(r"Python :: (3\.\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)
    (job,) = workflow["jobs"].values()

    assert job["strategy"]["matrix"]["python-version"] == classifiers
    assert setup["options"]["python_requires"] == f">={classifiers[0]}"
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]


def test_pre_commit_checks_what_ci_lints():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert [hook["entry"] for hook in hooks] == ["ruff check .", "ruff format --check .", "mypy"]
    assert {hook["entry"] for hook in hooks} <= set(ci)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A source distribution of the files that git knows, and a wheel that is built from it, as pip does."""
    folder = tmp_path_factory.mktemp("distributions")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    sdist = build(folder / "source", "sdist", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return sdist, build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)


def build(source, kind, folder):
    command = [sys.executable, "-c", BUILD.format(kind=kind, folder=str(folder))]
    built = subprocess.run(command, cwd=source, env=environment(), capture_output=True, text=True, check=True)
    return folder / built.stdout.splitlines()[-1]


def environment(**changes):
    """The environment without the repository on the path of Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | changes


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """Runs a command in a folder outside of the repository, where the wheel is installed."""
    _, wheel = distributions
    target, folder = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("elsewhere")
    install = ["install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "-q", *install], env=environment(), check=True)
    write_placeholders(folder)

    def run(*command):
        changes = {"PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
        done = subprocess.run(command, cwd=folder, env=environment(**changes), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return target, folder, run


@pytest.mark.slow
def test_source_distribution_is_the_repository(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    for expected in ("configuration/quickstart.yaml", "examples/re_docred_sample/train.json", "tests/conftest.py"):
        assert expected in names
    assert {name for name in names if "__pycache__" in name} == set()


@pytest.mark.slow
def test_package_is_imported_and_reads_its_data_files(installed):
    target, _, run = installed
    code = (
        "import modeling_docre_ii; from dataset_scripts.cdr import CDR; from dataset_scripts.gda import *;"
        "builder = CDR(data_dir='CDR_FOLDER', mesh_tree_file='2017MeshTree.txt'); builder.download_and_prepare();"
        "print(modeling_docre_ii.__file__, len(builder.as_dataset()['train']), len(read_pmids(TRAIN_PMIDS)))"
    )
    path, num_documents, num_pmids = run(sys.executable, "-c", code).split()

    assert Path(path).is_relative_to(target)
    assert int(num_documents) > 0
    assert int(num_pmids) == 23353


@pytest.mark.slow
def test_console_script_trains_and_writes_card_and_report(installed):
    target, folder, run = installed
    script = str(target / "bin" / "docre-ii")
    assert "usage: docre-ii COMMAND" in run(script, "--help")

    data = ["--dataset_name", "re_docred", "--train_file", "TRAIN.json", "--validation_file", "DEV.json"]
    model = ["--model_name_or_path", ENCODER, "--model_kwargs", json.dumps(TINY_MODEL), "--max_labels_per_pair", "1"]
    steps = ["--do_train", "true", "--do_eval", "true", "--max_steps", "1", "--report_to", "none"]
    run(script, "train", *data, *model, *steps, "--output_dir", "out")

    assert (folder / "out" / "README.md").read_text(encoding="utf-8").startswith("---\n")
    assert "<html" in (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert (folder / "out" / "modeling_docre_ii.py").exists()
