"""Cross-fitting: stage 2 learns from predictions on unseen documents."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..decoding import check_finite
from ..documents import name_of
from ..entity_pairs import EntityPairs
from ..utils.atomic_write import atomic_write
from .encoding import EncodedDocuments
from .trainer import DocREIITrainer


# What a batch has for the losses alone. The base module by itself takes neither.
_LABELS = ("labels", "evidence")


def split_fold(num_documents: int, num_folds: int, fold: int) -> tuple[list[int], list[int]]:
    """
    Splits documents for one fold of a cross-fit.

    Document i is in fold i modulo `num_folds`.

    Args:
        num_documents (`int`):
            Number of documents.
        num_folds (`int`):
            Number of folds.
        fold (`int`):
            The fold, counted from 0.

    Returns:
        `tuple(list[int], list[int])`: the documents to train on, and those that are held out.

    Raises:
        `ValueError`: there are fewer documents than folds, or not even two folds.
    """
    if not 2 <= num_folds <= num_documents:
        raise ValueError(f"{num_folds} folds of {num_documents} documents: at least two, with a document each")
    places = range(num_documents)
    return [i for i in places if i % num_folds != fold], [i for i in places if i % num_folds == fold]


@torch.no_grad()
def write_held_out_logits(trainer: DocREIITrainer, dataset: EncodedDocuments, path: str | Path) -> None:
    """
    Predicts held-out documents with a base module and writes the logits.

    They are those of the candidate pairs, in the order of `pair_mask`. The file is in the safetensors format and
    holds, for each document, a float16 tensor of shape `(num_pairs, num_labels)` under its `document_index`. Only the
    main process writes.

    Args:
        trainer ([`DocREIITrainer`]):
            Trainer of the base module, after training.
        dataset ([`EncodedDocuments`]):
            The held-out documents, encoded as for training.
        path (`str` or `Path`):
            The file. It is written atomically.

    Raises:
        [`NonFiniteLogitsError`]: the logits of a document are NaN or infinite.
        `OSError`: the file cannot be written.
    """
    if not trainer.is_world_process_zero():
        return
    model, args = trainer.accelerator.unwrap_model(trainer.model).eval(), trainer.args
    tensors: dict[str, torch.Tensor] = {}
    for start in range(0, len(dataset), args.eval_batch_size):
        features = [dataset[place] for place in range(start, min(start + args.eval_batch_size, len(dataset)))]
        batch = trainer.data_collator([{**feature} for feature in features])
        places = batch.pop("document_index").tolist()
        batch = {name: values.to(args.device) for name, values in batch.items() if name not in _LABELS}
        with trainer.compute_loss_context_manager():
            # Those of the base module by itself: the inference module reads them before thresholds are raised.
            logits = model.docre_ii(**batch).base_logits
        documents = [dataset.source[place] for place in range(start, start + len(places))]
        check_finite([logits], partial(_name_of_row, documents))
        pairs = EntityPairs.from_mask(batch["pair_mask"])
        rows = pairs.to_rows(logits).half().cpu()
        for row, place in enumerate(places):
            tensors[str(place)] = rows[pairs.document.cpu() == row].contiguous()
    with atomic_write(Path(path)) as partial_file:
        save_file(tensors, partial_file)


def _name_of_row(documents: Sequence[Mapping[str, Any]], row: int) -> str:
    return name_of(documents[row])


class CrossFittedDocuments(EncodedDocuments):
    """
    Training documents with the logits of bases that have not seen them.

    An encoded document has them as `base_logits`.

    Args:
        encoded ([`EncodedDocuments`]):
            The training documents.
        paths (`Sequence[str or Path]`):
            The file of each fold, from [`write_held_out_logits`]. Together they have every document.

    Raises:
        `ValueError`: a file is damaged, or a document is in none of the files.
        `FileNotFoundError`: a file is missing.
    """

    def __init__(self, encoded: EncodedDocuments, paths: Sequence[str | Path]):
        super().__init__(encoded.features, encoded.source)
        self.paths = [Path(path) for path in paths]
        missing = sorted(set(range(len(encoded))) - set(self._file_of))
        if missing:
            raise ValueError(f"no fold in {str(self.paths[0].parent)!r} has the logits of document {missing[0]}")

    @cached_property
    def _file_of(self) -> Mapping[int, Any]:
        files = [_open(path) for path in self.paths]
        return {int(name): file for file in files for name in file.keys()}

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a DataLoader open the files again.
        return {name: value for name, value in self.__dict__.items() if name != "_file_of"}

    def __getitem__(self, index: int) -> dict[str, Any]:
        feature = super().__getitem__(index)
        place = feature["document_index"]
        return feature | {"base_logits": self._file_of[place].get_tensor(str(place))}


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(
            f"the predictions {str(path)!r} are damaged ({error}): remove the training and start again"
        ) from error


def held_out_documents(encoded: EncodedDocuments, places: Sequence[int]) -> EncodedDocuments:
    """Selects encoded documents. They keep their `document_index`."""
    return EncodedDocuments(encoded.features.select(places), _Selected(encoded.source, places))


class _Selected(Sequence):
    """Some of the documents of a sequence, read when asked for."""

    def __init__(self, source: Sequence[Mapping[str, Any]], places: Sequence[int]):
        self.source, self.places = source, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return self.source[self.places[index]]


__all__ = ["CrossFittedDocuments", "held_out_documents", "split_fold", "write_held_out_logits"]
