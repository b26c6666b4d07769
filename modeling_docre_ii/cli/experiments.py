"""Runs the experiments of the paper, and your own: `docre-ii experiments`."""

import argparse
import gc
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dataset_scripts.corpus import Corpus

from ..configuration_docre_ii import DocREIIConfig
from ..experiments.definition import WEIGHTS, Experiment, Measure, read_experiment
from ..experiments.planning import ArgumentKinds, PlannedRun, distinct_runs, plan_runs
from ..experiments.plots import write_plot
from ..experiments.reports import Setting, markdown_report, runs_csv, summary_csv, write_text
from ..experiments.scoring import EvaluatedRun, evaluate_predictions, summarize_row
from ..inference_module import classifier_weights
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..training.predictions import load_predictions
from ..utils.wording import counted
from .arguments import Arguments
from .corpora import read_corpus
from .experiment_arguments import TRAINING_ARGUMENTS, check_experiment, given_arguments, read_base
from .parsing import as_arguments, parse_arguments
from .process_setup import logger, one_line_errors, setup_logging
from .run_record import RunRecord, digest_of_file, has_begun, has_effect, open_run


DESCRIPTION = """\
Trains what a table of runs needs and writes the table: mean and deviation over seeds, and the gain over the base
module with a paired bootstrap. The same command resumes where it was stopped.

    docre-ii experiments configuration/paper/table_4.yaml --output_dir outputs/paper \\
      --train_file TRAIN.json --validation_file DEV.json
    docre-ii experiments configuration/paper/table_4.yaml --output_dir outputs/paper_small \\
      --train_file TRAIN.json --validation_file DEV.json \\
      --base configuration/redocred_minilm.yaml --max_train_documents 100 --seeds 1 2 --dry_run

All other arguments are those of `docre-ii train`. They change the configuration of all runs.
"""


def main(argv: list[str], prog: str = "docre-ii experiments") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii experiments"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the experiment or an argument is malformed, or a run ends with an error, with a message that
            says which.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        usage=f"{prog} EXPERIMENT.yaml --output_dir FOLDER [--argument value ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml", help="The experiment.")
    parser.add_argument("--output_dir", required=True, help="Folder for the runs and the tables.")
    parser.add_argument("--base", metavar="CONFIGURATION.yaml", help="Configuration in place of the experiment's own.")
    parser.add_argument("--seeds", type=int, nargs="+", help="Seeds in place of the experiment's own.")
    parser.add_argument("--dry_run", action="store_true", help="Only check everything and print the runs.")
    args, others = parser.parse_known_args(argv)
    with one_line_errors(prog, ValueError, OSError):
        setup_logging()
        experiment = read_experiment(args.experiment)
        runner = Runner(experiment, args.base, args.seeds, Path(args.output_dir), others)
        print(runner.describe())
    if not args.dry_run:
        runner.run(prog)


