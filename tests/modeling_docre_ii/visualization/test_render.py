"""`render`: triples of the pipeline, the frame in a notebook, and the file."""

import copy
from html.parser import HTMLParser

import pytest
from transformers import pipeline

from modeling_docre_ii import render
from modeling_docre_ii.utils.atomic_write import FileWriteError
from tests.html_page import HOSTILE, Page
from tests.hub_model import save_checkpoint
from tests.modeling_docre_ii.visualization.documents import (
    TEXT_DOCUMENT,
    TOKEN_DOCUMENT,
    TRIPLES,
)


def test_the_same_input_gives_the_same_page():
    assert render(TEXT_DOCUMENT, TRIPLES) == render(copy.deepcopy(TEXT_DOCUMENT), copy.deepcopy(TRIPLES))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    return pipeline("document-relation-extraction", model=save_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.mark.parametrize("document", [TEXT_DOCUMENT, TOKEN_DOCUMENT], ids=["text", "tokens"])
def test_what_the_pipeline_returns_is_drawn(extractor, document):
    triples = extractor(document, threshold=0.3, explain=True)
    (shown,) = Page(render(document, triples)).data["documents"]

    assert len(shown["triples"]) == len(triples) > 0
    for row, original in zip(shown["triples"], triples):
        assert [shown["entities"][row[side]]["name"] for side in "ht"] == [
            original[side]["name"] for side in ("head", "tail")
        ]
        assert row["iteration"] == original["iteration"]
        assert [pair["names"] for pair in row["support"]] == [pair["relation_names"] for pair in original["support"]]
        if "text" in document:
            quoted = [document["text"][start:end] for start, end in original["evidence_spans"]]
            assert [shown["sents"][sentence] for sentence in row["evidence"]] == quoted


class Frames(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    page = render({**TEXT_DOCUMENT, "title": HOSTILE}, TRIPLES)
    ((tag, attributes),) = Frames(page._repr_html_()).found

    assert tag == "iframe" and attributes["srcdoc"] == page
    assert attributes["sandbox"] == "allow-scripts"
    assert repr(page) == f"<RenderedDocument of {len(page):,} characters, which .save(path) writes>"


def test_the_page_is_saved_as_a_whole(tmp_path):
    page = render(TEXT_DOCUMENT, TRIPLES)

    assert page.save(tmp_path / "new" / "ada.html") == tmp_path / "new" / "ada.html"
    assert (tmp_path / "new" / "ada.html").read_text(encoding="utf-8") == page
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(FileWriteError, match="folder.html cannot be written"):
        page.save(tmp_path / "folder.html")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["ada.html", "folder.html", "new"]
