"""DocRED, its distantly supervised part and Re-DocRED as a `datasets` builder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from dataset_scripts.corpus_builder import CorpusBuilder, CorpusConfig, uncounted_feature
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii.annotation_formats.source_files import open_text
from modeling_docre_ii.documents import NO_RELATION, DocumentError
from modeling_docre_ii.evaluation.scores import DOCRED_CITATION
from modeling_docre_ii.quoting import lone_surrogate, quote
from modeling_docre_ii.utils.json_text import parse_json


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


@dataclass
class DocREDConfig(CorpusConfig):
    """
    Configuration of a corpus in DocRED's form.

    Args:
        relations (`dict[str, str]`, *optional*):
            The relations of your own corpus, id -> readable name, in the order of their class ids. The no-relation
            class `"Na"` is class 0, and is added if it is absent. Defaults to the 96 relations of DocRED.
        citation, homepage, license (`str`, *optional*): As in [`CorpusConfig`].
    """

    relations: dict[str, str] | None = None

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None) -> str:
        # The base class ignores the order of a dict, but the order of the relations defines their class ids.
        identity = dict(config_kwargs)
        if self.relations is not None:
            check_relations("relations", self.relations)
            identity["relations"] = list(self.relations.items())
        return super().create_config_id(identity, custom_features=custom_features)


class DocRED(CorpusBuilder):
    """
    Reads corpora in DocRED's JSON form from local files.

    `data_files` maps splits (`train`, `validation` or its other name `dev`, and `test`, all optional) to one or more
    files: `.json`, a list of documents, or `.jsonl`, one document a line, which is read without loading the whole file
    into memory. Both can be gzipped (`.gz`). A single path is the training split. Relative paths start at the working
    directory. The cache depends on the content of the files when the builder is made.

    Every document is checked. In `validation` and `test`, which are scored by title, a repeated title is an error; in
    `train` it is a warning. Documents without labels (DocRED's test file) have empty `labels`. The optional `kb_id` of
    mentions and `uncounted` of documents are `None` where a file has none. Other keys are dropped, such as
    `global_pos` and `index` of Re-DocRED's mentions, which repeat `pos` and `sent_id`.

    Your own corpus needs only `relations`, no configuration name. Its documents can also be plain texts: `title`,
    `text`, `entities` (each with a `type` and `mentions`, [start, end) in characters) and `labels`. Only their tokens
    are kept, not the white space and the characters.

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

    files_hint = (
        "Pass data_files, such as {'train': 'train_annotated.json', 'validation': 'dev.json', 'test': 'test.json'}. "
        f"The files are published at {DOCRED_HOMEPAGE} and {RE_DOCRED_HOMEPAGE}."
    )

    @property
    def relation_names(self) -> dict[str, str]:
        """`dict[str, str]`: relation id -> readable name, in class order, `"Na"` first."""
        relations = DOCRED_RELATIONS if self.config.relations is None else self.config.relations
        return {NO_RELATION: DOCRED_RELATIONS[NO_RELATION]} | dict(relations)

    def _features(self) -> dict[str, Any]:
        return super()._features() | {"uncounted": uncounted_feature()}

    def _read_documents(self, path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if path.removesuffix(".gz").endswith(".jsonl"):
            return _read_lines(path)
        try:
            with open_text(path) as stream:
                documents = parse_json(stream.read())
        except json.JSONDecodeError as error:
            hint = " (one document a line is a .jsonl file)" if error.msg == "Extra data" else ""
            raise DocumentError(
                f"{path}: expected one JSON list of documents, but reading it failed: {error}{hint}"
            ) from None
        if not isinstance(documents, list) or not documents:
            found = "an empty list" if documents == [] else f"a JSON {type(documents).__name__}"
            raise DocumentError(f"{path}: found {found}, expected a list of documents")
        return ((f"item {index}", document) for index, document in enumerate(documents))


def check_relations(source: str, relations: Any) -> None:
    """
    Checks the relations of a corpus.

    Args:
        source (`str`):
            The argument or the file that they come from, for the message.
        relations (`Mapping`):
            Relation id -> readable name.

    Raises:
        `ValueError`: they are no mapping of strings to strings. The message names the relation.
    """
    if not isinstance(relations, Mapping):
        raise ValueError(f"{source} is {quote(relations)}, expected a dict of relation id -> readable name")
    for relation, name in relations.items():
        for value, what in ((relation, "the id"), (name, f"the name of {quote(relation)}")):
            if not isinstance(value, str):
                raise ValueError(f"{source}: {what} is {quote(value)}, expected a string")
            if surrogate := lone_surrogate(value):
                raise ValueError(
                    f"{source}: {what} is {quote(value)}, expected text that UTF-8 can encode, without the lone "
                    f"surrogate {surrogate}"
                )


def _read_lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads JSON lines, one document at a time. Blank lines are skipped."""
    number_read = 0
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                document = parse_json(line)
            except json.JSONDecodeError as error:
                raise DocumentError(
                    f"{path}, line {number}: expected one JSON document a line, but reading it failed: {error.msg} "
                    f"(column {error.colno})"
                ) from None
            number_read += 1
            yield f"line {number}", document
    if not number_read:
        raise DocumentError(f"{path}: found no document, expected one a line")
