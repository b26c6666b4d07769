"""Names on the Hub, and the license of a model there."""

from pathlib import Path

from huggingface_hub import model_info
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id


def is_hub_id(name: str | None) -> bool:
    """
    Returns whether a name is one of the Hub, and neither a folder nor in a package.

    Args:
        name (`str`, *optional*):
            Name or path of the model or dataset.

    Returns:
        `bool`: judged by the form of the name, without asking the Hub.
    """
    if not name or Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def license_on_hub(model: str | None) -> str | None:
    """
    Returns the license of a model on the Hub.

    Args:
        model (`str`, *optional*):
            Name of the model.

    Returns:
        `str` or `None`: an identifier; `None` if the Hub does not answer or the license is no known identifier.
    """
    if not is_hub_id(model):
        return None
    try:
        card_data = model_info(model).card_data
    except (OSError, HTTPError):  # the Hub cannot be reached, has no such model, or does not show it
        return None
    license = card_data.license if card_data is not None else None
    return license if isinstance(license, str) and license not in ("other", "unknown") else None


__all__ = ["is_hub_id", "license_on_hub"]
