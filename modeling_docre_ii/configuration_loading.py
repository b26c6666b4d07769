"""Loads configurations of models and encoders, with errors that name them."""

import difflib
import os
from collections.abc import Iterable
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from .configuration_docre_ii import DocREIIConfig


# The arguments of `from_pretrained` that say where a file lies.
HUB_ARGUMENTS = {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token"}


def load_error(name_or_path: str, error: OSError | SafetensorError) -> OSError:
    """Returns an error that names the model, which other libraries' may not."""
    if isinstance(error, SafetensorError):
        return OSError(
            f"{name_or_path}: its weights cannot be read ({error}): is a file incomplete, or a pointer of Git LFS?"
        )
    if os.path.isdir(name_or_path):
        return error
    return OSError(f"{str(name_or_path)!r} is not a local folder, and loading it from the Hub failed: {error}")


def load_config(name_or_path: str, **kwargs: Any) -> Any:
    r"""
    Loads a configuration as `AutoConfig.from_pretrained` does.

    Raises:
        `OSError`: there is no such model. The message names it.
    """
    try:
        return AutoConfig.from_pretrained(name_or_path, **kwargs)
    except OSError as error:
        raise load_error(name_or_path, error).with_traceback(None) from None


def load_encoder_config(name_or_path: str, **changes: Any) -> PreTrainedConfig:
    r"""
    Loads the configuration of a pretrained text encoder, for a new model.

    Args:
        name_or_path (`str`):
            A model on the Hub or a local folder that `AutoConfig` loads.
        changes:
            Settings of the encoder to change, such as `attention_probs_dropout_prob`.

    Raises:
        `OSError`: there is no such encoder.
        `ValueError`: it is a DocRE-II checkpoint, or `changes` names something the encoder's configuration does not
            have.
    """
    config, unused = load_config(name_or_path, return_unused_kwargs=True, **changes)
    if config.model_type == "docre_ii":
        raise ValueError(f"{name_or_path!r} is a DocRE-II checkpoint, not a text encoder: use `from_pretrained`")
    if unused:
        raise ValueError(f"{config.model_type!r} encoders have no setting {sorted(unused)}")
    # An encoder may be saved in half precision, but is trained in float32.
    config.dtype = None
    if os.path.isdir(name_or_path):
        # A folder of this machine has no place in a published configuration.
        config._name_or_path = ""
    return config


def check_fields(names: Iterable[str]) -> None:
    """
    Checks that [`DocREIIConfig`] has all of some fields.

    The configuration itself accepts any name, as all of transformers do, and would keep a misspelled one.

    Args:
        names (`Iterable[str]`):
            Names of fields.

    Raises:
        `ValueError`: it lacks one of them. The message suggests the nearest name.
    """
    for name in names:
        if not hasattr(DocREIIConfig, name):
            near = difflib.get_close_matches(name, DocREIIConfig.__dataclass_fields__, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"DocREIIConfig has no field {name!r}{hint}")
