"""GDA, the gene-disease associations of RENET, as a `datasets` builder."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.biomedical_builder import BiomedicalBuilder
from dataset_scripts.corpus_builder import CorpusConfig, logger
from dataset_scripts.pubtator import to_document
from modeling_docre_ii.annotation_formats.pubtator import Abstract, add_once, is_number, read_annotation
from modeling_docre_ii.annotation_formats.source_files import fail, open_text
from modeling_docre_ii.quoting import quote


GDA_HOMEPAGE = "https://bitbucket.org/alexwuhkucs/gda-extraction"

GDA_CITATION = """\
@inproceedings{wu-etal-2019-renet,
    title = "{RENET}: A Deep Learning Approach for Extracting Gene-Disease Associations from Literature",
    author = "Wu, Ye and Luo, Ruibang and Leung, Henry C. M. and Ting, Hing-Fung and Lam, Tak-Wah",
    booktitle = "Research in Computational Molecular Biology",
    year = "2019",
}
"""

# The training folder holds two splits. A list of PMIDs separates them.
FOLDER_OF_SPLIT = {"train": "training_data", "validation": "training_data", "test": "testing_data"}
ABSTRACTS, ANNOTATIONS, LABELS = ("abstracts.txt", "anns.txt", "labels.csv")

# The training split of EoG and of the papers that compare with it.
TRAIN_PMIDS = Path(__file__).with_name("gda_train_pmids.txt")


@dataclass
class GDAConfig(CorpusConfig):
    """
    Configuration of GDA.

    Args:
        train_pmids_file (`str`, *optional*):
            The PMIDs of the training split, one a line. The other abstracts of `training_data` are the validation
            split. Defaults to the published list of 23,353.
        citation, homepage, license (`str`, *optional*): As in [`CorpusConfig`].
    """

    train_pmids_file: str | None = None

    def files_of_split(self) -> dict[str, list[str]]:
        if self.name == "preprocessed":
            return super().files_of_split()
        if self.data_files:
            raise ValueError(
                f"{self.name} reads a data_dir, not data_files, which need the configuration 'preprocessed'"
            )
        if self.data_dir is None:
            return {}
        folders = {split: os.path.join(self.data_dir, name) for split, name in FOLDER_OF_SPLIT.items()}
        return {
            split: [_existing(os.path.join(folder, ABSTRACTS))]
            for split, folder in folders.items()
            if os.path.isdir(folder)
        }

    def other_files(self) -> list[str]:
        if self.name == "preprocessed":
            if self.train_pmids_file is not None:
                raise ValueError("train_pmids_file: the files of 'preprocessed' are split already, remove it")
            return []
        folders = dict.fromkeys(os.path.dirname(path) for paths in self.files_of_split().values() for path in paths)
        others = [os.path.join(folder, name) for folder in folders for name in (ANNOTATIONS, LABELS)]
        return [_existing(path) for path in (*others, self.list_of_training)]

    @property
    def list_of_training(self) -> str:
        """`str`: path of the list of training PMIDs."""
        return str(TRAIN_PMIDS) if self.train_pmids_file is None else self.train_pmids_file


class GDA(BiomedicalBuilder):
    """
    Reads GDA from local files.

    - `renet`, the default: the authors' files. `data_dir` is the folder with `training_data`, `testing_data` or both,
      each with `abstracts.txt`, `anns.txt` and `labels.csv`. The abstracts of `training_data` in the list of training
      PMIDs are `train`, the others `validation`; `testing_data` is `test`.
    - `preprocessed`: `data_files` in the 17-column format that EoG's preprocessing writes.

    GDA has no hypernym filter.

    Example:

    ```python
    >>> builder = GDA(data_dir="GDA")
    >>> builder.download_and_prepare()
    >>> corpus = builder.as_dataset()
    ```
    """

    BUILDER_CONFIG_CLASS = GDAConfig
    BUILDER_CONFIGS = [
        GDAConfig(
            name="renet",
            version="1.0.0",
            description="GDA: PubMed abstracts with genes, diseases, and which gene is associated with which disease.",
            citation=GDA_CITATION,
            homepage=GDA_HOMEPAGE,
        ),
        GDAConfig(
            name="preprocessed",
            version="1.0.0",
            description="GDA in the 17-column format of EoG's preprocessing.",
            citation=GDA_CITATION,
            homepage=GDA_HOMEPAGE,
        ),
    ]
    DEFAULT_CONFIG_NAME = "renet"

    head_type = "Gene"
    tail_type = "Disease"
    relation = "GDA"
    relation_name = "gene-disease association"
    files_hint = (
        "Pass data_dir, a folder with training_data or testing_data or both, each with abstracts.txt, anns.txt and "
        "labels.csv, or for the name 'preprocessed' data_files, such as {'train': ..., 'test': ...}. "
        f"The files are published at {GDA_HOMEPAGE}."
    )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        generators = super()._split_generators(dl_manager)
        training = self.config.files_of_split().get("train")
        if self.config.name == "preprocessed" or training is None:
            return generators
        (path,) = training
        abstracts = {abstract.pmid for abstract in read_abstracts(path)}
        listed = abstracts & read_pmids(self.config.list_of_training)
        if not listed:
            fail(
                path,
                f"none of the {len(abstracts):,} abstracts of {FOLDER_OF_SPLIT['train']} is in the list of training "
                f"PMIDs, {self.config.list_of_training}: pass your own list as train_pmids_file",
            )
        if listed == abstracts:
            logger.warning(
                f"{path}: all of the {len(abstracts):,} abstracts are in the list of training PMIDs, "
                f"{self.config.list_of_training}: there is no validation split"
            )
            return [generator for generator in generators if generator.name != datasets.Split.VALIDATION]
        return generators

    def _read_original(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        types = (self.head_type, self.tail_type)
        folder = os.path.dirname(path)
        abstracts = {abstract.pmid: abstract for abstract in read_abstracts(path)}
        pmids = set(abstracts)
        if split != datasets.Split.TEST:
            listed = read_pmids(self.config.list_of_training)
            pmids = {pmid for pmid in abstracts if (pmid in listed) == (split == datasets.Split.TRAIN)}
        _read_annotations(os.path.join(folder, ANNOTATIONS), abstracts, types)
        _read_labels(os.path.join(folder, LABELS), abstracts, self.relation)
        for pmid, abstract in abstracts.items():
            if pmid in pmids:
                yield f"abstract {pmid}", to_document(abstract, *types)


def read_abstracts(path: str) -> Iterator[Abstract]:
    """
    Reads `abstracts.txt` of GDA.

    An abstract has three lines, PMID, title and text, and an empty line after them.

    Args:
        path (`str`):
            The file.

    Yields:
        [`~annotation_formats.pubtator.Abstract`]: the text, still without mentions and facts.

    Raises:
        [`DocumentError`]: the file has other lines. The message names file and line.
    """
    place_of_pmid: dict[str, str] = {}
    block: list[tuple[str, str]] = []
    for place, line in _lines(path):
        if line.strip():
            block.append((place, line))
        elif block:
            yield _abstract(block, place_of_pmid)
            block = []
    if block:
        yield _abstract(block, place_of_pmid)
    if not place_of_pmid:
        fail(path, "the file has no abstract")


def read_pmids(path: str) -> frozenset[str]:
    """
    Reads a list of PMIDs, one a line.

    Args:
        path (`str`):
            The file.

    Raises:
        [`DocumentError`]: a line is not a PMID, or the file is empty. The message names file and line.
    """
    pmids = set()
    for place, line in _lines(path):
        if line.strip():
            if not is_number(line.strip()):
                fail(place, f"found {line[:40]!r}, expected a PMID, a number")
            pmids.add(line.strip())
    if not pmids:
        fail(path, "the file has no PMID")
    return frozenset(pmids)


def _abstract(block: Sequence[tuple[str, str]], place_of_pmid: dict[str, str]) -> Abstract:
    place, pmid = block[0]
    pmid = pmid.strip()
    if not is_number(pmid):
        fail(place, f"found {pmid[:40]!r}, expected a PMID, a number alone in its line")
    if len(block) != 3:
        fail(
            place,
            f"abstract {pmid} has {len(block)} lines, expected 3 and an empty line: its PMID, its title and its text",
        )
    add_once(pmid, place, place_of_pmid)
    return Abstract(pmid, place, title=block[1][1], abstract=block[2][1])


def _read_annotations(path: str, abstracts: Mapping[str, Abstract], types: Sequence[str]) -> None:
    """Adds the mentions of a folder to their abstracts."""
    is_empty = True
    for place, line in _lines(path):
        if not line.strip():
            continue
        is_empty = False
        fields = line.split("\t")
        if len(fields) not in (6, 7):
            fail(
                place,
                f"{len(fields)} fields, expected 6 or 7 of a mention (PMID, start, end, text, type, ids, names), "
                "separated by tabs",
            )
        abstract = _known(fields[0], abstracts, place)
        abstract.annotations.append(read_annotation(fields, place, abstract, types))
    if is_empty:
        fail(path, "the file has no mention")


def _read_labels(path: str, abstracts: Mapping[str, Abstract], relation: str) -> None:
    """Adds the positive pairs of a folder to their abstracts."""
    earlier: dict[tuple[str, ...], tuple[str, str]] = {}
    for place, row in _rows(path):
        if len(row) != 4:
            fail(place, f"{len(row)} fields, expected 4 (PMID, gene, disease, 0 or 1), separated by commas")
        *pair, label = (field.strip() for field in row)
        pmid, head, tail = pair
        abstract = _known(pmid, abstracts, place)
        if label not in ("0", "1"):
            fail(place, f"abstract {pmid}: label {quote(label)}, expected 0 or 1")
        if tuple(pair) in earlier:
            first_place, first_label = earlier[tuple(pair)]
            fail(
                place,
                f"abstract {pmid}: the pair of {quote(head)} and {quote(tail)} with label {label} repeats that with "
                f"label {first_label} at {first_place}",
            )
        earlier[tuple(pair)] = (place, label)
        if label == "1":
            abstract.facts.append((place, relation, head, tail))


def _rows(path: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the rows of a CSV file below its heading, each with its place."""
    heading = None
    with open_text(path) as stream:
        rows = csv.reader(stream, strict=True)
        try:
            for row in filter(None, rows):
                place = f"{path}, line {rows.line_num}"
                if heading is not None:
                    yield place, row
                elif row[0].strip().isdecimal():
                    fail(place, f"found the row {','.join(row)[:40]!r}, expected a heading first")
                else:
                    heading = row
        except csv.Error as error:
            fail(f"{path}, line {rows.line_num}", f"this is not CSV: {error}")
    if heading is None:
        fail(path, "the file has no heading")


def _known(pmid: str, abstracts: Mapping[str, Abstract], place: str) -> Abstract:
    if pmid not in abstracts:
        fail(place, f"PMID {quote(pmid)}, expected that of an abstract in {ABSTRACTS}")
    return abstracts[pmid]


def _lines(path: str) -> Iterator[tuple[str, str]]:
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            yield f"{path}, line {number}", line.rstrip("\r\n")


def _existing(path: str) -> str:
    if not os.path.isfile(path):
        fail(path, "the file does not exist")
    return path
