"""
Measures `import modeling_docre_ii` beyond torch and the transformers it uses.

    python benchmarks/import_time.py

Each measurement runs in a new process.
"""

import argparse
import statistics
import subprocess
import sys


IMPORT = """
import time
import torch
from transformers import (
    AutoConfig, AutoModel, AutoProcessor, BatchFeature, Pipeline, PreTrainedConfig, PreTrainedModel, ProcessorMixin,
    Trainer, TrainingArguments,
)
started = time.perf_counter()
import modeling_docre_ii
print(time.perf_counter() - started)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    command = [sys.executable, "-c", IMPORT]
    seconds = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(args.rounds)
    ]
    print(f"import modeling_docre_ii: {statistics.median(seconds):.2f} s, the median of {args.rounds} processes")


if __name__ == "__main__":
    main()
