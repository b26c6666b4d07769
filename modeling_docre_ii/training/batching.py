"""Batches of documents of similar size, within a budget of tokens and pairs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from accelerate.state import GradientState
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import BatchRebalanceSampler

from .arguments import DocREIITrainingArguments
from .encoding import EncodedDocuments


# As many batches are sorted together as by transformers' `group_by_length`.
_MEGA_BATCH = 50

# Number of ways to put the documents into batches. Epochs use one after the other.
_NUM_GROUPINGS = 8


class BudgetBatchSampler(BatchRebalanceSampler):
    """
    Puts documents of similar size into batches within a budget, padding included.

    A batch has at most `max_batch_size` documents, `max_tokens` tokens (number of documents * the largest number of
    tokens) and `max_pairs` entity pairs (number of documents * the square of the largest number of entities). A
    document that exceeds a budget is a batch of its own.

    Documents are sorted by the share of the budget that each takes. In training they are sorted within random groups,
    and batches come in random order; both change with the epoch. All epochs have the same number of batches, which the
    Trainer relies on, and so have all processes: large batches are halved where a grouping needs fewer. If there are
    too few documents for that, some processes get a document a second time at the end. It affects neither loss nor
    metrics ([`without_repeated`]).

    It is a [`BatchRebalanceSampler`] because the Trainer takes that for batches already split among processes.

    Args:
        num_tokens, num_entities (`Sequence[int]`):
            Number of tokens and of entities of every document.
        max_batch_size (`int`):
            Largest number of documents of a batch.
        max_tokens, max_pairs (`int`, *optional*):
            The budgets. Default to no limit.
        num_processes, process_index (`int`, *optional*, defaults to 1 and 0):
            Number of processes that share the batches, and the index of this one.
        seed (`int`, *optional*, defaults to 0):
            Seed of the order.
        epoch (`Callable[[], int]`, *optional*):
            Returns the current epoch. Without it the order is always the same, largest documents first.
    """

    def __init__(
        self,
        num_tokens: Sequence[int],
        num_entities: Sequence[int],
        max_batch_size: int,
        max_tokens: int | None = None,
        max_pairs: int | None = None,
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
        epoch: Callable[[], int] | None = None,
    ):
        self._sizes = [
            (sizes, budget)
            for sizes, budget in ((num_tokens, max_tokens), ([count**2 for count in num_entities], max_pairs))
            if budget is not None
        ]
        self._max_batch_size = max_batch_size
        self.num_processes, self.process_index, self.seed = num_processes, process_index, seed
        self._epoch = epoch
        num_documents = len(num_tokens)
        # The largest share of a budget that each document takes. Ties go by length.
        shares = [max((sizes[i] / budget for sizes, budget in self._sizes), default=0) for i in range(num_documents)]
        self._order = sorted(range(num_documents), key=lambda i: (shares[i], num_tokens[i]), reverse=True)
        if epoch is None:
            groupings = [self._group(self._order)]
        else:
            generator = torch.Generator().manual_seed(seed)
            groupings = [self._group(self._shuffled_order(generator)) for _ in range(_NUM_GROUPINGS)]
        self._num_rounds = -(-max(map(len, groupings)) // num_processes)
        self._groupings = [_halved(batches, self._num_rounds * num_processes) for batches in groupings]

    def __len__(self) -> int:
        return self._num_rounds

    def __iter__(self) -> Iterator[list[int]]:
        epoch = 0 if self._epoch is None else self._epoch()
        batches, size = self._groupings[epoch % len(self._groupings)], self.num_processes
        rounds = [batches[start : start + size] for start in range(0, len(batches), size)]
        if self._epoch is not None:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            # A round in which a process gets nothing new is the last one.
            order = torch.randperm(len(rounds) - bool(self.num_repeated), generator=generator).tolist()
            rounds = [rounds[index] for index in order] + rounds[len(order) :]
        for batches in rounds:
            yield batches[self.process_index] if self.process_index < len(batches) else batches[0][:1]

    @property
    def num_repeated(self) -> int:
        """Number of processes, the last ones, whose last batch repeats a document."""
        return self._num_rounds * self.num_processes - len(self._groupings[0])

    def _shuffled_order(self, generator: torch.Generator) -> list[int]:
        """Documents in random groups, sorted within them. At least four groups where there are so many batches."""
        rank = {document: place for place, document in enumerate(self._order)}
        order = torch.randperm(len(self._order), generator=generator).tolist()
        size = self._max_batch_size * max(min(len(order) // (self._max_batch_size * 4), _MEGA_BATCH), 1)
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        return [document for group in groups for document in sorted(group, key=rank.__getitem__)]

    def _group(self, order: Sequence[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        batch: list[int] = []
        for document in order:
            if batch and not self._fits([*batch, document]):
                batches.append(batch)
                batch = []
            batch.append(document)
        return [*batches, batch] if batch else batches

    def _fits(self, batch: Sequence[int]) -> bool:
        return len(batch) <= self._max_batch_size and all(
            len(batch) * max(sizes[document] for document in batch) <= budget for sizes, budget in self._sizes
        )


def document_sizes(
    dataset: EncodedDocuments | Dataset | Sequence[Mapping[str, Any]],
) -> tuple[list[int], list[int]]:
    """
    Counts tokens and entities of encoded documents.

    Args:
        dataset ([`EncodedDocuments`], `Dataset` or `Sequence[dict]`):
            Features as [`DocREIIProcessor`] makes them.

    Returns:
        `tuple[list[int], list[int]]`: the number of tokens and the number of entities of every document.
    """
    if isinstance(dataset, EncodedDocuments):
        dataset = dataset.features
    if isinstance(dataset, Dataset):
        return list(map(len, dataset["input_ids"])), list(map(len, dataset["pair_mask"]))
    features = [dataset[index] for index in range(len(dataset))]
    return [len(feature["input_ids"]) for feature in features], [len(feature["pair_mask"]) for feature in features]


def budget_sampler(
    dataset: EncodedDocuments | Dataset | Sequence[Mapping[str, Any]],
    args: DocREIITrainingArguments,
    max_batch_size: int,
    epoch: Callable[[], int] | None = None,
) -> BudgetBatchSampler | None:
    """
    Makes the sampler of the batches within the budgets of training arguments.

    Args:
        dataset ([`EncodedDocuments`], `Dataset` or `Sequence[dict]`):
            Encoded documents.
        args ([`DocREIITrainingArguments`]):
            Training arguments.
        max_batch_size (`int`):
            Largest number of documents of a batch.
        epoch (`Callable[[], int]`, *optional*):
            In training, returns the current epoch.

    Returns:
        [`BudgetBatchSampler`], or `None` without a budget.
    """
    if args.max_tokens_per_batch is None and args.max_pairs_per_batch is None:
        return None
    return BudgetBatchSampler(
        *document_sizes(dataset),
        max_batch_size,
        args.max_tokens_per_batch,
        args.max_pairs_per_batch,
        num_processes=args.world_size,
        process_index=args.process_index,
        seed=args.seed if args.data_seed is None else args.data_seed,
        epoch=epoch,
    )


def without_repeated(batch: Mapping[str, torch.Tensor], state: GradientState) -> Mapping[str, torch.Tensor]:
    """
    Removes the pairs and facts of repeated documents from a batch.

    They fill up the last batch of a process, because all processes need batches of the same size, and affect neither
    loss nor metrics.

    Args:
        batch (`dict`):
            A batch of this process.
        state ([`~accelerate.state.GradientState`]):
            State of the dataloader of the batch.

    Returns:
        `Mapping`: the batch, with a `pair_mask` of `False`, and `labels` and `evidence` of -100, for such documents.
    """
    if not state.end_of_dataloader:
        return batch
    num_own = _num_own_documents(state.active_dataloader, len(batch["pair_mask"]))
    fillers = {"pair_mask": False, "labels": -100, "evidence": -100}
    return {
        name: torch.cat([values[:num_own], torch.full_like(values[num_own:], fillers[name])])
        if name in fillers
        else values
        for name, values in batch.items()
    }


def count_annotated(batch: Mapping[str, Any]) -> torch.Tensor:
    """Counts the facts of a batch that have annotated evidence."""
    if "evidence" not in batch:
        return torch.zeros((), dtype=torch.long, device=batch["pair_mask"].device)
    return (batch["evidence"] >= 0).any(-1).sum()


def _num_own_documents(dataloader: DataLoader, num_documents: int) -> int:
    """Returns how many documents of the last batch of a process, the first ones, are not repeated."""
    shard = dataloader.batch_sampler
    if isinstance(shard, SkipBatchSampler):
        shard = shard.batch_sampler
    if not isinstance(shard, BatchSamplerShard):
        return num_documents
    sampler = shard.batch_sampler
    if isinstance(sampler, BudgetBatchSampler):
        return num_documents if sampler.process_index < sampler.num_processes - sampler.num_repeated else 0
    if shard.batch_size is None or shard.drop_last or not shard.even_batches:
        return num_documents
    # After the last documents, accelerate continues with the first ones of the epoch.
    remainder = len(dataloader.dataset) % (num_documents * shard.num_processes)
    return min(max(remainder - shard.process_index * num_documents, 0), num_documents) if remainder else num_documents


def _halved(batches: list[list[int]], count: int) -> list[list[int]]:
    """Halves the batch with the most documents until there are `count` batches, or all have one document."""
    batches = list(batches)
    while len(batches) < count and (largest := max(batches, key=len, default=())) and len(largest) > 1:
        place, middle = batches.index(largest), (len(largest) + 1) // 2
        batches[place : place + 1] = [largest[:middle], largest[middle:]]
    return batches


__all__ = ["BudgetBatchSampler", "budget_sampler", "count_annotated", "document_sizes", "without_repeated"]
