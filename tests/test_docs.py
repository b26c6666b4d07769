"""The documentation: its links resolve, its Python runs, and its commands are parsed and, in slow tests, run."""

import argparse
import configparser
import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from transformers import HfArgumentParser

import run_docre
from modeling_docre_ii import cli
from modeling_docre_ii.cli.parsing import parse_arguments, parse_data_arguments
from tests.documentation import (
    PAGES,
    ROOT,
    Block,
    anchors_of,
    blocks_of,
    commands_of,
    links_of,
    name_of,
    prose_of,
    slug_of,
)
from tests.documentation_folder import CHECKPOINT, ENCODER, TINY_MODEL, make_working_folder


DOCS = ROOT / "docs"
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [command for block in BLOCKS if block.language == "bash" for command in commands_of(block)]
OUTPUT = ("", "text")
LANGUAGES = (*OUTPUT, "bash", "bibtex", "json", "python", "yaml")
# Programs that no test runs: they install, download, or are the tests themselves.
INSTALLED_PROGRAMS = ("cd", "curl", "git", "hf", "mypy", "pip", "pre-commit", "pytest", "ruff", "source", "tar")
# Exports and compiles a model, which takes a minute.
SLOW_PAGES = ("docs/deployment.md",)
PYTHON_MODULES = ("build", "pip", "pytest", "venv")

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="module")
def prepared_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation")
    make_working_folder(folder)
    return folder


@pytest.fixture
def working_folder(prepared_folder, tmp_path, monkeypatch):
    """A copy of the prepared folder, as the current folder, and a cache of its own for datasets."""
    folder = tmp_path / "work"
    shutil.copytree(prepared_folder, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


# Links


@each_page
def test_links_resolve(page):
    broken = []
    for target in links_of(page):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / unquote(path)).resolve() if path else page
        if not linked.is_relative_to(ROOT) or not linked.exists():
            broken.append(target)
        elif anchor and (linked.suffix != ".md" or unquote(anchor) not in anchors_of(linked)):
            broken.append(target)

    assert broken == []


@each_page
def test_no_path_of_one_machine_is_named(page):
    text = page.read_text(encoding="utf-8")

    assert re.findall(r"(?<![\w./~])/(?:home|Users|root|tmp|work|mnt|data|opt)/\S*", text) == []


def test_index_links_every_page_of_docs():
    linked = {target.partition("#")[0] for target in links_of(DOCS / "README.md")}

    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} - linked == set()


def test_readme_is_short():
    num_lines = len((ROOT / "README.md").read_text(encoding="utf-8").splitlines())

    assert num_lines < 150


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Train in Python", "train-in-python"),
        ("What `Ign F1` is, and why", "what-ign-f1-is-and-why"),
        ("ONNX, int8, torch.compile", "onnx-int8-torchcompile"),
        ("[The Hub](hub.md) – publish", "the-hub--publish"),
        ("save_pretrained", "save_pretrained"),
    ],
)
def test_anchors_follow_the_rules_of_github(title, slug):
    assert slug_of(title) == slug


# Blocks


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{name_of(block.page)}:{block.line}")
def test_block_has_a_known_language(block):
    assert block.language in LANGUAGES
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.not_run],
    ids=lambda block: f"{name_of(block.page)}:{block.line}",
)
def test_block_that_is_not_run_needs_a_gpu_the_hub_or_a_package(block):
    assert block.language in ("python", "bash")
    assert re.search(r"\bGPUs?\b|\bHub\b|\bpackage\b|\bneeds\b", block.not_run)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] * (name_of(page) in SLOW_PAGES))
        for page in PAGES
        if any(block.language == "python" for block in blocks_of(page))
    ],
)
def test_python_runs(page, working_folder):
    """All blocks of a page, in order, share their names."""
    names = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language != "python":
            continue
        # Empty lines before the code, so that a traceback names the line of the page.
        code = compile("\n" * block.line + block.text, name_of(page), "exec")
        if block.not_run is None:
            exec(code, names)


