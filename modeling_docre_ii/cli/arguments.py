"""What `run_docre.py` can be told, from a configuration file and from the command line."""

import argparse
import difflib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, IntervalStrategy

from ..configuration_docre_ii import DocREIIConfig
from ..hub.model_card import is_hub_id
from ..hub.training_record import KNOWN_CORPORA
from ..mention_marking import MENTION_ANCHORS
from ..training.arguments import DocREIITrainingArguments


# Of transformers' many training arguments, those that `--help` shows.
_USUAL_TRAINING_ARGUMENTS = {
    "output_dir",
    "do_train",
    "do_eval",
    "do_predict",
    "num_train_epochs",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "encoder_learning_rate",
    "base_learning_rate",
    "freeze_base",
    "weight_decay",
    "warmup_steps",
    "max_grad_norm",
    "seed",
    "bf16",
    "eval_strategy",
    "save_strategy",
    "save_total_limit",
    "load_best_model_at_end",
    "metric_for_best_model",
    "calibrate_threshold",
    "train_sampling_strategy",
    "report_to",
    "resume_from_checkpoint",
    "push_to_hub",
}


_FILES = (
    "train_file",
    "validation_file",
    "test_file",
    "distant_file",
    "mesh_tree_file",
    "train_pmids_file",
    "relations_file",
    "score_files",
    "compare_with",
)


@dataclass
class ModelArguments:
    """Which model, and the numbers of a new one."""

    _argument_group_name = "model"

    model_name_or_path: str = field(
        default="google-bert/bert-base-uncased",
        metadata={
            "help": "A text encoder to start from, or a DocRE-II checkpoint to go on with: a name on the Hub, a "
            "folder, or `package:NAME/FOLDER` for a folder inside an installed Python package."
        },
    )
    encoder_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "Changes of the encoder's configuration, as '{\"attention_probs_dropout_prob\": 0.0}'."},
    )
    model_kwargs: dict | str | None = field(
        default=None,
        metadata={
            "help": 'Fields of DocREIIConfig: for a new model, as \'{"pair_encoder": "concat"}\', and for the '
            "inference module that stage 2 adds to a checkpoint, as '{\"num_inference_layers\": 1}'."
        },
    )
    mark_types: bool = field(
        default=False,
        metadata={"help": "For a new model: write the type of a mention behind its opening marker, as a word."},
    )
    mention_anchor: str = field(
        default="marker",
        metadata={
            "help": "For a new model: what stands for a mention, its opening marker or the first token of its text.",
            "choices": MENTION_ANCHORS,
        },
    )

    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={
            "help": "To train a DocRE-II checkpoint on other relations than its own: what depends on their number, "
            "the classifiers and relation embeddings, is drawn at random; all else is kept."
        },
    )

    def __post_init__(self):
        self.encoder_kwargs = _read_mapping("encoder_kwargs", self.encoder_kwargs)
        self.model_kwargs = _read_mapping("model_kwargs", self.model_kwargs)
        check_names("model_kwargs", self.model_kwargs, DocREIIConfig.__dataclass_fields__)


@dataclass
class StageArguments:
    """The two stages of training."""

    _argument_group_name = "stages"

    stages: list[int] = field(
        default_factory=lambda: [1, 2],
        metadata={
            "help": "1 trains the base module alone, 2 everything on top of it. With both, stage 1 is kept in "
            "OUTPUT_DIR/stage_1; with 2 alone, `model_name_or_path` is what stage 1 has left (or a text encoder, "
            "for a model without pre-training)."
        },
    )
    stage_2: dict | str | None = field(
        default=None,
        metadata={
            "help": "Training arguments of stage 2 where they differ from those of stage 1, as "
            '\'{"num_train_epochs": 15, "learning_rate": 1e-4}\'.'
        },
    )

    def __post_init__(self):
        if self.stages not in ([1], [2], [1, 2]):
            raise ValueError(f"`stages` has to be 1, 2, or both, got {self.stages}")
        self.stage_2 = _read_mapping("stage_2", self.stage_2)


