"""Writes the report.html of a run."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset_scripts.corpus import Corpus

from ..evaluation.error_report import write_error_report
from ..evaluation.submission import to_submission
from ..evaluation.tables import iteration_names
from ..training.predictions import unpack_with_evidence


_FILES = {"validation": "report.html", "test": "report_test.html"}


def write_report(
    output_dir: str | Path,
    corpus: Corpus,
    split: str,
    documents: Sequence[Mapping[str, Any]],
    predictions: Sequence[np.ndarray],
    evidence: str | None = None,
) -> Path:
    """
    Writes a page with the documents of a split and their predicted triples.

    Args:
        output_dir (`str` or `Path`):
            The output folder.
        corpus ([`Corpus`]):
            The corpus, with the names of its relations and perhaps training documents.
        split (`str`):
            `"validation"` writes `report.html`, `"test"` writes `report_test.html`.
        documents (`list[dict]`):
            The documents of the split, with or without labels.
        predictions (`list[np.ndarray]`):
            Packed predictions of the base module and of every iteration, as [`DocREIITrainer`] returns them.
        evidence (`str`, *optional*):
            Where their evidence comes from, see [`unpack_with_evidence`].

    Returns:
        `Path`: the file.
    """
    documents = _with_unique_titles(documents)
    path, names = Path(output_dir) / _FILES[split], iteration_names(len(predictions))
    facts = [unpack_with_evidence(packed, corpus.relations, documents, evidence) for packed in predictions]
    write_error_report(
        path,
        documents,
        {name: to_submission(of_iteration, documents) for name, of_iteration in zip(names, facts)},
        corpus.relation_names,
        corpus.documents("train"),
        heading=f"{Path(output_dir).resolve().name}: {split} documents",
    )
    return path


def _with_unique_titles(documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Numbers repeated titles, which only unlabeled documents can have."""
    taken = {document["title"] for document in documents}
    seen: set[str] = set()
    unique = []
    for document in documents:
        title = document["title"]
        if title in seen:
            numbered = (f"{title} ({number})" for number in itertools.count(2))
            title = next(name for name in numbered if name not in taken)
            taken.add(title)
            document = {**document, "title": title}
        seen.add(title)
        unique.append(document)
    return unique


__all__ = ["write_report"]
