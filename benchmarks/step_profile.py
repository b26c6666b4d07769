"""
Measures where the time of a bulk extraction goes, step by step, and draws it.

    python benchmarks/step_profile.py --checkpoint outputs/redocred_minilm --documents DEV.json --plot profile.svg

Each step is timed without the steps that it calls. What is left of the whole extraction is `everything else`: batches,
checks, checksums, and the parts of the model that are not named.
"""

import argparse
import functools
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, document_encoding, extract_to_parquet
from modeling_docre_ii import pair_features as pair_features_module
from modeling_docre_ii.deployment import bulk_extraction


class StepTimer:
    """Time of steps, each without the steps inside it."""

    def __init__(self):
        self.seconds = Counter()
        self.inner = [0.0]

    def measure(self, owner, name, step):
        """Replaces a function of a module, class or object by one that is timed."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            self.inner.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.perf_counter() - started
                self.seconds[step] += elapsed - self.inner.pop()
                self.inner[-1] += elapsed

        setattr(owner, name, timed)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a trained model")
    parser.add_argument("--documents", required=True, help="JSON list of documents in DocRED's form")
    parser.add_argument("--num_documents", type=int, help="the first ones; all by default")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model_kwargs", default="{}", help="fields of DocREIIConfig to change, as JSON")
    parser.add_argument("--plot", type=Path, help="SVG file to draw")
    return parser.parse_args()


def measure_steps(timer, model, processor):
    base = model.docre_ii
    timer.measure(DocREIIProcessor, "__call__", "processor: tokens and pairs")
    timer.measure(base.encoder, "forward", "text encoder")
    timer.measure(document_encoding, "_row_probabilities", "attention of mentions")
    timer.measure(document_encoding, "pool_attention", "attention of entities")
    timer.measure(pair_features_module, "localized_context", "localized context pooling")
    timer.measure(base.pair_features, "forward", "context-aware entities")
    timer.measure(base.pair_features.pair_encoder, "forward", "pair encoder")
    timer.measure(base.classifier, "forward", "classifier")
    if model.inference_module is not None:
        timer.measure(model.inference_module, "forward", "inference module")
    timer.measure(type(processor), "post_process_relation_extraction", "decoding and evidence")
    timer.measure(bulk_extraction, "_write_shard", "Parquet")


def draw(shares, path, title):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = list(reversed(shares))
    figure = Figure(figsize=(8, 0.36 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [100 * shares[name] for name in names], color="#2457c5")
    axes.bar_label(bars, fmt="%.1f%%", padding=3, fontsize=9)
    axes.set_xlabel("share of the time, %")
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": title}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main():
    args = parse_arguments()
    documents = json.loads(Path(args.documents).read_text(encoding="utf-8"))[: args.num_documents]
    kwargs = json.loads(args.model_kwargs)
    model = DocREIIForRelationExtraction.from_pretrained(args.checkpoint, dtype=torch.float32, **kwargs)
    processor = DocREIIProcessor.from_pretrained(args.checkpoint)
    timer = StepTimer()
    measure_steps(timer, model, processor)
    rounds = []
    for _ in range(args.rounds + 1):
        timer.seconds.clear()
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            extract_to_parquet(model, processor, documents, folder, batch_size=args.batch_size)
            whole = time.perf_counter() - started
        rest = whole - sum(timer.seconds.values())
        rounds.append(
            {step: seconds / whole for step, seconds in timer.seconds.items()} | {"everything else": rest / whole}
        )
    # The first round warms up.
    shares = {step: sum(one[step] for one in rounds[1:]) / args.rounds for step in rounds[0]}
    shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32; {len(documents)} documents")
    for step, share in shares.items():
        print(f"{step:30}{share:>8.1%}")
    if args.plot is not None:
        draw(shares, args.plot, f"Where the time of an extraction goes ({len(documents)} documents)")


if __name__ == "__main__":
    main()
