"""DocRED, distantly supervised DocRED and Re-DocRED as a `datasets` builder over the published JSON files."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii.documents import NO_RELATION, CorpusCounts, DocumentError, check_document, count_documents
from modeling_docre_ii.metrics import DOCRED_CITATION


# Under the root logger of datasets, so that `datasets.logging.set_verbosity_info()` shows the counts.
logger = datasets.logging.get_logger("datasets.docred")

DOCRED_HOMEPAGE = "https://github.com/thunlp/DocRED"
RE_DOCRED_HOMEPAGE = "https://github.com/tonytan48/Re-DocRED"

RE_DOCRED_CITATION = """\
@inproceedings{tan-etal-2022-revisiting,
    title = "Revisiting {D}oc{RED} - Addressing the False Negative Problem in Relation Extraction",
    author = "Tan, Qingyu and Xu, Lu and Bing, Lidong and Ng, Hwee Tou and Aljunied, Sharifah Mahani",
    booktitle = "Proceedings of the 2022 Conference on Empirical Methods in Natural Language Processing",
    year = "2022",
}
"""

SPLIT_NAMES = {
    "train": datasets.Split.TRAIN,
    "validation": datasets.Split.VALIDATION,
    "dev": datasets.Split.VALIDATION,
    "test": datasets.Split.TEST,
}


@dataclass
class DocREDConfig(datasets.BuilderConfig):
    """
    Configuration of a corpus in DocRED's form.

    Args:
        relations (`dict[str, str]`, *optional*):
            The relations of an own corpus, id -> readable name, in the order of their class ids. The no-relation class
            `"Na"` is class 0 and is put there if it is absent. Defaults to the 96 relations of DocRED.
        citation (`str`, *optional*, defaults to `""`): BibTeX entry of the corpus.
        homepage (`str`, *optional*, defaults to `""`): Where the corpus is published.
        license (`str`, *optional*, defaults to `""`): Licence of the corpus.
    """

    relations: dict[str, str] | None = None
    citation: str = ""
    homepage: str = ""
    license: str = ""

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None) -> str:
        # The base class identifies a file by path and modification time, which an edit can leave as they were, and
        # hashes a dict without its order, which gives the relations their class ids.
        identity = dict(config_kwargs)
        if self.data_files:
            identity["data_files"] = {
                split: [_file_digest(path) for path in paths] for split, paths in self.data_files.items()
            }
        if self.relations is not None:
            if not isinstance(self.relations, Mapping):
                raise ValueError(f"relations is {self.relations!r}, expected a dict of relation id -> readable name")
            identity["relations"] = list(self.relations.items())
        return super().create_config_id(identity, custom_features=custom_features)


class DocRED(datasets.GeneratorBasedBuilder):
    """
    Reads corpora in DocRED's JSON form from local files.

    `data_files` maps splits (`train`, `validation` or its other name `dev`, `test`; any of them) to one or several
    `.json` or `.json.gz` files, as strings. A single path is the training split; relative paths start at the working
    directory. The cache follows the content of the files, as it is when the builder is made.

    Every document is checked. In `validation` and `test`, which are scored by title, a repeated title is an error; in
    `train` it is a warning. Files without labels (the test file of DocRED) give empty `labels`. The keys `global_pos`
    and `index` of Re-DocRED's mentions repeat what `pos` and `sent_id` say and are not kept.

    An own corpus needs no configuration name, only its `relations`.

    Example:

    ```python
    >>> data_files = {"train": "train_revised.json", "dev": "dev_revised.json"}
    >>> builder = DocRED(config_name="re_docred", data_files=data_files)
    >>> builder.download_and_prepare()
    >>> corpus = builder.as_dataset()
    ```
    """

    BUILDER_CONFIG_CLASS = DocREDConfig
    BUILDER_CONFIGS = [
        DocREDConfig(
            name="docred",
            version="1.0.0",
            description="DocRED: Wikipedia introductions whose relations were annotated by people.",
            citation=DOCRED_CITATION,
            homepage=DOCRED_HOMEPAGE,
            license="MIT",
        ),
        DocREDConfig(
            name="docred_distant",
            version="1.0.0",
            description="DocRED with distantly supervised training documents, labelled by alignment with Wikidata.",
            citation=DOCRED_CITATION,
            homepage=DOCRED_HOMEPAGE,
            license="MIT",
        ),
        DocREDConfig(
            name="re_docred",
            version="1.0.0",
            description="Re-DocRED: documents of DocRED, annotated again for the facts that DocRED misses.",
            citation=RE_DOCRED_CITATION + "\n" + DOCRED_CITATION,
            homepage=RE_DOCRED_HOMEPAGE,
            license="MIT",
        ),
    ]

    @property
    def relation_names(self) -> dict[str, str]:
        """`dict[str, str]`: relation id -> readable name, in the order of the class ids, `"Na"` first."""
        relations = DOCRED_RELATIONS if self.config.relations is None else self.config.relations
        return {NO_RELATION: DOCRED_RELATIONS[NO_RELATION]} | dict(relations)

    def _info(self) -> datasets.DatasetInfo:
        mention = {
            "name": datasets.Value("string"),
            "sent_id": datasets.Value("int32"),
            "pos": datasets.List(datasets.Value("int32")),
            "type": datasets.Value("string"),
        }
        label = {
            "h": datasets.Value("int32"),
            "t": datasets.Value("int32"),
            "r": datasets.ClassLabel(names=list(self.relation_names)),
            "evidence": datasets.List(datasets.Value("int32")),
        }
        features = datasets.Features(
            {
                "title": datasets.Value("string"),
                "sents": datasets.List(datasets.List(datasets.Value("string"))),
                "vertexSet": datasets.List(datasets.List(mention)),
                "labels": datasets.List(label),
            }
        )
        return datasets.DatasetInfo(
            description=self.config.description or "",
            citation=self.config.citation,
            homepage=self.config.homepage,
            license=self.config.license,
            features=features,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        if not self.config.data_files or self.config.data_dir is not None:
            raise ValueError(
                "DocRED reads the files named in data_files (not a data_dir), for example "
                "data_files={'train': 'train_annotated.json', 'validation': 'dev.json', 'test': 'test.json'}. "
                f"The files are published at {DOCRED_HOMEPAGE} and {RE_DOCRED_HOMEPAGE}."
            )
        files_of_split = {}
        for given, paths in self.config.data_files.items():
            split = SPLIT_NAMES.get(given)
            if split is None:
                raise ValueError(f"data_files names a split {given!r}, expected some of {', '.join(SPLIT_NAMES)}")
            if split in files_of_split:
                raise ValueError("data_files names both 'validation' and 'dev', which are one split")
            if not paths:
                raise ValueError(f"data_files matches no file for the split {given!r}")
            files_of_split[split] = paths
        # A tuple is one shard: titles can be compared and documents counted only where the whole split is seen.
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": str(split), "files": tuple(paths)})
            for split, paths in files_of_split.items()
        ]

    def _prepare_split(self, split_generator: datasets.SplitGenerator, **kwargs: Any) -> None:
        try:
            super()._prepare_split(split_generator, **kwargs)
        except DatasetGenerationError as error:
            # "An error occurred while generating the dataset" hides what the user has to mend.
            if isinstance(error.__cause__, DocumentError):
                raise error.__cause__ from None
            raise

    def _generate_examples(self, split: str, files: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        relations = frozenset(self.relation_names)
        file_of_title: dict[str, str] = {}
        counts = CorpusCounts()
        for path in files:
            documents = _read_documents(path)
            for index, document in enumerate(documents):
                try:
                    check_document(document, relations)
                except DocumentError as error:
                    raise DocumentError(f"{path}, item {index}: {error}") from None
                _check_title(document["title"], split, path, file_of_title)
                yield f"{path}:{index}", _to_example(document)
            counts += count_documents(documents)
        logger.info(f"{self.config.name}, {split}: {counts}")


def _file_digest(path: str) -> str:
    if "://" in path:
        raise ValueError(f"data_files names {path}, expected a local file: download it first")
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _read_documents(path: str) -> list[Any]:
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            documents = json.load(stream)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DocumentError(f"{path}: expected one JSON list of documents, but reading it failed: {error}") from None
    if not isinstance(documents, list) or not documents:
        found = "an empty list" if documents == [] else f"a JSON {type(documents).__name__}"
        raise DocumentError(f"{path}: found {found}, expected a list of documents")
    return documents


def _check_title(title: str, split: str, path: str, file_of_title: dict[str, str]) -> None:
    if title in file_of_title:
        message = f"{path}: document {title!r} is in the {split} split already, from {file_of_title[title]}"
        if split != datasets.Split.TRAIN:
            raise DocumentError(f"{message}: predictions are scored by title, so titles have to be unique")
        logger.warning(message)
    file_of_title[title] = path


def _to_example(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": document["title"],
        "sents": document["sents"],
        "vertexSet": [
            [{field: mention[field] for field in ("name", "sent_id", "pos", "type")} for mention in mentions]
            for mentions in document["vertexSet"]
        ],
        "labels": [
            {"h": label["h"], "t": label["t"], "r": label["r"], "evidence": label.get("evidence") or []}
            for label in document.get("labels") or ()
        ],
    }
