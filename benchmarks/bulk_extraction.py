"""
Measures speed and peak memory of bulk extraction.

Also measures a start that finds everything finished and, with `--in-memory`, a plain prediction.

    python benchmarks/bulk_extraction.py --checkpoint outputs/quickstart --documents TEST.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="outputs/quickstart", help="a DocRE-II checkpoint")
    parser.add_argument("--documents", type=Path, required=True, help="JSON file of documents in DocRED's form")
    parser.add_argument(
        "--num-documents",
        type=int,
        nargs="+",
        default=[1000],
        help="repeat the file, with new titles, up to these numbers",
    )
    parser.add_argument("--documents-per-shard", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--in-memory", action="store_true", help="measure plain `do_predict` as well")
    parser.add_argument("--folder", type=Path, help="keep corpus and triples in this folder (default: delete them)")
    return parser.parse_args()


def write_corpus(documents: list[dict], num_documents: int, path: Path) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for index in range(num_documents):
            document = documents[index % len(documents)]
            stream.write(json.dumps(document | {"title": f"{document['title']} #{index}"}) + "\n")


def measure(name: str, num_documents: int, command: list[str]) -> None:
    """Runs Python in a new process and prints its time and peak memory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{name} failed")
    print(
        f"{name:>10}: {num_documents:,} documents in {seconds:,.0f} s, {num_documents / seconds:.1f} documents/s, "
        f"{(usage.ru_utime + usage.ru_stime) / seconds:.2f} cores busy, peak memory {usage.ru_maxrss / 1024:,.0f} MB",
        flush=True,
    )


def run(folder: Path, arguments: argparse.Namespace) -> None:
    documents = json.loads(arguments.documents.read_text(encoding="utf-8"))
    for num_documents in arguments.num_documents:
        corpus = folder / f"corpus-{num_documents}.jsonl"
        write_corpus(documents, num_documents, corpus)
        print(f"{corpus.stat().st_size / 2**20:,.0f} MB of JSON lines", flush=True)
        read = (
            "import sys; from dataset_scripts.docred import DocRED as D; D(config_name='docred', data_files={'test': "
        )
        measure("reading", num_documents, ["-c", f"{read}sys.argv[1]}}).download_and_prepare()", str(corpus)])
        predict = [str(ROOT / "run_docre.py"), "--model_name_or_path", arguments.checkpoint, "--do_predict", "true"]
        predict += ["--test_file", str(corpus), "--output_dir", str(folder / f"predictions-{num_documents}")]
        predict += ["--per_device_eval_batch_size", str(arguments.batch_size), "--report_to", "none"]
        triples_dir = str(folder / f"triples-{num_documents}")
        bulk = ["--triples_dir", triples_dir, "--documents_per_shard", str(arguments.documents_per_shard)]
        measure("bulk", num_documents, [*predict, *bulk])
        # Everything is finished, so this measures the start alone.
        measure("again", num_documents, [*predict, *bulk])
        if arguments.in_memory:
            measure("in memory", num_documents, predict)


def main() -> None:
    arguments = parse_arguments()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return run(arguments.folder, arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder
        run(Path(folder), arguments)


if __name__ == "__main__":
    main()
