"""
Measures the time and the memory of a knowledge graph, by the number of its triples.

    python benchmarks/graph_size.py
    python benchmarks/graph_size.py --num_documents 100000

The triples are random: every document has 30 of them between 20 entities, a few of which are in many documents. All of
them have evidence in one or two sentences, with their characters. The memory is what the process grows by.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from modeling_docre_ii.knowledge_graph import read_graph, write_graph


SENTENCES = [[100 * number, 100 * number + 99] for number in range(8)]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_documents", type=int, default=10_000)
    return parser.parse_args()


def random_triples(generator):
    """Returns the triples of a document."""
    numbers = [int(10 * generator.paretovariate(0.7)) for _ in range(20)]
    entities = [{"name": f"Entity {number}", "type": generator.choice(("PER", "LOC"))} for number in numbers]
    triples = []
    for _ in range(30):
        head, tail = generator.sample(entities, 2)
        evidence = sorted(generator.sample(range(len(SENTENCES)), generator.choice((1, 2))))
        relation = f"P{generator.randrange(1, 97)}"
        named = {"relation": relation, "relation_name": f"relation {relation}", "score": generator.uniform(0.5, 1)}
        spans = [SENTENCES[sentence] for sentence in evidence]
        triples.append({"head": head, "tail": tail, "evidence": evidence, "evidence_spans": spans, **named})
    return triples


def write_triples(path, num_documents):
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_documents):
            file.write(json.dumps({"title": f"Document {number}", "triples": random_triples(generator)}) + "\n")


def memory():
    """Returns the largest memory of this process until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "triples.jsonl"
        write_triples(path, args.num_documents)
        before, start = memory(), time.perf_counter()
        graph = read_graph(path)
        num_triples = 30 * args.num_documents
        print(f"{num_triples:,} triples of {args.num_documents:,} documents:", end=" ")
        print(f"{len(graph.nodes):,} nodes, {len(graph.edges):,} edges")
        print(f"read in {time.perf_counter() - start:.1f} s, with {memory() - before:,.0f} MB")
        for name in ("graph.graphml", "graph.ttl", "graph"):
            before, start = memory(), time.perf_counter()
            write_graph(graph, Path(folder) / name)
            print(f"{name} written in {time.perf_counter() - start:.1f} s, with {memory() - before:,.0f} MB more")


if __name__ == "__main__":
    main()
