"""What all tests share: the bundled real documents, and no network."""

import json
import os
from pathlib import Path


os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest  # noqa: E402


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_documents():
    """The bundled Re-DocRED documents, by split: 80 in `train`, 20 in `dev`."""
    folder = ROOT / "examples" / "re_docred_sample"
    return {split: json.loads((folder / f"{split}.json").read_text(encoding="utf-8")) for split in ("train", "dev")}


@pytest.fixture
def in_the_repository(monkeypatch):
    """The paths of the configurations begin at the root of the repository."""
    monkeypatch.chdir(ROOT)
