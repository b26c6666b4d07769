"""
Compares ONNX, OpenVINO, int8 and `torch.compile` with the plain model on the CPU.

Prints time relative to the bare encoder and to the plain model, F1, and how many results are equal.

    python benchmarks/deployment_cost.py path/to/checkpoint
    python benchmarks/deployment_cost.py path/to/checkpoint --variants eager openvino --documents DEV.json
    python benchmarks/deployment_cost.py path/to/checkpoint --model_kwargs '{"num_iterations": 0}'

The bare encoder is PyTorch's, in float32 with sdpa, on the same batches and the same windows of long documents.
Seconds are CPU time. Rounds of all variants alternate, and a ratio is the median over rounds, so other work on the
machine and a drifting speed cancel out.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from onnxruntime import SessionOptions
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from transformers import AutoProcessor

from modeling_docre_ii import (
    DocREIIForRelationExtraction,
    DocREIIONNXModel,
    DocREIIOpenVINOModel,
    export_onnx,
    quantize_openvino,
    score_facts,
)
from modeling_docre_ii.document_encoding import split_into_windows
from modeling_docre_ii.entity_pairs import EntityPairs


ROOT = Path(__file__).parents[1]
BARE = "bare encoder"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a trained model on the Hub or in a local folder")
    parser.add_argument("--documents", default=str(ROOT / "examples/re_docred_sample/dev.json"))
    parser.add_argument("--num_documents", type=int, help="the first ones; all by default")
    parser.add_argument(
        "--calibration_documents",
        default=str(ROOT / "examples/re_docred_sample/train.json"),
        help="the first 40 calibrate the encoder in int8 of OpenVINO",
    )
    parser.add_argument("--model_kwargs", default="{}", help="fields of DocREIIConfig to change, as JSON")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    return parser.parse_args()


def torch_int8(model, processor, folder, args):
    """Quantizes all linear layers except those of `ContextAwareEntity` and the classifier."""
    model = copy.deepcopy(model)
    base = model.docre_ii
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantized tensors of torch.ao are deprecated
        for module in (base.encoder, base.pair_features.pair_encoder, model.inference_module):
            torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8, inplace=True)
    return model


def onnx(model, processor, folder, args):
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    if not folder.exists():
        export_onnx(model, processor, folder)
    return DocREIIONNXModel.from_pretrained(folder, sess_options=options)


def onnx_int8(model, processor, folder, args):
    export_onnx(model, processor, folder)
    for path in folder.glob("*.onnx"):
        quantize_dynamic(path, path, per_channel=True, weight_type=QuantType.QInt8)
        path.with_suffix(".onnx.data").unlink()  # the old weights; the graph's file holds the new ones
    return onnx(model, processor, folder, args)


def openvino(model, processor, folder, args):
    if not folder.exists():
        export_onnx(model, processor, folder)
    return DocREIIOpenVINOModel.from_pretrained(folder, INFERENCE_NUM_THREADS=torch.get_num_threads())


def openvino_int8(model, processor, folder, args):
    export_onnx(model, processor, folder)
    quantize_openvino(folder, json.loads(Path(args.calibration_documents).read_text(encoding="utf-8"))[:40])
    return openvino(model, processor, folder, args)


def compiled(model, processor, folder, args):
    torch._dynamo.config.capture_dynamic_output_shape_ops = True
    model = copy.deepcopy(model)
    model.inference_module = torch.compile(model.inference_module, fullgraph=True, dynamic=True)
    return model


VARIANTS = {
    "eager": lambda model, processor, folder, args: model,
    "compiled": compiled,
    "torch int8": torch_int8,
    "onnx": onnx,
    "onnx int8": onnx_int8,
    "openvino": openvino,
    "openvino int8": openvino_int8,
}


def make_batches(args, processor):
    """Returns batches of documents of similar length, each with its documents."""
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))[: args.num_documents]
    documents.sort(key=lambda document: sum(map(len, document["sents"])))
    for start in range(0, len(documents), args.batch_size):
        chunk = documents[start : start + args.batch_size]
        yield chunk, processor(chunk, return_tensors="pt")


def timed(function, *args, **kwargs):
    started = time.process_time()
    result = function(*args, **kwargs)
    return result, time.process_time() - started


def bare_encoder(model, batch):
    """Runs the text encoder alone, on the windows that the model makes."""
    input_ids, attention_mask = batch["input_ids"], batch["attention_mask"]
    windows = model.config.windows
    if input_ids.shape[1] > windows["window_size"]:
        documents, positions, mask, _ = split_into_windows(attention_mask.sum(-1), **windows)
        input_ids, attention_mask = input_ids[documents[:, None], positions], mask.long()
    model.docre_ii.encoder(input_ids=input_ids, attention_mask=attention_mask)


def time_inference_module(model, inputs):
    """Returns seconds of the inference module alone, on outputs of the base module."""
    seconds = 0.0
    for base, pairs in inputs:
        seconds += timed(model.infer, base.pair_features, base.pair_logits, pairs)[1]
    return seconds


def predictions_of(outputs, batches, processor):
    triples = []
    for (documents, _), output in zip(batches, outputs):
        for document, rows in zip(documents, processor.post_process_relation_extraction(output, documents)):
            triples += [
                {
                    "title": document["title"],
                    "h_idx": row["head"]["entity"],
                    "t_idx": row["tail"]["entity"],
                    "r": row["relation"],
                }
                for row in rows
            ]
    return triples


def size_of(model, folder):
    if not isinstance(model, nn.Module):
        encoder = "encoder_int8" if (folder / "exported/encoder_int8.xml").exists() else "encoder"
        return sum(
            path.stat().st_size for name in (encoder, "relations") for path in folder.glob(f"exported/{name}.*")
        )
    file = folder / "weights"
    torch.save(model.state_dict(), file)
    return file.stat().st_size


@torch.no_grad()
def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    kwargs = json.loads(args.model_kwargs)
    model = DocREIIForRelationExtraction.from_pretrained(args.checkpoint, dtype=torch.float32, **kwargs).eval()
    processor = AutoProcessor.from_pretrained(args.checkpoint)
    batches = list(make_batches(args, processor))
    documents = [document for chunk, _ in batches for document in chunk]
    indices = [EntityPairs.from_mask(inputs["pair_mask"]) for _, inputs in batches]
    bases = [(model.docre_ii(**inputs, pairs=pairs), pairs) for (_, inputs), pairs in zip(batches, indices)]

    variants, sizes = {}, {}
    for name in args.variants:
        with tempfile.TemporaryDirectory() as folder:
            variants[name], seconds = timed(VARIANTS[name], model, processor, Path(folder) / "exported", args)
            sizes[name] = size_of(variants[name], Path(folder))
        print(f"{name}: made in {seconds:.0f} s", flush=True)

    seconds = {name: [] for name in (BARE, *variants)}
    inference_seconds = {name: [] for name in ("eager", "compiled") if name in variants}
    outputs = {}
    for number in range(args.rounds + 1):  # the first round warms up
        seconds[BARE].append(timed(lambda: [bare_encoder(model, inputs) for _, inputs in batches])[1])
        for name, variant in variants.items():
            outputs[name], time_taken = timed(lambda: [variant(**inputs) for _, inputs in batches])  # noqa: B023
            seconds[name].append(time_taken)
            if number == 0:
                print(f"{name}: first round in {time_taken:.1f} s", flush=True)
        for name in inference_seconds:
            inference_seconds[name].append(time_inference_module(variants[name], bases))

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {args.rounds} rounds")
    print(f"{len(documents)} documents in batches of {args.batch_size}")
    print(
        f"{'':14}{'seconds':>9}{'x bare':>9}{'x eager':>9}{'MB':>7}{'F1':>7}{'facts':>7}"
        f"{'off base logits':>17}{'off logits':>12}"
    )
    print(f"{BARE:14}{statistics.median(seconds[BARE][1:]):>9.2f}{1:>9.2f}{ratio(seconds, BARE, 'eager'):>9.2f}")
    for name in variants:
        predictions = predictions_of(outputs[name], batches, processor)
        off = [
            max((mine[key] - theirs[key]).abs().max().item() for mine, theirs in zip(outputs[name], outputs["eager"]))
            for key in ("base_logits", "logits")
        ]
        print(
            f"{name:14}{statistics.median(seconds[name][1:]):>9.2f}"
            f"{ratio(seconds, name, BARE):>9.2f}{ratio(seconds, name, 'eager'):>9.2f}"
            f"{sizes[name] / 1e6:>7.0f}{score_facts(predictions, documents)['f1']:>7.2f}{len(predictions):>7}"
            f"{off[0]:>17.1e}{off[1]:>12.1e}"
        )
    if "compiled" in inference_seconds:
        print(f"inference module alone, compiled: x {ratio(inference_seconds, 'compiled', 'eager'):.2f}")


def ratio(seconds, name, reference):
    return statistics.median(time / other for time, other in zip(seconds[name][1:], seconds[reference][1:]))


if __name__ == "__main__":
    main()
