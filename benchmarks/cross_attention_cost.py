"""
Compares Extended Cross Attention with a naive gather of all keys.

Prints time and peak memory of both, and of the whole inference module on one long document. Inputs and weights are
random, in fp32 on the CPU, in inference mode.

    python benchmarks/cross_attention_cost.py
    python benchmarks/cross_attention_cost.py --entities 10 20 42 --rounds 3

Both attend from the same projected queries, keys and values of all pairs of different entities in one document, and
share the output projection. Building the index of which pairs attend to which is measured too. The naive attention
copies the keys and the values of a line for every pair and head: two tensors of shape (pairs, 4, entities, width / 4).
Computing one head after the other would take about a quarter of that memory.

Peak memory is the maximum that a forward pass allocates in PyTorch's CPU allocator, output included, as recorded by
`torch.profiler`. It excludes weights, inputs and work space inside the math libraries, and is the same on every
machine. Times are medians over rounds that alternate between the two, without the profiler. The ratio is a median over
rounds too.
"""

import argparse
import functools
import itertools
import os
import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.cross_attention import NUM_HEADS, ExtendedCrossAttention, PairLayout
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.inference_module import InferenceModule


NUM_LABELS = 97  # of DocRED, the threshold class included


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, nargs="+", default=[10, 20, 42, 64, 100])
    parser.add_argument("--module_entities", type=int, default=100, help="entities for the whole inference module")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_pair_mask(num_entities):
    """Returns all pairs of different entities: `(1, num_entities, num_entities)`."""
    return ~torch.eye(num_entities, dtype=torch.bool)[None]


def extended_attention(attention, query, key_value, pair_mask):
    return attention(query, key_value, PairLayout.of_overlapping_pairs(EntityPairs.from_mask(pair_mask)))[0]


def naive_attention(attention, query, key_value, pair_mask):
    """Computes equations 5 to 7 as written: softmax(q K^T / sqrt(d / 4)) V."""
    lines, has_key = gather_lines(pair_mask[0])
    key, value = (gather_heads(projected, lines) for projected in key_value.chunk(2, dim=-1))
    query = query.unflatten(-1, (NUM_HEADS, 1, -1))
    scores = (query @ key.transpose(2, 3)).squeeze(2) / query.shape[-1] ** 0.5
    probabilities = scores.masked_fill(~has_key, float("-inf")).softmax(-1)
    return attention.output((probabilities[:, :, None] @ value).flatten(1))


def gather_lines(pair_mask):
    """
    Returns the pairs in row s, column s, row o and column o of each pair (s, o), and whether there is one.

    `(num_entities, num_entities)` -> `(num_pairs, 4, num_entities)` twice.
    """
    head, tail = pair_mask.nonzero(as_tuple=True)
    number = torch.zeros(pair_mask.shape, dtype=torch.long)
    number[head, tail] = torch.arange(len(head))
    return tuple(
        torch.stack([matrix[head], matrix.T[head], matrix[tail], matrix.T[tail]], 1) for matrix in (number, pair_mask)
    )


def gather_heads(projected, lines):
    """Copies `(num_pairs, width)` to `(num_pairs, 4, num_entities, width / 4)`."""
    by_head = projected.reshape(len(projected) * NUM_HEADS, -1)
    rows = lines * NUM_HEADS + torch.arange(NUM_HEADS)[:, None]
    return by_head.index_select(0, rows.flatten()).view(*lines.shape, -1)


def seconds_of(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_mebibytes(run):
    """Returns the peak of what `run` allocates, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events)) / 2**20


def make_config(args):
    return DocREIIConfig(
        id2label={index: f"relation {index}" for index in range(NUM_LABELS)},
        inference_hidden_size=args.width,
        inference_intermediate_size=args.width,
        num_inference_layers=2,
        num_iterations=3,
        pair_feature_size=768,
    )


def compare_attention(config, num_entities, num_rounds):
    """Returns a row of the table, after checking that both results agree."""
    attention = ExtendedCrossAttention(config)
    pair_mask = make_pair_mask(num_entities)
    num_pairs = int(pair_mask.sum())
    features, relations = torch.randn(2, num_pairs, config.inference_hidden_size)
    query = attention.query(features)
    key_value = attention.feature_key_value(features) + attention.relation_key_value(relations)
    variants = [
        functools.partial(function, attention, query, key_value, pair_mask)
        for function in (extended_attention, naive_attention)
    ]
    ours, naive = (run() for run in variants)  # warms up as well
    if not torch.allclose(ours, naive, atol=1e-4):
        raise RuntimeError(f"{num_entities} entities: the results differ by up to {(ours - naive).abs().max():.1e}")
    rounds = [[seconds_of(run) for run in variants] for _ in range(num_rounds)]
    row = f"{num_entities:>8}{num_pairs:>8,}"
    for times in zip(*rounds):
        row += f"{1000 * statistics.median(times):>11.1f}"
    row += f"{statistics.median(slow / fast for fast, slow in rounds):>9.1f}"
    return row + "".join(f"{peak_mebibytes(run):>11,.1f}" for run in variants)


def measure_module(config, num_entities, num_rounds):
    """Returns seconds and MiB of the inference module with all its iterations."""
    module = InferenceModule(config, config.pair_feature_size).eval()
    pair_mask = make_pair_mask(num_entities)
    num_pairs = int(pair_mask.sum())
    features = torch.randn(num_pairs, config.pair_feature_size)
    logits = torch.randn(num_pairs, config.num_labels)

    def run():
        return module(features, logits, EntityPairs.from_mask(pair_mask))

    for before, after in itertools.pairwise(run().logits):
        if torch.equal(before, after):
            raise RuntimeError("a fixed point was reached, not all iterations were computed: try another --seed")
    return statistics.median(seconds_of(run) for _ in range(num_rounds)), peak_mebibytes(run)


@torch.inference_mode()
def main():
    args = parse_arguments()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # keeps the profiler's log out of the table
    torch.manual_seed(args.seed)
    config = make_config(args)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32")
    print(f"Extended Cross Attention, width {args.width}, medians of {args.rounds} rounds")
    print(f"{'entities':>8}{'pairs':>8}{'ours ms':>11}{'naive ms':>11}{'ratio':>9}{'ours MiB':>11}{'naive MiB':>11}")
    for num_entities in args.entities:
        print(compare_attention(config, num_entities, args.rounds), flush=True)
    seconds, mebibytes = measure_module(config, args.module_entities, args.rounds)
    num_pairs = args.module_entities * (args.module_entities - 1)
    print(
        f"Inference module, {config.num_inference_layers} layers, K = {config.num_iterations}, {args.module_entities} "
        f"entities ({num_pairs:,} pairs): {seconds:.2f} s, peak {mebibytes:,.1f} MiB"
    )


if __name__ == "__main__":
    main()
