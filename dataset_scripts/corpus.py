"""The documents of a run, from local files or from the Hub."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
from datasets import DatasetDict

from dataset_scripts.corpus_builder import CorpusBuilder
from dataset_scripts.docred import DocRED, check_relations
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from dataset_scripts.known_corpora import KNOWN_CORPORA
from modeling_docre_ii.documents import NO_RELATION, with_relation_ids
from modeling_docre_ii.evaluation.scores import NamedFact, named_facts
from modeling_docre_ii.utils.json_text import parse_json
from modeling_docre_ii.utils.suggestions import check_names


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
            Pairs of types (head, tail) that can be related, if the corpus defines them.
        is_checked (`bool`, *optional*, defaults to `False`):
            Whether every document has passed [`check_document`], as a builder's documents have.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            Named facts of the distantly supervised documents.
        files (`tuple[str]`, *optional*):
            Files that the training and validation documents were read from.
    """

    splits: DatasetDict
    relation_names: dict[str, str]
    candidate_types: list[list[str]] | None = None
    is_checked: bool = False
    distant_facts: set[NamedFact] | None = None
    files: tuple[str, ...] = ()

    @property
    def relations(self) -> list[str]:
        """`list[str]`: relation ids in the order of the class ids."""
        return list(self.relation_names)

    @property
    def taught_rows(self) -> datasets.Dataset:
        """
        `datasets.Dataset`: the training documents, then the unlabeled ones.

        The latter have empty labels. It needs both splits.
        """
        train, unlabeled = self.splits["train"], self.splits["unlabeled"]
        features = datasets.Features({"labels": train.features["labels"]})
        labels = datasets.Dataset.from_dict({"labels": [[]] * len(unlabeled)}, features=features)
        texts = unlabeled.remove_columns([name for name in unlabeled.column_names if name == "labels"])
        return datasets.concatenate_datasets([train, datasets.concatenate_datasets([texts, labels], axis=1)])

    @cached_property
    def train_facts(self) -> set[NamedFact] | None:
        """`set[tuple[str, str, str]]` or `None`: named facts of the training split."""
        return named_facts(self.documents("train")) if "train" in self.splits else None

    @property
    def has_uncounted(self) -> bool:
        """`bool`: whether a document lists its uncounted pairs, even if there are none."""
        return any(
            pairs is not None
            for rows in self.splits.values()
            if "uncounted" in rows.column_names
            for pairs in rows["uncounted"]
        )

    @cached_property
    def entity_types(self) -> list[str] | None:
        """`list[str]` or `None`: the types of the training documents, most frequent first."""
        if "train" not in self.splits:
            return None
        types: Counter[str] = Counter()
        for document in self.splits["train"]:
            types.update(mention["type"] for mentions in document["vertexSet"] for mention in mentions)
        return [kind for kind, _ in types.most_common()]

    @property
    def predicted_split(self) -> str:
        """`str`: the split to predict: `"test"` if there is one, else `"validation"`."""
        return "test" if "test" in self.splits else "validation"

    def documents(self, split: str) -> Iterator[dict[str, Any]]:
        """Yields the documents of a split. A missing split has none."""
        relations = self.relations
        return (with_relation_ids(row, relations) for row in self.splits.get(split, ()))


def load_corpus(
    dataset_name: str = "docred",
    dataset_config_name: str | None = None,
    *,
    files: Mapping[str, Sequence[str]] | None = None,
    data_dir: str | None = None,
    relations_file: str | None = None,
    distant_file: Sequence[str] | None = None,
    unlabeled_file: Sequence[str] | None = None,
    max_documents: Mapping[str, int | None] | None = None,
    **builder_options: str | None,
) -> Corpus:
    """
    Reads documents from local files, or from a dataset on the Hub.

    Args:
        dataset_name (`str`, *optional*, defaults to `"docred"`):
            With `files` or `data_dir`, one of [`KNOWN_CORPORA`]. Otherwise a dataset on the Hub, or a folder of
            Parquet files.
        dataset_config_name (`str`, *optional*):
            Configuration of the builder or of the dataset on the Hub.
        files (`dict[str, list[str]]`, *optional*):
            Paths by split.
        data_dir (`str`, *optional*):
            Folder with the files of a corpus under their published names.
        relations_file (`str`, *optional*):
            JSON object, relation id -> readable name. With files, the relations of your own corpus in DocRED's form:
            `dataset_name` must then be its default, or another corpus in that form.
        distant_file (`list[str]`, *optional*):
            Distantly supervised documents in DocRED's form, with relations of the corpus, for
            [`Corpus.distant_facts`].
        unlabeled_file (`list[str]`, *optional*):
            Documents without labels, of the same form as `files`, for the split `unlabeled`.
        max_documents (`dict[str, int]`, *optional*):
            Number of documents to keep of a split, from its start. `None` keeps all.
        builder_options (`str`, *optional*):
            Arguments that only some builders have, such as `mesh_tree_file`. `None` means not given.

    Returns:
        [`Corpus`]

    Raises:
        `ValueError`: the arguments contradict each other, or a file is malformed ([`DocumentError`]).
    """
    if unlabeled_file and not (files or data_dir):
        raise ValueError("`unlabeled_file` needs training documents that are read from files of the same form")
    options = {"relations_file": relations_file, **builder_options}
    if files or data_dir:
        builder = make_builder(dataset_name, dataset_config_name, files=files, data_dir=data_dir, **options)
        builder.download_and_prepare()
        corpus = Corpus(builder.as_dataset(), builder.relation_names, builder.candidate_types, is_checked=True)
        of_splits = builder.config.files_of_split()
        corpus.files = tuple(path for split, paths in of_splits.items() if split != "test" for path in paths)
    else:
        for option, value in builder_options.items():
            if value is not None:
                raise ValueError(f"`{option}` is for the files of a corpus, not for a dataset: remove this argument")
        splits = datasets.load_dataset(dataset_name, dataset_config_name)
        corpus = Corpus(splits, _relation_names_of(splits, relations_file))
    if distant_file:
        corpus.distant_facts = _distant_facts(distant_file, corpus)
    if unlabeled_file:
        # Read as a training split, because titles may repeat in documents that are not scored.
        builder = make_builder(dataset_name, dataset_config_name, files={"train": unlabeled_file}, **options)
        builder.download_and_prepare()
        corpus.splits["unlabeled"] = builder.as_dataset()["train"]
    for split, most in (max_documents or {}).items():
        if most is not None and split in corpus.splits:
            corpus.splits[split] = corpus.splits[split].select(range(min(most, len(corpus.splits[split]))))
    return corpus


