"""DocRE-II: document-level relation extraction by iterative inference (Zhang et al., EMNLP 2022)."""

import importlib

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .bulk_extraction import ExtractedTriples, extract_to_parquet
from .configuration_docre_ii import DocREIIConfig
from .contrastive import simclr_loss, simsiam_loss
from .data_collator import DataCollatorForRelationExtraction
from .documents import CorpusCounts, DocumentError, check_document, count_documents
from .error_report import write_error_report
from .explanation import describe_explanation, explain_facts
from .facts import predicted_facts
from .inference_module import InferenceModule, classifier_weights
from .metrics import count_facts, micro_scores, named_facts, score_facts, score_relations
from .model_card import make_model_card
from .model_outputs import DocREIIModelOutput, DocREIIOutput
from .modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel, DocREIIPreTrainedModel
from .onnx_export import export_onnx
from .onnx_model import DocREIIONNXModel
from .pipeline_docre_ii import DocumentRelationExtractionPipeline
from .processing_docre_ii import DocREIIProcessor
from .significance import paired_bootstrap, summarize_runs
from .submission import submission
from .submission_files import read_submission, write_submission
from .text_documents import document_from_text
from .trainer import DocREIITrainer, facts_by_document, iteration_names, make_compute_metrics, uncounted_pairs
from .training_args import DocREIITrainingArguments
from .training_record import TrainedStage, TrainingRecord
from .type_baseline import TypePairBaseline


AutoConfig.register(DocREIIConfig.model_type, DocREIIConfig)
AutoModel.register(DocREIIConfig, DocREIIForRelationExtraction)
AutoProcessor.register(DocREIIConfig, DocREIIProcessor)
PIPELINE_REGISTRY.register_pipeline(
    "document-relation-extraction", pipeline_class=DocumentRelationExtractionPipeline, pt_model=AutoModel
)

# What is saved or pushed carries the code that loads it where this package is not installed.
DocREIIConfig.register_for_auto_class()
DocREIIForRelationExtraction.register_for_auto_class()
DocREIIProcessor.register_for_auto_class()


# `evaluate` takes longer to import than all of this package: only those pay for it who ask for its metrics.
_METRICS = {"BiomedicalMetric": "biomedical_metric", "DocREDMetric": "docred_metric"}


def __getattr__(name: str):
    if name in _METRICS:
        return getattr(importlib.import_module(f".{_METRICS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