class Runner:
    """
    The runs of an experiment with a configuration, and their tables.

    Args:
        experiment ([`Experiment`]):
            The experiment.
        configuration (`str`, *optional*):
            Configuration in place of the experiment's own.
        seeds (`list[int]`, *optional*):
            Seeds in place of the experiment's own.
        output_dir (`Path`):
            Folder for the runs and the tables.
        overrides (`list[str]`, *optional*):
            Arguments of `run_docre.py` for all runs, as on its command line.

    Raises:
        `ValueError`: an argument is unknown or malformed, in the experiment or on the command line, or two rows are
            the same runs.
    """

    def __init__(
        self,
        experiment: Experiment,
        configuration: str | None,
        seeds: list[int] | None,
        output_dir: Path,
        overrides: Sequence[str] = (),
    ):
        self.experiment, self.output_dir, self.overrides = experiment, output_dir, list(overrides)
        self.configuration = configuration or str(experiment.configuration)
        self.seeds = list(dict.fromkeys(seeds or experiment.seeds))
        check_experiment(experiment)
        self.given = given_arguments(self.overrides)
        values = read_base(self.configuration) | self.given
        # Predictions of other test documents are those of another run.
        values |= {"test_file": _digests(values.get("test_file"))}
        kinds = ArgumentKinds(TRAINING_ARGUMENTS, {name for name in values if not has_effect(name)})
        self.rows = plan_runs(experiment, values, self.seeds, output_dir, kinds)
        self.runs = distinct_runs(self.rows)
        # By the folder of all seeds: the arguments differ in the seed alone.
        self._parsed: dict[Path, Arguments] = {}
        self._corpora: dict[str, Corpus] = {}
        self._evaluated_runs: dict[Path, EvaluatedRun] = {}
        for row in self.rows:
            for run in (*row.runs[:1], *row.bases[:1]):
                if run.group not in self._parsed:
                    self._parsed[run.group] = self._parse(run, row.row.name)
        self._check_iterations()

    def command(self, run: PlannedRun) -> list[str]:
        """Returns the arguments of `docre-ii train` of a run."""
        start = {} if run.start is None else {"model_name_or_path": str(run.start.folder)}
        own = {"stages": run.stages, "seed": run.seed, "output_dir": str(run.folder), "do_train": True}
        changes = as_arguments(run.arguments | start | own | {"do_eval": True})
        return [self.configuration, *self.overrides, *changes]

    def describe(self) -> str:
        """Returns the plan: what is shared, and the commands that are left to run."""
        states = {run.folder: _state(run) for run in self.runs}
        of_stage_1 = [run for run in self.runs if 1 in run.stages]
        alone = sum(len(row.runs) for row in self.rows if 1 in row.row.stages)
        done, begun = (sum(state == name for state in states.values()) for name in ("finished", "unfinished"))
        epochs = sum(self._epochs(run) for run in self.runs)
        without = sum(self._epochs(run) for row in self.rows for run in row.runs)
        shared = [base for row in self.rows if 1 in row.row.stages for base in row.bases if not base.is_inside]
        without += sum(self._epochs(base) for base in shared)
        lines = [
            f"{self.experiment.title}: {self.experiment.path} on {self.configuration}",
            f"{counted(len(self.rows), 'row')} and {counted(len(self.seeds), 'seed')}: "
            f"{counted(len(self.runs), 'run')}, {done} finished, {begun} to resume",
            f"stage 1: {counted(len(of_stage_1), 'run')} instead of {alone}, since rows share it; {epochs:g} epochs "
            f"instead of {without:g}",
        ]
        for run in self.runs:
            if states[run.folder] != "finished":
                lines.append(f"  docre-ii train {shlex.join(self.command(run))}")
        return "\n".join(lines)

    def run(self, prog: str) -> None:
        """
        Trains what is missing, and writes the tables after every run.

        Args:
            prog (`str`):
                How the user calls the program.

        Raises:
            `SystemExit`: the documents have no such score, a run ends with an error, or the folder of a finished run
                holds another run.
        """
        with one_line_errors(prog, ValueError, OSError):
            self._check_scores()
        finished: set[Path] = set()
        for place, run in enumerate(self.runs, start=1):
            state, label = _state(run), f"{_stages(run)}, seed {run.seed}"
            resume = ["--resume_from_checkpoint", "last"] if has_begun(run.folder) else []
            if state == "finished":
                with one_line_errors(f"{prog}: {label}", ValueError, OSError):
                    open_run(parse_arguments([*self.command(run), *resume]), self._corpus(run))
            else:
                logger.info("\nrun %d of %d: %s, %s", place, len(self.runs), label, run.folder)
                _train([*self.command(run), *resume], f"{prog}: {label}")
            _remove_checkpoints(run.folder)
            # A run of both stages has its stage 1 in a folder inside.
            finished |= {run.folder, run.folder / "stage_1"}
            if state != "finished" or place == len(self.runs):
                with one_line_errors(prog, ValueError, OSError):
                    self.write_tables(finished)
        page = self.output_dir / f"{self.experiment.path.stem}.md"
        print(f"\n{page}:\n\n{page.read_text(encoding='utf-8')}")

    def write_tables(self, finished: set[Path]) -> None:
        """
        Writes Markdown, CSV and the plot of the finished runs.

        Args:
            finished (`set[Path]`):
                Their folders.
        """
        results = []
        for row in self.rows:
            runs, bases = (
                {run.seed: self._evaluated(run) for run in of_kind if run.folder in finished}
                for of_kind in (row.runs, row.bases)
            )
            if runs:
                columns, gain = self.experiment.columns, self.experiment.gain
                results.append(summarize_row(row.row.name, runs, bases, columns, gain))
        if not results:
            return
        stem = self.output_dir / self.experiment.path.stem
        write_text(stem.with_name(f"{stem.name}_runs.csv"), runs_csv(self.experiment, results))
        write_text(stem.with_name(f"{stem.name}.csv"), summary_csv(self.experiment, results))
        plot: str | None = f"{stem.name}.svg"
        try:
            write_plot(stem.with_name(f"{stem.name}.svg"), self.experiment, results)
        except ImportError as error:
            logger.warning("%s", error)
            plot = None
        report = markdown_report(self.experiment, self._setting(), results, plot)
        write_text(stem.with_name(f"{stem.name}.md"), report)

    def _parse(self, run: PlannedRun, row: str) -> Arguments:
        where = f"{self.experiment.path}: row {row!r}: {_stages(run)}"
        try:
            arguments = parse_arguments(self.command(run))
            DocREIIConfig(**arguments.model.config_fields)
        except (ValueError, StrictDataclassError) as error:
            raise ValueError(f"{where}: {error}") from error
        return arguments

    def _check_iterations(self) -> None:
        """A column of an iteration that no model has would be empty."""
        configs = [
            DocREIIConfig(**self._parsed[run.group].model.config_fields) for run in self.runs if 2 in run.stages
        ]
        most = max((config.num_iterations for config in configs), default=0)
        measures = {f"column {name!r}": measure for name, measure in self.experiment.columns.items()}
        for name, measure in (measures | {"the gain": self.experiment.gain}).items():
            if measure is not None and (measure.iteration or 0) > most:
                raise ValueError(
                    f"{self.experiment.path}: {name} is of iteration {measure.iteration}, but the last one of the "
                    f"models is {most}"
                )

    def _check_scores(self) -> None:
        """Otherwise a missing file, such as the MeSH tree of CDR, would be found after the first training."""
        corpus = self._corpus(self.runs[0])
        if _scored_split(corpus) == "test":
            self._check_predictions()
        facts = (corpus.train_facts, corpus.distant_facts)
        scored = EvaluatedRun([[]], list(corpus.documents(_scored_split(corpus))), *facts)
        for measure in filter(None, (*self.experiment.columns.values(), self.experiment.gain)):
            # Which evidence scores there are depends on the predictions.
            if "evidence_" not in measure.score:
                scored.value(Measure(measure.score))

    def _check_predictions(self) -> None:
        """Labeled test documents are scored, so that every run must predict them."""
        for run in self.runs:
            if not self._parsed[run.group].last.do_predict:
                raise ValueError("the test documents have labels and are scored: set `do_predict` to true")
            if len(run.stages) == 2:
                raise ValueError(
                    "the test documents have labels and are scored, and the base module of a cross-fit does not "
                    "predict them: leave them out"
                )

    def _epochs(self, run: PlannedRun) -> float:
        arguments = self._parsed[run.group]
        epochs = {stage: args.num_train_epochs for stage, args in arguments.training.items()}
        # With k folds, k more bases are trained.
        more = arguments.cross_fit_folds if len(epochs) == 2 and arguments.cross_fit_folds > 1 else 0
        return sum(epochs.values()) + more * epochs.get(1, 0.0)

    def _corpus(self, run: PlannedRun) -> Corpus:
        data_args = self._parsed[run.group].data
        key = json.dumps(asdict(data_args))
        if key not in self._corpora:
            self._corpora[key] = read_corpus(data_args)
        return self._corpora[key]

    def _is_held_out(self, run: PlannedRun, split: str) -> bool:
        return split == "validation" and self._parsed[run.group].last.calibrate_threshold

    def _evaluated(self, run: PlannedRun) -> EvaluatedRun:
        if run.folder not in self._evaluated_runs:
            corpus = self._corpus(run)
            split = _scored_split(corpus)
            documents = list(corpus.documents(split))
            self._evaluated_runs[run.folder] = evaluate_predictions(
                _load_predictions(run, split, documents),
                documents,
                corpus.relations,
                self._is_held_out(run, split),
                corpus.train_facts,
                corpus.distant_facts,
                self._weights(run),
            )
        return self._evaluated_runs[run.folder]

    def _weights(self, run: PlannedRun) -> dict[str, float]:
        if run.stages == [1] or not any(column.score in WEIGHTS for column in self.experiment.columns.values()):
            return {}
        model = DocREIIForRelationExtraction.from_pretrained(run.folder)
        return {f"{name}_weight": weight for name, weight in classifier_weights(model.inference_module).items()}

    def _setting(self) -> Setting:
        corpora = [self._corpus(row.runs[0]) for row in self.rows]
        split = _scored_split(corpora[0])
        thresholds = [
            "at held-out thresholds" if self._is_held_out(row.runs[0], split) else "at the thresholds of the models"
            for row in self.rows
        ]
        sizes = list(dict.fromkeys(len(corpus.splits["train"]) for corpus in corpora))
        return Setting(
            configuration=self.configuration,
            overrides=shlex.join(as_arguments({name: v for name, v in self.given.items() if not _is_file(name)})),
            seeds=self.seeds,
            documents=f"{len(corpora[0].splits[split]):,} {split} documents",
            train_documents=" or ".join(f"{size:,}" for size in sizes),
            thresholds=" or ".join(dict.fromkeys(thresholds)),
        )


