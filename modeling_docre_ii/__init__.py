"""DocRE-II: document-level relation extraction by iterative inference."""

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_docre_ii import DocREIIConfig
from .data_collator import DataCollatorForRelationExtraction
from .decoding import PredictedFact
from .documents import DocumentError, check_document, count_documents
from .entity_finding import EntityFinder
from .entity_linking import link_mentions
from .explanation import describe_explanation
from .mention_extraction import TokenClassificationExtractor
from .mention_formats import read_mentions
from .model_outputs import DocREIIModelOutput, DocREIIOutput
from .modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel, DocREIIPreTrainedModel
from .pipeline_docre_ii import DocumentRelationExtractionPipeline
from .processing_docre_ii import DocREIIProcessor
from .text_documents import document_from_text


if TYPE_CHECKING:
    from .deployment.bulk_extraction import extract_to_parquet
    from .deployment.onnx_export import export_onnx
    from .deployment.onnx_model import DocREIIONNXModel
    from .deployment.openvino_int8 import quantize_openvino
    from .deployment.openvino_model import DocREIIOpenVINOModel
    from .evaluation.biomedical_metric import BiomedicalMetric
    from .evaluation.docred_metric import DocREDMetric
    from .evaluation.error_report import write_error_report
    from .evaluation.matching import PredictionError
    from .evaluation.mention_metric import MentionMetric
    from .evaluation.mention_scores import score_extractions
    from .evaluation.plain_texts import plain_text_of
    from .evaluation.scores import named_facts, score_facts, score_relations
    from .evaluation.significance import paired_bootstrap
    from .evaluation.submission import read_submission, to_submission, write_submission
    from .evaluation.type_baseline import TypePairBaseline
    from .training.arguments import DocREIITrainingArguments
    from .training.mention_training import MentionTrainingArguments, train_mention_model
    from .training.metrics import make_compute_metrics
    from .training.trainer import DocREIITrainer
    from .visualization.render import render


# Exports of the folders below. A folder is imported when one of its names is first used, so that a user of the model
# does not wait for `evaluate`, pyarrow and the Trainer.
_ROOM_OF_NAME = {
    "BiomedicalMetric": "evaluation.biomedical_metric",
    "DocREDMetric": "evaluation.docred_metric",
    "DocREIIONNXModel": "deployment.onnx_model",
    "DocREIIOpenVINOModel": "deployment.openvino_model",
    "DocREIITrainer": "training.trainer",
    "DocREIITrainingArguments": "training.arguments",
    "MentionMetric": "evaluation.mention_metric",
    "MentionTrainingArguments": "training.mention_training",
    "PredictionError": "evaluation.matching",
    "TypePairBaseline": "evaluation.type_baseline",
    "export_onnx": "deployment.onnx_export",
    "extract_to_parquet": "deployment.bulk_extraction",
    "make_compute_metrics": "training.metrics",
    "named_facts": "evaluation.scores",
    "paired_bootstrap": "evaluation.significance",
    "plain_text_of": "evaluation.plain_texts",
    "quantize_openvino": "deployment.openvino_int8",
    "read_submission": "evaluation.submission",
    "render": "visualization.render",
    "score_extractions": "evaluation.mention_scores",
    "score_facts": "evaluation.scores",
    "score_relations": "evaluation.scores",
    "train_mention_model": "training.mention_training",
    "to_submission": "evaluation.submission",
    "write_error_report": "evaluation.error_report",
    "write_submission": "evaluation.submission",
}

__version__ = "0.1.0"

__all__ = [
    "BiomedicalMetric",
    "DataCollatorForRelationExtraction",
    "DocREDMetric",
    "DocREIIConfig",
    "DocREIIForRelationExtraction",
    "DocREIIModel",
    "DocREIIModelOutput",
    "DocREIIONNXModel",
    "DocREIIOpenVINOModel",
    "DocREIIOutput",
    "DocREIIPreTrainedModel",
    "DocREIIProcessor",
    "DocREIITrainer",
    "DocREIITrainingArguments",
    "DocumentError",
    "DocumentRelationExtractionPipeline",
    "EntityFinder",
    "MentionMetric",
    "MentionTrainingArguments",
    "PredictedFact",
    "PredictionError",
    "TokenClassificationExtractor",
    "TypePairBaseline",
    "check_document",
    "count_documents",
    "describe_explanation",
    "document_from_text",
    "export_onnx",
    "extract_to_parquet",
    "link_mentions",
    "make_compute_metrics",
    "named_facts",
    "paired_bootstrap",
    "plain_text_of",
    "quantize_openvino",
    "read_mentions",
    "read_submission",
    "render",
    "score_extractions",
    "score_facts",
    "score_relations",
    "to_submission",
    "train_mention_model",
    "write_error_report",
    "write_submission",
]


AutoConfig.register(DocREIIConfig.model_type, DocREIIConfig)
AutoModel.register(DocREIIConfig, DocREIIForRelationExtraction)
AutoProcessor.register(DocREIIConfig, DocREIIProcessor)
PIPELINE_REGISTRY.register_pipeline(
    "document-relation-extraction", pipeline_class=DocumentRelationExtractionPipeline, pt_model=AutoModel
)

# Saved and pushed checkpoints carry the code that loads them without this package.
DocREIIConfig.register_for_auto_class()
DocREIIForRelationExtraction.register_for_auto_class()
DocREIIProcessor.register_for_auto_class()


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF_NAME:
        return getattr(importlib.import_module(f".{_ROOM_OF_NAME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
