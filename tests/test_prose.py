"""The language of the repository: phrases that its pages, docstrings, comments and messages avoid."""

import re
import subprocess
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PHRASES = [
    "Whoever never saw this repository then writes",
    "in minutes on two CPU cores and with no download but pip's",
    "Of a document read through windows, the mean over the windows",
    "Its own are:",
    "what the Hub says of the model that training began with",
    "A document without any is one without a fact then",
    "So they count nowhere",
    "What a model that FSDP has sharded needs to be saved as any other",
    "Files that are whole or not there",
    "gone on with where it was stopped",
    "goes on where it was stopped",
    "What `run_docre.py` can be told",
    "What a model scores above this, it has from the text",
    "anew",
    "does again",
    "then says nothing",
    "Where a line holds no candidate all is open",
]


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md", "*.py", "*.yaml", "*.html", "setup.cfg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name) != Path(__file__)]


def joined(text):
    """The text on one line, without the marks of comments and the quotes between the parts of a string."""
    text = re.sub(r"\"\s*\n\s*f?\"", "", text)
    text = re.sub(r"\n\s*(?:#+|>)?\s*", " ", text)
    return re.sub(r"\s+", " ", text)


def phrases_in(text):
    text = joined(text)
    return [phrase for phrase in PHRASES if re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE)]


def test_no_file_has_a_stilted_phrase():
    files = tracked_files()
    found = {str(path.relative_to(ROOT)): phrases_in(path.read_text(encoding="utf-8")) for path in files}

    assert len(files) > 100
    assert {path: phrases for path, phrases in found.items() if phrases} == {}


@pytest.mark.parametrize(
    "text", ["is started anew", "Anew.", "    # what does\n    # again", 'f"so they count "\n    f"nowhere"']
)
def test_phrases_are_found_across_lines(text):
    assert len(phrases_in(text)) == 1
