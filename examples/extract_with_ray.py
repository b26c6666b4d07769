#!/usr/bin/env python
"""
Bulk extraction on a Ray cluster: the triples of a corpus as Parquet files, one task for each file.

    pip install "ray[data]>=2.60"
    python examples/extract_with_ray.py outputs/quickstart corpus.jsonl triples --num_workers 2
    python examples/extract_with_ray.py outputs/quickstart corpus.jsonl triples --address auto --num_gpus 1

Without --address, Ray runs on this machine. On several machines, checkpoint, corpus and output are in a folder that
all of them share. A killed worker is replaced, and its file is started again. To resume a killed job, start it again.
"""

import argparse
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoProcessor

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii import extract_to_parquet


class ShardExtractor:
    """A worker: loads the model once, and writes the files that it is given."""

    def __init__(
        self,
        checkpoint: str,
        corpus: str,
        relations_file: str | None,
        output: str,
        documents_per_shard: int,
        batch_size: int,
    ):
        # Ray has set the number of threads to `num_cpus`, or to 1 below that: the same bits in every worker.
        self.model = AutoModel.from_pretrained(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")
        self.processor = AutoProcessor.from_pretrained(checkpoint)
        self.documents = read_documents(corpus, relations_file)
        self.output = output
        self.settings = {"documents_per_shard": documents_per_shard, "batch_size": batch_size}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        # As process i of as many processes as there are shards, it writes shard i and nothing else. A finished shard
        # is kept, and a lock keeps a second worker from it.
        shard, num_shards = int(row["id"]), self.num_shards
        extract_to_parquet(
            self.model,
            self.processor,
            self.documents,
            self.output,
            process_index=shard,
            num_processes=num_shards,
            **self.settings,
        )
        return {"shard": shard, "node": ray.get_runtime_context().get_node_id(), "process": os.getpid()}

    @property
    def num_shards(self) -> int:
        return count_shards(len(self.documents), self.settings["documents_per_shard"])


def read_documents(corpus: str, relations_file: str | None = None) -> Any:
    """Reads a corpus as a `datasets.Dataset`, which stays on disk."""
    return load_corpus(files={"test": [corpus]}, relations_file=relations_file).splits["test"]


def count_shards(num_documents: int, documents_per_shard: int) -> int:
    """Counts the files of a bulk extraction."""
    return -(-num_documents // documents_per_shard)


def extract(args: argparse.Namespace) -> Counter[tuple[str, int]]:
    """Runs the job, and returns how many files each worker wrote or found finished, by node and process."""
    import ray

    num_shards = count_shards(len(read_documents(args.corpus, args.relations_file)), args.documents_per_shard)
    context = ray.data.DataContext.get_current()
    context.wait_for_min_actors_s = 600  # all workers are there before the first file
    context.enable_progress_bars = False  # the files in the folder show the progress
    rows = ray.data.range(num_shards, override_num_blocks=num_shards).map(
        ShardExtractor,
        fn_constructor_args=[
            # Workers have another working folder.
            os.path.abspath(args.checkpoint) if Path(args.checkpoint).exists() else args.checkpoint,
            os.path.abspath(args.corpus),
            args.relations_file and os.path.abspath(args.relations_file),
            os.path.abspath(args.output),
            args.documents_per_shard,
            args.batch_size,
        ],
        # One file at a time: no worker is idle while another has files that it has not begun.
        compute=ray.data.ActorPoolStrategy(size=args.num_workers, max_tasks_in_flight_per_actor=1),
        num_cpus=args.num_cpus,
        num_gpus=args.num_gpus,
    )
    return Counter((row["node"], row["process"]) for row in rows.iter_rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a DocRE-II checkpoint: a folder or a name on the Hub")
    parser.add_argument("corpus", help="the documents, as for --test_file of run_docre.py: .jsonl, .json")
    parser.add_argument("output", help="folder of the Parquet files")
    parser.add_argument("--relations_file", help="of the model's training, if it has relations of its own")
    parser.add_argument("--documents_per_shard", type=int, default=500, help="documents of a file")
    parser.add_argument("--batch_size", type=int, default=8, help="documents that go through the model at once")
    parser.add_argument("--num_workers", type=int, default=2, help="number of processes with a model")
    parser.add_argument("--num_cpus", type=float, default=0.5, help="share of a core that Ray reserves for a worker")
    parser.add_argument("--num_gpus", type=float, default=0, help="share of a GPU that Ray reserves for a worker")
    parser.add_argument("--address", help="of a Ray cluster, such as auto (default: this machine)")
    args = parser.parse_args()

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reads it when it is imported: it sends nothing to its makers
    import ray

    # A cluster that is running has its own dashboard, or none.
    local = {} if args.address else {"include_dashboard": False}
    ray.init(address=args.address, log_to_driver=False, logging_level=logging.WARNING, **local)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    done = extract(args)
    for (node, process), num_shards in sorted(done.items()):
        print(f"node {node[:8]}, process {process}: {num_shards} files")
    print(f"{args.output}: {sum(done.values())} files are complete")


if __name__ == "__main__":
    main()
