"""Damaged exports of annotation tools: each is imported, or refused by an error of ours that names the file."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from modeling_docre_ii.annotation_formats.annotated_text import REFUSED, Report, to_document
from modeling_docre_ii.annotation_formats.bioc import read_bioc
from modeling_docre_ii.annotation_formats.brat import read_brat
from modeling_docre_ii.annotation_formats.inception import read_inception
from modeling_docre_ii.annotation_formats.label_studio import read_label_studio
from modeling_docre_ii.annotation_formats.pubtator import read_pubtator_texts
from modeling_docre_ii.documents import DocumentError
from tests.modeling_docre_ii.annotation_formats import (
    test_bioc,
    test_brat,
    test_inception,
    test_label_studio,
    test_pubtator,
)
from tests.mutations import JSON_VALUES, as_json, damaged, damaged_bytes


TASKS = [[test_label_studio.TASK]]
CAS = [{"%TYPES": test_inception.TYPES, "%FEATURE_STRUCTURES": test_inception.STRUCTURES}]
BIOC = [test_bioc.collection(test_bioc.ANNOTATIONS, test_bioc.RELATIONS)]
ANN = test_brat.ANN + test_brat.EVENT + test_brat.PIECES.replace("R9", "R8") + test_brat.THREE.replace("R9", "R7")
# The reader, the name of the file, and damaged contents.
TARGETS = {
    "brat": (read_brat, "sony.ann", damaged_bytes([ANN.encode()])),
    "brat's text": (read_brat, "sony.txt", damaged_bytes([test_brat.TEXT.encode()])),
    "Label Studio": (read_label_studio, "export.json", damaged(TASKS, JSON_VALUES)),
    "INCEpTION": (read_inception, "cas.json", damaged(CAS, JSON_VALUES)),
    "BioC JSON": (read_bioc, "own.json", damaged(BIOC, JSON_VALUES)),
    "BioC XML": (read_bioc, "own.xml", damaged_bytes([test_bioc.CDR.encode()]), "MESH"),
    "PubTator": (read_pubtator_texts, "own.txt", damaged_bytes([test_pubtator.BIORED.encode()])),
}


def check(target, num_examples):
    reader, name, contents, *options = TARGETS[target]
    outcomes = set()

    @settings(
        max_examples=num_examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def check_content(content):
        with tempfile.TemporaryDirectory() as folder:
            if reader is read_brat:
                test_brat.write(Path(folder), ANN)
            path = Path(folder, name)
            path.write_bytes(content if isinstance(content, bytes) else as_json(content).encode())
            try:
                report = Report(list(REFUSED))
                for text in reader(folder, report, *options):
                    json.dumps(to_document(text, ["same_as"], report), ensure_ascii=False).encode()
                "\n".join(report.lines()).encode()
                outcomes.add("imported")
            except DocumentError as error:
                message = str(error)
                assert message.startswith(folder) and "\n" not in message and len(message) < 700, message
                message.encode()
                outcomes.add("refused")

    check_content()
    assert outcomes == {"imported", "refused"}


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_exports_are_imported_or_refused(target):
    check(target, 15)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_thousands_of_damaged_exports_are_imported_or_refused(target):
    check(target, 1_500)
