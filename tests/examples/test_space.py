"""The demo of examples/space/: what it reads with a tiny model and, if Gradio is installed, its page."""

import contextlib
import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
import yaml
from transformers import BertConfig, pipeline

from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.extract import main as extract
from modeling_docre_ii.visualization.pages import PARTS
from tests.hub_model import make_tokenizer
from tests.tagger import save_tagger


SPACE = Path(__file__).parents[2] / "examples" / "space"
TEXT = "Ada Lovelace was born in London. Charles Babbage, too, was born in London, in England."
ENTITIES = [{"type": "PER", "mentions": [[0, 12]]}, {"type": "LOC", "mentions": [[25, 31]]}]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Runs the app, which must not connect to anything but itself.
WITHOUT_NETWORK = """
import runpy, sys

def refuse(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        host = details[1][0] if event == "socket.connect" else details[0]
        if str(host) not in ("127.0.0.1", "localhost", "::1"):
            print("outside:", event, host, flush=True)
            raise OSError("the network is forbidden")

sys.addaudithook(refuse)
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
RELATIONS = ["Na", "P17", "P27"]
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def space():
    """The folder on the path, as when Python runs a script in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SPACE))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        yield
    for name in ("reading", "page"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def reading(space):
    return importlib.import_module("reading")


def save_model(folder, sample_documents, **config):
    """Saves a tiny model of random weights, and its processor."""
    tokenizer = make_tokenizer(sample_documents["dev"])
    torch.manual_seed(1)
    sizes = {"pair_hidden_size": 12, "pair_intermediate_size": 20, "pair_bilinear_rank": 6, "pair_feature_size": 10}
    sizes |= {"inference_hidden_size": 16, "inference_intermediate_size": 12, "initializer_range": 1.0}
    config = DocREIIConfig(
        encoder_config=BertConfig(vocab_size=len(tokenizer), **SIZES),
        id2label=dict(enumerate(RELATIONS)),
        **(sizes | config),
    )
    DocREIIForRelationExtraction(config).save_pretrained(folder)
    DocREIIProcessor(tokenizer, RELATIONS, relation_names={"P17": "country"}).save_pretrained(folder)


@pytest.fixture(scope="module")
def checkpoint(sample_documents, tmp_path_factory):
    """A tiny checkpoint with a mention model that knows a few names."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(folder, sample_documents, num_iterations=2)
    save_tagger(folder / "mention_model")
    return str(folder)


@pytest.fixture(scope="module")
def reader(reading, checkpoint):
    return reading.Reader(checkpoint)


def names(triples):
    return [(triple["head"]["name"], triple["relation"], triple["tail"]["name"]) for triple in triples]


def without_explanation(triples):
    return [{name: triple[name] for name in triple if name not in ("iteration", "support")} for triple in triples]


def test_every_number_of_iterations_gives_the_triples_of_such_a_model(reader, checkpoint):
    document = reader.extractor.find_entities(TEXT)
    of_models = []
    for number in (0, 1, 2):
        model = DocREIIForRelationExtraction.from_pretrained(checkpoint, num_iterations=number)
        extractor = pipeline("document-relation-extraction", model=model, processor=reader.processor)
        of_models.append(extractor(document))
        found = reader.read(TEXT, 0.3, number)
        expected = extractor(document, threshold=0.3, explain=number > 0)
        assert len(found.triples) == len(expected) > 0
        assert [triple.keys() for triple in found.triples] == [triple.keys() for triple in expected]
        for triple, other in zip(found.triples, expected):
            assert triple.pop("score") == pytest.approx(other.pop("score"), abs=1e-5)
            for pair, other_pair in zip(triple.get("support", []), other.get("support", [])):
                assert pair.pop("weight") == pytest.approx(other_pair.pop("weight"), abs=1e-5)
        assert found.triples == expected

    # What the steps predict, add and drop, from the models' own triples.
    predicted = [set(names(triples)) for triples in of_models]
    assert len({frozenset(step) for step in predicted}) == 3
    found = reader.read(TEXT, 0.3, 2)
    changes = {
        (step, change): set(names([triple for *place, triple in found.changes() if place == [step, change]]))
        for step in ("base module", "iteration 1", "iteration 2")
        for change in ("added", "dropped")
    }
    assert changes == {
        ("base module", "added"): predicted[0],
        ("base module", "dropped"): set(),
        ("iteration 1", "added"): predicted[1] - predicted[0],
        ("iteration 1", "dropped"): predicted[0] - predicted[1],
        ("iteration 2", "added"): predicted[2] - predicted[1],
        ("iteration 2", "dropped"): predicted[1] - predicted[2],
    }
    base, first, second = map(len, predicted)
    assert found.counts().endswith(f": base module: {base}, iteration 1: {first}, iteration 2: {second}")
    for triple, name in zip(found.triples, names(found.triples)):
        steps = [
            label
            for label, of_step in zip(("base module", "iteration 1", "iteration 2"), predicted)
            if name in of_step
        ]
        assert found.first_step(triple) == (steps or ["–"])[0]


def test_what_cannot_be_read_gets_a_clear_message(reader, reading, monkeypatch):
    def message(text):
        with pytest.raises(ValueError) as error:
            reader.read(text, 0.5, 2)
        return str(error.value)

    assert message(" \n") == "The text is empty: paste a paragraph, or choose an example."
    assert message("word " * 2001).startswith("The text has 10,005 characters, and this demo reads up to 10,000: ")
    assert message("Nobody is here.") == "No entity was found in this text, so it has no triples."
    assert reader.read("Babbage slept.", 0.5, 2).summary() == "One entity, and a triple needs two"
    monkeypatch.setattr(reading, "MAX_ENTITIES", 3)
    assert message(TEXT).startswith("The text has 4 entities, and this demo relates up to 3: ")


def test_checkpoint_without_mention_model_reads_entities_of_others(reading, sample_documents, tmp_path):
    save_model(tmp_path / "model", sample_documents, num_iterations=0)
    reader = reading.Reader(str(tmp_path / "model"))

    assert reader.notices == [reading.NO_MENTION_MODEL, reading.NO_INFERENCE_MODULE]
    with pytest.raises(ValueError, match="^This checkpoint has no mention model, "):
        reader.read(TEXT, 0.5, 0)
    found = reader.read({"text": TEXT, "entities": ENTITIES}, 0.0, 0)
    assert {name[0] for name in names(found.triples)} == {"Ada Lovelace", "London"}
    assert len(found.steps) == 1
    save_tagger(tmp_path / "tagger")
    assert reading.Reader(str(tmp_path / "model"), str(tmp_path / "tagger")).notices == [reading.NO_INFERENCE_MODULE]
    with pytest.raises(ValueError, match="is not a DocRE-II checkpoint$"):
        reading.Reader(str(tmp_path / "tagger"))


def test_files_give_what_the_command_line_gives(reader, checkpoint, sample_documents, tmp_path, capsys):
    (tmp_path / "ada.txt").write_text(TEXT, encoding="utf-8")
    short = min(sample_documents["dev"], key=lambda document: len(document["vertexSet"]))
    nobody = {"title": "nobody", "text": "Nobody is here."}
    lines = [{"title": "given", "text": TEXT, "entities": ENTITIES}, nobody, short]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(line) + "\n\n" for line in lines), encoding="utf-8")
    files = [str(tmp_path / "ada.txt"), str(tmp_path / "more.jsonl")]

    said = reader.read_files(files, 0.5, 2, str(tmp_path / "out" / "triples.jsonl"))
    extract([*files, "--model", checkpoint, "--output", str(tmp_path / "expected.jsonl")])
    capsys.readouterr()
    found, expected = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / "out" / "triples.jsonl", tmp_path / "expected.jsonl")
    )
    num_triples = sum(len(line["triples"]) for line in expected)
    assert said == f"triples.jsonl: {num_triples:,} triples of 4 documents" and num_triples > 3
    assert [line["title"] for line in found] == ["ada", "given", "nobody", short["title"]]
    for line, other in zip(found, expected):
        triples = sorted(without_explanation(line.pop("triples")), key=lambda triple: names([triple]))
        others = sorted(other.pop("triples"), key=lambda triple: names([triple]))
        scores = [[triple.pop("score") for triple in rows] for rows in (triples, others)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)  # batches of other sizes
        assert (line, triples) == (other, others)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", b'{"text": "Babbage and London."}\n{"text": ', "bad.jsonl, line 2: not JSON: "),
        ("bad.jsonl", b'{"text": "Babbage and London."}\n{"txt": "a"}', "bad.jsonl, line 2: "),
        ("bad.txt", b"\xff", "bad.txt: expected text in UTF-8, but "),
        ("empty.txt", b"", "empty.txt: document 'empty': 'text' is '', expected at least one word"),
        ("long.txt", b"word " * 2001, "long.txt: document 'long': The text has 10,005 characters"),
        ("many.jsonl", b'{"text": "Babbage"}\n' * 3, "many.jsonl: more than 2 documents"),
    ],
)
def test_error_names_file_and_line_and_leaves_no_result(
    reader, reading, tmp_path, monkeypatch, name, content, message
):
    monkeypatch.setattr(reading, "MAX_DOCUMENTS", 2)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError) as error:
        reader.read_files([str(tmp_path / name)], 0.5, 2, str(tmp_path / "out" / "triples.jsonl"))
    assert str(error.value).startswith(message)
    assert str(tmp_path) not in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_header_of_the_readme_is_what_spaces_reads():
    _, header, page = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(header)

    assert fields["sdk"] == "gradio" and (SPACE / fields["app_file"]).is_file()
    assert f'"gradio=={fields["sdk_version"]}"' in page
    assert fields["license"] == "mit" and len(fields["short_description"]) <= 60


# The page


@pytest.fixture(scope="module")
def page(space):
    pytest.importorskip("gradio")
    return importlib.import_module("page")


def test_page_shows_entities_triples_and_steps_of_a_text(page, reader):
    said, picture, entities, rows, counts, changes = page.show(reader, TEXT, 0.3, 2)
    found = reader.read(TEXT, 0.3, 2)

    assert said == f"4 entities, {len(found.triples)} triples"
    assert picture.startswith("<iframe") and "Charles Babbage" in picture
    marked = [(part["token"], part["class_or_confidence"]) for part in entities.value]
    assert "".join(token for token, _ in marked) == TEXT
    assert [(token, kind) for token, kind in marked if kind] == [
        *(("Ada Lovelace", "PER"), ("London", "LOC")),
        *(("Charles Babbage", "PER"), ("London", "LOC"), ("England", "LOC")),
    ]
    assert [row[:3] for row in rows] == [
        [triple["head"]["name"], triple["relation_name"], triple["tail"]["name"]] for triple in found.triples
    ]
    assert {row[4] for row in rows} <= {"base module", "iteration 1", "iteration 2", "–"}
    assert all(sentence in TEXT for row in rows for sentence in row[5].split(" … "))
    assert counts == found.counts() and len(changes) == len(list(found.changes()))
    assert page.show(reader, "", 0.5, 2) == [
        "The text is empty: paste a paragraph, or choose an example.",
        "",
        None,
        [],
        "",
        [],
    ]


def test_page_shows_the_best_triples_and_says_how_many_there_are(page, reader, reading, monkeypatch):
    monkeypatch.setattr(reading, "MAX_TRIPLES", 3)
    said, picture, _, rows, _, _ = page.show(reader, TEXT, 0.0, 2)

    assert said == "4 entities, 24 triples, of which the 3 best are shown"  # 12 pairs, 2 relations
    assert len(rows) == 3 and rows[0][3] == max(row[3] for row in rows)
    assert len(reader.read(TEXT, 0.0, 2).triples) == 24


def test_colors_are_those_of_the_picture(page, reader):
    styles = (PARTS / "page.css").read_text(encoding="utf-8")
    light = styles[: styles.index("prefers-color-scheme: dark")]

    assert re.findall(r"--t\d: (#\w+);", light) == page.COLORS
    assert page.entities_of(reader.read(TEXT, 0.5, 2)).color_map == {"LOC": "#cfe2ff", "PER": "#ffdcc4"}


def test_page_says_what_was_written_or_what_is_wrong(page, reader, tmp_path):
    (tmp_path / "ada.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    said, download = page.extract_files(reader, str(tmp_path), [str(tmp_path / "ada.txt")], 0.5, 2)
    assert re.fullmatch(r"triples\.jsonl: \d+ triples of 1 document", said)
    assert download.visible
    said, download = page.extract_files(reader, str(tmp_path), [str(tmp_path / "bad.jsonl")], 0.5, 2)
    assert said.startswith("bad.jsonl, line 1: not JSON: ") and not download.visible
    assert page.extract_files(reader, str(tmp_path), None, 0.5, 2)[0] == "There are no files: choose some."


# The app, in Chromium


@contextlib.contextmanager
def started_app(checkpoint, folder):
    """Starts the app as users do, and yields its address. It must not use the network."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(SPACE / "app.py"), "--port", str(port)]
    environment = os.environ | {"DOCRE_II_CHECKPOINT": checkpoint, "GRADIO_TEMP_DIR": str(folder / "gradio")}
    environment |= {"PYTHONPATH": str(SPACE.parents[1]), "HF_HUB_OFFLINE": "1"}
    log = folder / "app.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder) as app:
        try:
            deadline = time.monotonic() + 120
            while True:
                assert app.poll() is None and time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                    break
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/"
        finally:
            app.terminate()
    assert "outside:" not in log.read_text() and "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.slow
def test_app_reads_texts_and_files_in_a_browser_without_network(reading, checkpoint, tmp_path):
    """With the checkpoint in DOCRE_II_CHECKPOINT, if it is set, or a tiny one."""
    pytest.importorskip("gradio")
    playwright = pytest.importorskip("playwright.sync_api")
    checkpoint = os.path.abspath(os.environ.get("DOCRE_II_CHECKPOINT", checkpoint))
    reader = reading.Reader(checkpoint)
    last = reader.num_iterations
    (tmp_path / "ada.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    with playwright.sync_playwright() as browsers, started_app(checkpoint, tmp_path) as address:
        try:
            browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error}")
        page, complaints = browser.new_page(), []
        page.set_default_timeout(60_000)
        page.on(
            "request", lambda request: complaints.append(request.url) if is_outside(request.url, address) else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        said, said_of_files = page.locator("#said textarea"), page.locator("#said_of_files textarea")
        expect = playwright.expect

        page.click("text=Find triples")
        expect(said).to_have_value("The text is empty: paste a paragraph, or choose an example.", timeout=60_000)
        page.fill("#text textarea", TEXT)
        page.click("text=Find triples")
        expect(said).to_have_value(reader.read(TEXT, 0.5, last).summary(), timeout=60_000)
        picture = page.frame_locator("#picture iframe")
        expect(picture.locator(".mention").first).to_contain_text("Ada Lovelace", timeout=60_000)

        # The sliders, with the keyboard.
        page.focus("#threshold input[type=range]")
        page.keyboard.press("Home")
        found = reader.read(TEXT, 0.05, last)
        expect(said).to_have_value(found.summary(), timeout=60_000)
        page.get_by_role("tab", name="Triples", exact=True).click()
        expect(page.locator("#triples")).to_contain_text(found.triples[0]["relation_name"])
        page.focus("#iterations input[type=range]")
        page.keyboard.press("Home")
        expect(said).to_have_value(reader.read(TEXT, 0.05, 0).summary(), timeout=60_000)
        page.get_by_role("tab", name="Iterations", exact=True).click()
        expect(page.locator("#counts textarea")).to_have_value(reader.read(TEXT, 0.05, 0).counts(), timeout=60_000)

        page.get_by_role("tab", name="Files", exact=True).click()
        page.set_input_files("#files input[type=file]", str(tmp_path / "ada.txt"))
        expect(page.locator("#files")).to_contain_text("ada")
        page.click("text=Extract triples")
        with page.expect_download() as downloaded:
            page.click("#download a")
        (line,) = Path(downloaded.value.path()).read_text(encoding="utf-8").splitlines()
        assert names(json.loads(line)["triples"]) == names(reader.read(TEXT, 0.05, 0).triples)
        page.click("#files button[aria-label='Clear']")
        page.set_input_files("#files input[type=file]", str(tmp_path / "bad.jsonl"))
        expect(page.locator("#files")).to_contain_text("bad")
        page.click("text=Extract triples")
        expect(said_of_files).to_have_value(re.compile("^bad.jsonl, line 1: not JSON: "), timeout=60_000)
        assert complaints == []
        browser.close()


def is_outside(url, address):
    return not url.startswith((address, "data:", "blob:", "about:"))
