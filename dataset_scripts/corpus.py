"""The documents that a run is about, from local files or from the Hub."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import DatasetDict

from dataset_scripts.cdr import CDR
from dataset_scripts.corpus_builder import CorpusBuilder
from dataset_scripts.docred import DocRED
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from dataset_scripts.gda import GDA
from modeling_docre_ii.cli.arguments import DataArguments, check_names
from modeling_docre_ii.documents import count_documents, with_relation_ids
from modeling_docre_ii.evaluation.scores import NamedFact, named_facts


logger = logging.getLogger("run_docre")

BIOMEDICAL_BUILDERS = {"cdr": CDR, "gda": GDA}


@dataclass
class Corpus:
    """
    The documents of a run.

    Args:
        splits (`DatasetDict`):
            Rows as the builders write them.
        relation_names (`dict[str, str]`):
            Relation id -> readable name, in the order of the class ids.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types (head, tail) that can be related, of a corpus that knows them.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            Named facts of the distantly supervised documents.
    """

    splits: DatasetDict
    relation_names: dict[str, str]
    candidate_types: list[list[str]] | None = None
    distant_facts: set[NamedFact] | None = None

    @property
    def relations(self) -> list[str]:
        return list(self.relation_names)

    @property
    def train_facts(self) -> set[NamedFact] | None:
        return named_facts(self.documents("train")) if "train" in self.splits else None

    @property
    def predicted_split(self) -> str:
        """The split that is to be predicted: `test`, or `validation` where there are no test documents."""
        return "test" if "test" in self.splits else "validation"

    def documents(self, split: str) -> Iterator[dict[str, Any]]:
        """Yields the documents of a split, none if the run has no such split."""
        relations = self.relations
        return (with_relation_ids(row, relations) for row in self.splits.get(split, ()))


def load_corpus(data_args: DataArguments) -> Corpus:
    """
    Reads the documents from local files, or from a dataset on the Hub.

    Raises:
        `ValueError`: the arguments do not go together, or a file is broken ([`DocumentError`]).
    """
    if data_args.files or data_args.data_dir:
        builder = make_builder(data_args)
        builder.download_and_prepare()
        corpus = Corpus(builder.as_dataset(), builder.relation_names, builder.candidate_types)
    else:
        splits = datasets.load_dataset(data_args.dataset_name, data_args.dataset_config_name)
        corpus = Corpus(splits, _relation_names_of(splits, data_args.relations_file))
    if data_args.distant_file:
        builder = DocRED(config_name="docred_distant", data_files={"train": data_args.distant_file})
        builder.download_and_prepare()
        corpus.distant_facts = Corpus(builder.as_dataset(), builder.relation_names).train_facts
    for split, most in (("train", data_args.max_train_documents), ("validation", data_args.max_eval_documents)):
        if most is not None and split in corpus.splits:
            corpus.splits[split] = corpus.splits[split].select(range(min(most, len(corpus.splits[split]))))
    if logger.isEnabledFor(logging.INFO):
        _log_counts(corpus, None if data_args.triples_dir is None else corpus.predicted_split)
    return corpus


def _log_counts(corpus: Corpus, bulk: str | None) -> None:
    for split, rows in corpus.splits.items():
        # To count is to read every row, and in bulk there may be millions.
        logger.info("%s: %s", split, f"{len(rows):,} documents" if split == bulk else count_documents(rows))


def make_builder(data_args: DataArguments) -> CorpusBuilder:
    """
    Makes the builder of the corpus that local files are of.

    Raises:
        `ValueError`: the corpus or its configuration is unknown, or something is said that only another one has.
    """
    files = {"data_files": data_args.files or None, "data_dir": data_args.data_dir}
    if data_args.relations_file is not None:
        return DocRED(relations=_read_relations(data_args.relations_file), **files)
    name = data_args.dataset_name
    check_names("`dataset_name`", [name], [*DocRED.builder_configs, *BIOMEDICAL_BUILDERS])
    own = {option: getattr(data_args, option) for option in ("mesh_tree_file", "train_pmids_file")}
    own = {option: value for option, value in own.items() if value is not None}
    builder = BIOMEDICAL_BUILDERS.get(name, DocRED)
    for option in own:
        if option not in builder.BUILDER_CONFIG_CLASS.__dataclass_fields__:
            raise ValueError(f"`{option}`: the corpus {name!r} has no use for it")
    if builder is DocRED:
        return DocRED(config_name=name, **files)
    if data_args.dataset_config_name is not None:
        check_names("`dataset_config_name`", [data_args.dataset_config_name], builder.builder_configs)
    return builder(config_name=data_args.dataset_config_name, **files, **own)


def _read_relations(path: str) -> dict[str, str]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`relations_file`: {path!r} is not JSON: {error}") from error


def _relation_names_of(splits: DatasetDict, relations_file: str | None) -> dict[str, str]:
    """Names the classes of a dataset, which carries the ids alone."""
    relation = next(iter(splits.values())).features["labels"].feature["r"]
    if not isinstance(relation, datasets.ClassLabel):
        raise ValueError(f"the column `labels` has to hold relations `r` as a ClassLabel, got {relation}")
    readable = DOCRED_RELATIONS | (_read_relations(relations_file) if relations_file else {})
    return {name: readable.get(name, name) for name in relation.names}
