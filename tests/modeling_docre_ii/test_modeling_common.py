"""
transformers' tests of its own models, applied to ours.

The installed package does not include them. They are skipped unless `TRANSFORMERS_TESTS` names the `tests` folder of
transformers' source: see CONTRIBUTING.md.
"""

import importlib
import os
import sys
import unittest
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
import transformers

from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction, DocREIIModel


FOLDER = os.environ.get("TRANSFORMERS_TESTS")
if not FOLDER:
    pytest.skip("TRANSFORMERS_TESTS names no folder with the tests of transformers", allow_module_level=True)
pytest.importorskip("parameterized")

# What the common tests import from folders that the source distribution leaves out: tests of `torch.export` and of
# `generate`, which do not apply, and the arguments of a configuration that has no other inside.
STAND_INS = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils.test_configuration_utils": {"config_common_kwargs": {}},
}


def common_tests(name):
    """Imports a file of the folder as `transformers_tests.{name}`."""
    package = sys.modules.setdefault("transformers_tests", ModuleType("transformers_tests"))
    package.__path__ = [FOLDER]
    for path, members in STAND_INS.items():
        parent = f"transformers_tests.{path.split('.')[0]}"
        for module in (parent, f"transformers_tests.{path}"):
            sys.modules.setdefault(module, ModuleType(module)).__path__ = []
        vars(sys.modules[f"transformers_tests.{path}"]).update(members)
    with patch("transformers.utils.direct_transformers_import", lambda *args, **kwargs: transformers):
        return importlib.import_module(f"transformers_tests.{name}")


common = common_tests("test_modeling_common")
ConfigTester = common_tests("test_configuration_common").ConfigTester


# Where the tests look up which class of a model is its base model, which has no loss.
common.MODEL_MAPPING_NAMES["docre_ii"] = "DocREIIModel"


class DocREIIModelTester:
    """A tiny model of one encoder, and a batch of random documents."""

    # The tests of eager and sdpa fill a batch up to 7 with random numbers, which make no documents.
    batch_size = 7
    seq_length = 12
    num_mentions = 5
    num_entities = 3
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    is_training = True

    def __init__(self, parent, encoder):
        self.parent = parent
        self.encoder = encoder

    def get_config(self):
        sizes = {
            "vocab_size": 99,
            "hidden_size": self.hidden_size,
            "intermediate_size": 37,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        }
        return DocREIIConfig(
            encoder_config={"model_type": self.encoder} | sizes,
            id2label={0: "Na", 1: "P1", 2: "P2"},
            pair_hidden_size=16,
            pair_intermediate_size=16,
            pair_bilinear_rank=8,
            pair_feature_size=16,
            inference_hidden_size=16,
            inference_intermediate_size=16,
            contrastive_hidden_size=8,
            window_overlap=8,
        )

    def prepare_config_and_inputs_for_common(self):
        shape = (self.batch_size, self.seq_length)
        pair_mask = ~torch.eye(self.num_entities, dtype=torch.bool)
        # Every entity has a mention.
        entities = torch.arange(self.num_mentions) % self.num_entities
        positions = [torch.randperm(self.seq_length)[: self.num_mentions] for _ in range(self.batch_size)]
        return self.get_config(), {
            "input_ids": common.ids_tensor(shape, 99 - 1) + 1,
            "attention_mask": torch.ones(shape, dtype=torch.long),
            "mention_positions": torch.stack(positions),
            "mention_entities": entities.repeat(self.batch_size, 1),
            "pair_mask": pair_mask.repeat(self.batch_size, 1, 1),
        }


class CommonTests:
    """The tests of every encoder."""

    encoder = None
    all_model_classes = (DocREIIModel, DocREIIForRelationExtraction)
    _is_composite = True
    test_can_init_all_missing_weights_before_2023 = True
    test_torch_exportable = False
    additional_model_inputs = ["mention_positions", "mention_entities", "pair_mask"]

    def setUp(self):
        self.model_tester = DocREIIModelTester(self, self.encoder)
        self.config_tester = ConfigTester(self, config_class=DocREIIConfig, has_text_modality=False)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class is DocREIIForRelationExtraction:
            inputs["labels"] = torch.tensor([[0, 1, 1], [1, 2, 2]]).repeat(self.model_tester.batch_size, 1, 1)
        return inputs

    def test_config(self):
        self.config_tester.run_common_tests()


class BertTest(CommonTests, common.ModelTesterMixin, unittest.TestCase):
    encoder = "bert"


class RobertaTest(CommonTests, common.ModelTesterMixin, unittest.TestCase):
    encoder = "roberta"


class ElectraTest(CommonTests, common.ModelTesterMixin, unittest.TestCase):
    encoder = "electra"


@patch.object(DocREIIModel, "supports_gradient_checkpointing", False)
@patch.object(DocREIIForRelationExtraction, "supports_gradient_checkpointing", False)
class AlbertTest(CommonTests, common.ModelTesterMixin, unittest.TestCase):
    """transformers' ALBERT has no gradient checkpointing."""

    encoder = "albert"


class ModernBertTest(CommonTests, common.ModelTesterMixin, unittest.TestCase):
    encoder = "modernbert"

    @unittest.skip(
        "where another package's model holds a ModernBERT, transformers draws its missing weights otherwise"
    )
    def test_can_init_all_missing_weights(self):
        pass
