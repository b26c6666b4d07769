"""The sentences of the model card."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..configuration_docre_ii import DocREIIConfig
from ..documents import CorpusCounts
from ..evaluation.tables import iteration_names, iteration_rows, score_rows
from ..processing_docre_ii import DocREIIProcessor
from .card_tables import markdown_table
from .training_record import CorpusDescription, TrainedStage


def types_sentence(types: Sequence[str], candidate_types: Sequence | None, mark_types: bool | None) -> str:
    """
    Returns what the `type` of a mention does.

    Args:
        types (`list[str]`):
            The types of the mentions in the corpus.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types that can be related.
        mark_types (`bool`, *optional*):
            Whether the model reads the types, `None` if it is unknown.

    Returns:
        `str`: empty if nothing is known.
    """
    known = ", ".join(f"`{type_}`" for type_ in types)
    if candidate_types:
        pairs = ", ".join(f"`{head}` to `{tail}`" for head, tail in candidate_types)
        return f"The `type` decides which pairs are looked at: {pairs}."
    reads = "" if mark_types is None else f"The model {'reads' if mark_types else 'does not read'} the `type`."
    return " ".join(filter(None, [reads, f"In its corpus the types are {known}." if known else ""]))


def corpus_sentence(names: Sequence[str], corpus: CorpusDescription | None) -> str:
    """Returns the name of the corpus, and what its documents are if that is known."""
    name = " and ".join(names) or "Documents of an unnamed corpus"
    return f"{name}: {corpus.texts}." if corpus and corpus.texts else f"{name}."


def stages_sentence(stages: Mapping[int, TrainedStage], config: DocREIIConfig) -> str:
    """Returns what the stages of training train."""
    if not config.num_iterations:
        return "Stage 1 trains the base module, the only one here."
    sentence = "Stage 1 trains the base module, stage 2 the inference module on top of it"
    if 2 in stages:
        is_frozen = stages[2].arguments["freeze_base"]
        sentence += ", while the base module stays as it is" if is_frozen else " and the base module further"
    return f"{sentence}." if 1 in stages else f"{sentence}. How stage 1 was trained is not known here."


def score_section(
    split: str,
    scores: Mapping[str, float],
    counts: Mapping[str, CorpusCounts],
    last: Mapping[str, Any] | None,
    config: DocREIIConfig,
) -> dict[str, str]:
    """
    Returns the scores of a split.

    Args:
        split (`str`):
            The split.
        scores (`dict[str, float]`):
            Its scores, in percent.
        counts (`dict[str, CorpusCounts]`):
            What is in each split.
        last (`dict[str, Any]`, *optional*):
            The training arguments of the last stage.
        config ([`DocREIIConfig`]):
            Configuration of the model.

    Returns:
        `dict[str, str]`: `sentence`, `table`, and `iterations`, a table that is empty without an inference module.
    """
    count = f"{counts[split].documents:,} " if split in counts else ""
    sentence = f"On the {count}{split} documents, in percent, micro-averaged over all facts."
    chosen = []
    if last is not None and last["load_best_model_at_end"]:
        chosen.append(f"the best checkpoint (by `{last['metric_for_best_model']}`)")
    if last is not None and last["calibrate_threshold"]:
        chosen.append("the threshold")
    if split == "validation" and chosen:
        verb = "were" if len(chosen) > 1 else "was"
        choice = " and ".join(chosen)
        sentence += f" On these same documents {choice} {verb} chosen, which flatters the scores a little."
    names = iteration_names(1 + config.num_iterations)
    has_iterations = config.num_iterations and f"{names[-1]}_f1" in scores
    iterations = markdown_table(iteration_rows(scores, names)) if has_iterations else ""
    return {"sentence": sentence, "table": markdown_table(score_rows(scores)), "iterations": iterations}


def limitations(
    processor: DocREIIProcessor | None,
    candidate_types: Sequence | None,
    corpus: CorpusDescription | None,
    last: Mapping[str, Any] | None,
    num_relations: int,
) -> list[str]:
    """
    Returns what the model cannot do, and what was not measured.

    Args:
        processor ([`DocREIIProcessor`], *optional*):
            Processor of the model.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types that can be related.
        corpus ([`CorpusDescription`], *optional*):
            The corpus of the training.
        last (`dict[str, Any]`, *optional*):
            The training arguments of the last stage.
        num_relations (`int`):
            Number of relations, without the no-relation class.

    Returns:
        `list[str]`: one item a limitation.
    """
    items = [
        "The entities and their mentions must be given: the model finds none, and errors in them lead to errors in "
        "its predictions.",
        'A score is the probability of a relation against "no relation", for each relation alone. The scores of a '
        "pair do not sum up to 1, and whether they are calibrated was not tested: triples with a score of 0.9 need "
        "not be right nine times in ten.",
    ]
    if num_relations == 1:
        items.append("It knows the one relation above and no other.")
    else:
        limit = "" if processor is None else f", and predicts at most {processor.max_labels_per_pair} a pair"
        items.append(f"It knows the {num_relations} relations above and no others{limit}.")
    if candidate_types:
        pairs = ", ".join(f"{head} to {tail}" for head, tail in candidate_types)
        items.append(f"It looks at pairs of these types alone: {pairs}.")
    if last is not None and last["calibrate_threshold"]:
        items.append(
            "Its threshold is where F1 was best on the validation documents. Where a wrong triple costs more than a "
            "missed one, ask for a higher `threshold`."
        )
    if corpus is not None and corpus.texts:
        items.append(
            f"It was trained on {corpus.texts}; its quality on other texts or in another language was not measured."
        )
    else:
        items.append("Its quality on other texts than those of its corpus was not measured.")
    if corpus is not None and corpus.caution:
        items.append(corpus.caution)
    return items


__all__ = [
    "corpus_sentence",
    "limitations",
    "score_section",
    "stages_sentence",
    "types_sentence",
]
