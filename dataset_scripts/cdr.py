"""CDR, the chemical-disease relations of BioCreative V, as a `datasets` builder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataset_scripts.biomedical_builder import BiomedicalBuilder
from dataset_scripts.corpus_builder import SPLIT_NAMES, CorpusConfig
from dataset_scripts.mesh_tree import MeshTree
from dataset_scripts.pubtator import to_document
from modeling_docre_ii.annotation_formats.pubtator import read_pubtator


CDR_HOMEPAGE = "https://biocreative.bioinformatics.udel.edu/tasks/biocreative-v/track-3-cdr/"

CDR_CITATION = """\
@article{li-etal-2016-biocreative,
    title = "{B}io{C}reative {V} {CDR} task corpus: a resource for chemical disease relation extraction",
    author = "Li, Jiao and Sun, Yueping and Johnson, Robin J. and Sciaky, Daniela and Wei, Chih-Hsuan and
      Leaman, Robert and Davis, Allan Peter and Mattingly, Carolyn J. and Wiegers, Thomas C. and Lu, Zhiyong",
    journal = "Database",
    volume = "2016",
    year = "2016",
}
"""

# The file names of CDR.Corpus.v010516.
FILE_OF_SPLIT = {"train": "CDR_TrainingSet", "validation": "CDR_DevelopmentSet", "test": "CDR_TestSet"}


@dataclass
class CDRConfig(CorpusConfig):
    """
    Configuration of CDR.

    Args:
        mesh_tree_file (`str`, *optional*):
            The MeSH tree, with a tree number, a descriptor and a term in each line (`2017MeshTree.txt` for the
            published scores). With it, a negative pair is uncounted if its disease is a hypernym of a disease that the
            same chemical induces. Preprocessed files mark uncounted pairs themselves.
        citation, homepage, license (`str`, *optional*): As in [`CorpusConfig`].
    """

    mesh_tree_file: str | None = None

    def files_of_split(self) -> dict[str, list[str]]:
        if self.data_dir is None or self.name == "preprocessed":
            return super().files_of_split()
        paths = {
            split: [
                path
                for path in (os.path.join(self.data_dir, f"{name}.PubTator.txt{suffix}") for suffix in ("", ".gz"))
                if os.path.isfile(path)
            ]
            for split, name in FILE_OF_SPLIT.items()
        }
        found = {split: paths[:1] for split, paths in paths.items() if paths}
        # Named files replace those in the folder.
        named = {SPLIT_NAMES.get(split, split): list(paths) for split, paths in (self.data_files or {}).items()}
        return found | named

    def other_files(self) -> list[str]:
        if self.name == "preprocessed" and self.mesh_tree_file is not None:
            raise ValueError(
                "mesh_tree_file: preprocessed files mark uncounted pairs themselves, remove this argument"
            )
        return [] if self.mesh_tree_file is None else [self.mesh_tree_file]


class CDR(BiomedicalBuilder):
    """
    Reads CDR from local files.

    - `pubtator`, the default: the authors' files, plain or gzipped. `data_dir` is the folder that holds them under
      their original names; `data_files` maps splits to files and takes precedence.
    - `preprocessed`: `data_files` in the 17-column format that EoG's preprocessing writes. Pairs marked `not_include`
      are uncounted.

    Some papers train the model that they score on `split="train+validation"`.

    Example:

    ```python
    >>> builder = CDR(data_dir="CDR_Data/CDR.Corpus.v010516", mesh_tree_file="2017MeshTree.txt")
    >>> builder.download_and_prepare()
    >>> corpus = builder.as_dataset()
    ```
    """

    BUILDER_CONFIG_CLASS = CDRConfig
    BUILDER_CONFIGS = [
        CDRConfig(
            name="pubtator",
            version="1.0.0",
            description="CDR: PubMed abstracts with chemicals, diseases, and which chemical induces which disease.",
            citation=CDR_CITATION,
            homepage=CDR_HOMEPAGE,
        ),
        CDRConfig(
            name="preprocessed",
            version="1.0.0",
            description="CDR in the 17-column format of EoG's preprocessing.",
            citation=CDR_CITATION,
            homepage=CDR_HOMEPAGE,
        ),
    ]
    DEFAULT_CONFIG_NAME = "pubtator"

    head_type = "Chemical"
    tail_type = "Disease"
    relation = "CID"
    relation_name = "chemical-induced disease"
    files_hint = (
        "Pass data_dir, a folder with CDR_TrainingSet.PubTator.txt, CDR_DevelopmentSet.PubTator.txt or "
        "CDR_TestSet.PubTator.txt (or the same with .gz), or data_files, as {'train': ..., 'validation': ...}. "
        "The name 'preprocessed' reads data_files only. "
        f"The files are published at {CDR_HOMEPAGE}."
    )

    @property
    def has_uncounted(self) -> bool:
        return super().has_uncounted or self.config.mesh_tree_file is not None

    def _read_original(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        tree = None if self.config.mesh_tree_file is None else MeshTree(self.config.mesh_tree_file)
        types = (self.head_type, self.tail_type)
        for abstract in read_pubtator(path, types, self.relation):
            document = to_document(abstract, *types)
            if tree is not None:
                document["uncounted"] = tree.ignored_pairs(document, *types)
            yield f"abstract {abstract.pmid}", document
