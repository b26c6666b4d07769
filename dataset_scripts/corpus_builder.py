"""The base class of all builders: files, checks, counts, document features."""

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import datasets
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetGenerationError

from modeling_docre_ii import __version__
from modeling_docre_ii.documents import CorpusCounts, DocumentError, check_document, count_documents, name_of
from modeling_docre_ii.text_documents import document_of


# Under the root logger of datasets, so that `datasets.logging.set_verbosity_info()` shows the counts.
logger = datasets.logging.get_logger("datasets.docre_ii")

SPLIT_NAMES = {
    "train": datasets.Split.TRAIN,
    "validation": datasets.Split.VALIDATION,
    "dev": datasets.Split.VALIDATION,
    "test": datasets.Split.TEST,
}


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """
    Configuration of a corpus.

    Args:
        citation (`str`, *optional*, defaults to `""`): BibTeX entry of the corpus.
        homepage (`str`, *optional*, defaults to `""`): Where the corpus is published.
        license (`str`, *optional*, defaults to `""`): License of the corpus.
    """

    citation: str = ""
    homepage: str = ""
    license: str = ""

    def files_of_split(self) -> dict[str, list[str]]:
        """
        Finds the files of a corpus.

        Returns:
            `dict[str, list[str]]`: files by the name of their split, those of `data_files`. Empty if there are none.

        Raises:
            `ValueError`: a `data_dir` was given to a corpus whose files have no names of their own.
        """
        if self.data_dir is not None:
            raise ValueError(f"data_dir: {self.name!r} reads the files named in data_files, not a folder")
        return {split: list(paths) for split, paths in (self.data_files or {}).items()}

    def other_files(self) -> list[str]:
        """Returns files outside of the splits that the documents depend on."""
        return []

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None) -> str:
        # The base class identifies a file by path and modification time, and an edit can preserve both.
        identity = {name: value for name, value in config_kwargs.items() if name not in ("data_files", "data_dir")}
        for split, paths in self.files_of_split().items():
            identity[f"content of {split}"] = [_digest(path) for path in paths]
        identity["content of other files"] = [_digest(path) for path in self.other_files()]
        # Other code may make other documents of the same files.
        identity["made by"] = [__version__, version("syntok")]
        return super().create_config_id(identity, custom_features=custom_features)


def uncounted_feature() -> datasets.List:
    """Returns the feature of `uncounted`: pairs of entities, or `None`."""
    return datasets.List({"h": datasets.Value("int32"), "t": datasets.Value("int32")})


