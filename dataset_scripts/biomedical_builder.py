"""The base class of the builders of CDR and GDA."""

from collections.abc import Iterator
from typing import Any

from dataset_scripts.corpus_builder import CorpusBuilder, uncounted_feature
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from dataset_scripts.preprocessed import read_preprocessed
from modeling_docre_ii.documents import NO_RELATION


class BiomedicalBuilder(CorpusBuilder):
    """
    Reads PubMed abstracts with one relation between two types of entities.

    Documents are those of [`CorpusBuilder`], with the PMID as `title` and an identifier `kb_id` for every mention.
    `uncounted` lists the candidate pairs, as `h` and `t`, that the benchmark excludes from training and scoring. They
    are predicted like all others.

    Attributes:
        head_type (`str`), tail_type (`str`): Types of the arguments of the relation.
        relation (`str`), relation_name (`str`): Its id and its readable name.
    """

    head_type = ""
    tail_type = ""
    relation = ""
    relation_name = ""

    @property
    def candidate_types(self) -> list[list[str]]:
        return [[self.head_type, self.tail_type]]

    @property
    def relation_names(self) -> dict[str, str]:
        return {NO_RELATION: DOCRED_RELATIONS[NO_RELATION], self.relation: self.relation_name}

    @property
    def has_uncounted(self) -> bool:
        """`bool`: whether documents list their uncounted pairs."""
        return self.config.name == "preprocessed"

    def _features(self) -> dict[str, Any]:
        features = super()._features()
        if self.has_uncounted:
            features["uncounted"] = uncounted_feature()
        return features

    def _read_documents(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.config.name == "preprocessed":
            return read_preprocessed(path, self.head_type, self.tail_type, self.relation)
        return self._read_original(path, split)

    def _read_original(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the documents of a file in the original format, each with its place."""
        raise NotImplementedError