def make_builder(
    dataset_name: str = "docred",
    dataset_config_name: str | None = None,
    *,
    files: Mapping[str, Sequence[str]] | None = None,
    data_dir: str | None = None,
    relations_file: str | None = None,
    **builder_options: str | None,
) -> CorpusBuilder:
    """
    Makes the builder that reads local files of a corpus.

    Args:
        dataset_name, dataset_config_name, files, data_dir, relations_file, builder_options:
            As for [`load_corpus`].

    Returns:
        [`CorpusBuilder`]

    Raises:
        `ValueError`: the corpus or its configuration is unknown, or the corpus does not have one of the options.
    """
    paths = {"data_files": dict(files) if files else None, "data_dir": data_dir}
    check_names("`dataset_name`", [dataset_name], KNOWN_CORPORA)
    corpus = KNOWN_CORPORA[dataset_name]
    if relations_file is not None and not corpus.is_in_docred_form:
        raise ValueError(
            f"`relations_file` is for your own corpus in DocRED's form, and the files of {dataset_name!r} have "
            "another: remove `dataset_name`"
        )
    options = {option: value for option, value in builder_options.items() if value is not None}
    for option in options:
        if option not in corpus.builder.BUILDER_CONFIG_CLASS.__dataclass_fields__:
            raise ValueError(f"`{option}`: the corpus {dataset_name!r} does not use it, remove this argument")
    if relations_file is not None:
        if dataset_config_name is not None:
            raise ValueError(
                "`dataset_config_name`: your own corpus, with a `relations_file`, does not use it, remove this "
                "argument"
            )
        return DocRED(relations=_read_relations(relations_file), **paths)
    if dataset_config_name is not None:
        known = corpus.builder.builder_configs if corpus.config_name is None else [corpus.config_name]
        check_names("`dataset_config_name`", [dataset_config_name], known)
    return corpus.builder(config_name=corpus.config_name or dataset_config_name, **paths, **options)


def _read_relations(path: str) -> dict[str, str]:
    try:
        relations = parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"`relations_file`: {path!r} is not JSON: {error}") from error
    check_relations(f"`relations_file`: {path!r}", relations)
    return relations


def _distant_facts(files: Sequence[str], corpus: Corpus) -> set[NamedFact] | None:
    relations = {relation: name for relation, name in corpus.relation_names.items() if relation != NO_RELATION}
    named = (
        {"config_name": "docred_distant"} if relations.keys() <= DOCRED_RELATIONS.keys() else {"relations": relations}
    )
    builder = DocRED(data_files={"train": list(files)}, **named)
    builder.download_and_prepare()
    return Corpus(builder.as_dataset(), builder.relation_names).train_facts


def _relation_names_of(splits: DatasetDict, relations_file: str | None) -> dict[str, str]:
    """Names the classes of a dataset, which has only their ids."""
    features = next(iter(splits.values())).features
    labels = getattr(features.get("labels"), "feature", None)
    relation = labels.get("r") if isinstance(labels, Mapping) else None
    missing = [name for name in ("title", "sents", "vertexSet") if name not in features]
    if missing or not isinstance(relation, datasets.ClassLabel):
        raise ValueError(
            f"the dataset has the columns {', '.join(features)}, expected those of docs/corpora.md: `title`, `sents`, "
            "`vertexSet`, and `labels` with the relations `r` as a ClassLabel"
        )
    if relation.names[0] != NO_RELATION:
        raise ValueError(
            f"the relations `r` are a ClassLabel that begins with {relation.names[0]!r}, expected class 0 to be "
            f"{NO_RELATION!r}, no relation"
        )
    readable = DOCRED_RELATIONS | (_read_relations(relations_file) if relations_file else {})
    return {name: readable.get(name, name) for name in relation.names}
