#!/usr/bin/env python
"""
Reproduce a row of the paper: base module and DocRE-II, BERT-base on DocRED.

    python examples/reproduce_paper_row.py --train_file train_annotated.json --validation_file dev.json
    python examples/reproduce_paper_row.py --train_file train_annotated.json --validation_file dev.json \
        --test_file test.json --seeds 1 2 3 4 5

Get the files from https://github.com/thunlp/DocRED. Each seed trains both stages with the paper's hyper-parameters,
`configuration/docred_bert.yaml`. The table at the end shows this run beside "Ours-BERT" of the paper's Table 1, which
has mean and standard deviation of five seeds. All other arguments go to `run_docre.py`, such as
`--per_device_train_batch_size 4 --gradient_accumulation_steps 2` for a smaller GPU.

This script was not run at full size, which needs a GPU: its test trains a tiny encoder for two steps a stage. So the
paper's numbers are the authors', and were not reproduced with this package. If you run it, please report your scores.
Those on the test set come from CodaLab: with `--test_file`, submit `result.zip` of the best seed.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev

from run_docre import main as run_docre


CONFIGURATION = Path(__file__).parents[1] / "configuration" / "docred_bert.yaml"
SCORES = {"ign_f1": "Ign F1", "f1": "F1", "intra_f1": "Intra F1", "inter_f1": "Inter F1", "infer_f1": "Infer F1"}

# The paper's scores on the development set, Tables 1 and 6. The base module is ATLOP-BERT.
PAPER = {
    "base module": {"ign_f1": "59.22", "f1": "61.09", "infer_f1": "46.76"},
    "DocRE-II": {
        "ign_f1": "60.75 ±0.12",
        "f1": "62.74 ±0.15",
        "intra_f1": "69.14 ±0.10",
        "inter_f1": "55.54 ±0.19",
        "infer_f1": "48.75",
    },
}


def read_scores(folder: Path) -> dict[str, float]:
    """Reads the scores on the validation documents that a stage has saved."""
    saved = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    return {name: saved[f"eval_{name}"] for name in SCORES}


def summarize(runs: list[dict[str, float]]) -> dict[str, str]:
    """Returns mean and, for several runs, standard deviation of each score."""
    columns = {name: [run[name] for run in runs] for name in SCORES}
    spread = {name: f" ±{stdev(values):.2f}" if len(runs) > 1 else "" for name, values in columns.items()}
    return {name: f"{mean(values):.2f}{spread[name]}" for name, values in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True, help="train_annotated.json of DocRED")
    parser.add_argument("--validation_file", required=True, help="dev.json of DocRED")
    parser.add_argument("--output_dir", default="outputs/paper_row", help="folder for one checkpoint a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="one run each")
    args, others = parser.parse_known_args()

    # 1. Train both stages, once a seed. Stage 1 is the base module, in a folder of its own.
    files = ["--train_file", args.train_file, "--validation_file", args.validation_file]
    folders = [Path(args.output_dir) / f"seed_{seed}" for seed in args.seeds]
    for seed, folder in zip(args.seeds, folders):
        run_docre([str(CONFIGURATION), *files, "--output_dir", str(folder), "--seed", str(seed), *others])

    # 2. The row of this run, beside that of the paper.
    here = {
        "base module": summarize([read_scores(folder / "stage_1") for folder in folders]),
        "DocRE-II": summarize([read_scores(folder) for folder in folders]),
    }
    print(f"\n{f'Validation documents, {len(folders)} seeds':32}" + "".join(f"{name:>13}" for name in SCORES.values()))
    for model in PAPER:
        for source, scores in (("paper", PAPER[model]), ("this run", here[model])):
            print(f"{f'{model}, {source}':32}" + "".join(f"{scores.get(name, '-'):>13}" for name in SCORES))


if __name__ == "__main__":
    main()
