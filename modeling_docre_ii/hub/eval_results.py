"""Scores as `.eval_results/*.yaml`, the Hub's successor of `model-index`."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from ..utils.atomic_write import atomic_write


FOLDER = ".eval_results"
UNKNOWN_DATASET = "unknown"
_SPLITS = ("validation", "test")
# The score that a corpus is compared by: the filtered one where a benchmark leaves pairs out.
_HEADLINES = ("filtered_f1", "f1")


def write_eval_results(output_dir: str | Path, results: Sequence[EvalResult]) -> None:
    """
    Writes the F1 of each split to `.eval_results/SPLIT.yaml`.

    Only scores on a corpus that is on the Hub are written. Files of splits without such a score are removed. The task
    is the dataset's configuration, or `default`.

    Args:
        output_dir (`str` or `Path`):
            Folder of the model card.
        results (`list[EvalResult]`):
            The scores of the model card, `card.data.eval_results`.
    """
    folder = Path(output_dir) / FOLDER
    for split in _SPLITS:
        of_split = {
            result.metric_type: result
            for result in results
            if result.dataset_split == split and result.dataset_type != UNKNOWN_DATASET
        }
        headline = next((of_split[name] for name in _HEADLINES if name in of_split), None)
        if headline is None:
            (folder / f"{split}.yaml").unlink(missing_ok=True)
            continue
        entry = EvalResultEntry(
            dataset_id=headline.dataset_type,
            task_id=headline.dataset_config or "default",
            value=headline.metric_value,
            notes=f"{headline.metric_name} in percent. {headline.dataset_name}.",
        )
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / f"{split}.yaml") as partial:
            text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
            partial.write_text(text, encoding="utf-8")


__all__ = ["UNKNOWN_DATASET", "write_eval_results"]
