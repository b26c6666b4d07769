"""The weights of a loaded model: whole, finite, on which device, of which classes."""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from .configuration_loading import load_error
from .decoding import is_finite
from .quoting import quote


logger = logging.get_logger(__name__)

# Modules that only the loss of the training needs.
_TRAINING_ONLY = ("contrastive_predictor.",)


class WeightsError(ValueError):
    """Weights of a model are random, NaN or infinite, so it cannot predict."""


class CheckedPreTrainedModel(PreTrainedModel):
    """
    A `PreTrainedModel` that remembers which weights its checkpoint did not have.

    `missing_weights` has the names of the tensors that `from_pretrained` drew at random. It is empty again once the
    model is trained.
    """

    missing_weights: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        try:
            model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        except SafetensorError as error:
            name = args[0] if args else kwargs.get("pretrained_model_name_or_path")
            raise load_error(str(name), error) from error
        model._remember_missing({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])})
        return (model, info) if output_loading_info else model

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        if self.missing_weights:
            logger.warning(
                f"saving weights that were drawn at random and never trained, {_named(self.missing_weights)}: the "
                "saved model will load and predict without an error"
            )
        super().save_pretrained(*args, **kwargs)

    def with_relations(self, relations: Sequence[str]) -> Any:
        """
        Makes the same model for other relations, to be trained on them.

        Args:
            relations (`list[str]`):
                The relations of the classes: that of the threshold class first, which keeps its weights.

        Returns:
            `PreTrainedModel`: a copy. The relations that this model has keep their weights, wherever they are in
            `relations`; the weights of the others, in the classifiers and the relation embeddings, are drawn at
            random.

        Raises:
            `ValueError`: they are not distinct, or begin with a relation that this model predicts.
        """
        relations = list(relations)
        old = [self.config.id2label[index] for index in range(self.config.num_labels)]
        if len(set(relations)) < max(len(relations), 1) or relations[0] in old[1:]:
            raise ValueError(
                f"`relations` is {quote(relations)}, expected distinct relations, of which the first, such as "
                f"{old[0]!r}, is that of pairs without any"
            )
        model = type(self)(_with_labels(self.config, relations)).to(self.device, self.dtype)
        kept = {0: 0} | {relations.index(name): old.index(name) for name in relations[1:] if name in old[1:]}
        # The weights with an entry for each relation are those that one relation more would change.
        with torch.device("meta"):
            wider = type(self)(_with_labels(self.config, [*relations, "".join(relations) + "."]))
        by_relation = _copy_weights(self.state_dict(), model.state_dict(), wider.state_dict(), kept)
        model._remember_missing({*self.missing_weights, *(by_relation if len(kept) < len(relations) else ())})
        return model.train(self.training)

    def _remember_missing(self, names: Iterable[str]) -> None:
        self.missing_weights = tuple(sorted(name for name in names if not name.startswith(_TRAINING_ONLY)))
        if self.missing_weights:
            self.register_forward_pre_hook(_forget_in_training)


def _with_labels(config: Any, relations: Sequence[str]) -> Any:
    """Returns a copy of a configuration with other relations."""
    config = copy.deepcopy(config)
    config.id2label = dict(enumerate(relations))
    config.label2id = {name: index for index, name in enumerate(relations)}
    return config


def _copy_weights(
    old: Mapping[str, torch.Tensor],
    new: Mapping[str, torch.Tensor],
    wider: Mapping[str, torch.Tensor],
    kept: Mapping[int, int],
) -> list[str]:
    """
    Copies weights into those of a model for other relations, of each relation those of its place before (`kept`).

    Returns:
        `list[str]`: the names of those that have an entry for each relation, which have another shape in `wider`.
    """
    by_relation = []
    for name, weight in new.items():
        axes = [axis for axis, size in enumerate(wider[name].shape) if size != weight.shape[axis]]
        if axes:
            by_relation.append(name)
            weight.transpose(0, axes[0])[list(kept)] = old[name].transpose(0, axes[0])[list(kept.values())]
        else:
            weight.copy_(old[name])
    return by_relation


def _forget_in_training(model: CheckedPreTrainedModel, _: Any) -> None:
    if model.training and torch.is_grad_enabled():
        model.missing_weights = ()


def check_weights(model: Any) -> None:
    """
    Checks that a model can predict.

    Args:
        model (`PreTrainedModel`):
            The model. Exported models, which have no weights in torch, pass.

    Raises:
        [`WeightsError`]: its checkpoint lacks weights, or some are NaN or infinite. The message names them.
    """
    missing = getattr(model, "missing_weights", ())
    if missing:
        raise WeightsError(
            f"the checkpoint {model.config._name_or_path!r} lacks {_named(missing)}, which would be drawn at random: "
            "train the model before it predicts, or get a complete checkpoint"
        )
    weights = model.named_parameters() if isinstance(model, nn.Module) else ()
    broken = [name for name, weight in weights if not _is_finite(weight)]
    if broken:
        raise WeightsError(
            f"weights of {model.config._name_or_path!r} are NaN or infinite: {_named(broken)}. The checkpoint is "
            "damaged, or its training diverged"
        )


def _is_finite(weight: torch.Tensor) -> bool:
    # Weights on the meta device are offloaded, and quantized ones cannot be infinite.
    return weight.is_meta or not weight.is_floating_point() or is_finite(weight)


def _named(names: Any, most: int = 3) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def device_to_run_on(model: Any) -> torch.device | None:
    """
    Returns the `device` of a pipeline that runs a model where it is.

    Args:
        model (`PreTrainedModel` or [`ExportedModel`]):
            The model.

    Returns:
        `torch.device`, or `None` for a model with a device map, for which `Pipeline` refuses one.
    """
    return None if getattr(model, "hf_device_map", None) else model.device


def is_on_device(model: Any, device: Any) -> bool:
    """
    Returns whether the device map of a model puts all of it on a device.

    Args:
        model (`PreTrainedModel` or [`ExportedModel`]):
            The model. Without a device map it is on none.
        device (`str`, `torch.device` or `int`):
            The device, -1 for the CPU.
    """
    devices = (getattr(model, "hf_device_map", None) or {}).values()
    return set(map(str, devices)) == {"cpu" if device == -1 else str(device)}


def differing(labels: Collection[str], relations: Collection[str]) -> str:
    """Describes how a label map (`labels`) differs from another (`relations`)."""
    surplus, missing = sorted(set(labels) - set(relations)), sorted(set(relations) - set(labels))
    said = [f"{verb} {quote(names)}" for verb, names in (("it has", surplus), ("it lacks", missing)) if names]
    return " and ".join(said) or "it has the same relations in another order"


def check_label_map(id2label: Mapping[int, str], relations: list[str]) -> None:
    """
    Checks that a model and a processor have the same relations.

    Args:
        id2label (`dict[int, str]`):
            Label map of the model.
        relations (`list[str]`):
            Relations of the processor, in the order of the classes.

    Raises:
        `ValueError`: they have others. The message names the differences.
    """
    labels = [label for _, label in sorted(id2label.items())]
    if labels != relations:
        raise ValueError(f"the label map of the model is not that of its processor: {differing(labels, relations)}")


__all__ = ["CheckedPreTrainedModel", "WeightsError", "check_weights"]
