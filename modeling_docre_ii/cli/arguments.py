"""Command-line arguments of model, stages, data and model card."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataset_scripts.known_corpora import KNOWN_CORPORA

from ..configuration_docre_ii import DocREIIConfig
from ..quoting import quote
from ..training.arguments import DocREIITrainingArguments
from ..utils.bounds import check_at_least
from ..utils.json_text import parse_json
from ..utils.suggestions import check_names, did_you_mean_path


# Data arguments that name files on which a training depends.
LEARNED_FILES = (
    "train_file",
    "validation_file",
    "distant_file",
    "unlabeled_file",
    "teacher_file",
    "mesh_tree_file",
    "train_pmids_file",
    "relations_file",
)
_FILES = (*LEARNED_FILES, "test_file", "score_files", "compare_with")


@dataclass
class ModelArguments:
    """The model, and the options of a new one."""

    _argument_group_name = "model"

    model_name_or_path: str = field(
        default="google-bert/bert-base-uncased",
        metadata={
            "help": "A text encoder or a DocRE-II checkpoint to start from: a name on the Hub, a folder, or "
            "`package:NAME/FOLDER` for a folder inside an installed Python package."
        },
    )
    encoder_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "metavar": "JSON",
            "help": "For a new model: changes to the encoder's configuration, such as "
            "'{\"hidden_dropout_prob\": 0.0}'.",
        },
    )
    model_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "metavar": "JSON",
            "help": 'Fields of DocREIIConfig: for a new model, such as \'{"pair_encoder": "concat"}\', and for the '
            "inference module that stage 2 adds to a checkpoint, such as '{\"num_inference_layers\": 1}'.",
        },
    )
    mark_types: bool | None = field(
        default=None,
        metadata={
            "help": "For a new model: write the type of a mention after its opening marker, as a word. Default: false."
        },
    )
    mention_anchor: Literal["marker", "token", "span"] | None = field(
        default=None,
        metadata={
            "help": "For a new model: what represents a mention, all tokens of its text (`span`, the default), the "
            "first `token`, or its opening `marker` (the paper)."
        },
    )
    max_labels_per_pair: int | None = field(
        default=None,
        metadata={
            "help": "Largest number of relations of a pair of entities. Default: that of the checkpoint, 4 for a new "
            "model."
        },
    )
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={
            "help": "Train a DocRE-II checkpoint on other relations; those that are its own keep their weights."
        },
    )

    def __post_init__(self) -> None:
        check_at_least(1, self, "max_labels_per_pair")
        self.encoder_kwargs, self.model_kwargs = self.encoder_changes, self.config_fields
        for name in self.model_kwargs:
            if name in type(self).__dataclass_fields__:
                raise ValueError(f"model_kwargs: {name!r} is an argument of its own: set it beside `model_kwargs`")
        check_names("model_kwargs", self.model_kwargs, DocREIIConfig.__dataclass_fields__)

    @property
    def encoder_changes(self) -> dict[str, Any]:
        """`dict`: the settings of the encoder in `encoder_kwargs`."""
        return _read_mapping("encoder_kwargs", self.encoder_kwargs)

    @property
    def config_fields(self) -> dict[str, Any]:
        """`dict`: the fields of [`DocREIIConfig`] in `model_kwargs`."""
        return _read_mapping("model_kwargs", self.model_kwargs)


@dataclass
class StageArguments:
    """The two stages of training, and their output folder."""

    _argument_group_name = "stages"

    stages: list[int] = field(
        default_factory=lambda: [1, 2],
        metadata={
            "metavar": "STAGE",
            "help": "1 trains the base module, 2 adds the inference module and trains both. With both stages, stage 1 "
            "writes to OUTPUT_DIR/stage_1. With 2 alone, `model_name_or_path` is a model of stage 1 (or a text "
            "encoder, for a model without pre-training).",
        },
    )
    stage_2: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "metavar": "JSON",
            "help": "Training arguments of stage 2 where they differ from those of stage 1, such as "
            '\'{"num_train_epochs": 15, "learning_rate": 1e-4}\'.',
        },
    )
    cross_fit_folds: int = field(
        default=1,
        metadata={
            "help": "Let stage 2 learn from predictions on unseen documents: stage 1 is trained this many more times, "
            "each without one share of the documents, and predicts that share. The base module stays as stage 1 left "
            'it. Needs `"inference_features": "logits"` in `model_kwargs`. With 1, stage 2 learns from predictions on '
            "the documents that its base was trained on."
        },
    )
    mention_model: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "metavar": "JSON",
            "help": "Train also a model that finds the mentions of raw texts, on the same documents and encoder, in "
            "OUTPUT_DIR/mention_model, from where the pipeline loads it. The value holds its training arguments, such "
            "as '{\"num_train_epochs\": 10}' ('{}' for the defaults, 'null' for no mention model), and perhaps "
            "another `model_name_or_path`.",
        },
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Remove the training that `output_dir` holds, and train again. Without it, the folder of another "
            "run is refused."
        },
    )

    def __post_init__(self) -> None:
        if self.stages not in ([1], [2], [1, 2]):
            raise ValueError(f"`stages` must be 1, 2, or both, got {self.stages}")
        self.stage_2 = self.stage_2_changes
        if self.mention_model == "null":  # switches off what a configuration file says
            self.mention_model = None
        if self.mention_model is not None:
            self.mention_model = _read_mapping("mention_model", self.mention_model)
        check_at_least(1, self, "cross_fit_folds")

    @property
    def stage_2_changes(self) -> dict[str, Any]:
        """`dict`: the training arguments in `stage_2`."""
        return _read_mapping("stage_2", self.stage_2)


@dataclass
class DataArguments:
    """The documents, and how predictions on them are scored and printed."""

    _argument_group_name = "data"

    dataset_name: str = field(
        default="docred",
        metadata={
            "help": f"With files, their corpus: {', '.join(KNOWN_CORPORA)}. Without, a dataset on the Hub or a folder "
            "of Parquet files."
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
            "metavar": "FOLDER",
            "help": "The folder of CDR's PubTator files (files named below replace those in it), or of GDA's "
            "training_data and testing_data.",
        },
    )
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Training documents (DocRED: JSON, CDR: PubTator), in one or several files, also gzipped.",
        },
    )
    validation_file: list[str] | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "Documents to score, and to choose the best checkpoint on."},
    )
    test_file: list[str] | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Documents to predict on. Without them, `do_predict` takes the validation documents.",
        },
    )
    evidence: Literal["model", "rule", "none"] | None = field(
        default=None,
        metadata={
            "help": "Where the evidence of predicted triples comes from. Default: the model if it was trained with an "
            "`evidence_loss_weight`, otherwise a rule: the sentences that mention both entities, or else the first "
            "one that mentions each."
        },
    )
    triples_dir: str | None = field(
        default=None,
        metadata={
            "metavar": "FOLDER",
            "help": "Predict any number of test documents (as JSON lines, .jsonl) into Parquet files in this folder. "
            "A run that is started again resumes there.",
        },
    )
    documents_per_shard: int = field(
        default=500, metadata={"help": "Number of documents of each file in `triples_dir`."}
    )
    distant_file: list[str] | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Distantly supervised documents in DocRED's JSON, for the Ign F1 against their facts.",
        },
    )
    unlabeled_file: list[str] | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Documents to learn from what other models predict for them (`teacher_file`), not from labels.",
        },
    )
    teacher_file: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "What `docre-ii teach` predicted for the documents of `unlabeled_file`.",
        },
    )
    mesh_tree_file: str | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "CDR: the MeSH tree, for the hypernym filter in training and scoring."},
    )
    train_pmids_file: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "GDA: identifiers of the training documents, one a line. Default: the published list.",
        },
    )
    relations_file: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Relations of your own corpus: a JSON object, id -> readable name. Default: DocRED's.",
        },
    )
    candidate_types: str | None = field(
        default=None,
        metadata={
            "metavar": "JSON",
            "help": 'For a new model: types that can be related, such as \'[["Chemical", "Disease"]]\'.',
        },
    )
    score_files: list[str] | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Only score these files of predictions on the validation documents: result.json or a zip of it, "
            "or a .jsonl of extractions from raw text; several files are runs with different seeds.",
        },
    )
    compare_with: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Predictions to compare a single file of `score_files` with, by a paired bootstrap.",
        },
    )
    unknown_titles: Literal["error", "wrong"] = field(
        default="error",
        metadata={
            "help": "What to do with a prediction on a title that no gold document has: refuse it, or count it as "
            "wrong like DocRED's official scorer."
        },
    )
    max_train_documents: int | None = field(
        default=None, metadata={"help": "Keep only the first training documents, for a trial."}
    )
    max_eval_documents: int | None = field(
        default=None, metadata={"help": "Keep only the first validation documents, for a trial."}
    )
    preprocessing_num_workers: int | None = field(
        default=None, metadata={"help": "Number of processes that tokenize."}
    )
    num_printed_documents: int = field(
        default=2, metadata={"help": "Number of documents whose predicted triples are printed."}
    )
    num_printed_triples: int = field(default=10, metadata={"help": "Number of triples printed for each of them."})
    num_printed_relations: int = field(
        default=20, metadata={"help": "With `score_files`: largest number of relations whose scores are printed."}
    )

    def __post_init__(self) -> None:
        if self.data_dir is not None and not Path(self.data_dir).is_dir():
            raise ValueError(f"`data_dir`: there is no folder {_missing(self.data_dir)}")
        for name in _FILES:
            paths = getattr(self, name) or []
            for path in [paths] if isinstance(paths, str) else paths:
                if not Path(path).is_file():
                    raise ValueError(f"`{name}`: there is no file {_missing(path)}")
        check_at_least(
            1, self, "documents_per_shard", "max_train_documents", "max_eval_documents", "preprocessing_num_workers"
        )
        check_at_least(0, self, "num_printed_documents", "num_printed_triples", "num_printed_relations")
        if self.compare_with is not None and len(self.score_files or ()) != 1:
            raise ValueError("`compare_with` needs one file in `score_files` to compare with")
        if self.candidate_types is not None:
            _read_json("candidate_types", self.candidate_types)

    @property
    def candidate_type_pairs(self) -> list[list[str]] | None:
        """`list[list[str]]`: the pairs of types in `candidate_types`, `None` for all."""
        return None if self.candidate_types is None else _read_json("candidate_types", self.candidate_types)

    @property
    def files(self) -> dict[str, list[str]]:
        """`dict[str, list[str]]`: the files by split, only splits that have some."""
        files = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: paths for split, paths in files.items() if paths}


@dataclass
class CardArguments:
    """Statements of the model card (README.md) that no other argument provides."""

    _argument_group_name = "model card"

    hub_license: str | None = field(
        default=None,
        metadata={
            "help": "License of the weights, one of the Hub's identifiers, such as `apache-2.0`. Default: that of "
            "`model_name_or_path` on the Hub."
        },
    )
    hub_language: str | None = field(
        default=None, metadata={"help": "Language code of the documents. Default: that of a known corpus."}
    )
    hub_base_model: str | None = field(
        default=None,
        metadata={"help": "Name of `model_name_or_path` on the Hub, if it is a folder or in a package."},
    )
    hub_dataset: str | None = field(
        default=None, metadata={"help": "Name of the corpus on the Hub, if the documents are read from files."}
    )


@dataclass
class Arguments:
    """
    All arguments of one run.

    Args:
        model ([`ModelArguments`]): The model.
        data ([`DataArguments`]): The documents.
        card ([`CardArguments`]): Statements of the model card.
        training (`dict[int, DocREIITrainingArguments]`): Training arguments by stage, in order.
        overwrite_output_dir (`bool`): Whether to remove a training that the output folder holds.
        cross_fit_folds (`int`): Number of bases that predict documents they have not seen, for stage 2; 1 for none.
        mention_model (`dict`, *optional*): Training arguments of the mention model. `None` trains none.
    """

    model: ModelArguments
    data: DataArguments
    card: CardArguments
    training: dict[int, DocREIITrainingArguments]
    overwrite_output_dir: bool = False
    cross_fit_folds: int = 1
    mention_model: dict[str, Any] | None = None

    @property
    def last(self) -> DocREIITrainingArguments:
        """[`DocREIITrainingArguments`]: those of the last stage, whose model is kept."""
        return self.training[max(self.training)]


def _missing(path: str) -> str:
    """Returns a path that does not exist with a similar one or, without any, the folder it is relative to."""
    relative_to = "" if os.path.isabs(path) else f" (paths are relative to {os.getcwd()!r})"
    return f"{path!r}{did_you_mean_path(path) or relative_to}"


def _read_mapping(name: str, value: dict[str, Any] | str | None) -> dict[str, Any]:
    mapping = _read_json(name, value) if isinstance(value, str) else value or {}
    if not isinstance(mapping, dict):
        raise ValueError(f"`{name}` must be a mapping, got {value!r}")
    return mapping


def _read_json(name: str, value: str) -> Any:
    try:
        return parse_json(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"`{name}` is not JSON: {quote(value, 80)} ({error})") from error
