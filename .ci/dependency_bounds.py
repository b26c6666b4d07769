"""
Installs the package with the oldest and with the newest versions of its dependencies, and tests both.

    python .ci/dependency_bounds.py

Each of the two fresh virtual environments gets the package with its extra `test`: `lowest` with the lower bounds of
setup.cfg, `newest` with whatever pip chooses. Both run a selection of the tests, or the tests that the command line
names. pip-audit compares the versions with the vulnerabilities on PyPI, if it can be installed and gets an answer.

Versions in the file that PIP_CONSTRAINT names go before the bounds, for example to have one build of torch in both.
"""

import argparse
import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
# Reading corpora, training, resuming, scores, bulk extraction, ONNX, model card, Hub, LoRA, pipeline: each dependency.
TESTS = (
    "tests/dataset_scripts/test_docred.py",
    "tests/modeling_docre_ii/cli/test_parsing.py",
    "tests/modeling_docre_ii/cli/test_stages.py",
    "tests/modeling_docre_ii/deployment",
    "tests/modeling_docre_ii/evaluation/test_docred_metric.py",
    "tests/modeling_docre_ii/hub",
    "tests/modeling_docre_ii/test_checkpoints.py",
    "tests/modeling_docre_ii/test_encoder_families.py",
    "tests/modeling_docre_ii/test_loading.py",
    "tests/modeling_docre_ii/test_lora.py",
    "tests/modeling_docre_ii/test_pipeline_docre_ii.py",
    "tests/modeling_docre_ii/test_text_documents_splitting.py",
    "tests/modeling_docre_ii/test_transformers_conventions.py",
    "tests/modeling_docre_ii/training/test_accelerate_configurations.py",
    "tests/modeling_docre_ii/training/test_checkpoints.py",
    "tests/modeling_docre_ii/training/test_trainer.py",
    "tests/modeling_docre_ii/training/test_trainer_stages.py",
    "tests/test_hub.py",
)
EXTRA = "test"
ENVIRONMENTS = ("lowest", "newest")


def read_requirements() -> dict[str, str]:
    """Reads the dependencies of setup.cfg with those of its extras, and the lower bound of each, `""` for none."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    bounds = {}
    for line in "\n".join(lists).split():
        name, _, bound = line.partition(">=")
        # `docre-ii[onnx]` in an extra is the package itself.
        if "[" not in name:
            bounds[normalized(name)] = bound
    return bounds


def read_constraints() -> dict[str, str]:
    """Reads the constraints of the user, by package."""
    constraints = {}
    for path in os.environ.get("PIP_CONSTRAINT", "").split():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if name := re.match(r"[\w.-]+", line):
                constraints[normalized(name.group())] = line
    return constraints


def normalized(name: str) -> str:
    """Returns the name of a package as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Environment:
    """
    A virtual environment.

    Args:
        folder (`Path`): Where it is.
        constraints (`list[str]`): What pip may install in it.
    """

    def __init__(self, folder: Path, constraints: list[str]):
        venv.create(folder, clear=True, with_pip=True)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.log = folder / "log.txt"
        constraint_file = folder / "constraints.txt"
        constraint_file.write_text("\n".join(constraints), encoding="utf-8")
        # The tests import the tree that this script is in.
        self.variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.variables |= {"PIP_CONSTRAINT": str(constraint_file), "HF_HUB_OFFLINE": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs a Python module in the environment, and writes what it prints into the log as well."""
        command = [str(self.python), "-m", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.variables, capture_output=True, text=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
        return done

    def versions(self) -> dict[str, str]:
        """Returns the installed version of each package."""
        listed = json.loads(self.run("pip", "list", "--format=json").stdout)
        return {normalized(package["name"]): package["version"] for package in listed}


def audit(environment: Environment, folder: Path) -> str:
    """Returns what pip-audit finds in an environment, or why it finds nothing."""
    auditor = Environment(folder, [])
    if auditor.run("pip", "install", "--quiet", "pip-audit").returncode:
        return "not run: pip-audit cannot be installed"
    frozen = folder / "requirements.txt"
    frozen.write_text("".join(f"{name}=={version}\n" for name, version in environment.versions().items()))
    options = ("--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off")
    done = auditor.run("pip_audit", *options, f"--requirement={frozen}")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return "not run: pip-audit does not reach its data"
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        # pip-audit then prints that there are no known vulnerabilities.
        return f"not run: the index knows no vulnerabilities of any of the {len(packages)} packages"
    found = [
        f"{package['name']} {package['version']}: {', '.join(flaw['id'] for flaw in package['vulns'])}"
        for package in audited
        if package["vulns"]
    ]
    return f"{len(audited)} of {len(packages)} packages audited; {'; '.join(found) or 'no known vulnerabilities'}"


def check(name: str, folder: Path, tests: list[str]) -> tuple[dict[str, str], str, str, bool]:
    """Returns the versions in an environment, the outcome of its tests and of the audit, and whether all passed."""
    constraints = read_constraints()
    if name == "lowest":
        bounds = {name: f"{name}=={bound}" for name, bound in read_requirements().items() if bound}
        constraints = bounds | constraints
    environment = Environment(folder / name, list(constraints.values()))
    print(f"{name}: installing; the log is {environment.log}", flush=True)
    if environment.run("pip", "install", "--editable", f".[{EXTRA}]").returncode:
        return {}, "pip finds no such set of versions", "not run", False
    print(f"{name}: testing", flush=True)
    begin = time.monotonic()
    done = environment.run("pytest", "-q", *tests)
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1].strip("= ")
    outcome = re.sub(r" in .*", f" in {time.monotonic() - begin:.0f} s", last)
    return environment.versions(), outcome, audit(environment, folder / f"audit_{name}"), not done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=TESTS, help="tests to run, as for pytest (default: a selection)")
    parser.add_argument("--folder", type=Path, help="keep environments and logs in this folder (default: delete them)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        results = {name: check(name, folder, list(arguments.tests)) for name in ENVIRONMENTS}
        failed = [name for name, (*_, passed) in results.items() if not passed]
        if failed and arguments.folder is None:
            print(*[(folder / name / "log.txt").read_text(encoding="utf-8")[-10_000:] for name in failed], sep="\n")

    print(f"\n| Python {sys.version.split()[0]} | bound | {' | '.join(ENVIRONMENTS)} |\n|---|---|---|---|")
    for name, bound in sorted(read_requirements().items()):
        installed = " | ".join(versions.get(name, "-") for versions, *_ in results.values())
        print(f"| {name} | {bound or '-'} | {installed} |")
    for row, index in (("tests", 1), ("pip-audit", 2)):
        print(f"| {row} | | {' | '.join(str(result[index]) for result in results.values())} |")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
