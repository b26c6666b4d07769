"""The entry point: it finds the command, imports it when it is called, and says what there is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_docre_ii import cli
from modeling_docre_ii.cli import COMMANDS, main


ROOT = Path(__file__).parents[3]


def run(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "modeling_docre_ii.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(capsys, flag):
    main([flag])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: docre-ii COMMAND")
    for name, command in COMMANDS.items():
        assert f"  {name} " in printed and command.summary in printed


def test_without_a_command_the_usage_is_an_error():
    with pytest.raises(SystemExit, match="^usage: docre-ii COMMAND"):
        main([])


@pytest.mark.parametrize(
    ("name", "hint"), [("trian", ", did you mean 'train'?"), ("scores", ", did you mean 'score'?"), ("zzzz", "")]
)
def test_unknown_command_is_an_error_with_a_suggestion(name, hint):
    with pytest.raises(SystemExit) as error:
        main([name, "--help"])
    assert str(error.value).splitlines()[0] == f"docre-ii: unknown command {name!r}{hint}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_with_its_name(capsys, name):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: docre-ii {name} ")


def test_an_interruption_is_one_line(monkeypatch, capsys):
    def interrupted(argv, prog):
        raise KeyboardInterrupt

    monkeypatch.setattr("modeling_docre_ii.cli.graph.main", interrupted)
    with pytest.raises(SystemExit) as exit:
        main(["graph", "triples"])
    assert exit.value.code == 130
    assert capsys.readouterr().err == "docre-ii graph: interrupted\n"


def test_errors_of_a_command_start_with_its_name():
    with pytest.raises(SystemExit, match="^docre-ii train: there is no configuration file 'nowhere.yaml'"):
        main(["train", "nowhere.yaml"])


def test_module_runs_as_the_console_script():
    result = run("score", "--score_files", "nowhere.json")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("docre-ii score: `score_files`: there is no file 'nowhere.json'")


def test_entry_point_imports_no_command():
    """What it imports at its top: the standard library, and suggestions for names, which import nothing more."""
    imported = [
        node
        for node in ast.parse(Path(cli.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    relative = [node.module for node in imported if isinstance(node, ast.ImportFrom) and node.level]
    others = {name.name for node in imported if isinstance(node, ast.Import) for name in node.names}
    others |= {node.module for node in imported if isinstance(node, ast.ImportFrom) and not node.level}
    assert relative == ["utils.suggestions"]
    assert others <= sys.stdlib_module_names


def test_setup_names_the_console_script():
    configuration = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "\nconsole_scripts =\n    docre-ii = modeling_docre_ii.cli:main\n" in configuration
