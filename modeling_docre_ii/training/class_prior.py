"""Starts a new classifier at the frequencies of the relations."""

from typing import Any

import torch

from ..modeling_docre_ii import DocREIIForRelationExtraction


# Number of documents that the frequencies are counted in.
_MOST_DOCUMENTS = 1000


def start_at_frequencies(model: DocREIIForRelationExtraction, features: Any) -> None:
    r"""
    Sets the biases of a new base classifier to the log odds of its relations.

    With the number n_r of training facts with the relation r, and the number n of candidate pairs:

        b_r = log( (n_r + 1/2) / n ),   b_TH = 0

    less their mean. A pair then starts as probable as relations are, and the first steps need not learn that most
    pairs have none (as in RetinaNet, Lin et al., 2017).

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model. A classifier whose biases are not all 0 is trained already, and stays as it is.
        features (`Sequence[dict]` or `Dataset`):
            Features with labels. The first 1,000 documents are counted; those with a teacher have no labels.

    Raises:
        `ValueError`: the features are streamed, or the weights are sharded.
    """
    bias = model.base_model.classifier.bias
    if bias.numel() != model.config.num_labels:
        raise ValueError("`prior_bias` needs whole weights, which DeepSpeed ZeRO-3 shards: set it to false")
    if bias.detach().any():
        return
    if not hasattr(features, "__len__"):
        raise ValueError("`prior_bias` counts relations before the training, which streamed features do not allow")
    num_facts, num_pairs = torch.zeros(model.config.num_labels), 0
    for index in range(min(len(features), _MOST_DOCUMENTS)):
        row = features[index]
        taught = row.get("teacher_probabilities")
        if taught is None or not (torch.as_tensor(taught) >= 0).any():
            num_pairs += sum(map(sum, row["pair_mask"]))
            num_facts += torch.bincount(
                torch.tensor([relation for _, _, relation in row["labels"]], dtype=torch.long), minlength=len(bias)
            )
    log_odds = ((num_facts + 0.5) / max(num_pairs, 1)).log()
    log_odds[0] = 0.0
    with torch.no_grad():
        bias.copy_(log_odds - log_odds.mean())


__all__ = ["start_at_frequencies"]