def test_blocks_are_read_as_github_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.documentation.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n\n<!-- not run: needs a GPU -->\n\n```bash\n# comment\nA=1 pip install x && cd y\npython a.py \\\n"
        "  --json '{\"b\":\n1}'\n```\n\n- item\n\n  ```python\n  if True:\n      1\n  ```\n\n## A title\n[x](#a)\n"
    )
    bash, python = blocks_of(page)

    assert (bash.line, bash.language, bash.not_run) == (5, "bash", "needs a GPU")
    assert (python.text, python.not_run) == ("if True:\n    1\n", None)
    assert [command.words for command in commands_of(bash)] == [
        ("pip", "install", "x"),
        ("cd", "y"),
        ("python", "a.py", "--json", '{"b":\n1}'),
    ]
    assert anchors_of(page) == {"a-title", "a-title-1"}
    assert links_of(page) == {"#a"}
    assert "pip" not in prose_of(page)
    with pytest.raises(ValueError, match="'>' is not a plain command"):
        commands_of(Block(page, 1, "bash", "pip install x>=2\n", None))


# Commands


class Parsed(Exception):
    """The arguments of a script have been parsed. The script ends here."""


@pytest.fixture
def parse_only(monkeypatch):
    """Ends every script after its arguments have been parsed."""

    def end_after(function):
        def parse(*args, **kwargs):
            function(*args, **kwargs)
            raise Parsed

        return parse

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", end_after(argparse.ArgumentParser.parse_args))
    dataclasses = HfArgumentParser.parse_args_into_dataclasses
    monkeypatch.setattr(HfArgumentParser, "parse_args_into_dataclasses", end_after(dataclasses))


def python_command(words):
    """Returns the script, or the module with `-m`, that a command runs in Python, and its arguments."""
    if words[0] == "docre-ii":
        return "modeling_docre_ii.cli", list(words[1:])
    if words[:2] == ("accelerate", "launch"):
        launched = launch_command_parser().parse_args(list(words[2:]))
        assert launched.config_file is None or Path(launched.config_file).exists(), launched.config_file
        return launched.training_script, launched.training_script_args
    if words[0] == "python":
        start = 2 if words[1] == "-m" else 1
        return words[start], list(words[start + 1 :])
    return None, []


def run_script(script, argv, monkeypatch):
    if script == "run_docre.py":
        run_docre.main(argv)
    elif script == "modeling_docre_ii.cli":
        cli.main(argv)
    else:
        monkeypatch.setattr(sys, "argv", [script, *argv])
        monkeypatch.syspath_prepend(str(Path(script).parent.resolve()))  # as when Python runs the script
        runpy.run_path(script, run_name="__main__")


def is_ours(command):
    script, _ = python_command(command.words)
    return script is not None and script not in PYTHON_MODULES


@pytest.mark.parametrize("command", [command for command in COMMANDS if is_ours(command)], ids=str)
def test_arguments_are_parsed(command, working_folder, monkeypatch, request):
    script, argv = python_command(command.words)
    if "--help" in argv or "--help-all" in argv:
        with pytest.raises(SystemExit, match="^0$"):
            run_script(script, argv, monkeypatch)
    elif script == "run_docre.py":
        parse_arguments(argv)
    elif script == "modeling_docre_ii.cli" and argv[0] in ("train", "score"):
        (parse_arguments if argv[0] == "train" else parse_data_arguments)(argv[1:])
    elif script == "modeling_docre_ii.cli" and argv[0] == "experiments":
        run_script(script, [*argv, "--dry_run"], monkeypatch)
    else:
        request.getfixturevalue("parse_only")
        with pytest.raises(Parsed):
            run_script(script, argv, monkeypatch)


@pytest.mark.parametrize("command", [command for command in COMMANDS if not is_ours(command)], ids=str)
def test_other_programs_are_known(command, monkeypatch):
    program, *arguments = command.words
    monkeypatch.chdir(ROOT)
    if program == "python":
        assert arguments[:1] == ["-m"] and arguments[1] in PYTHON_MODULES
    elif program == "bash":
        assert arguments == [".ci/run"]
    else:
        assert program in INSTALLED_PROGRAMS
    if program == "pytest":
        assert all(Path(name.partition("::")[0]).exists() for name in arguments if name.startswith("tests/"))
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    for names in re.findall(r"(?:docre-ii|\.)\[([\w,-]+)\]", " ".join(arguments)):
        assert set(names.split(",")) <= set(setup["options.extras_require"])


