"""Trainer of DocRE-II."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import EvalPrediction, PreTrainedModel
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from ..data_collator import DataCollatorForRelationExtraction
from ..decoding import check_finite
from ..documents import name_of
from ..entity_finding import MENTION_MODEL_FOLDER
from ..evaluation.scores import NamedFact, named_facts
from ..hub.eval_results import write_eval_results
from ..hub.hub_names import is_hub_id, license_on_hub
from ..hub.model_card import make_model_card
from ..hub.training_record import TrainingRecord
from ..loaded_weights import check_weights
from ..model_outputs import DocREIIOutput
from ..processing_docre_ii import DocREIIProcessor
from ..utils.atomic_write import atomic_write
from .arguments import DocREIITrainingArguments
from .batching import budget_sampler, count_annotated, without_repeated
from .calibrating import CalibratingTrainer
from .calibration import CALIBRATION_MARGIN
from .checks import check_datasets, check_parts, check_trained_parts
from .class_prior import start_at_frequencies
from .encoding import Documents, EncodedDocuments, ensure_encoded
from .metrics import make_compute_metrics, save_results
from .parameter_groups import split_by_learning_rate
from .precision import PrecisionRecord
from .predictions import pack_predictions
from .pushes import PushWatch
from .sharding import docre_ii_of, unsharded_class
from .stage_record import complete_record


class DocREIITrainer(CalibratingTrainer):
    """
    [`Trainer`] for both training stages of [`DocREIIForRelationExtraction`].

    `train()` trains the stage that the model is in: stage 1 without an inference module (`num_iterations=0`), stage 2
    with one, as from [`~DocREIIForRelationExtraction.from_base_pretrained`]. Datasets are documents. The Trainer
    encodes them, collates them and scores predictions on them. Features from a [`DocREIIProcessor`] work as well; to
    be evaluated, each needs a `document_index`.

    It adds:

    - learning rates by module: encoder and new modules in stage 1, base and inference module in stage 2, each split by
      weight decay as in transformers;
    - a log of all parts of the loss by name;
    - losses averaged over the candidate pairs of all batches of an optimizer step, independent of gradient
      accumulation and the number of processes;
    - predictions gathered as triples, not as dense logits;
    - a moving average of the weights, with `ema_decay` ([`AveragingTrainer`]);
    - after training, the number of iterations and the threshold that do best on the validation documents, with
      `calibrate_iterations` and `calibrate_threshold` ([`CalibratingTrainer`]);
    - checkpoints that are complete or not there ([`WholeCheckpointTrainer`]), and evaluation that does not change the
      training;
    - a model card with usage and, from `record`, a [`TrainingRecord`], the corpus, the scores and the stages.

    `predict` and `compute_metrics` get a tuple of predictions, those of the base module first, then those of every
    iteration. Each is of shape `(num_documents, most_facts, 5)`, float64, -100 for padding: document, head, tail,
    relation, score. A model that was trained to find evidence adds columns of sentences. The document is the
    `document_index` of the feature, so that the order of evaluation does not matter. With `calibrate_threshold`,
    relations somewhat below the threshold, with a score below 0.5, are among them. [`unpack_facts`] returns the
    predicted ones as [`PredictedFact`]s.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model to train or evaluate.
        args ([`DocREIITrainingArguments`], *optional*):
            Training arguments, with the learning rates.
        data_collator (`Callable`, *optional*):
            Defaults to [`DataCollatorForRelationExtraction`].
        train_dataset (`Sequence[dict]` or `Dataset`, *optional*):
            Training documents with labels.
        eval_dataset (`Sequence[dict]`, `Dataset` or a `dict` of them, *optional*):
            Documents with labels to score.
        processing_class ([`DocREIIProcessor`], *optional*):
            Processor of the model, which is saved with every checkpoint. Needed for datasets of documents.
        compute_metrics (`Callable`, *optional*):
            Defaults to the scores of [`make_compute_metrics`] on the documents that are evaluated.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts that Ign F1 ignores, from [`named_facts`]. Defaults to those of the training documents.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of distantly supervised documents, for the Ign F1 that ignores those.
        kwargs:
            Further arguments of [`Trainer`].

    Raises:
        [`DocumentError`]: a document is malformed or has an unknown relation.
        `ValueError`: model and processor have different relations, no training document has a label, or `freeze_base`
            is set for a model without an inference module.

    Example:

    ```python
    >>> trainer = DocREIITrainer(
    ...     model=model, args=args, train_dataset=documents, eval_dataset=dev_documents, processing_class=processor
    ... )
    >>> trainer.train()
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel | torch.nn.Module | None = None,
        args: DocREIITrainingArguments | None = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        train_dataset: Documents | None = None,
        eval_dataset: Documents | dict[str, Documents] | None = None,
        processing_class: DocREIIProcessor | None = None,
        *,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        train_facts: set[NamedFact] | None = None,
        distant_facts: set[NamedFact] | None = None,
        **kwargs: Any,
    ):
        args = args or DocREIITrainingArguments(output_dir="tmp_trainer")
        check_parts(None if model is None else docre_ii_of(model).config, args, processing_class)
        self.args, self.processing_class = args, processing_class
        self._given_train_facts, self.distant_facts = train_facts, distant_facts
        self._evaluated_dataset: Any = None
        self._margin = CALIBRATION_MARGIN if args.calibrate_threshold else 0.0
        if processing_class is not None:
            data_collator = data_collator or DataCollatorForRelationExtraction(processing_class.tokenizer)
            compute_metrics = compute_metrics or self._score_documents
        super().__init__(
            model,
            args,
            data_collator,
            self._encoded(train_dataset, for_training=True),
            self._encoded(eval_dataset),
            processing_class,
            compute_metrics=compute_metrics,
            **kwargs,
        )
        self._loss_parts: dict[str, torch.Tensor] = {}  # sums since the last log,
        self._first_step = 0  # and the step they begin at
        self._num_evidence: torch.Tensor | None = None
        self._evaluated = torch.zeros(2, dtype=torch.float64)  # the losses of all pairs, and their number
        self.model_accepts_loss_kwargs = True  # the loss is divided by the pairs of `_get_num_items_in_batch`
        self.record, self.pushes = TrainingRecord(), PushWatch()
        self.add_callback(PrecisionRecord(self.args.requested_precision._asdict(), self.args.precision._asdict()))
        self._prepare(docre_ii_of(self.model))

    def call_model_init(self, trial: Any = None) -> torch.nn.Module:
        model = super().call_model_init(trial)
        check_parts(docre_ii_of(model).config, self.args, self.processing_class)
        self._prepare(docre_ii_of(model))
        return model

    def _prepare(self, model: Any) -> None:
        # The number of iterations that a training keeps may be 0.
        self._stage = 2 if model.config.num_iterations else 1
        if self.args.freeze_base:
            model.base_model.requires_grad_(False)
        dataset = getattr(self, "train_dataset", None)  # Trainer calls `model_init` before it is set as well
        if self.args.prior_bias and not model.config.num_iterations and dataset is not None:
            start_at_frequencies(model, dataset)

    @cached_property
    def train_facts(self) -> set[NamedFact] | None:
        """Facts that Ign F1 ignores; `None` without training documents."""
        if self._given_train_facts is None and isinstance(self.train_dataset, EncodedDocuments):
            return named_facts(self.train_dataset.source)
        return self._given_train_facts

    def _encoded(self, dataset: Documents | dict[str, Documents] | None, for_training: bool = False) -> Any:
        return ensure_encoded(dataset, self.processing_class, self.args, for_training)

    def _score_documents(self, prediction: EvalPrediction) -> dict[str, float]:
        """Scores of [`make_compute_metrics`] on the documents under evaluation; none if there are only features."""
        if not isinstance(self._evaluated_dataset, EncodedDocuments) or self.processing_class is None:
            return {}
        documents, facts = self._evaluated_dataset.documents, (self.train_facts, self.distant_facts)
        return make_compute_metrics(documents, self.processing_class.relations, *facts)(prediction)

    def get_eval_dataloader(self, eval_dataset: str | Documents | None = None) -> DataLoader:
        return super().get_eval_dataloader(
            eval_dataset if isinstance(eval_dataset, str) else self._encoded(eval_dataset)
        )

    def get_test_dataloader(self, test_dataset: Documents) -> DataLoader:
        return super().get_test_dataloader(self._encoded(test_dataset))

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        check_datasets(self.args, self.train_dataset, self.eval_dataset)
        self._loss_parts = {}
        if self.model is not None:  # in a search, `model_init` makes it later
            check_trained_parts(docre_ii_of(self.model), self.args)
            docre_ii_of(self.model).missing_weights = ()
        if self.args.world_size > 1 and self.model_wrapped is self.model:
            # Accelerate takes a model that was evaluated for prepared, and its processes would not share gradients.
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)._is_accelerate_prepared = False
        return super().train(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        sampler = budget_sampler(dataset, self.args, self._train_batch_size, lambda: int(self.state.epoch or 0))
        return super()._get_train_sampler(train_dataset) if sampler is None else sampler

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        sampler = budget_sampler(eval_dataset, self.args, self.args.eval_batch_size)
        return super()._get_eval_sampler(eval_dataset) if sampler is None else sampler

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            docre_ii = docre_ii_of(self.model if model is None else model)
            optimizer.param_groups[:] = split_by_learning_rate(optimizer.param_groups, docre_ii, self.args)
        return optimizer

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        inputs = {name: value for name, value in inputs.items() if name != "document_index"}
        if model.training and "evidence" in inputs:
            inputs["num_evidence_in_batch"] = self._num_evidence
        # In evaluation, the average over the pairs of this batch.
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch if model.training else None)
        names = ("base_loss", "inference_loss", "contrastive_loss", "evidence_loss")
        parts = {name: outputs[name] for name in names if outputs.get(name) is not None}
        if model.training and len(parts) > 1:
            if not self._loss_parts:
                self._first_step = self.state.global_step
            for name, part in parts.items():
                self._loss_parts[name] = self._loss_parts.get(name, 0.0) + part.detach()
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._loss_parts:
            # Each process has either its share of one mean, or a mean of its own.
            reduction = "sum" if self.args.average_tokens_across_devices else "mean"
            for name, part in self._loss_parts.items():
                total = self.accelerator.reduce(part, reduction).item()
                logs[name] = total / (self.state.global_step - self._first_step)
            self._loss_parts = {}
        super().log(logs, start_time)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Mapping[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[Mapping[str, Any]], torch.Tensor | None]:
        batches = (without_repeated(batch, self.accelerator.gradient_state) for batch in epoch_iterator)
        return super().get_batch_samples(batches, num_batches, device)

    def _get_num_items_in_batch(
        self, batch_samples: list[Mapping[str, Any]], device: torch.device
    ) -> torch.Tensor | None:
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        # Trainer counts label tokens. These losses are averages over candidate pairs and over annotated facts.
        counts = sum(torch.stack([batch["pair_mask"].sum(), count_annotated(batch)]) for batch in batch_samples)
        counts = counts.to(device)
        if self.args.world_size > 1 and self.args.average_tokens_across_devices:
            counts = self.accelerator.gather(counts[None]).sum(0)
        num_pairs, self._num_evidence = counts
        return num_pairs

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, Any, torch.Tensor | None]:
        inputs = dict(without_repeated(inputs, self.accelerator.gradient_state))
        if "document_index" not in inputs:
            raise ValueError("features to evaluate need a `document_index`, the place of their document: 0, 1, ...")
        document_index = inputs.pop("document_index")
        kept = {"base_logits", "iteration_logits", "sentence_shares"}
        ignored = [field.name for field in fields(DocREIIOutput) if field.name not in kept]
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys=ignored)
        if loss is not None:
            self._evaluated += torch.tensor([loss, 1.0], dtype=torch.float64) * inputs["pair_mask"].sum().item()
        if prediction_loss_only:
            if loss is not None:
                check_finite([loss.reshape(1, 1)], lambda _: f"the loss of {self._names(*document_index)}")
            return loss, None, None
        base_logits, *others = logits if isinstance(logits, tuple) else (logits,)
        iteration_logits = next((value for value in others if isinstance(value, tuple)), ())
        shares = next((value for value in others if isinstance(value, torch.Tensor)), None)
        pair_mask = inputs["pair_mask"].to(base_logits.device)
        check_finite((base_logits, *iteration_logits), lambda place: self._names(document_index[place]))
        predictions = tuple(
            pack_predictions(values, pair_mask, document_index, self.processing_class, self._margin, shares)
            for values in (base_logits, *iteration_logits)
        )
        # Trainer pads facts, but expects as many documents from every process.
        pad = partial(self.accelerator.pad_across_processes, dim=0, pad_index=-100)
        return loss, pad(predictions), None if labels is None else pad(labels)

    def _names(self, *indices: torch.Tensor) -> str:
        source = getattr(self._evaluated_dataset, "source", None)  # mere features have none
        return ", ".join(name_of(source[int(i)]) if source is not None else f"document {i}" for i in indices)

    def evaluation_loop(
        self, dataloader: DataLoader, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        if not self.is_in_train:
            check_weights(docre_ii_of(self.model))
        self._evaluated_dataset = dataloader.dataset
        self._evaluated = torch.zeros(2, dtype=torch.float64)
        # A DataLoader draws its seed from torch's generator: without the fork, evaluation would change the training.
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            output = super().evaluation_loop(dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        # Devices without float64 (MPS) are used by one process, which has nothing to reduce.
        evaluated = self._evaluated.to(self.args.device) if self.args.world_size > 1 else self._evaluated
        total, num_pairs = self.accelerator.reduce(evaluated).tolist()
        if f"{metric_key_prefix}_loss" in output.metrics:
            # As in training, over all candidate pairs; Trainer has the average of the averages of batches.
            output.metrics[f"{metric_key_prefix}_loss"] = total / max(num_pairs, 1)
        return output

    def create_model_card(
        self,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """
        Writes the model card.

        This is README.md in the output folder, and `.eval_results` if the corpus is on the Hub.

        Corpus, scores and other stages are taken from `record`. Without scores there, the card has those of the last
        evaluation of the weights that were kept, if there was one.

        Args:
            language (`str` or `list[str]`, *optional*):
                Language code of the texts. Defaults to that of `record.corpus`.
            license (`str`, *optional*):
                License of the weights. Defaults to the license of the base model on the Hub.
            tags (`str` or `list[str]`, *optional*):
                Tags in addition to those of every DocRE-II model.
            model_name (`str`, *optional*):
                Name to load the model by. Defaults to the output folder. The repository on the Hub overrides it.
            finetuned_from (`str`, *optional*):
                The base model on the Hub. Defaults to the checkpoint that training started from, or to its encoder.
            tasks (`str` or `list[str]`, *optional*):
                One of the Hub's tasks. Defaults to token classification.
            dataset_tags, dataset, dataset_args (`str` or `list[str]`, *optional*):
                Names of the corpora on the Hub, their readable names, and their configurations. Names default to
                those of `record.corpus`.
        """
        if not self.is_world_process_zero():
            return
        path = Path(self.args.output_dir) / "README.md"
        written = ModelCard.load(path).data if path.exists() else {}
        model = docre_ii_of(self.model)
        sources = (model.config._name_or_path, model.config.get_text_config()._name_or_path)
        base_model = finetuned_from or next(filter(is_hub_id, sources), None)
        card = make_model_card(
            model.config,
            self.processing_class,
            complete_record(self.record, self.args, self.state, self._stage),
            model_id=self.hub_model_id or self.args.hub_model_id or model_name or self.args.output_dir,
            # The card shows what the model finds in a text. One process alone cannot run a sharded model.
            model=None if self.is_fsdp_enabled or self.is_deepspeed_enabled else model,
            language=language,
            license=license or license_on_hub(base_model),
            tags=list(dict.fromkeys([*_listed(tags), "generated_from_trainer", *_listed(written.get("tags"))])),
            base_model=base_model,
            dataset_names=_listed(dataset),
            dataset_ids=_listed(dataset_tags),
            dataset_configs=_listed(dataset_args),
            num_parameters=model.num_parameters(),
            finds_mentions=(path.parent / MENTION_MODEL_FOLDER).is_dir(),
            **({"pipeline_tag": _listed(tasks)[0]} if tasks else {}),
        )
        with atomic_write(path) as partial_card:
            card.save(partial_card)
        write_eval_results(self.args.output_dir, card.data.eval_results or [])
        if written.get("library_name") == "peft":
            # As in Trainer: peft adds that the card is one of an adapter.
            self.accelerator.unwrap_model(self.model).create_or_update_model_card(self.args.output_dir)

    def save_metrics(self, split: str, metrics: dict[str, float], combined: bool = True) -> None:
        # Trainer's own does not write atomically, and a damaged file from before ends it.
        if self.is_world_process_zero():
            save_results(Path(self.args.output_dir), split, metrics, combined)

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with unsharded_class(self.model):
            super()._save(*args, **kwargs)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        super()._push_from_checkpoint(checkpoint_folder)
        if getattr(self, "push_in_progress", None) is not None:
            self.pushes.watch(self.push_in_progress.jobs, self.state.global_step)


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


__all__ = ["DocREIITrainer"]
