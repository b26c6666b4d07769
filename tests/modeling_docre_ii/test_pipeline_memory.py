"""Streams of documents are read one by one, and calls keep nothing of their documents."""

import gc
import itertools
from pathlib import Path

import pytest
from transformers import pipeline

from tests.hub_model import make_model, make_processor, sample_documents


STATM = Path("/proc/self/statm")


@pytest.fixture(scope="module")
def documents():
    return sample_documents(4)


@pytest.fixture(scope="module")
def extractor(documents):
    processor = make_processor(documents)
    return pipeline("document-relation-extraction", model=make_model(processor).eval(), processor=processor)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_stream_is_read_as_its_triples_are(extractor, documents, batch_size):
    num_read = 0

    def endless():
        nonlocal num_read
        for document in itertools.cycle(documents):
            num_read += 1
            yield document

    triples = iter(extractor(endless(), batch_size=batch_size))
    for num_taken in range(1, 21):
        assert isinstance(next(triples), list)
        # A batch is read at once, and the pipeline looks at the first document to know what it is given.
        assert num_read <= num_taken + batch_size


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_calls_keep_no_memory(extractor, documents):
    def resident_megabytes():
        gc.collect()
        return int(STATM.read_text().split()[1]) * 4096 / 2**20

    def call(number):
        document = documents[number % len(documents)]
        extractor({**document, "title": f"{document['title']} {number}"}, explain=number % 2 == 0)
        text = f"Lark Force {number} was based in Rabaul."
        end = text.index(" was")
        extractor({"text": text, "entities": [{"type": "ORG", "mentions": [[0, end]]}]})
        list(extractor(iter([document]), batch_size=2))

    for number in range(50):
        call(number)
    before = resident_megabytes()
    for number in range(50, 220):
        call(number)
    # 510 calls. The logits of their documents alone have over 10 MB.
    assert resident_megabytes() - before < 5
