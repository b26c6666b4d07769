"""The model card: the README.md of a trained model, with metadata for the Hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..configuration_docre_ii import DocREIIConfig
from ..documents import CorpusCounts
from ..evaluation.tables import SCORE_GROUPS
from ..processing_docre_ii import DocREIIProcessor
from .card_tables import (
    count_table,
    fold_if_long,
    hyperparameter_table,
    log_table,
    markdown_table,
    option_table,
    overview_table,
    versions,
)
from .card_text import corpus_sentence, limitations, score_section, stages_sentence, types_sentence
from .hub_names import is_hub_id
from .snippets import find_example, model_snippet, package_snippet, pipeline_snippet
from .training_record import TrainingRecord


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
    Makes the model card.

    Args:
        config ([`DocREIIConfig`]):
            Configuration of the model.
        processor ([`DocREIIProcessor`], *optional*):
            Its processor, which has the names of the relations.
        record ([`TrainingRecord`]):
            How it was trained, on what, and its scores. What is unknown is left out.
        model_id (`str`):
            What the model is loaded by: its name on the Hub, or a folder.
        language (`str` or `list[str]`, *optional*):
            Language code of the texts it was trained on. Defaults to that of `record.corpus`.
        license (`str`, *optional*):
            License of the weights, one of the Hub's identifiers.
        tags (`list[str]`, *optional*):
            Tags in addition to those of every DocRE-II model.
        base_model (`str`, *optional*):
            The model that training started from. It is named if it is on the Hub, not in a folder.
        dataset_names, dataset_ids, dataset_configs (`list[str]`, *optional*):
            Readable names of the corpora, their names on the Hub, and the configurations there. Names default to those
            of `record.corpus`.
        pipeline_tag (`str`, *optional*, defaults to `"token-classification"`):
            One of the Hub's tasks.
        num_parameters (`int`, *optional*):
            Number of parameters of the model.

    Returns:
        [`~huggingface_hub.ModelCard`]
    """
    corpus = record.corpus
    if corpus is not None:
        language = language or corpus.language
        dataset_names = dataset_names or [corpus.name]
        dataset_ids = dataset_ids or ([corpus.hub_id] if corpus.hub_id else [])
    base_model = base_model if is_hub_id(base_model) else None
    # Evidence scores are for files of other models: DocRE-II predicts no evidence.
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
    candidate_types = getattr(processor, "candidate_types", None)
    example = find_example(record.entity_types, candidate_types)
    stages = sorted(record.stages.items())
    last = stages[-1][1].arguments if stages else None
    relations = {
        label: getattr(processor, "relation_names", {}).get(label, label)
        for _, label in sorted(config.id2label.items())[1:]
    }
    return ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=title,
        iterations=config.num_iterations,
        overview=overview_table(
            config, processor, license, base_model, dataset_names, dataset_ids, len(relations), num_parameters
        ),
        pipeline_snippet=pipeline_snippet(model_id, example),
        model_snippet=model_snippet(model_id, example),
        package_snippet=package_snippet(model_id),
        types_sentence=types_sentence(record.entity_types, candidate_types, getattr(processor, "mark_types", None)),
        is_explained=bool(config.num_iterations) and config.cross_attention == "extended",
        relations=fold_if_long(
            markdown_table([("id", "relation"), *relations.items()]), f"{len(relations)} relations"
        ),
        corpus_sentence=corpus_sentence(dataset_names, corpus),
        counts=count_table(record.counts),
        stages_sentence=stages_sentence(record.stages, config),
        hyperparameters=hyperparameter_table(stages),
        options=option_table(config, processor),
        logs=[(f"stage {stage}", log) for stage, trained in stages if (log := log_table(trained.log_history))],
        versions=versions(),
        scores=[score_section(split, scores, record.counts, last, config) for split, scores in all_scores.items()],
        limitations=limitations(processor, candidate_types, corpus, last, len(relations)),
        citation=CITATION,
    )


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
        # Leaderboards compare results of the same name: it must show that these are a part of a corpus.
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


__all__ = ["make_model_card"]
