"""Checkpoints that are damaged: none of them predicts, whichever way they come."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, pipeline

import run_docre
from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
    export_onnx,
    extract_to_parquet,
)
from modeling_docre_ii.decoding import NonFiniteLogitsError, check_finite
from modeling_docre_ii.loaded_weights import WeightsError, check_weights
from tests.hub_model import make_model, make_processor, sample_documents


# Tensors of the encoder, the base module and the inference module.
TENSORS = [
    "docre_ii.encoder.encoder.layer.1.attention.self.query.weight",
    "docre_ii.classifier.bias",
    "inference_module.classifier.weight",
]


@pytest.fixture(scope="module")
def documents():
    return sample_documents(4)


@pytest.fixture(scope="module")
def processor(documents):
    return make_processor(documents)


@pytest.fixture
def save_damaged(processor, tmp_path):
    """Saves a checkpoint whose tensors a function has damaged, and returns its folder."""

    def save(damage):
        folder = tmp_path / "checkpoint"
        make_model(processor).save_pretrained(folder)
        processor.save_pretrained(folder)
        relations = {relation: relation for relation in processor.relations}
        (folder / "relations.json").write_text(json.dumps(relations), encoding="utf-8")
        tensors = load_file(folder / "model.safetensors")
        damage(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return save


def without(*names):
    return lambda tensors: [tensors.pop(name) for name in names]


def filled(name, value):
    """Damages a single number of a tensor."""

    def damage(tensors):
        tensors[name].view(-1)[3] = value

    return damage


def evaluate(folder, documents, tmp_path):
    args = DocREIITrainingArguments(output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, disable_tqdm=True)
    model, processor = AutoModel.from_pretrained(folder), DocREIIProcessor.from_pretrained(folder)
    DocREIITrainer(model, args, eval_dataset=documents, processing_class=processor).evaluate()


def extract(folder, documents, tmp_path):
    loaded = DocREIIForRelationExtraction.from_pretrained(folder), DocREIIProcessor.from_pretrained(folder)
    extract_to_parquet(*loaded, documents, tmp_path / "out")


def run(folder, documents, tmp_path):
    (tmp_path / "dev.json").write_text(json.dumps(documents), encoding="utf-8")
    arguments = {"model_name_or_path": folder, "relations_file": folder / "relations.json", "do_eval": "true"}
    arguments |= {"validation_file": tmp_path / "dev.json", "output_dir": tmp_path / "out", "report_to": "none"}
    run_docre.main([*(f"--{name}={value}" for name, value in arguments.items()), "--use_cpu=true"])


def export(folder, documents, tmp_path):
    loaded = DocREIIForRelationExtraction.from_pretrained(folder), DocREIIProcessor.from_pretrained(folder)
    export_onnx(*loaded, tmp_path / "out")


WAYS = {
    "pipeline": lambda folder, *_: pipeline("document-relation-extraction", model=str(folder), device="cpu"),
    "Trainer": evaluate,
    "extraction": extract,
    "command line": run,
    "export": export,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TENSORS)
def test_checkpoint_that_lacks_a_tensor_does_not_predict(save_damaged, documents, tmp_path, way, name):
    folder = save_damaged(without(name))
    with pytest.raises((WeightsError, SystemExit), match=f"{str(folder)!r} lacks {name!r}, which would be drawn at"):
        WAYS[way](folder, documents, tmp_path)
    assert not list(tmp_path.glob("out/[!.]*"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weight_that_is_no_number_is_named_before_anything_is_written(save_damaged, documents, tmp_path, way, value):
    folder = save_damaged(filled(TENSORS[0], value))
    with pytest.raises((WeightsError, SystemExit), match=f"weights of {str(folder)!r} are NaN or .*: {TENSORS[0]!r}"):
        WAYS[way](folder, documents, tmp_path)
    assert not list(tmp_path.glob("out/[!.]*"))


def test_many_tensors_are_counted(save_damaged):
    def damage(tensors):
        for name in [name for name in tensors if "layer.1" in name]:
            del tensors[name]

    with pytest.raises(WeightsError, match=r"lacks '.*', '.*', '.*' and 13 more, which"):
        check_weights(AutoModel.from_pretrained(save_damaged(damage)))


def test_tensors_of_another_size_are_missing(save_damaged):
    def damage(tensors):
        tensors[TENSORS[1]] = tensors[TENSORS[1]][:-1].clone()

    model = AutoModel.from_pretrained(save_damaged(damage), ignore_mismatched_sizes=True)
    with pytest.raises(WeightsError, match=f"lacks {TENSORS[1]!r}"):
        check_weights(model)


def test_saving_what_is_missing_is_named(save_damaged, caplog, tmp_path):
    """The saved model loads and predicts without an error."""
    model = AutoModel.from_pretrained(save_damaged(without(TENSORS[2])))
    caplog.clear()
    model.save_pretrained(tmp_path / "copy")
    assert [
        f"saving weights that were drawn at random and never trained, {TENSORS[2]!r}" in text
        for text in caplog.messages
    ] == [True]


def test_training_fills_what_is_missing(save_damaged, documents, tmp_path):
    model = AutoModel.from_pretrained(save_damaged(without(TENSORS[2])))
    processor = make_processor(documents)
    args = DocREIITrainingArguments(
        output_dir=str(tmp_path / "out"),
        report_to=[],
        use_cpu=True,
        max_steps=1,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = DocREIITrainer(model, args, train_dataset=documents, eval_dataset=documents, processing_class=processor)
    trainer.train()
    assert "eval_f1" in trainer.evaluate()
    pipeline("document-relation-extraction", model=model, processor=processor, device="cpu")


def test_own_training_loop_fills_what_is_missing_and_a_forward_pass_does_not(save_damaged, processor, documents):
    model = AutoModel.from_pretrained(save_damaged(without(TENSORS[2])))
    inputs = processor(documents[:1], return_labels=True, return_tensors="pt")
    model(**inputs)
    with torch.no_grad():
        model.train()(**inputs)
    with pytest.raises(WeightsError):
        check_weights(model.eval())
    model.train()(**inputs).loss.backward()
    check_weights(model.eval())


def test_whole_checkpoints_lack_nothing(save_damaged):
    model, info = DocREIIForRelationExtraction.from_pretrained(save_damaged(without()), output_loading_info=True)
    assert model.missing_weights == () and not info["missing_keys"]
    check_weights(model)


def test_module_that_only_training_needs_may_be_missing(save_damaged):
    folder = save_damaged(without())
    model = DocREIIForRelationExtraction.from_pretrained(folder, contrastive_loss_weight=0.1)
    assert model.contrastive_predictor is not None
    check_weights(model)


def cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def resize(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors[TENSORS[1]] = tensors[TENSORS[1]][:-1].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [(cut, "{}: its weights cannot be read .*Git LFS"), (resize, "the weights of '{}' cannot be loaded: ")],
)
def test_weights_that_cannot_be_loaded_are_one_line(save_damaged, documents, tmp_path, damage, message):
    folder = save_damaged(without())
    damage(folder)
    with pytest.raises(SystemExit, match=f"^run_docre.py: {message.format(folder)}.*$"):
        run(folder, documents, tmp_path)


# Logits


def spoil(model, value):
    """Makes logits of the base module wrong, as a precision that overflows does, with weights that are finite."""
    model.docre_ii.classifier.register_forward_hook(lambda module, inputs, output: output.index_fill(1, ONE, value))
    return model


ONE = torch.tensor([1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error_that_names_the_document(processor, documents, tmp_path, value):
    model = spoil(make_model(processor).eval(), value)
    message = f"document {documents[0]['title']!r}: the logits of the model are NaN or infinite"
    with pytest.raises(NonFiniteLogitsError, match=message):
        pipeline("document-relation-extraction", model=model, processor=processor, device="cpu")(documents)
    with torch.no_grad():
        outputs = model(**processor(documents, return_tensors="pt"))
    with pytest.raises(NonFiniteLogitsError, match=message):
        processor.post_process_relation_extraction(outputs, documents)
    with pytest.raises(NonFiniteLogitsError, match="documents?.*: the logits of the model are"):
        extract_to_parquet(model, processor, documents, tmp_path / "triples")
    assert not list(tmp_path.glob("triples/*.parquet*"))
    args = DocREIITrainingArguments(output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = DocREIITrainer(model, args, eval_dataset=documents, processing_class=processor)
    with pytest.raises(NonFiniteLogitsError, match=message):
        trainer.predict(documents)
    with pytest.raises(NonFiniteLogitsError, match=message):
        trainer.evaluate()
    trainer.args.prediction_loss_only = True
    with pytest.raises(NonFiniteLogitsError, match=f"^the loss of document {documents[0]['title']!r}"):
        trainer.evaluate()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_document_with_the_first_such_logit_is_named(place):
    logits = torch.zeros(3, 2, 2, 4)
    logits[place:, 1, 0, 2] = float("nan")
    with pytest.raises(NonFiniteLogitsError, match=f"^number {place}: "):
        check_finite([None, torch.zeros(3, 1, 1, 4), logits], "number {}".format)
    check_finite([None, torch.full((3, 1, 1, 2), 3e38), torch.zeros(0, 1, 1, 4)], "number {}".format)


# Tokens


@pytest.mark.parametrize("token", [-1, 10_000])
def test_token_beyond_the_vocabulary_is_named(processor, documents, token):
    model = make_model(processor).eval()
    inputs = processor(documents[:2], return_tensors="pt")
    inputs["input_ids"][1, 3] = token
    last = len(processor.tokenizer) - 1
    with pytest.raises(ValueError, match=f"document 1 .* id {token} at position 3, .* has the ids 0 to {last}: the "):
        model(**inputs)


def test_processor_of_another_model_is_named(processor, documents):
    other = make_processor(sample_documents(20))
    more = DocREIIProcessor(other.tokenizer, processor.relations)
    extractor = pipeline("document-relation-extraction", model=make_model(processor), processor=more, device="cpu")
    with pytest.raises(ValueError, match="the processor is of another model"):
        extractor(sample_documents(20))


def test_fixture_damages_what_it_says(save_damaged):
    folder = Path(save_damaged(filled(TENSORS[0], float("nan"))))
    assert int(load_file(folder / "model.safetensors")[TENSORS[0]].isnan().sum()) == 1
