"""Triples of a corpus as Parquet shards: those of the pipeline, whatever the shards, batches and processes are."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import dispatch_model
from transformers import pipeline

import run_docre
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocumentError, extract_to_parquet
from modeling_docre_ii.cli.corpora import read_corpus
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import stages_of
from modeling_docre_ii.deployment.extraction_shards import METADATA_KEY
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial
from tests.hub_client import Client
from tests.hub_model import make_model, make_processor, sample_documents
from tests.hub_server import Hub


ROOT = Path(__file__).parents[3]
EMPTY = {"title": "no entity", "sents": [["Nobody", "was", "there", "."]], "vertexSet": [], "labels": []}
TEXT = {
    "title": "plain text",
    "text": "Lark Force was based in Rabaul.",
    "entities": [{"mentions": [[0, 10]], "type": "ORG", "kb_id": "Q1"}, {"mentions": [[24, 30]], "type": "LOC"}],
}
# Ends the process in the middle of its third file, as the kernel ends one: nothing is cleaned up.
KILLED = """
import os, signal, sys
import pyarrow.parquet as pq
import run_docre

write_table, calls = pq.ParquetWriter.write_table, []

def write_and_die(writer, table):
    calls.append(table)
    write_table(writer, table)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

pq.ParquetWriter.write_table = write_and_die
run_docre.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def labelled():
    return sample_documents(10)


@pytest.fixture(scope="module")
def documents(labelled):
    return [*labelled[:4], EMPTY, *labelled[4:9], TEXT]


@pytest.fixture(scope="module")
def processor(labelled):
    return make_processor(labelled)


@pytest.fixture(scope="module")
def model(processor, labelled):
    """A tiny model whose threshold is where it predicts a few triples, none of them within rounding of it."""
    model = make_model(processor).eval()
    margins = []
    for document in labelled:
        inputs = processor(document, return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).logits[inputs["pair_mask"]]
        margins.append((logits[:, 1:] - logits[:, :1]).flatten())
    highest = torch.cat(margins).sort(descending=True).values[100:300]
    gaps = highest[:-1] - highest[1:]
    with torch.no_grad():
        # The relations that the iterations read hang on it as well: this is a guess that `expected` checks.
        model.inference_module.classifier.bias[0] += highest[gaps.argmax()] - gaps.max() / 2
    return model


@pytest.fixture(scope="module")
def expected(model, processor, documents):
    """Rows as the pipeline gives them, document by document."""
    extractor = pipeline("document-relation-extraction", model=model, processor=processor, device="cpu")
    of_documents = [(index, document["title"], extractor(document)) for index, document in enumerate(documents)]
    rows = [(index, title, *flat(triple)) for index, title, triples in of_documents for triple in triples]
    assert len(rows) > 50
    assert {EMPTY["title"]}.isdisjoint(title for _, title, *_ in rows)
    return rows


@pytest.fixture
def corpus_file(labelled, tmp_path):
    return write_lines(tmp_path / "corpus.jsonl", [document | {"labels": []} for document in labelled])


