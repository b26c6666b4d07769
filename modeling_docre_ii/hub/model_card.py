"""The model card: the README.md of a trained model, with metadata that the Hub reads."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import tokenizers
import torch
import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData, model_info
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from ..configuration_docre_ii import DocREIIConfig
from ..documents import CorpusCounts
from ..evaluation.tables import SCORE_GROUPS, iteration_names, iteration_rows, score_rows
from ..processing_docre_ii import DocREIIProcessor
from ..training.arguments import DocREIITrainingArguments
from .snippets import find_example, model_snippet, package_snippet, pipeline_snippet
from .training_record import KNOWN_CORPORA, KnownCorpus, TrainedStage, TrainingRecord


TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ("docre-ii", "relation-extraction", "document-level-relation-extraction", "information-extraction")
PIPELINE_TAG = "token-classification"  # the nearest of the Hub's tasks, none of which is relation extraction
CITATION = """\
@inproceedings{zhang-etal-2022-towards-better,
    title = "Towards Better Document-level Relation Extraction via Iterative Inference",
    author = "Zhang, Liang and Su, Jinsong and Chen, Yidong and Miao, Zhongjian and Min, Zijun and Hu, Qingguo and
      Shi, Xiaodong",
    booktitle = "Proceedings of the 2022 Conference on Empirical Methods in Natural Language Processing",
    year = "2022",
    publisher = "Association for Computational Linguistics",
}"""

_FOLDED_ROWS = 12


def make_model_card(
    config: DocREIIConfig,
    processor: DocREIIProcessor | None,
    record: TrainingRecord,
    *,
    model_id: str,
    language: str | Sequence[str] | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    base_model: str | None = None,
    dataset_names: Sequence[str] = (),
    dataset_ids: Sequence[str] = (),
    dataset_configs: Sequence[str] = (),
    pipeline_tag: str = PIPELINE_TAG,
    num_parameters: int | None = None,
) -> ModelCard:
    """
    Writes the model card.

    Args:
        config ([`DocREIIConfig`]):
            Configuration of the model.
        processor ([`DocREIIProcessor`], *optional*):
            Its processor, which has the names of the relations.
        record ([`TrainingRecord`]):
            How it was trained, and its scores. What is not known is left out.
        model_id (`str`):
            What the model is loaded by: its name on the Hub, or a folder.
        language (`str` or `list[str]`, *optional*):
            Language code of the texts it was trained on.
        license (`str`, *optional*):
            License of the weights, one of the Hub's identifiers.
        tags (`list[str]`, *optional*):
            Tags beside those that every such model has.
        base_model (`str`, *optional*):
            What training began with. It is named if it is a name on the Hub, not a folder.
        dataset_names, dataset_ids, dataset_configs (`list[str]`, *optional*):
            Readable names of the corpora, their names on the Hub, and the configurations there.
        pipeline_tag (`str`, *optional*, defaults to `"token-classification"`):
            One of the Hub's tasks.
        num_parameters (`int`, *optional*):
            Number of parameters of the model.

    Returns:
        [`~huggingface_hub.ModelCard`]
    """
    base_model = base_model if is_hub_id(base_model) else None
    # The scores of evidence are for other models: DocRE-II predicts none.
    all_scores = {
        split: {name: score for name, score in scores.items() if not name.startswith("evidence_")}
        for split, scores in record.scores.items()
        if "f1" in scores
    }
    title = Path(model_id).name or model_id
    results = _eval_results(all_scores, record.counts, dataset_names, dataset_ids, dataset_configs)
    card_data = ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        tags=[*TAGS, *tags],
        base_model=base_model,
        datasets=list(dataset_ids) or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        pipeline_tag=pipeline_tag,
        model_name=title if results else None,
        eval_results=results or None,
    )
    corpus = next((corpus for corpus in KNOWN_CORPORA.values() if corpus.name in dataset_names), None)
    candidate_types = getattr(processor, "candidate_types", None)
    example = find_example(record.entity_types, candidate_types)
    stages = sorted(record.stages.items())
    last = stages[-1][1].args if stages else None
    relations = {
        label: getattr(processor, "relation_names", {}).get(label, label)
        for _, label in sorted(config.id2label.items())[1:]
    }
    return ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=title,
        iterations=config.num_iterations,
        overview=_overview(
            config, processor, license, base_model, dataset_names, dataset_ids, len(relations), num_parameters
        ),
        pipeline_snippet=pipeline_snippet(model_id, example),
        model_snippet=model_snippet(model_id, example),
        package_snippet=package_snippet(model_id),
        types_sentence=_types_sentence(record.entity_types, candidate_types, getattr(processor, "mark_types", None)),
        is_explained=bool(config.num_iterations) and config.cross_attention == "extended",
        relations=_fold(_table([("id", "relation"), *relations.items()]), f"{len(relations)} relations"),
        corpus_sentence=_corpus_sentence(dataset_names, corpus),
        counts=_count_table(record.counts),
        stages_sentence=_stages_sentence(record.stages, config),
        hyperparameters=_hyperparameter_table(stages),
        options=_table([("", ""), *_options(config, processor)]),
        logs=[(f"stage {stage}", log) for stage, trained in stages if (log := _log_table(trained.log_history))],
        versions=_versions(),
        scores=[_score_section(split, scores, record.counts, last, config) for split, scores in all_scores.items()],
        limitations=_limitations(processor, candidate_types, corpus, last, len(relations)),
        citation=CITATION,
    )


def is_hub_id(name: str | None) -> bool:
    """Whether a model or dataset is one of the Hub, and neither a folder nor `package:NAME/FOLDER`."""
    if not name or Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def license_on_hub(model: str | None) -> str | None:
    """Asks the Hub for the license of a model; none if there is no answer, or one that needs more than its name."""
    if not is_hub_id(model):
        return None
    try:
        card_data = model_info(model).card_data
    except (OSError, HTTPError):  # the Hub cannot be reached, has no such model, or does not show it
        return None
    license = card_data.license if card_data is not None else None
    return license if isinstance(license, str) and license not in ("other", "unknown") else None


# What the metadata say


def _eval_results(
    all_scores: Mapping[str, Mapping[str, float]],
    counts: Mapping[str, CorpusCounts],
    names: Sequence[str],
    ids: Sequence[str],
    configs: Sequence[str],
) -> list[EvalResult]:
    results = []
    for split, scores in all_scores.items():
        count = counts[split].documents if split in counts else None
        # Leaderboards compare what has the same name: a part of a corpus is to be seen as one.
        documents = f"{split} documents" if count is None else f"{count:,} {split} documents"
        for prefix in SCORE_GROUPS:
            results += [
                EvalResult(
                    task_type=PIPELINE_TAG,
                    task_name="Document-level relation extraction",
                    dataset_type=ids[0] if ids else "unknown",
                    dataset_name=f"{names[0]}, {documents}" if names else documents,
                    dataset_config=configs[0] if configs else None,
                    dataset_split=split,
                    metric_type=metric,
                    metric_name=_metric_name(prefix, metric),
                    metric_value=round(scores[prefix + metric], 2),
                )
                for metric in ("f1", "precision", "recall")
                if prefix + metric in scores
            ]
    return results


def _metric_name(prefix: str, metric: str) -> str:
    name = (prefix + ("F1" if metric == "f1" else metric)).replace("_", " ")
    return name[0].upper() + name[1:]


# What the text says


def _overview(
    config: DocREIIConfig,
    processor: DocREIIProcessor | None,
    license: str | None,
    base_model: str | None,
    dataset_names: Sequence[str],
    dataset_ids: Sequence[str],
    num_relations: int,
    num_parameters: int | None,
) -> str:
    encoder = config.encoder_config
    size = f"{encoder.model_type}, {encoder.num_hidden_layers} layers of width {encoder.hidden_size}"
    rows = [("encoder", size)]
    if base_model:
        rows.append(("fine-tuned from", f"[{base_model}](https://huggingface.co/{base_model})"))
    if dataset_names:
        links = [f"[{id_}](https://huggingface.co/datasets/{id_})" for id_ in dataset_ids]
        rows.append(("corpus", ", ".join(dataset_names) + (f" ({', '.join(links)})" if links else "")))
    if num_parameters:
        rows.append(("parameters", f"{num_parameters / 1e6:,.1f} M"))
    rows.append(("relations", f"{num_relations:,}{_limit_of(processor)}"))
    rows.append(("license", f"{license or 'not stated'} (weights), MIT (code)"))
    return _table([("", ""), *rows])


def _limit_of(processor: DocREIIProcessor | None) -> str:
    return "" if processor is None else f", at most {processor.max_labels_per_pair} of one pair of entities"


def _types_sentence(types: Sequence[str], candidate_types: Sequence | None, mark_types: bool | None) -> str:
    known = ", ".join(f"`{type_}`" for type_ in types)
    if candidate_types:
        pairs = ", ".join(f"`{head}` to `{tail}`" for head, tail in candidate_types)
        return f"The `type` decides which pairs are looked at: {pairs}."
    reads = {True: "The model reads the `type`.", False: "The model does not read the `type`."}.get(mark_types, "")
    return " ".join(filter(None, [reads, f"In its corpus the types are {known}." if known else ""]))


def _corpus_sentence(names: Sequence[str], corpus: KnownCorpus | None) -> str:
    said = " and ".join(names) or "Documents of a corpus that was not named"
    return f"{said}: {corpus.texts}." if corpus else f"{said}."


def _count_table(counts: Mapping[str, CorpusCounts]) -> str:
    names = ("documents", "entities", "mentions", "facts", "pairs")
    rows = [(split, *(f"{getattr(count, name):,}" for name in names)) for split, count in counts.items()]
    return _table([("", *names), *rows]) if rows else ""


def _stages_sentence(stages: Mapping[int, TrainedStage], config: DocREIIConfig) -> str:
    if not config.num_iterations:
        return "Stage 1 trains the base module, the only one here."
    said = "Stage 1 trains the base module, stage 2 the inference module on top of it"
    if 2 in stages:
        said += ", while the base is left as it is" if stages[2].args.freeze_base else " and goes on with the base"
    return f"{said}." if 1 in stages else f"{said}. How stage 1 was done is not known here."


def _hyperparameter_table(stages: Sequence[tuple[int, TrainedStage]]) -> str:
    columns = [_hyperparameters(stage, trained.args) for stage, trained in stages]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, "") for column in columns)) for name in names]
    rows = [row for row in rows if any(row[1:])]
    return _table([("", *(f"stage {stage}" for stage, _ in stages)), *rows]) if rows else ""


def _hyperparameters(stage: int, args: DocREIITrainingArguments) -> dict[str, str]:
    per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    parts = [
        f"{args.train_batch_size} a device",
        *([f"{args.world_size} devices"] if args.world_size > 1 else []),
        *([f"{args.gradient_accumulation_steps} steps"] if args.gradient_accumulation_steps > 1 else []),
    ]
    warmup = args.warmup_steps
    optimizer = getattr(args.optim, "value", args.optim)
    if "adam" in optimizer:
        optimizer += f", betas {args.adam_beta1} and {args.adam_beta2}, epsilon {args.adam_epsilon}"
    length = "max_steps" if args.max_steps > 0 else "num_train_epochs"
    base_rate = "0" if args.freeze_base else f"{args.base_learning_rate:g}"
    return {
        length.rpartition("_")[2]: f"{getattr(args, length):g}",
        "documents a step": str(per_step) + (f" ({' × '.join(parts)})" if len(parts) > 1 else ""),
        "learning rate of the encoder": f"{args.encoder_learning_rate:g}" if stage == 1 else base_rate,
        "learning rate of the rest of the base module": f"{args.learning_rate:g}" if stage == 1 else base_rate,
        "learning rate of the inference module": "" if stage == 1 else f"{args.learning_rate:g}",
        "schedule": getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type),
        "warm-up": f"{100 * warmup:g}% of the steps" if warmup < 1 else f"{warmup:g} steps",
        "optimizer": optimizer,
        "weight decay": f"{args.weight_decay:g}",
        "gradient norm at most": f"{args.max_grad_norm:g}" if args.max_grad_norm else "any",
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        "seed": str(args.seed),
        "checkpoint": f"the best by `{args.metric_for_best_model}`" if args.load_best_model_at_end else "the last",
        "threshold": "calibrated after training" if args.calibrate_threshold else "as it was learned",
    }


def _options(config: DocREIIConfig, processor: DocREIIProcessor | None) -> list[tuple[str, str]]:
    names = ["pair_encoder", "pair_hidden_size", "pair_feature_size", "pair_dropout", "num_iterations"]
    if config.num_iterations:
        names += ["num_inference_layers", "inference_hidden_size", "cross_attention", "relation_embedding"]
        names += ["iteration_update", "add_base_logits", "max_noise_rate", "contrastive_loss_weight"]
    names += ["max_window_size", "window_overlap"]
    options = [(f"`{name}`", f"{getattr(config, name)}") for name in names]
    of_processor = ("mention_anchor", "mark_types", "marker", "max_labels_per_pair")
    return options + [(f"`{name}`", f"{getattr(processor, name)}") for name in of_processor if processor is not None]


def _log_table(log_history: Sequence[Mapping[str, Any]]) -> str:
    columns = {"eval_loss": "validation loss", "eval_f1": "F1", "eval_calibrated_f1": "F1 at the best threshold"}
    rows, training_loss = [], ""
    for entry in log_history:
        if "train_runtime" in entry:
            break
        if "loss" in entry:
            training_loss = f"{float(entry['loss']):.4f}"
        if "eval_loss" in entry:
            scores = (
                f"{entry[name]:.4f}" if name == "eval_loss" else f"{entry[name]:.2f}" if name in entry else ""
                for name in columns
            )
            rows.append((f"{entry.get('epoch', 0):.2f}", f"{entry.get('step', 0):,}", training_loss, *scores))
    return _table([("epoch", "step", "training loss", *columns.values()), *rows]) if rows else ""


def _versions() -> str:
    libraries = {"Transformers": transformers, "PyTorch": torch, "Datasets": datasets, "Tokenizers": tokenizers}
    said = [f"{name} {library.__version__}" for name, library in libraries.items()]
    return ", ".join([f"Python {platform.python_version()}", *said])


def _score_section(
    split: str,
    scores: Mapping[str, float],
    counts: Mapping[str, CorpusCounts],
    last: DocREIITrainingArguments | None,
    config: DocREIIConfig,
) -> dict[str, str]:
    count = f"{counts[split].documents:,} " if split in counts else ""
    said = f"On the {count}{split} documents, in percent, micro-averaged over all facts."
    chosen = []
    if last is not None and last.load_best_model_at_end:
        chosen.append(f"the best checkpoint (by `{last.metric_for_best_model}`)")
    if last is not None and last.calibrate_threshold:
        chosen.append("the threshold")
    if split == "validation" and chosen:
        verb = "were" if len(chosen) > 1 else "was"
        said += f" On these very documents {' and '.join(chosen)} {verb} chosen, which flatters the scores a little."
    names = iteration_names(1 + config.num_iterations)
    has_iterations = config.num_iterations and f"{names[-1]}_f1" in scores
    iterations = _table(iteration_rows(scores, names)) if has_iterations else ""
    return {"sentence": said, "table": _table(score_rows(scores)), "iterations": iterations}


def _limitations(
    processor: DocREIIProcessor | None,
    candidate_types: Sequence | None,
    corpus: KnownCorpus | None,
    last: DocREIITrainingArguments | None,
    num_relations: int,
) -> list[str]:
    said = [
        "Entities and their mentions have to be given; the model finds none, and what is wrong in them goes on into "
        "its predictions.",
        'A score is the probability of a relation against "no relation", for each relation alone. Those of a pair do '
        "not sum up to 1, and were not tested for being frequencies: 0.9 need not be right nine times in ten.",
    ]
    if num_relations == 1:
        said.append("It knows the one relation above and no other.")
    else:
        said.append(f"It knows the {num_relations} relations above and no others{_limit_of(processor)}.")
    if candidate_types:
        pairs = ", ".join(f"{head} to {tail}" for head, tail in candidate_types)
        said.append(f"It looks at pairs of these types alone: {pairs}.")
    if last is not None and last.calibrate_threshold:
        said.append(
            "Its threshold is where F1 was best on the validation documents. Where a wrong triple costs more than a "
            "missed one, ask for a higher `threshold`."
        )
    if corpus is not None:
        said.append(
            f"It was trained on {corpus.texts}; how it does on other texts, or in another language, was not measured."
        )
        said.append(corpus.caution)
    else:
        said.append("How it does on other texts than those of its corpus was not measured.")
    return said


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells):
        return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"

    head, *body = rows
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, body)])


def _fold(table: str, summary: str) -> str:
    if len(table.splitlines()) - 2 <= _FOLDED_ROWS:
        return table
    return f"<details><summary>{summary}</summary>\n\n{table}\n\n</details>"


__all__ = ["is_hub_id", "license_on_hub", "make_model_card"]
