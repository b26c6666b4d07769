"""
Measures long documents: encoder time per token, and memory with many entities.

    python benchmarks/long_documents.py
    python benchmarks/long_documents.py --memory_only --checkpoint outputs/quickstart --num_tokens 25000

Without `--checkpoint`, the encoder has BERT-base's size and random weights. Peak memory is the maximum resident memory
(RSS) of the process beyond that with the model loaded.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from transformers import BertConfig

from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction
from modeling_docre_ii.document_encoding import encode_documents


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs=2, default=[500, 10_000], help="tokens, for the time per token")
    parser.add_argument("--num_tokens", type=int, default=2_000, help="of the document whose memory is measured")
    parser.add_argument("--num_entities", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint", help="a trained model, whose memory is measured")
    parser.add_argument("--model_kwargs", type=json.loads, default={}, help="fields of DocREIIConfig, as JSON")
    parser.add_argument("--memory_only", action="store_true", help="no time per token")
    return parser.parse_args()


def make_model(checkpoint=None, **model_kwargs):
    torch.manual_seed(0)
    if checkpoint is not None:
        return DocREIIForRelationExtraction.from_pretrained(checkpoint, **model_kwargs).eval()
    config = DocREIIConfig(encoder_config=BertConfig(), id2label=dict(enumerate(DOCRED_RELATIONS)), **model_kwargs)
    return DocREIIForRelationExtraction(config).eval()


def document(num_tokens, num_entities, vocab_size=30_000):
    """Returns random tokens. Each entity has three mentions, spread over the document."""
    entities = torch.arange(num_entities).repeat(3)
    return {
        "input_ids": torch.randint(vocab_size // 30, vocab_size, (1, num_tokens)),
        "attention_mask": torch.ones(1, num_tokens, dtype=torch.long),
        "mention_positions": torch.linspace(1, num_tokens - 2, len(entities)).long()[None],
        "mention_entities": entities[None],
        "pair_mask": ~torch.eye(num_entities, dtype=torch.bool)[None],
    }


def encoder_seconds(model, num_tokens):
    inputs, config = document(num_tokens, 10), model.config
    started = time.perf_counter()
    encode_documents(
        model.docre_ii.encoder,
        inputs["input_ids"],
        inputs["attention_mask"],
        inputs["mention_positions"],
        inputs["mention_entities"],
        10,
        config.max_window_size,
        config.window_overlap,
        config.num_prefix_tokens,
        config.num_suffix_tokens,
    )
    return time.perf_counter() - started


def resident_bytes():
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return int(fields.split()[0]) * 1024


def print_memory(args):
    model = make_model(args.checkpoint, **args.model_kwargs)
    vocab_size = model.config.vocab_size
    inputs = document(args.num_tokens, args.num_entities, vocab_size)
    # A first small document loads libraries and starts threads.
    model(**document(50, 3, vocab_size))
    before = most = resident_bytes()
    running = True

    def watch():
        nonlocal most
        while running:
            most = max(most, resident_bytes())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model(**inputs)
    running = False
    watcher.join()
    print(f"{args.num_entities} entities, {args.num_tokens:,} tokens: {(most - before) / 2**30:.2f} GiB at most")


@torch.inference_mode()
def main():
    args = parse_arguments()
    if args.memory_only:
        return print_memory(args)
    model = make_model(**args.model_kwargs)
    short, long = args.lengths
    per_token = {length: [] for length in args.lengths}
    for _ in range(args.rounds + 1):  # the first round warms up
        for length in args.lengths:
            per_token[length].append(encoder_seconds(model, length) / length)
    ratio = statistics.median(b / a for a, b in zip(per_token[short][1:], per_token[long][1:]))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32")
    print(f"encoder time per token at {long:,} tokens / at {short:,}: {ratio:.2f}")
    # A new process, because this one has already used memory.
    given = ["--num_tokens", str(args.num_tokens), "--num_entities", str(args.num_entities)]
    given += ["--model_kwargs", json.dumps(args.model_kwargs)]
    subprocess.run([sys.executable, __file__, "--memory_only", *given], check=True)


if __name__ == "__main__":
    main()
