"""Explains predicted facts: the iteration that found each, and why."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from .configuration_docre_ii import DocREIIConfig
from .model_outputs import DocREIIOutput


_NO_INFERENCE_MODULE = (
    "the model has no inference module (`num_iterations=0`, as after stage 1), so there are no iterations to explain: "
    "load a checkpoint of stage 2"
)


class Support(NamedTuple):
    """
    A pair of entities that supports a fact.

    Args:
        head, tail (`int`): The pair.
        relations (`list[int]`): Relations predicted for it so far, the highest first.
        weight (`float`): Its share of the attention.
    """

    head: int
    tail: int
    relations: list[int]
    weight: float


class FactExplanation(NamedTuple):
    """
    Explanation of one fact.

    Args:
        iteration (`int`): The first that predicted it, 0 for the base module; the last if none did.
        support (`list[Support]`): The pairs attended to most in that iteration.
    """

    iteration: int
    support: list[Support]


def check_can_explain(config: DocREIIConfig) -> None:
    """
    Checks that a model can explain its predictions.

    Raises:
        `ValueError`: it has no inference module, or one without Extended Cross Attention.
    """
    if not config.num_iterations:
        raise ValueError(_NO_INFERENCE_MODULE)
    if config.cross_attention != "extended":
        raise ValueError(
            f"the model has `cross_attention={config.cross_attention!r}`, and only 'extended' attends to pairs that "
            "can be named: leave out `explain`"
        )


@torch.no_grad()
def explain_facts(
    outputs: DocREIIOutput, document: int, facts: list[tuple[int, int, int]], num_support: int = 3
) -> list[FactExplanation]:
    r"""
    Explains predicted facts of one document.

    The support of a fact of iteration k are the overlapping pairs that iteration k attended to most, averaged over
    layers, units and heads, with the relations that they had in iteration k - 1. Pairs without a relation and the
    pair itself are left out. For a fact of the base module, k = 1.

    Args:
        outputs ([`DocREIIOutput`]):
            Output of the model with `output_attentions=True`.
        document (`int`):
            Index of the document in the batch.
        facts (`list[tuple[int, int, int]]`):
            Head, tail and relation of predicted facts.
        num_support (`int`, *optional*, defaults to 3):
            Largest number of supporting pairs.

    Returns:
        `list[FactExplanation]`: one per fact.

    Raises:
        `ValueError`: the output has no attention of an inference module.
    """
    if outputs.base_logits is None or outputs.iteration_logits is None:
        raise ValueError(_NO_INFERENCE_MODULE)
    if outputs.cross_attentions is None:
        raise ValueError(
            "the output has no `cross_attentions`: call the model with `output_attentions=True` (the model needs "
            "`cross_attention='extended'`, the default)"
        )
    margins = [
        logits[document] - logits[document][..., :1] for logits in (outputs.base_logits, *outputs.iteration_logits)
    ]
    # Computed once for all facts: a document can have thousands.
    related = [(margin > 0).any(-1) for margin in margins]
    rows = tuple(torch.tensor(facts, dtype=torch.long, device=margins[0].device).view(-1, 3).T)
    found = torch.stack([margin[rows] > 0 for margin in margins], dim=1).tolist()
    explanations = []
    for (head, tail, _), is_found in zip(facts, found):
        first = is_found.index(True) if True in is_found else len(margins) - 1
        iteration = max(first, 1)
        weights = attention_to_pairs(outputs.cross_attentions[iteration - 1][document], head, tail)
        weights = weights * related[iteration - 1]
        explanations.append(FactExplanation(first, _strongest(weights, margins[iteration - 1], num_support)))
    return explanations


def describe_explanation(triple: Mapping[str, Any]) -> str:
    """
    Describes an explained triple in readable lines.

    Args:
        triple (`dict`):
            A triple from [`DocREIIProcessor.explain`].

    Returns:
        `str`: one line for the triple, and one for every pair that supports it.

    Raises:
        `ValueError`: the triple has no explanation.
    """
    if "iteration" not in triple:
        raise ValueError("the triple has no explanation: call the pipeline with `explain=True`")
    head, tail = triple["head"]["name"], triple["tail"]["name"]
    if triple["score"] <= 0.5:
        origin, looked = "below the model's threshold", f"; iteration {max(triple['iteration'], 1)} looked at"
    elif triple["iteration"]:
        origin, looked = f"found in iteration {triple['iteration']}", ", which looked at"
    else:
        origin, looked = "found by the base module", "; iteration 1 looked at"
    if triple["support"]:
        origin += looked
    lines = [f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}  ({origin})"]
    for pair in triple["support"]:
        relations = ", ".join(pair["relation_names"])
        lines.append(f"        {pair['weight']:.2f}  {pair['head']['name']}  --{relations}-->  {pair['tail']['name']}")
    return "\n".join(lines)


def attention_to_pairs(attentions: torch.Tensor, head: int, tail: int) -> torch.Tensor:
    """
    Averages the attention of one pair over layers, units and heads.

    Args:
        attentions (`torch.FloatTensor` of shape `(num_layers, 2, 4, num_entities, num_entities, num_entities)`):
            Attention of one iteration and document, from `DocREIIOutput.cross_attentions`.
        head, tail (`int`):
            The pair.

    Returns:
        `torch.FloatTensor` of shape `(num_entities, num_entities)`, zeros at the pair itself.
    """
    row_head, column_head, row_tail, column_tail = attentions[:, :, :, head, tail].mean((0, 1)) / 4
    weights = torch.zeros(len(row_head), len(row_head), dtype=row_head.dtype, device=row_head.device)
    weights[head] += row_head
    weights[:, head] += column_head
    weights[tail] += row_tail
    weights[:, tail] += column_tail
    weights[head, tail] = 0.0
    return weights


def _strongest(weights: torch.Tensor, margins: torch.Tensor, num_support: int) -> list[Support]:
    support = []
    for index in weights.flatten().argsort(descending=True, stable=True)[:num_support].tolist():
        head, tail = divmod(index, len(weights))
        if weights[head, tail] > 0:
            order = margins[head, tail].argsort(descending=True)
            relations = [relation for relation in order.tolist() if margins[head, tail, relation] > 0]
            support.append(Support(head, tail, relations, float(weights[head, tail])))
    return support
