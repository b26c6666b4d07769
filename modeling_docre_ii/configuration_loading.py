"""Loads configurations of models and encoders, with errors that name them."""

import os
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig


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
