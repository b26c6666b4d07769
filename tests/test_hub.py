"""The way of a model and of a corpus to the Hub and back, with the clients as they are."""

import ast
import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from tests.hub_card import validate_card
from tests.hub_client import Client
from tests.hub_server import Fault, Hub


ROOT = Path(__file__).parents[1]
PACKAGE = ("modeling_docre_ii", "dataset_scripts", "run_docre")
# Found before anything that is installed.
WITHOUT_THE_PACKAGE = f"""
import sys
from importlib.abc import MetaPathFinder


class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {PACKAGE}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""
READ = """
import re
from pathlib import Path

import torch
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoProcessor, pipeline

DOCUMENTS = json.loads(Path("documents.json").read_text(encoding="utf-8"))
TASK = "document-relation-extraction"


def numbers(model, processor, extractor):
    with torch.no_grad():
        outputs = model.eval()(**processor(DOCUMENTS, return_tensors="pt"))
    return {"logits": outputs.logits.tolist(), "triples": extractor(DOCUMENTS)}


def read(name, **options):
    model = AutoModel.from_pretrained(name, **options)
    processor = AutoProcessor.from_pretrained(name, **options)
    return numbers(model, processor, pipeline(TASK, model=name, **options))


def error_of(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def snippets(name):
    return re.findall(r"```python\\n(.*?)```", ModelCard.load(name).text, re.DOTALL)
"""
MAKE = """
from transformers import pipeline
from tests.hub_model import make_trainer, sample_documents

TRAINING_DOCUMENTS = sample_documents(6)
"""

SPLITS = """{
    split: {
        "features": rows.features.to_dict(),
        "relations": rows.features["labels"].feature["r"].names,
        "rows": rows.to_list(),
    }
    for split, rows in corpus.items()
}"""


@pytest.fixture(scope="module")
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def new_client(hub, tmp_path_factory, sample_documents):
    """Makes clients, with this package or without it, that find two documents in `documents.json`."""

    def make(has_package):
        folder = tmp_path_factory.mktemp("client")
        (folder / "absent").mkdir()
        (folder / "absent" / "sitecustomize.py").write_text(WITHOUT_THE_PACKAGE, encoding="utf-8")
        path = ROOT if has_package else folder / "absent"
        client = Client(hub, folder, PYTHONPATH=str(path), OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
        documents = json.dumps(sample_documents["train"][:2])
        (client.work / "documents.json").write_text(documents, encoding="utf-8")
        return client

    return make


def files(hub, name, kind="models"):
    """The bytes of each pushed file."""
    return {path: file.content for path, file in hub.repository(name, kind).commit().files.items()}


# Models

REPOSITORIES = ["org/tiny", "org/every-save", "org/from-pipeline", "org/sharded"]


@pytest.fixture(scope="module")
def pushed(hub, new_client):
    """What a process says of the models that it has trained and pushed, by the repository."""
    return new_client(has_package=True).run(
        READ
        + MAKE
        + """
said = {}


def say(name, model, processor):
    said[name] = numbers(model, processor, pipeline(TASK, model=model, processor=processor))


trainer = make_trainer(TRAINING_DOCUMENTS, "org/tiny")
trainer.train()
trainer.save_model()
say("org/tiny", trainer.model, trainer.processing_class)

extractor = pipeline(TASK, model=trainer.model, processor=trainer.processing_class)
extractor.push_to_hub("org/from-pipeline")
said["org/from-pipeline"] = said["org/tiny"]

trainer.model.push_to_hub("org/sharded", max_shard_size="20KB")
trainer.processing_class.push_to_hub("org/sharded")
said["org/sharded"] = said["org/tiny"]

saves = {"hub_strategy": "every_save", "hub_always_push": True, "save_strategy": "steps", "save_steps": 1}
trainer = make_trainer(TRAINING_DOCUMENTS, "org/every-save", **saves)
trainer.train()
say("org/every-save", trainer.model, trainer.processing_class)
answer(said)
"""
    )


@pytest.fixture(scope="module")
def read_without_package(pushed, new_client):
    """What a process says of them that has nothing but transformers."""
    return new_client(has_package=False).run(
        READ
        + f"""
absent = [name for name in {PACKAGE} if error_of(__import__, name)]
name = "org/tiny"
refused = {{
    "model": error_of(AutoModel.from_pretrained, name),
    "processor": error_of(AutoProcessor.from_pretrained, name),
    "pipeline": error_of(pipeline, TASK, model=name),
}}
said = {{}}
for name in {REPOSITORIES}:
    try:
        said[name] = read(name, trust_remote_code=True)
    except Exception as error:
        said[name] = f"{{type(error).__name__}}: {{error}}"
task = pipeline(model="org/tiny", trust_remote_code=True).task
trusting = [code for code in snippets("org/tiny") if "trust_remote_code=True" in code]
errors = [error_of(exec, code, {{}}) for code in trusting]
answer({{"absent": absent, "refused": refused, "said": said, "task": task, "errors of snippets": errors}})
"""
    )


def test_the_model_says_something(pushed):
    assert all(len(triples) > 0 for triples in pushed["org/tiny"]["triples"])


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_process_without_the_package_says_the_same(pushed, read_without_package, name):
    assert read_without_package["absent"] == list(PACKAGE)
    assert read_without_package["said"][name] == pushed[name]


@pytest.mark.parametrize("part", ["model", "processor", "pipeline"])
def test_code_is_not_run_unless_it_is_trusted(read_without_package, part):
    assert "trust_remote_code=True" in read_without_package["refused"][part]


def test_the_task_is_known_from_the_repository(read_without_package):
    assert read_without_package["task"] == "document-relation-extraction"


@pytest.fixture(scope="module")
def read_with_package(pushed, hub, new_client):
    """A client with the package, and what it says after a download that fails and one that breaks off."""
    weights = "/lfs-objects/.*/model.safetensors"
    hub.faults += [Fault("GET", weights, status=500), Fault("GET", weights, truncate_after=1000)]
    client = new_client(has_package=True)
    said = client.run(
        READ
        + """
import modeling_docre_ii

name = "org/tiny"
error = error_of(AutoModel.from_pretrained, name)
parts = [AutoModel.from_pretrained(name), AutoProcessor.from_pretrained(name), pipeline(TASK, model=name)]
modules = [type(part).__module__ for part in parts]
errors = [error_of(exec, code, {}) for code in snippets(name)]
answer({"error": error, "said": read(name), "modules": modules, "errors of snippets": errors})
"""
    )
    return client, said


def test_a_process_with_the_package_says_the_same_without_trust(pushed, read_with_package):
    _, said = read_with_package
    assert said["said"] == pushed["org/tiny"]


def test_a_process_with_the_package_runs_the_code_of_the_package(read_with_package):
    _, said = read_with_package
    modules = ["modeling_docre_ii", "processing_docre_ii", "pipeline_docre_ii"]
    assert said["modules"] == [f"modeling_docre_ii.{module}" for module in modules]


def test_a_download_that_fails_is_one_error_and_leaves_a_cache_to_go_on_with(read_with_package, hub):
    client, said = read_with_package
    assert not any(fault.times for fault in hub.faults)
    assert said["error"].startswith("OSError") and "Server error '500" in said["error"]
    assert client.cached_files()["model.safetensors"] == files(hub, "org/tiny")["model.safetensors"]
    assert not client.damaged_files()


def test_a_push_that_fails_ends_neither_the_training_nor_the_repository(hub, new_client):
    hub.faults.append(Fault("POST", "/org/unlucky/commit/", times=3, status=500))
    said = new_client(has_package=True).run(
        READ
        + MAKE
        + """
saves = {"hub_strategy": "every_save", "hub_always_push": True, "save_strategy": "steps", "save_steps": 1}
trainer = make_trainer(TRAINING_DOCUMENTS, "org/unlucky", **saves)
trainer.train()
error = error_of(trainer.save_model)
trainer.save_model()
extractor = pipeline(TASK, model=trainer.model, processor=trainer.processing_class)
trained = numbers(trainer.model, trainer.processing_class, extractor)
same = read("org/unlucky") == trained
answer({"error": error, "steps": trainer.state.global_step, "same": same, "failures": trainer.pushes.failures})
"""
    )
    assert [failure.split(":")[0] for failure in said["failures"]] == ["step 1", "step 2"]
    assert said["steps"] == 2
    assert said["error"].startswith("HfHubHTTPError: Server error '500")
    assert len(hub.repository("org/unlucky").commits) == 2
    assert said["same"]


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_is_complete(pushed, hub, name):
    held = files(hub, name)
    config = json.loads(held["config.json"])
    assert {"AutoConfig", "AutoModel"} <= set(config["auto_map"])
    references = [*config["auto_map"].values(), config["custom_pipelines"]["document-relation-extraction"]["impl"]]
    assert {reference.split(".")[0] + ".py" for reference in references} <= set(held)
    assert {"processor_config.json", "tokenizer.json", "tokenizer_config.json"} <= set(held)
    assert {"handler.py", "requirements.txt"} <= set(held), "what Inference Endpoints needs"
    assert not [path for path in held if "/" in path or path.startswith(("checkpoint-", "optimizer", "scheduler"))]
    assert not [path for path in held if path.endswith(".bin") and path != "training_args.bin"]
    assert [path for path in held if path.endswith(".safetensors")]


@pytest.mark.parametrize("name", REPOSITORIES)
def test_code_in_a_repository_imports_nothing_beside_it(pushed, hub, name):
    held = files(hub, name)
    imported = {
        f"{node.module}.py"
        for path, content in held.items()
        if path.endswith(".py")
        for node in ast.walk(ast.parse(content))
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert imported and imported <= set(held)


def test_a_repository_of_the_trainer_has_a_card(pushed, hub):
    assert validate_card(files(hub, "org/tiny")["README.md"].decode())[0] == []


def test_the_code_in_a_card_runs(read_without_package, read_with_package):
    assert read_without_package["errors of snippets"] == [None, None]
    assert read_with_package[1]["errors of snippets"] == [None, None, None]


def test_large_models_are_pushed_in_parts(pushed, hub):
    parts = [path for path in files(hub, "org/sharded") if path.endswith(".safetensors")]
    assert len(parts) > 1 and "model.safetensors.index.json" in files(hub, "org/sharded")


def test_every_save_is_pushed(pushed, hub):
    titles = [commit.title for commit in hub.repository("org/every-save").commits.values()]
    assert titles[1:] == ["Training in progress, step 1", "Training in progress, step 2"]


# Corpora


@pytest.fixture(scope="module")
def pushed_corpus(hub, new_client):
    """The splits that the builder of DocRED makes of the sample: their features and rows. They are in "org/corpus"."""
    return new_client(has_package=True).run(
        f"""
from dataset_scripts.docred import DocRED
from tests.hub_model import SAMPLE

data_files = {{split: str(SAMPLE / f"{{split}}.json") for split in ("train", "dev")}}
builder = DocRED(config_name="re_docred", data_files=data_files)
builder.download_and_prepare()
corpus = builder.as_dataset()
corpus.push_to_hub("org/corpus")
answer({SPLITS})
"""
    )


def test_a_pushed_corpus_is_parquet(pushed_corpus, hub):
    held = files(hub, "org/corpus", "datasets")
    assert sorted(path for path in held if path.startswith("data/")) == [
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    ]
    assert set(held) - {path for path in held if path.startswith("data/")} == {".gitattributes", "README.md"}


def test_a_corpus_comes_back_as_it_was_pushed(pushed_corpus, new_client, sample_documents):
    loaded = new_client(has_package=False).run(
        f"import datasets\ncorpus = datasets.load_dataset('org/corpus')\nanswer({SPLITS})"
    )
    assert loaded == pushed_corpus
    for split, documents in (("train", sample_documents["train"]), ("validation", sample_documents["dev"])):
        relations = loaded[split]["relations"]
        rows = loaded[split]["rows"]
        assert relations[0] == "Na" and len(relations) == 97
        assert [row["title"] for row in rows] == [document["title"] for document in documents]
        assert [row["sents"] for row in rows] == [document["sents"] for document in documents]
        assert [[(fact["h"], relations[fact["r"]], fact["t"]) for fact in row["labels"]] for row in rows] == [
            [(fact["h"], fact["r"], fact["t"]) for fact in document["labels"]] for document in documents
        ]


@pytest.mark.slow
def test_the_command_line_trains_from_a_name_and_pushes(pushed_corpus, hub, new_client):
    sizes = ("pair_hidden_size", "pair_intermediate_size", "pair_feature_size", "pair_bilinear_rank")
    arguments = {
        "dataset_name": "org/corpus",
        "model_name_or_path": "org/encoder",
        "model_kwargs": json.dumps(dict.fromkeys(sizes, 8) | {"inference_hidden_size": 8}),
        "max_train_documents": 3,
        "max_eval_documents": 2,
        "do_train": True,
        "do_eval": True,
        "max_steps": 1,
        "output_dir": "out",
        "push_to_hub": True,
        "hub_model_id": "org/from-command-line",
        "report_to": "none",
    }
    client = new_client(has_package=True)
    client.run(
        f"""
from transformers import AutoModel
import run_docre
from tests.hub_model import make_encoder_config, make_tokenizer, sample_documents

tokenizer = make_tokenizer(sample_documents(3))
tokenizer.push_to_hub("org/encoder")
AutoModel.from_config(make_encoder_config(tokenizer)).push_to_hub("org/encoder")
run_docre.main({[text for name, value in arguments.items() for text in (f"--{name}", str(value))]})
"""
    )
    held = files(hub, "org/from-command-line")
    trained = (client.work / "out" / "model.safetensors").read_bytes()
    assert held["model.safetensors"] == trained
    assert json.loads(held["config.json"])["num_iterations"] > 0
    assert {"modeling_docre_ii.py", "pipeline_docre_ii.py", "processor_config.json", "README.md"} <= set(held)
    folders = {path for path in held if "/" in path}
    assert folders == {".eval_results/validation.yaml"}, "neither checkpoints nor the other stage"
    (entry,) = parse_eval_result_entries(yaml.safe_load(held[".eval_results/validation.yaml"]))
    assert entry.dataset_id == "org/corpus" and entry.notes.startswith("F1 in percent. corpus, 2 validation documents")
    assert (client.work / "out" / "report.html").exists() and "report.html" not in held, "it quotes documents"


# The examples

EXAMPLES = ROOT / "examples"
RUN = """
import contextlib, io, runpy, sys


def run(script, *arguments):
    sys.argv = [script, *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(script, run_name="__main__")
    return printed.getvalue().splitlines()
"""


@pytest.fixture(scope="module")
def own_corpus(pushed, new_client):
    """What the example for an own corpus prints, which goes on with "org/tiny" and pushes "org/companies"."""
    folder = EXAMPLES / "own_corpus"
    arguments = {
        "model_name_or_path": "org/tiny",
        "train_file": str(folder / "train.json"),
        "validation_file": str(folder / "dev.json"),
        "relations_file": str(folder / "relations.json"),
        "max_steps": 2,
        "output_dir": "out",
        "push_to_hub": True,
        "hub_model_id": "org/companies",
        "report_to": "none",
    }
    arguments = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    script = str(EXAMPLES / "finetune_own_relations.py")
    return new_client(has_package=True).run(f"{RUN}\nanswer(run({script!r}, *{arguments!r}))")


def test_an_own_corpus_becomes_a_model_on_the_hub(own_corpus, hub):
    held = files(hub, "org/companies")
    relations = ["Na", "founder", "based", "owner", "employer"]
    assert list(json.loads(held["config.json"])["id2label"].values()) == relations
    processor = json.loads(held["processor_config.json"])
    assert processor["relations"] == relations and processor["relation_names"]["based"] == "headquartered in"
    assert any(line.startswith("F1 on 3 documents: ") for line in own_corpus)


def test_the_example_without_the_package_reads_it(own_corpus, new_client):
    script, documents = str(EXAMPLES / "load_from_hub.py"), str(EXAMPLES / "own_corpus" / "dev.json")
    printed = new_client(has_package=False).run(
        f"{RUN}\nanswer(run({script!r}, 'org/companies', '--documents', {documents!r}))"
    )
    titles = [document["title"] for document in json.loads(Path(documents).read_text(encoding="utf-8"))]
    assert [line for line in printed if not line.startswith("  ")] == titles
