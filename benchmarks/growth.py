"""
Measures how time and memory grow with entities, tokens, documents and processes, and draws the curves.

    python benchmarks/growth.py --checkpoint outputs/quickstart --axes entities tokens --plot growth.svg
    python benchmarks/growth.py --checkpoint outputs/quickstart --axes documents processes --documents TEST.json

Entities and tokens: one forward pass over a document of random tokens, each entity with three mentions, 2,000 tokens
or 50 entities where the other is varied. Documents and processes: a bulk extraction to Parquet. Every point is a
process of its own. Time is CPU time of all its threads, for processes wall-clock time; memory is the maximum resident
memory beyond that with the model loaded. A slope of 1 means twice the size, twice the time: it is that of the last
two points, on logarithms.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from long_documents import document, make_model, resident_bytes
from transformers import AutoProcessor

from modeling_docre_ii import extract_to_parquet


SIZES = {
    "entities": [10, 25, 50, 100, 200],
    "tokens": [500, 1_000, 2_000, 5_000, 10_000, 20_000],
    "documents": [100, 200, 500, 1_000],
    "processes": [1, 2],
}
NUM_TOKENS, NUM_ENTITIES = 2_000, 50


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a trained model")
    parser.add_argument("--axes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--documents", type=Path, help="JSON list, repeated with new titles, for the last two axes")
    parser.add_argument("--num_documents", type=int, default=200, help="that the processes extract from")
    parser.add_argument("--largest", type=float, default=math.inf, help="leave out sizes above this")
    parser.add_argument("--plot", type=Path, help="SVG file to draw")
    parser.add_argument("--point", nargs=2, metavar=("AXIS", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.documents is None and {"documents", "processes"} & set(args.axes):
        parser.error("the axes documents and processes need --documents")
    return args


def read_documents(args, count):
    given = json.loads(args.documents.read_text(encoding="utf-8"))
    return [given[index % len(given)] | {"title": f"document {index}"} for index in range(count)]


def extract(args, documents, folder, **processes):
    model, processor = make_model(args.checkpoint), AutoProcessor.from_pretrained(args.checkpoint)
    return lambda: extract_to_parquet(model, processor, documents, folder, documents_per_shard=50, **processes)


@torch.inference_mode()
def measure_point(args):
    """Runs one point in this process, and prints seconds and bytes."""
    axis, size = args.point[0], int(args.point[1])
    with tempfile.TemporaryDirectory() as folder:
        if axis == "documents":
            work = extract(args, read_documents(args, size), folder)
        else:
            sizes = {"entities": (NUM_TOKENS, size), "tokens": (size, NUM_ENTITIES)}[axis]
            model = make_model(args.checkpoint)
            inputs = document(*sizes, model.config.vocab_size)
            model(**document(50, 3, model.config.vocab_size))  # loads libraries and starts threads
            work = lambda: model(**inputs)  # noqa: E731
        before, started = resident_bytes(), time.process_time()
        work()
        seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "bytes": max(0, peak - before)}))


def run_point(args, axis, size):
    command = [sys.executable, __file__, "--checkpoint", args.checkpoint, "--axes", axis, "--point", axis, str(size)]
    command += ["--documents", str(args.documents)] if args.documents else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


WORKER = """
import sys, time, torch
sys.path[:0] = [sys.argv[1]]
import growth
from pathlib import Path
torch.set_num_threads(1)
args = growth.argparse.Namespace(checkpoint=sys.argv[2], documents=Path(sys.argv[3]))
processes = {"process_index": int(sys.argv[6]), "num_processes": int(sys.argv[7])}
work = growth.extract(args, growth.read_documents(args, int(sys.argv[4])), sys.argv[5], **processes)
print("ready", flush=True)
sys.stdin.readline()
work()
"""


def seconds_of(args, workers):
    """Starts workers (folder, index, count), and returns the time until the last of them is done."""
    given = [str(Path(__file__).parent), args.checkpoint, str(args.documents), str(args.num_documents)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *given, folder, str(index), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder, index, count in workers
    ]
    for worker in running:
        worker.stdout.readline()
    started = time.perf_counter()
    for worker in running:
        worker.stdin.write("go\n")
        worker.stdin.close()
    if any([worker.wait() for worker in running]):
        raise SystemExit("a worker failed")
    return time.perf_counter() - started


def measure_processes(args):
    """Compares one process, two that share the documents, and two that each have all of them."""
    with tempfile.TemporaryDirectory() as folder:
        one = seconds_of(args, [(f"{folder}/one", 0, 1)])
        two = seconds_of(args, [(f"{folder}/two", index, 2) for index in range(2)])
        copies = seconds_of(args, [(f"{folder}/copy-{index}", 0, 1) for index in range(2)])
    print(f"processes, one thread each, {args.num_documents} documents")
    print(f"  1 process {one:.1f} s, 2 processes {two:.1f} s, 2 copies with all documents each {copies:.1f} s")
    print(f"  speed of 2 processes: {one / two:.2f} of 1; the 2 copies have {2 * one / copies:.2f} of 1 in all")
    print(f"  so 2 processes reach {copies / 2 / two:.2f} of the speed of 2 copies")


def print_curve(axis, points):
    print(f"{axis:>10}{'CPU seconds':>13}{'MB':>8}")
    for size, point in points.items():
        print(f"{size:>10,}{point['seconds']:>13.2f}{point['bytes'] / 1e6:>8,.0f}")
    if len(points) > 1:
        (small, before), (large, after) = list(points.items())[-2:]
        slopes = [
            math.log(max(after[name], 1e-9) / max(before[name], 1e-9)) / math.log(large / small)
            for name in ("seconds", "bytes")
        ]
        print(f"slope from {small:,} to {large:,}: time {slopes[0]:.2f}, memory {slopes[1]:.2f}")


def draw(curves, path):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 5), layout="constrained")
    panels = figure.subplots(2, len(curves), squeeze=False)
    for column, (axis, points) in zip(panels.T, curves.items()):
        for axes, name, unit in zip(column, ("seconds", "bytes"), (1, 1e6)):
            axes.loglog(list(points), [point[name] / unit for point in points.values()], marker="o", color="#2457c5")
            axes.set_xlabel(axis)
            axes.set_ylabel("CPU seconds" if name == "seconds" else "MB beyond the model")
            axes.grid(alpha=0.3, which="both")
    with rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main():
    args = parse_arguments()
    if args.point is not None:
        return measure_point(args)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32", flush=True)
    curves = {}
    for axis in args.axes:
        if axis == "processes":
            measure_processes(args)
            continue
        sizes = [size for size in SIZES[axis] if size <= args.largest]
        curves[axis] = {size: run_point(args, axis, size) for size in sizes}
        print_curve(axis, curves[axis])
    if args.plot is not None and curves:
        draw(curves, args.plot)


if __name__ == "__main__":
    main()