@dataclass
class DataArguments:
    """Which documents."""

    _argument_group_name = "data"

    dataset_name: str = field(
        default="docred",
        metadata={
            "help": "With files: the corpus they are of (docred, docred_distant, re_docred, cdr or gda). Without: a "
            "dataset on the Hub or a folder of Parquet files."
        },
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Configuration of the dataset on the Hub; `preprocessed` for files of CDR and GDA in the "
            "17-column format of EoG's preprocessing."
        },
    )
    data_dir: str | None = field(
        default=None,
        metadata={
            "help": "The folder of CDR's PubTator files (a file that is named below replaces the one found there), or "
            "that of GDA's training_data and testing_data."
        },
    )
    train_file: list[str] | None = field(
        default=None,
        metadata={"help": "Training documents (DocRED: JSON, CDR: PubTator), may be gzipped, in one file or several."},
    )
    validation_file: list[str] | None = field(
        default=None, metadata={"help": "Documents to choose the best checkpoint on, and to score."}
    )
    test_file: list[str] | None = field(default=None, metadata={"help": "Documents to predict on."})
    triples_dir: str | None = field(
        default=None,
        metadata={
            "help": "Predict any number of test documents (as JSON lines, .jsonl) into Parquet files in this folder. "
            "Started again, a run goes on there."
        },
    )
    documents_per_shard: int = field(default=500, metadata={"help": "Documents of one file in `triples_dir`."})
    distant_file: list[str] | None = field(
        default=None,
        metadata={"help": "Distantly supervised documents in DocRED's JSON, for the Ign F1 against their facts."},
    )
    mesh_tree_file: str | None = field(
        default=None,
        metadata={"help": "CDR: the MeSH tree, for the hypernym filter in training and scoring."},
    )
    train_pmids_file: str | None = field(
        default=None,
        metadata={"help": "GDA: identifiers of the training documents, one a line. Default: the published list."},
    )
    relations_file: str | None = field(
        default=None,
        metadata={"help": "Relations of an own corpus: a JSON object, id -> readable name. Default: those of DocRED."},
    )
    candidate_types: str | None = field(
        default=None,
        metadata={"help": 'Types that can be related, as \'[["Chemical", "Disease"]]\'. Default: all pairs.'},
    )
    score_files: list[str] | None = field(
        default=None,
        metadata={
            "help": "Instead of a run, score these files of predictions (result.json or a zip of it) on the "
            "validation documents; several are runs with different seeds."
        },
    )
    compare_with: str | None = field(
        default=None,
        metadata={"help": "With one of `score_files`: predictions to compare them with, by a paired bootstrap."},
    )
    max_train_documents: int | None = field(default=None, metadata={"help": "Use the first so many, for a trial."})
    max_eval_documents: int | None = field(default=None, metadata={"help": "Use the first so many, for a trial."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenize."})
    num_printed_documents: int = field(
        default=2, metadata={"help": "Number of documents whose predicted triples are printed."}
    )
    num_printed_triples: int = field(default=10, metadata={"help": "Number of triples printed of a document."})

    def __post_init__(self):
        if self.data_dir is not None and not Path(self.data_dir).is_dir():
            raise ValueError(f"`data_dir`: there is no folder {self.data_dir!r} ({_relative_to()})")
        for name in _FILES:
            paths = getattr(self, name) or []
            for path in [paths] if isinstance(paths, str) else paths:
                if not Path(path).is_file():
                    raise ValueError(f"`{name}`: there is no file {path!r} ({_relative_to()})")
        if self.documents_per_shard < 1:
            raise ValueError(f"`documents_per_shard` has to be at least 1, got {self.documents_per_shard}")
        if self.compare_with is not None and len(self.score_files or ()) != 1:
            raise ValueError("`compare_with` needs one file in `score_files` to compare with")
        if self.candidate_types is not None:
            self.candidate_types = _read_json("candidate_types", self.candidate_types)

    @property
    def files(self) -> dict[str, list[str]]:
        files = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: paths for split, paths in files.items() if paths}


@dataclass
class CardArguments:
    """What the model card (README.md beside the model) is to say that the other arguments do not."""

    _argument_group_name = "model card"

    hub_license: str | None = field(
        default=None,
        metadata={
            "help": "License of the weights, one of the Hub's identifiers, as `apache-2.0`. Default: what the Hub "
            "says of `model_name_or_path`, if it is there."
        },
    )
    hub_language: str | None = field(
        default=None, metadata={"help": "Language code of the documents. Default: that of a corpus that is known."}
    )
    hub_base_model: str | None = field(
        default=None,
        metadata={"help": "Where `model_name_or_path` is on the Hub, if it is a folder or in a package."},
    )
    hub_dataset: str | None = field(
        default=None, metadata={"help": "Where the documents are on the Hub, if they are read from files."}
    )


@dataclass
class Arguments:
    """All that one run is told: [`DocREIITrainingArguments`] for each stage that is to be trained, in order."""

    model: ModelArguments
    data: DataArguments
    card: CardArguments
    training: dict[int, DocREIITrainingArguments]


def parse_arguments(argv: list[str], description: str | None = None) -> Arguments:
    """
    Reads the configuration file, if the first argument is one, and the command line after it.

    Raises:
        `ValueError`: the file cannot be read, or it or `stage_2` has an unknown name; a path, mapping or list of
            stages is not one, or there is nothing to write to `triples_dir`.
    """
    parser = HfArgumentParser(
        (ModelArguments, StageArguments, DataArguments, CardArguments, DocREIITrainingArguments),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="run_docre.py [CONFIGURATION.yaml] [--argument value ...]",
        allow_abbrev=False,
    )
    parser.add_argument("--help-all", action="help", help="Show every argument and exit.")
    if "--help-all" not in argv:
        for action in parser._actions:
            is_of_card = action.container.title == CardArguments._argument_group_name
            if is_of_card or (action.container.title == "training" and action.dest not in _USUAL_TRAINING_ARGUMENTS):
                action.help = argparse.SUPPRESS
    if argv and not argv[0].startswith("-"):
        argv = _file_arguments(argv[0], {action.dest for action in parser._actions}) + argv[1:]
    asked_to_evaluate = parser.parse_args(argv).do_eval
    model_args, stage_args, data_args, card_args, training_args = parser.parse_args_into_dataclasses(argv)
    if data_args.triples_dir is not None and not training_args.do_predict:
        raise ValueError("`triples_dir` is where `do_predict` writes: set it as well")
    training = dict.fromkeys(stage_args.stages, training_args)
    if 2 in training and stage_args.stage_2:
        check_names("stage_2", stage_args.stage_2, DocREIITrainingArguments.__dataclass_fields__)
        *_, training[2] = parser.parse_args_into_dataclasses([*argv, *_as_arguments(stage_args.stage_2)])
    if len(training) == 2:
        stage_1_dir = os.path.join(training_args.output_dir, "stage_1")
        *_, training[1] = parser.parse_args_into_dataclasses([*argv, "--output_dir", stage_1_dir])
        # Both are of stage 2, wherever they were given.
        training[1].freeze_base = training[1].push_to_hub = False
    for args in training.values():
        if not args.do_train:
            # An `eval_strategy`, which says when to evaluate in training, has transformers switch `do_eval` on.
            args.do_eval, args.eval_strategy = asked_to_evaluate, IntervalStrategy.NO
    return Arguments(model_args, data_args, card_args, training)


def card_kwargs(arguments: Arguments) -> dict[str, Any]:
    """Says for [`DocREIITrainer.create_model_card`] what the model is made of, as far as it was told or is known."""
    data, card, path = arguments.data, arguments.card, arguments.model.model_name_or_path
    corpus, hub_id, name = None, None, "Own documents"
    if not (data.files or data.data_dir):
        hub_id = data.dataset_name if is_hub_id(data.dataset_name) else None
        name = Path(data.dataset_name).name
    elif data.relations_file is None:
        corpus = KNOWN_CORPORA[data.dataset_name]
        hub_id, name = corpus.hub_id, corpus.name
    return {
        "language": card.hub_language or (corpus and corpus.language),
        "license": card.hub_license,
        "finetuned_from": card.hub_base_model or (path if is_hub_id(path) else None),
        "dataset_tags": card.hub_dataset or hub_id,
        "dataset": name,
        "dataset_args": data.dataset_config_name if hub_id == data.dataset_name else None,
    }


def _file_arguments(path: str, known: set[str]) -> list[str]:
    """Turns a configuration file into command-line arguments, so that both are read by one parser."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the configuration {path!r}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"the configuration {path!r} has to be a mapping of argument names to values")
    check_names(path, values, known)
    return _as_arguments(values)


def _as_arguments(values: dict[str, Any]) -> list[str]:
    arguments = []
    for name, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list) and name != "candidate_types" else [value]
        arguments += [f"--{name}", *(item if isinstance(item, str) else json.dumps(item) for item in items)]
    return arguments


def check_names(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Raises:
        `ValueError`: a name is not known; the message suggests the nearest one that is.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{where}: unknown name {name!r}{hint}")


def _relative_to() -> str:
    return f"paths are relative to {os.getcwd()!r}"


def _read_mapping(name: str, value: dict | str | None) -> dict:
    mapping = _read_json(name, value) if isinstance(value, str) else value or {}
    if not isinstance(mapping, dict):
        raise ValueError(f"`{name}` has to be a mapping, got {value!r}")
    return mapping


def _read_json(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"`{name}` is not JSON: {value!r} ({error})") from error


def resolve_path(name_or_path: str) -> str:
    """Finds `package:NAME/FOLDER` inside an installed package; anything else is returned as it is."""
    if not name_or_path.startswith("package:"):
        return name_or_path
    package, _, folder = name_or_path.removeprefix("package:").partition("/")
    try:
        return str(resources.files(package) / folder)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name_or_path!r}: the Python package {package!r} is not installed") from error