# Arguments with which a benchmark or an example takes seconds.
SMALL_SIZES = {
    "bulk_extraction.py": ["--checkpoint", CHECKPOINT, "--num-documents", "4", "--documents-per-shard", "2"],
    "cross_attention_cost.py": ["--entities", "3", "--module_entities", "4", "--width", "16", "--rounds", "1"],
    "deployment_cost.py": ["--documents", "DEV.json", "--rounds", "1", "--variants", "eager"],
    "document_threshold.py": ["--weights", "0", "1"],
    "gain_limit.py": ["--seeds", "1", "2", "--num_train_epochs", "1", "--hidden_size", "16"],
    "graph_size.py": ["--num_documents", "20"],
    "growth.py": ["--largest", "10", "--num_documents", "4"],
    "import_time.py": ["--rounds", "1"],
    "inference_margin.py": ["--num_documents", "3", "--rounds", "1"],
    "long_documents.py": ["--lengths", "20", "40", "--num_tokens", "60", "--num_entities", "4", "--rounds", "1"],
    "model_cost.py": ["--encoder", ENCODER, "--num_documents", "4", "--rounds", "1"],
    "padding_waste.py": ["--tokenizer", ENCODER],
    "pair_encoder_cost.py": ["--encoder", ENCODER, "--num_documents", "4", "--rounds", "1"],
    "processor_speed.py": ["--num-documents", "4", "--runs", "1"],
    "raw_text_speed.py": ["--num_documents", "3", "--rounds", "1"],
    "step_profile.py": ["--num_documents", "3", "--rounds", "1"],
    "scoring_speed.py": ["--num-documents", "20", "--num-predictions", "200", "--runs", "1"],
}


def training_limits(argv):
    """Returns arguments that make a run of `run_docre.py` a matter of seconds: a few documents and two tiny steps."""
    arguments = parse_arguments(argv)
    limits = ["--max_train_documents=4", "--max_eval_documents=3", "--max_steps=2", "--eval_delay=0"]
    # A model of random weights predicts thousands of triples, and takes minutes to explain them.
    limits += ["--max_labels_per_pair=1", "--num_printed_documents=0", "--report_to=none", "--disable_tqdm=true"]
    if "--output_dir" not in argv:
        limits += ["--output_dir", "outputs/run"]
    elif Path(argv[argv.index("--output_dir") + 1]).name.startswith(("seed_", "token_", "prior")):
        # For the commands that read such a folder, there is one already.
        limits += ["--overwrite_output_dir", "true"]
    if "--bf16" not in argv:
        limits.append("--bf16=false")
    if not Path(arguments.model.model_name_or_path).exists():
        model_kwargs = arguments.model.model_kwargs | TINY_MODEL
        limits += ["--model_name_or_path", ENCODER, "--model_kwargs", json.dumps(model_kwargs)]
    return limits


def example_limits(script):
    """Returns `--max_steps 2` for an example that trains."""
    source = Path(script).read_text(encoding="utf-8")
    return ["--max_steps", "2", "--report_to", "none"] if "TrainingArguments" in source else []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.block.not_run is None and is_ours(command)], ids=str
)
def test_command_runs(command, working_folder, monkeypatch, capsys):
    script, argv = python_command(command.words)
    if argv[:1] != ["graph"]:  # all others write it
        shutil.rmtree("triples")
    if script == "run_docre.py" and "--help" not in argv:
        argv += training_limits(argv)
    elif script == "modeling_docre_ii.cli" and argv[0] == "train":
        argv += training_limits(argv[1:])
    elif script.startswith("benchmarks/"):
        argv += SMALL_SIZES[Path(script).name]
    elif script.startswith("examples/"):
        argv += example_limits(script)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # for child processes
    try:
        run_script(script, argv, monkeypatch)
    except SystemExit as ended:
        assert not ended.code
    assert capsys.readouterr().out
