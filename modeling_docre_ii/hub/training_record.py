"""What is known of a model beyond its files: corpus, scores and stages of its training."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..documents import CorpusCounts, count_documents
from ..training.arguments import DocREIITrainingArguments


@dataclass(frozen=True)
class KnownCorpus:
    """
    What is known of a published corpus.

    Args:
        name (`str`): Its readable name.
        hub_id (`str`, *optional*): Where it is on the Hub.
        texts (`str`): What its documents are.
        caution (`str`): What one has to know of its labels.
    """

    name: str
    hub_id: str | None
    texts: str
    caution: str
    language: str = "en"


_WIKIPEDIA = "introductions of English Wikipedia articles"
KNOWN_CORPORA = {
    "docred": KnownCorpus(
        "DocRED",
        "thunlp/docred",
        _WIKIPEDIA,
        "DocRED's annotation misses many facts, which Re-DocRED was made to add: the model learned to be silent on "
        "some that are true, and in scores against it a right prediction can count as a wrong one.",
    ),
    "docred_distant": KnownCorpus(
        "DocRED (distantly supervised)",
        "thunlp/docred",
        _WIKIPEDIA,
        "Its labels are Wikidata's facts about the entities of a text, whether or not the text states them.",
    ),
    "re_docred": KnownCorpus(
        "Re-DocRED",
        "tonytan48/Re-DocRED",
        _WIKIPEDIA,
        "Re-DocRED adds facts that DocRED's annotation misses, but not all: in scores, a right prediction can still "
        "count as a wrong one.",
    ),
    "cdr": KnownCorpus(
        "BioCreative V CDR",
        "bigbio/bc5cdr",
        "English titles and abstracts of PubMed",
        "A fact of CDR says that an abstract reports a chemical to induce a disease. It is no medical advice.",
    ),
    "gda": KnownCorpus(
        "GDA",
        None,
        "English titles and abstracts of PubMed",
        "GDA's labels come from a database of genes and diseases, by distant supervision: an abstract need not state "
        "them. They are no medical advice.",
    ),
}


@dataclass
class TrainedStage:
    """
    One stage of training.

    Args:
        args ([`DocREIITrainingArguments`]): Its arguments.
        log_history (`list[dict]`): What its Trainer logged, `TrainerState.log_history`.
    """

    args: DocREIITrainingArguments
    log_history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainingRecord:
    """
    What a model card says of training and scores beyond what one Trainer knows. All of it is optional.

    Args:
        counts (`dict[str, CorpusCounts]`): What each split holds.
        entity_types (`list[str]`): The types of its mentions, the most frequent first.
        scores (`dict[str, dict[str, float]]`): By split, in percent, under the names of [`make_compute_metrics`].
        stages (`dict[int, TrainedStage]`): The stages, 1 and 2, of which something is known.
    """

    counts: dict[str, CorpusCounts] = field(default_factory=dict)
    entity_types: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    stages: dict[int, TrainedStage] = field(default_factory=dict)

    def describe(self, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Counts what splits hold, and the types of their entities."""
        types: Counter[str] = Counter()

        def counting_types(documents):
            for document in documents:
                types.update(mention["type"] for mentions in document["vertexSet"] for mention in mentions)
                yield document

        self.counts = {split: count_documents(counting_types(documents)) for split, documents in splits.items()}
        self.entity_types = [type_ for type_, _ in types.most_common()]

    def add_scores(self, split: str, metrics: Mapping[str, float], prefix: str = "") -> None:
        """Takes those of the metrics whose name begins with a prefix, without it, as the scores of a split."""
        self.scores[split] = {
            name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)
        }


def final_scores(log_history: Sequence[Mapping[str, Any]], kept_step: int) -> dict[str, float]:
    """
    Finds the scores of the weights that a training has left.

    Args:
        log_history (`list[dict]`):
            What a Trainer logged.
        kept_step (`int`):
            The step whose weights were kept.

    Returns:
        `dict[str, float]`: the last evaluation after the end of training or, without one, that of the weights that
        were kept, with the prefix `eval_`; empty if there is neither.
    """
    ends = [place for place, entry in enumerate(log_history) if "train_runtime" in entry]
    evaluations = [entry for entry in log_history if "eval_f1" in entry]
    after = [entry for entry in log_history[ends[-1] + 1 :] if "eval_f1" in entry] if ends else evaluations
    kept = after or [entry for entry in evaluations if entry.get("step") == kept_step]
    return dict(kept[-1]) if kept else {}


__all__ = ["KNOWN_CORPORA", "KnownCorpus", "TrainedStage", "TrainingRecord", "final_scores"]
