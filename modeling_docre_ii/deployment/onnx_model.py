"""Runs an exported model with onnxruntime, also in the pipeline."""

import os
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import CONFIG_NAME

from ..configuration_docre_ii import DocREIIConfig
from ..document_encoding import MentionAttention, check_token_ids, encode_documents
from ..entity_pairs import require_pair_inputs
from ..evidence import sentence_shares, should_output_evidence
from ..model_outputs import DocREIIOutput


if TYPE_CHECKING:
    from onnxruntime import InferenceSession


# The files of an exported model: the text encoder, and everything after it.
ENCODER_FILE, RELATIONS_FILE = "encoder.onnx", "relations.onnx"


class DocREIIONNXModel:
    """
    A model exported by [`export_onnx`], for inference with onnxruntime.

    It takes the inputs of [`DocREIIForRelationExtraction`], as tensors on the CPU, reads long documents through the
    same windows, and returns a [`DocREIIOutput`] with `logits`, `base_logits`, `iteration_logits` and
    `sentence_shares`.

    Args:
        encoder, relations (`onnxruntime.InferenceSession`):
            The two exported graphs.
        config ([`DocREIIConfig`]):
            Configuration of the exported model.

    Example:

    ```python
    >>> from transformers import AutoProcessor, pipeline
    >>> from modeling_docre_ii import DocREIIONNXModel

    >>> model = DocREIIONNXModel.from_pretrained("exported")
    >>> processor = AutoProcessor.from_pretrained("exported")
    >>> extractor = pipeline("document-relation-extraction", model=model, processor=processor)
    ```
    """

    device = torch.device("cpu")
    dtype = torch.float32
    input_modalities = ("text",)
    # Without it, a pipeline would move the model and its inputs to a GPU.
    hf_device_map = {"": device}

    def __init__(self, encoder: "InferenceSession", relations: "InferenceSession", config: DocREIIConfig):
        self.encoder = _Encoder(encoder, config)
        self.relations = relations
        self.config = config

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **session_options: Any) -> "DocREIIONNXModel":
        r"""
        Loads an exported model.

        Args:
            folder (`str` or `os.PathLike`):
                Folder written by [`export_onnx`].
            session_options:
                Arguments of `onnxruntime.InferenceSession`, such as `providers` or `sess_options`.

        Raises:
            `ImportError`: onnxruntime is not installed.
            `FileNotFoundError`: the folder holds no exported model.
        """
        require("onnxruntime")
        from onnxruntime import InferenceSession

        paths = [Path(folder) / name for name in (CONFIG_NAME, ENCODER_FILE, RELATIONS_FILE)]
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"{str(path)!r} is missing: export a model to this folder with `export_onnx`")
        encoder, relations = (InferenceSession(path, **session_options) for path in paths[1:])
        return cls(encoder, relations, DocREIIConfig.from_pretrained(folder))

    def can_generate(self) -> bool:
        """Returns `False`. Pipelines ask."""
        return False

    def __call__(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.LongTensor | None = None,
        mention_positions: torch.LongTensor | None = None,
        mention_entities: torch.LongTensor | None = None,
        pair_mask: torch.BoolTensor | None = None,
        output_attentions: bool = False,
        sentence_ids: torch.LongTensor | None = None,
        output_evidence: bool | None = None,
    ) -> DocREIIOutput:
        r"""
        Runs the exported graphs.

        Args:
            input_ids, attention_mask, mention_positions, mention_entities, pair_mask, sentence_ids, output_evidence:
                See [`DocREIIForRelationExtraction`].
            output_attentions (`bool`, *optional*, defaults to `False`):
                Must be `False`: the exported graphs return none.

        Returns:
            [`DocREIIOutput`]

        Raises:
            `ValueError`: an input is missing, `output_attentions` is set, or `output_evidence` without `sentence_ids`.
        """
        if output_attentions:
            raise ValueError(
                "an exported model returns no attentions and cannot explain its triples: load the original checkpoint"
            )
        mention_positions, mention_entities, pair_mask = require_pair_inputs(
            mention_positions, mention_entities, pair_mask
        )
        check_token_ids(input_ids, self.config.vocab_size)
        encoding = encode_documents(
            self.encoder,
            input_ids,
            torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            mention_positions,
            mention_entities,
            pair_mask.shape[1],
            **self.config.windows,
        )
        base_logits, *iterations = run_session(
            self.relations,
            last_hidden_state=encoding.last_hidden_state,
            entity_attention=encoding.entity_attention,
            mention_positions=mention_positions,
            mention_entities=mention_entities,
            pair_mask=pair_mask.bool(),
        )
        shares = None
        if should_output_evidence(output_evidence, sentence_ids, self.config):
            # The exported encoder returns the attention that evidence is read from.
            shares = sentence_shares(encoding.entity_attention, sentence_ids)
        if not iterations:
            return DocREIIOutput(logits=base_logits, base_logits=base_logits, sentence_shares=shares)
        iteration_logits = tuple(iterations[0])
        return DocREIIOutput(
            logits=iteration_logits[-1],
            base_logits=base_logits,
            iteration_logits=iteration_logits,
            sentence_shares=shares,
        )


class _Encoder:
    """The exported encoder, as [`encode_documents`] calls an encoder that runs sdpa."""

    def __init__(self, session: "InferenceSession", config: DocREIIConfig):
        self.session = session
        self.config = SimpleNamespace(
            _attn_implementation="sdpa", pad_token_id=getattr(config.encoder_config, "pad_token_id", None)
        )

    def __call__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        mention_attention: MentionAttention,
        output_attentions: bool,
    ) -> SimpleNamespace:
        states, mention_attention.probabilities = run_session(
            self.session,
            input_ids=input_ids,
            attention_mask=attention_mask,
            mention_positions=mention_attention.rows,
        )
        return SimpleNamespace(last_hidden_state=states, hidden_states=None)


def run_session(session: "InferenceSession", **inputs: torch.Tensor) -> list[torch.Tensor]:
    """Runs an exported graph on tensors."""
    arrays = {name: value.contiguous().numpy() for name, value in inputs.items()}
    return [torch.from_numpy(array) for array in session.run(None, arrays)]


def require(*packages: str) -> None:
    """
    Checks that packages are installed.

    Raises:
        `ImportError`: one of the packages is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f"{missing[0]!r} is not installed: `pip install docre-ii[onnx]`")


__all__ = ["DocREIIONNXModel"]