@pytest.fixture(scope="module")
def checkpoint(model, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    relations = {relation: processor.relation_names.get(relation, relation) for relation in processor.relations}
    (folder / "relations.json").write_text(json.dumps(relations), encoding="utf-8")
    return folder


def flat(triple):
    head, tail = triple["head"], triple["tail"]
    relation = (triple["relation"], triple["relation_name"])
    score = pytest.approx(triple["score"], abs=1e-5)
    evidence = (tuple(triple["evidence"]), freeze(triple.get("evidence_spans")))
    sides = [tuple(side.get(field) for field in ("entity", "name", "type", "kb_id")) for side in (head, tail)]
    return (*sides[0], *relation, *sides[1], *evidence, score)


def freeze(lists):
    return None if lists is None else tuple(map(tuple, lists))


def row_of(values):
    """A row of a file, the score last."""
    *values, score, evidence, spans = values
    return (*values, tuple(evidence), freeze(spans), score)


def rows_of(folder):
    """All triples in a folder, in the order of files and rows."""
    return [
        row_of(row.values()) for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def by_key(rows):
    """Triples with nearly equal scores may change places."""
    return sorted(rows, key=lambda row: (row[0], row[2], row[6], row[8]))


def write_lines(path, documents):
    path.write_text("\n".join(json.dumps(document) for document in documents), encoding="utf-8")
    return path


def command_line(checkpoint, corpus_file, folder, *more):
    values = {
        "model_name_or_path": checkpoint,
        "relations_file": checkpoint / "relations.json",
        "do_predict": "true",
        "test_file": corpus_file,
        "triples_dir": folder,
        "documents_per_shard": 3,
        "output_dir": folder.parent / "output",
        "report_to": "none",
    }
    return [*(f"--{name}={value}" for name, value in values.items()), *more]


@pytest.mark.parametrize(("documents_per_shard", "batch_size"), [(1, 1), (4, 3), (100, 4)])
def test_triples_are_those_of_the_pipeline(
    model, processor, documents, expected, tmp_path, documents_per_shard, batch_size
):
    found = extract_to_parquet(model, processor, documents, tmp_path, documents_per_shard, batch_size)

    assert by_key(rows_of(tmp_path)) == by_key(expected)
    assert (found.num_documents, found.num_triples) == (len(documents), len(expected))
    assert found.is_complete and found.num_shards == -(-len(documents) // documents_per_shard)
    assert [row[0] for row in rows_of(tmp_path)] == sorted(row[0] for row in expected)


def test_documents_are_read_from_a_dataset_as_from_a_list(model, processor, documents, expected, tmp_path):
    rows = datasets.Dataset.from_list([document for document in documents if "sents" in document])
    extract_to_parquet(model, processor, rows, tmp_path, 4)

    assert by_key(rows_of(tmp_path)) == by_key([row for row in expected if row[1] != TEXT["title"]])


def test_datasets_reads_the_folder(model, processor, documents, expected, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path / "triples", 1)
    cache = str(tmp_path / "cache")
    triples = datasets.load_dataset("parquet", data_dir=str(tmp_path / "triples"), split="train", cache_dir=cache)

    assert by_key(row_of(row.values()) for row in triples) == by_key(expected)


def test_evidence_of_plain_texts_is_in_their_characters(model, processor, documents, tmp_path):
    predicting = copy.deepcopy(model)
    with torch.no_grad():
        predicting.inference_module.classifier.bias[0] -= 10.0
    extract_to_parquet(predicting, processor, [TEXT, documents[0]], tmp_path)
    rows = rows_of(tmp_path)

    assert {row[-3:-1] for row in rows if row[1] == TEXT["title"]} == {((0,), ((0, len(TEXT["text"])),))}
    of_other = [row for row in rows if row[1] != TEXT["title"]]
    assert of_other and all(evidence and spans is None for *_, evidence, spans, _ in of_other)


def test_identifiers_of_files_are_in_the_triples(model, processor, checkpoint, documents, tmp_path):
    path = write_lines(tmp_path / "corpus.jsonl", [TEXT, documents[0]])
    data = parse_arguments(command_line(checkpoint, path, tmp_path / "triples")).data
    predicting = copy.deepcopy(model)
    with torch.no_grad():
        predicting.inference_module.classifier.bias[0] -= 10.0
    extract_to_parquet(predicting, processor, read_corpus(data).splits["test"], tmp_path / "triples")
    rows = [row for path in (tmp_path / "triples").glob("*.parquet") for row in pq.read_table(path).to_pylist()]

    sides = {(row[f"{side}_name"], row[f"{side}_kb_id"]) for row in rows[:1] for side in ("head", "tail")}
    assert rows[0]["title"] == TEXT["title"] and sides == {("Lark Force", "Q1"), ("Rabaul", None)}
    assert {row["head_kb_id"] for row in rows if row["title"] != TEXT["title"]} == {None}


def test_folder_has_evidence_of_one_source(model, processor, documents, expected, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path, 4, evidence="none")
    assert {row[-3] for row in rows_of(tmp_path)} == {()}
    assert [row[:-3] for row in by_key(rows_of(tmp_path))] == [row[:-3] for row in by_key(expected)]
    with pytest.raises(FileExistsError, match="is of another run .`evidence` none, here rule"):
        extract_to_parquet(model, processor, documents, tmp_path, 4)
    with pytest.raises(ValueError, match="was not trained to find evidence"):
        extract_to_parquet(model, processor, documents, tmp_path, 4, evidence="model")


def test_every_file_says_which_documents_it_is_of(model, processor, documents, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path, 4)
    described = [
        json.loads(pq.read_metadata(path).metadata[METADATA_KEY]) for path in sorted(tmp_path.glob("*.parquet"))
    ]

    assert [(file["first_document"], file["documents_in_shard"]) for file in described] == [(0, 4), (4, 4), (8, 3)]
    assert {file["num_documents"] for file in described} == {11}


@pytest.mark.parametrize("num_processes", [2, 3, 5])
def test_processes_share_the_shards(model, processor, documents, expected, tmp_path, num_processes):
    for index in range(num_processes):
        settings = {"process_index": index, "num_processes": num_processes}
        found = extract_to_parquet(model, processor, documents, tmp_path, 3, **settings)
        assert found.is_complete == (index >= min(num_processes, 4) - 1)
        assert f"of {found.num_documents} documents in {found.num_shards} of 4 shards" in str(found)

    assert by_key(rows_of(tmp_path)) == by_key(expected)


def test_what_is_done_stays_whatever_the_number_of_processes(model, processor, documents, expected, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path, 2, process_index=1, num_processes=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    for index in range(3):
        extract_to_parquet(model, processor, documents, tmp_path, 2, process_index=index, num_processes=3)

    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 3
    assert by_key(rows_of(tmp_path)) == by_key(expected)


def test_file_that_is_not_whole_is_done_again(model, processor, documents, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path, 3)
    whole = rows_of(tmp_path)
    first, second, *_ = sorted(tmp_path.glob("*.parquet"))
    os.truncate(first, 0)
    os.truncate(second, second.stat().st_size // 2)
    extract_to_parquet(model, processor, documents, tmp_path, 3)

    assert rows_of(tmp_path) == whole


def test_run_that_was_killed_ends_with_the_same_triples(checkpoint, corpus_file, tmp_path):
    arguments = command_line(checkpoint, corpus_file, tmp_path / "triples")
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "triples").glob("triples*")}
    done = [name for name in left if name.endswith(".parquet")]
    assert sorted(done) == ["triples-00000-of-00004.parquet", "triples-00001-of-00004.parquet"]
    assert [name for name in left if name.endswith(".partial")], "it was not killed while it wrote"

    run_docre.main(arguments)
    run_docre.main(command_line(checkpoint, corpus_file, tmp_path / "at once"))

    assert len(rows_of(tmp_path / "triples")) > 50
    assert rows_of(tmp_path / "triples") == rows_of(tmp_path / "at once")
    assert {name: (tmp_path / "triples" / name).stat().st_mtime_ns for name in done} == {n: left[n] for n in done}
    assert len(list((tmp_path / "triples").glob("triples*"))) == 4


def test_command_line_writes_what_python_writes(checkpoint, corpus_file, model, processor, labelled, tmp_path, capsys):
    run_docre.main(command_line(checkpoint, corpus_file, tmp_path / "triples"))
    extract_to_parquet(model, processor, labelled, tmp_path / "python", 3)

    rows = rows_of(tmp_path / "triples")
    assert rows == rows_of(tmp_path / "python")
    assert f"triples: {len(rows):,} triples of 10 documents in 4 of 4 shards" in capsys.readouterr().out
    assert not (tmp_path / "output" / "predictions.json").exists()


def test_model_is_run_where_its_device_map_has_put_it(model, processor, documents, expected, checkpoint, tmp_path):
    loaded = DocREIIForRelationExtraction.from_pretrained(checkpoint)
    dispatched = dispatch_model(loaded, {"": "cpu"}, force_hooks=True)
    assert dispatched.hf_device_map == {"": "cpu"}
    extract_to_parquet(dispatched, processor, documents, tmp_path, 4)
    assert by_key(rows_of(tmp_path)) == by_key(expected)


def test_files_of_others_are_not_mixed_with(model, processor, documents, tmp_path):
    (tmp_path / "triples-of-mine.parquet").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="triples-of-mine.parquet is of another run"):
        extract_to_parquet(model, processor, documents, tmp_path)


def test_other_corpus_is_one_error_of_the_command_line(checkpoint, corpus_file, labelled, tmp_path):
    run_docre.main(command_line(checkpoint, corpus_file, tmp_path / "triples"))
    write_lines(corpus_file, [document | {"labels": []} for document in reversed(labelled)])
    with pytest.raises(SystemExit, match="^run_docre.py: .*00000-of-00004.parquet is of another run .`documents`"):
        run_docre.main(command_line(checkpoint, corpus_file, tmp_path / "triples"))


@pytest.mark.usefixtures("faster_in_bf16")
def test_bf16_predicts_nearly_the_same(model, processor, documents, expected, tmp_path):
    extract_to_parquet(model, processor, documents, tmp_path, 4, bf16=True)
    found, wanted = ({row[:-1] for row in rows} for rows in (rows_of(tmp_path), expected))
    assert len(found & wanted) > 0.5 * len(found | wanted)
    assert by_key(rows_of(tmp_path)) != by_key(expected), "it ran in float32"


@pytest.mark.usefixtures("faster_in_bf16")
def test_command_line_goes_on_in_the_precision_it_was_started_in(
    checkpoint, corpus_file, set_bf16_trial, tmp_path, caplog
):
    arguments = command_line(checkpoint, corpus_file, tmp_path / "triples", "--bf16=true", "--use_cpu=true")
    set_bf16_trial(BF16Trial(slowdown=1.7))
    run_docre.main(arguments)
    switched_off = [log for log in caplog.records if "`bf16` is switched off" in log.getMessage()]
    assert len(switched_off) == 1, "the arguments and the extraction warn of the same"
    rows, first = rows_of(tmp_path / "triples"), sorted((tmp_path / "triples").glob("*.parquet"))[0]

    first.unlink()
    set_bf16_trial(BF16Trial(slowdown=0.4))
    run_docre.main(arguments)
    assert rows_of(tmp_path / "triples") == rows


def test_documents_without_a_triple_are_counted(model, processor, tmp_path):
    found = extract_to_parquet(model, processor, [EMPTY, EMPTY, EMPTY], tmp_path, 2)
    assert (found.num_documents, found.num_triples, found.num_shards) == (3, 0, 2)
    assert [pq.read_table(path).num_rows for path in sorted(tmp_path.glob("*.parquet"))] == [0, 0]


@pytest.mark.parametrize(
    ("malformed", "message"),
    [
        ({"title": "broken", "sents": [["a"]], "vertexSet": [[]]}, r"documents\[5\]: document 'broken', entity 0"),
        ({"sents": [["a"]], "vertexSet": []}, r"documents\[5\]: document without a title: 'title' is missing"),
        ("a text", r"documents\[5\]: document 'a text': 'entities' is missing"),
        ({"text": 5}, r"documents\[5\]: document without a title: 'text' is 5, expected a string"),
    ],
)
def test_malformed_document_is_named(model, processor, labelled, tmp_path, malformed, message):
    with pytest.raises(DocumentError, match=message):
        extract_to_parquet(model, processor, [*labelled[:5], malformed], tmp_path, 2)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"documents": []}, "there are no documents"),
        ({"documents": (document for document in [EMPTY])}, "found <generator .*`datasets.Dataset.from_generator`"),
        ({"documents_per_shard": 0}, "at least 1, got documents_per_shard=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"process_index": 2, "num_processes": 2}, "0 <= `process_index` < `num_processes`, got 2 and 2"),
        ({"process_index": 2}, "0 <= `process_index` < `num_processes`, got 2 and None"),
    ],
)
def test_what_cannot_be_done_is_said(model, processor, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        extract_to_parquet(model, processor, **{"documents": [EMPTY], "folder": tmp_path} | settings)


def test_processor_of_another_model_is_refused(model, processor, documents, tmp_path):
    other = DocREIIProcessor(processor.tokenizer, ["Na", *processor.relations[:0:-1]])
    with pytest.raises(ValueError, match="the label map of the model is not that of its processor"):
        extract_to_parquet(model, other, documents, tmp_path)


def test_checkpoint_whose_processor_is_of_another_model_is_refused(checkpoint, corpus_file, processor, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "mixed")
    DocREIIProcessor(processor.tokenizer, ["Na", *processor.relations[:0:-1]]).save_pretrained(tmp_path / "mixed")
    with pytest.raises(SystemExit, match="not that of its processor: it has the same relations in another order"):
        run_docre.main(command_line(tmp_path / "mixed", corpus_file, tmp_path / "triples"))


@pytest.mark.parametrize(("steps", "encoded"), [(["--do_eval=false"], None), (["--do_eval=true"], 10)])
def test_validation_documents_are_encoded_only_where_they_are_scored(
    checkpoint, corpus_file, model, processor, tmp_path, steps, encoded
):
    more = (f"--validation_file={corpus_file}", *steps)
    arguments = parse_arguments(command_line(checkpoint, corpus_file, tmp_path / "triples", *more))
    corpus = read_corpus(arguments.data)
    trainer = run_docre.make_trainer(model, processor, corpus, arguments, *stages_of(arguments))
    assert (trainer.eval_dataset and len(trainer.eval_dataset)) == encoded


@pytest.mark.slow
def test_what_is_pushed_after_a_bulk_prediction_is_the_model_alone(checkpoint, corpus_file, tmp_path):
    arguments = command_line(checkpoint, corpus_file, tmp_path / "output" / "triples", "--push_to_hub=true")
    arguments = [*arguments, "--hub_model_id=org/predicted", f"--output_dir={tmp_path / 'output'}"]
    with Hub() as hub:
        client = Client(hub, tmp_path / "client", PYTHONPATH=str(ROOT))
        client.run(f"import os, run_docre; os.chdir({str(ROOT)!r}); run_docre.main({arguments!r})")
        pushed = list(hub.repository("org/predicted").commits.values())[-1].files
    assert len(rows_of(tmp_path / "output" / "triples")) > 50
    assert {"config.json", "model.safetensors", "README.md"} <= set(pushed)
    assert not [path for path in pushed if path.endswith(".parquet")]
    assert "| test |" not in pushed["README.md"].content.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--do_predict=false", "--do_eval=true"], "`triples_dir` is where `do_predict` writes"),
        (["--documents_per_shard=0"], "`documents_per_shard` must be at least 1, got 0"),
    ],
)
def test_arguments_that_do_not_go_together(checkpoint, corpus_file, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run_docre.main(command_line(checkpoint, corpus_file, tmp_path / "triples", *arguments))


@pytest.mark.slow
def test_accelerate_shares_the_shards_among_processes(checkpoint, corpus_file, model, processor, labelled, tmp_path):
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes=2",
        "--num_machines=1",
        "--mixed_precision=no",
    ]
    command = [*launch, "run_docre.py", *command_line(checkpoint, corpus_file, tmp_path / "triples")]
    result = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-5000:]
    extract_to_parquet(model, processor, labelled, tmp_path / "python", 3)

    assert rows_of(tmp_path / "triples") == rows_of(tmp_path / "python")
    assert "4 shards" in result.stdout
