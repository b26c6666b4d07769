"""DocRE-II: document-level relation extraction by iterative inference (Zhang et al., EMNLP 2022)."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_docre_ii import DocREIIConfig
from .data_collator import DataCollatorForRelationExtraction
from .documents import CorpusCounts, DocumentError, check_document, count_documents
from .modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIModel,
    DocREIIModelOutput,
    DocREIIOutput,
    DocREIIPreTrainedModel,
)
from .processing_docre_ii import DocREIIProcessor


AutoConfig.register(DocREIIConfig.model_type, DocREIIConfig)
AutoModel.register(DocREIIConfig, DocREIIForRelationExtraction)
AutoProcessor.register(DocREIIConfig, DocREIIProcessor)