def _load_predictions(run: PlannedRun, split: str, documents: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    try:
        return load_predictions(run.folder / f"{split}_predictions.npz", documents)
    except ValueError as error:
        folder = str(run.folder.parent if run.is_inside else run.folder)
        raise ValueError(f"{error}. Remove {folder!r}, and the same command trains it again") from error


def _train(argv: list[str], prog: str) -> None:
    # Loaded here: `run_docre` is the command of another name, and takes seconds to import.
    from run_docre import main as train

    train(argv, prog)
    gc.collect()


def _scored_split(corpus: Corpus) -> str:
    """Returns the test documents, if there are labeled ones, or else the validation documents."""
    has_labels = "test" in corpus.splits and any(row.get("labels") for row in corpus.splits["test"])
    return "test" if has_labels else "validation"


def _remove_checkpoints(folder: Path) -> None:
    """Removes what only an unfinished run needs: with the state of the optimizer, thrice the size of the model."""
    for pattern in (f"{PREFIX_CHECKPOINT_DIR}-*", f"stage_1/{PREFIX_CHECKPOINT_DIR}-*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path)


def _is_file(name: str) -> bool:
    """Returns whether an argument names documents, which an experiment leaves to the command line."""
    return (name.endswith("_file") or name == "data_dir") and name not in ("teacher_file", "unlabeled_file")


def _digests(paths: str | list[str] | None) -> list[str]:
    listed = [paths] if isinstance(paths, str) else paths or []
    return [digest_of_file(Path(path)) for path in listed if Path(path).is_file()]


def _stages(run: PlannedRun) -> str:
    return "stages 1 and 2" if len(run.stages) == 2 else f"stage {run.stages[0]}"


def _state(run: PlannedRun) -> str:
    record = RunRecord.read(run.folder)
    return "missing" if record is None else "finished" if record.is_finished else "unfinished"


__all__ = ["Runner", "main"]
