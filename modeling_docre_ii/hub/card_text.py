"""The sentences of the model card."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..configuration_docre_ii import DocREIIConfig
from ..processing_docre_ii import DocREIIProcessor
from .markdown import code_span, escaped
from .training_record import CorpusDescription, TrainedStage


def types_sentence(types: Sequence[str], candidate_types: Sequence | None, mark_types: bool | None) -> str:
    """
    Returns a sentence on the `type` of an entity.

    Args:
        types (`list[str]`):
            Types of the mentions in the corpus.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of types that can be related.
        mark_types (`bool`, *optional*):
            Whether the model reads the types, `None` if unknown.

    Returns:
        `str`: empty if nothing is known.
    """
    known = ", ".join(map(code_span, types))
    if candidate_types:
        pairs = ", ".join(f"{code_span(head)} to {code_span(tail)}" for head, tail in candidate_types)
        return f"The `type` decides which pairs are candidates: {pairs}."
    reads = "" if mark_types is None else f"The model {'reads' if mark_types else 'does not read'} the `type`."
    return " ".join(filter(None, [reads, f"The types in its corpus are {known}." if known else ""]))


def corpus_phrase(names: Sequence[str], ids: Sequence[str], corpus: CorpusDescription | None) -> str:
    """Returns the name of the corpus, its link and the kind of its documents."""
    links = ", ".join(f"[{escaped(id_)}](https://huggingface.co/datasets/{quote(id_)})" for id_ in ids)
    name = (" and ".join(map(escaped, names)) or "not stated") + (f" ({links})" if links else "")
    return f"{name}: {corpus.texts}" if corpus and corpus.texts else name


def stages_sentence(stages: Mapping[int, TrainedStage], config: DocREIIConfig) -> str:
    """Returns a sentence on what each stage trains."""
    if not config.num_iterations:
        sentence = "Stage 1 trains the base module."
        if 2 in stages:
            sentence += " Stage 2 trained an inference module too, which is left out: without it, F1 on the validation"
            sentence += " documents was no lower."
        return sentence
    sentence = "Stage 1 trains the base module. Stage 2 adds the inference module"
    if 2 in stages:
        sentence += " and freezes the base module" if stages[2].arguments["freeze_base"] else " and trains both"
    return f"{sentence}." if 1 in stages else f"{sentence}. The arguments of stage 1 are unknown."


def choice_sentence(last: Mapping[str, Any] | None, splits: Collection[str]) -> str:
    """
    Returns a sentence on what was chosen on the scored documents.

    Args:
        last (`dict[str, Any]`, *optional*):
            The training arguments of the last stage.
        splits (`Collection[str]`):
            The scored splits.

    Returns:
        `str`: empty if nothing was chosen on them.
    """
    chosen = []
    if last is not None and last["load_best_model_at_end"]:
        chosen.append(f"the best checkpoint (by {code_span(last['metric_for_best_model'])})")
    if last is not None and last["calibrate_iterations"]:
        chosen.append("the number of iterations")
    if last is not None and last["calibrate_threshold"]:
        chosen.append("the threshold")
    if "validation" not in splits or not chosen:
        return ""
    *others, last_choice = chosen
    choice, verb = " and ".join(filter(None, [", ".join(others), last_choice])), "were" if others else "was"
    return f"T{choice[1:]} {verb} chosen on the validation documents, which flatters the scores on them a little."


def limitations(
    processor: DocREIIProcessor | None,
    candidate_types: Sequence | None,
    corpus: CorpusDescription | None,
    last: Mapping[str, Any] | None,
    num_relations: int,
    finds_mentions: bool,
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
        finds_mentions (`bool`):
            Whether a mention model is beside the model.

    Returns:
        `list[str]`: one item a limitation, at most five.
    """
    known = "the one relation" if num_relations == 1 else f"the {num_relations} relations"
    limit = "" if processor is None or num_relations == 1 else f", at most {processor.max_labels_per_pair} a pair"
    pairs = ", ".join(f"{escaped(head)} to {escaped(tail)}" for head, tail in candidate_types or ())
    calibrated = last is not None and last["calibrate_threshold"]
    items = [
        (
            "Its mention model misses mentions and finds wrong ones,"
            if finds_mentions
            else "It finds no entities. You give it all mentions,"
        )
        + " and errors in them become errors in its triples.",
        f"It knows {known} listed below and no others{limit}."
        + (f" It only looks at pairs of these types: {pairs}." if pairs else ""),
        'A score is the probability of a relation against "no relation", and its calibration was not tested.'
        + (" The threshold is where F1 was best on the validation documents." if calibrated else "")
        + " Where a wrong triple costs more than a missed one, raise `threshold`.",
        f"It was trained on {corpus.texts}; other texts and languages were not tested."
        if corpus is not None and corpus.texts
        else "Texts other than those of its corpus were not tested.",
    ]
    return items + ([corpus.caution] if corpus is not None and corpus.caution else [])


__all__ = [
    "choice_sentence",
    "corpus_phrase",
    "limitations",
    "stages_sentence",
    "types_sentence",
]