class CorpusBuilder(datasets.GeneratorBasedBuilder):
    """
    Reads a corpus from local files into documents in DocRED's form.

    Every document is checked. In `validation` and `test`, which are scored by title, a repeated title is an error; in
    `train` it is a warning. A builder of a corpus defines its `relation_names`, and reads a file in `_read_documents`.

    Attributes:
        files_hint (`str`): How to name the files of the corpus, for the error if there are none.
    """

    files_hint = ""
    # Where the last document was read, for errors.
    _place = ""
    _write_error: OSError | None = None

    def __init__(self, *args: Any, data_files: Any = None, **kwargs: Any):
        super().__init__(*args, data_files=_as_themselves(data_files), **kwargs)

    @property
    def candidate_types(self) -> list[list[str]] | None:
        """`list[list[str]]` or `None`: related types (head, tail), `None` for all."""
        return None

    @property
    def relation_names(self) -> dict[str, str]:
        """`dict[str, str]`: relation id -> readable name, in class order, `"Na"` first."""
        raise NotImplementedError

    def _read_documents(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the documents of a file, each with its place in the file, for errors."""
        raise NotImplementedError

    def _features(self) -> dict[str, Any]:
        mention = {
            "name": datasets.Value("string"),
            "sent_id": datasets.Value("int32"),
            "pos": datasets.List(datasets.Value("int32")),
            "type": datasets.Value("string"),
            "kb_id": datasets.Value("string"),
        }
        label = {
            "h": datasets.Value("int32"),
            "t": datasets.Value("int32"),
            "r": datasets.ClassLabel(names=list(self.relation_names)),
            "evidence": datasets.List(datasets.Value("int32")),
        }
        return {
            "title": datasets.Value("string"),
            "sents": datasets.List(datasets.List(datasets.Value("string"))),
            "vertexSet": datasets.List(datasets.List(mention)),
            "labels": datasets.List(label),
        }

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.config.description or "",
            citation=self.config.citation,
            homepage=self.config.homepage,
            license=self.config.license,
            features=datasets.Features(self._features()),
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        given_files = self.config.files_of_split()
        if not given_files:
            raise ValueError(f"{type(self).__name__}: no files were given. {self.files_hint}")
        files_of_split = {}
        for given, paths in given_files.items():
            split = SPLIT_NAMES.get(given)
            if split is None:
                raise ValueError(f"data_files names a split {given!r}, expected some of {', '.join(SPLIT_NAMES)}")
            if split in files_of_split:
                raise ValueError("data_files names both 'validation' and 'dev', which are one split")
            if not paths:
                raise ValueError(f"data_files matches no file for the split {given!r}")
            files_of_split[split] = paths
        # A tuple is one shard. Comparing titles and counting documents takes the whole split.
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": str(split), "files": tuple(paths)})
            for split, paths in files_of_split.items()
        ]

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._download_and_prepare(*args, **kwargs)
        except OSError as error:
            # `datasets` takes every such error for a missing file.
            raise (self._write_error or error) from None

    def _prepare_split(self, split_generator: datasets.SplitGenerator, **kwargs: Any) -> None:
        try:
            super()._prepare_split(split_generator, **kwargs)
        except DatasetGenerationError as error:
            # The message of `datasets`, "An error occurred while generating the dataset", hides the cause.
            cause = error.__cause__
            if isinstance(cause, DocumentError):
                raise cause from None
            if isinstance(cause, OSError):
                self._write_error = OSError(f"{self.cache_dir}: writing the documents there failed: {cause}")
                raise self._write_error from None
            # Documents are written in groups, so that one before the last can be the cause.
            where = f"{self._place or split_generator.name}: this document or one before it"
            raise DocumentError(f"{where} cannot be read: {type(cause).__name__}: {cause}") from cause

    def _generate_examples(self, split: str, files: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        relations = frozenset(self.relation_names)
        features = self._features()
        file_of_title: dict[str, str] = {}
        counts = CorpusCounts()
        for path in files:
            self._place = path
            for place, document in self._read_documents(path, split):
                self._place = f"{path}, {place}"
                try:
                    document = document_of(document)
                    check_document(document, relations)
                except DocumentError as error:
                    raise DocumentError(f"{self._place}: {error}") from None
                _check_title(document["title"], split, path, file_of_title)
                yield f"{path}:{place}", _to_example(document, features)
                counts += count_documents([document])
        logger.info(f"{self.config.name}, {split}: {counts}")


def _as_themselves(data_files: Any) -> Any:
    """Escapes the paths of files that `datasets` would take for patterns, such as `dev [1].json`."""
    if isinstance(data_files, (str, os.PathLike)):
        path = os.fspath(data_files)
        return glob.escape(path) if os.path.exists(path) else path
    if isinstance(data_files, dict) and not isinstance(data_files, DataFilesDict):
        return {split: _as_themselves(files) for split, files in data_files.items()}
    if isinstance(data_files, (list, tuple)) and not isinstance(data_files, DataFilesList):
        return [_as_themselves(path) for path in data_files]
    return data_files


def _digest(path: str) -> str:
    if "://" in path:
        raise ValueError(f"data_files names {path}, expected a local file: download it first")
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_title(title: str, split: str, path: str, file_of_title: dict[str, str]) -> None:
    if title in file_of_title:
        message = f"{path}: {name_of({'title': title})} is already in the {split} split, from {file_of_title[title]}"
        if split != datasets.Split.TRAIN:
            raise DocumentError(f"{message}: predictions are scored by title, so titles must be unique")
        logger.warning(message)
    file_of_title[title] = path


def _to_example(document: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    fields = list(features["vertexSet"].feature.feature)
    example = {
        "title": document["title"],
        "sents": document["sents"],
        "vertexSet": [
            [{field: mention.get(field) for field in fields} for mention in mentions]
            for mentions in document["vertexSet"]
        ],
        "labels": [
            {"h": label["h"], "t": label["t"], "r": label["r"], "evidence": label.get("evidence") or []}
            for label in document.get("labels") or ()
        ],
    }
    return example | {name: document.get(name) for name in features if name not in example}
