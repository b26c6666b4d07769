"""The model card: the README.md of a trained model, with metadata for the Hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..configuration_docre_ii import DocREIIConfig
from ..documents import CorpusCounts
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..processing_docre_ii import DocREIIProcessor
from .card_tables import (
    count_table,
    hyperparameter_table,
    iteration_tables,
    log_table,
    markdown_table,
    option_table,
    overview_table,
    score_table,
    versions,
)
from .card_text import choice_sentence, corpus_phrase, limitations, stages_sentence, types_sentence
from .eval_results import UNKNOWN_DATASET
from .hub_names import is_hub_id
from .markdown import escaped
from .snippets import example_output, find_example, model_snippet, package_snippet, pipeline_snippet
from .training_record import TrainingRecord


TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ("docre-ii", "relation-extraction", "document-level-relation-extraction", "information-extraction")
PIPELINE_TAG = "token-classification"  # the nearest task of the Hub, which has none for relation extraction
# The scores in `model-index`, each under a type of its own. The card has the others.
INDEXED_SCORES = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "ign_f1": "Ign F1",
    "filtered_f1": "F1 without uncounted pairs",
}
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
    model: DocREIIForRelationExtraction | None = None,
    language: str | Sequence[str] | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    base_model: str | None = None,
    dataset_names: Sequence[str] = (),
    dataset_ids: Sequence[str] = (),
    dataset_configs: Sequence[str] = (),
    pipeline_tag: str = PIPELINE_TAG,
    num_parameters: int | None = None,
    finds_mentions: bool = False,
) -> ModelCard:
    """
    Makes the model card: how to use the model, scores, data, limitations, details.

    Args:
        config ([`DocREIIConfig`]):
            Configuration of the model.
        processor ([`DocREIIProcessor`], *optional*):
            Its processor, which has the names of the relations.
        record ([`TrainingRecord`]):
            Corpus, scores and training arguments. The card leaves out whatever is unknown.
        model_id (`str`):
            Name to load the model by: its name on the Hub, or a folder.
        model ([`DocREIIForRelationExtraction`], *optional*):
            The model, to show what it finds in the example of the card. It needs `processor`.
        language (`str` or `list[str]`, *optional*):
            Language code of the training texts. Defaults to that of `record.corpus`.
        license (`str`, *optional*):
            License of the weights, one of the Hub's identifiers.
        tags (`list[str]`, *optional*):
            Tags in addition to those of every DocRE-II model.
        base_model (`str`, *optional*):
            The model that training started from. The card names it if it is on the Hub.
        dataset_names, dataset_ids, dataset_configs (`list[str]`, *optional*):
            Readable names of the corpora, their names on the Hub, and the configurations there. Names default to those
            of `record.corpus`.
        pipeline_tag (`str`, *optional*, defaults to `"token-classification"`):
            One of the Hub's tasks.
        num_parameters (`int`, *optional*):
            Number of parameters of the model.
        finds_mentions (`bool`, *optional*, defaults to `False`):
            Whether there is a mention model beside it, so that it reads texts without entities.

    Returns:
        [`~huggingface_hub.ModelCard`]
    """
    corpus = record.corpus
    if corpus is not None:
        language = language or corpus.language
        dataset_names = dataset_names or [corpus.name]
        dataset_ids = dataset_ids or ([corpus.hub_id] if corpus.hub_id else [])
    base_model = base_model if is_hub_id(base_model) else None
    all_scores = {split: scores for split, scores in record.scores.items() if "f1" in scores}
    title = Path(model_id).name or model_id
    results = _eval_results(all_scores, record.counts, dataset_names, dataset_ids, dataset_configs)
    card_data = ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        tags=[*TAGS, *tags],
        base_model=base_model,
        datasets=list(dataset_ids) or None,
        metrics=["f1", "precision", "recall"] if results else None,
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
    is_on_hub = is_hub_id(model_id)
    return ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=escaped(title),
        iterations=config.num_iterations,
        is_on_hub=is_on_hub,
        pipeline_snippet=pipeline_snippet(model_id, example, is_on_hub),
        output=None if model is None or processor is None else example_output(model, processor, example),
        types_sentence=types_sentence(record.entity_types, candidate_types, getattr(processor, "mark_types", None)),
        finds_mentions=finds_mentions,
        finds_evidence=config.evidence_loss_weight > 0,
        is_explained=bool(config.num_iterations) and config.cross_attention == "extended",
        scores=score_table(all_scores, record.counts),
        choice_sentence=choice_sentence(last, all_scores),
        overview=overview_table(
            config, license, base_model, corpus_phrase(dataset_names, dataset_ids, corpus), num_parameters
        ),
        counts=count_table(record.counts),
        limitations=limitations(processor, candidate_types, corpus, last, len(relations), finds_mentions),
        citation=CITATION,
        model_snippet=model_snippet(model_id, example, is_on_hub),
        package_snippet=package_snippet(model_id),
        num_relations=len(relations),
        relations=markdown_table([("id", "relation"), *(tuple(map(escaped, item)) for item in relations.items())]),
        iterations_tables=iteration_tables(all_scores, config.num_iterations),
        stages_sentence=stages_sentence(record.stages, config),
        hyperparameters=hyperparameter_table(stages),
        options=option_table(config, processor),
        logs=[(f"stage {stage}", log) for stage, trained in stages if (log := log_table(trained.log_history))],
        versions=versions(),
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
        # Leaderboards compare results of the same name, so the name says how many documents were scored.
        documents = f"{split} documents" if count is None else f"{count:,} {split} documents"
        results += [
            EvalResult(
                task_type=PIPELINE_TAG,
                task_name="Document-level relation extraction",
                dataset_type=ids[0] if ids else UNKNOWN_DATASET,
                dataset_name=f"{names[0]}, {documents}" if names else documents,
                dataset_config=configs[0] if configs else None,
                dataset_split=split,
                metric_type=metric,
                metric_name=name,
                metric_value=round(scores[metric], 2),
            )
            for metric, name in INDEXED_SCORES.items()
            if metric in scores
        ]
    return results


__all__ = ["make_model_card"]
