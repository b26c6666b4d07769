"""Streams of documents are read one by one, and calls keep nothing of their documents."""

import gc
import itertools
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from transformers import pipeline

from tests.hub_model import make_model, make_processor, sample_documents


ROOT = Path(__file__).parents[2]


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


def resident_megabytes():
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.slow
def test_calls_keep_no_memory(extractor, documents):
    def call(number):
        document = documents[number % len(documents)]
        extractor({**document, "title": f"{document['title']} {number}"}, explain=number % 2 == 0)
        text = f"Lark Force {number} was based in Rabaul."
        end = text.index(" was")
        extractor({"text": text, "entities": [{"type": "ORG", "mentions": [[0, end]]}]})
        list(extractor(iter([document]), batch_size=2))

    for number in range(100):
        call(number)
    before = resident_megabytes()
    for number in range(100, 1770):
        call(number)
    # 5,010 calls. The logits of their documents alone have over 100 MB.
    assert resident_megabytes() - before < 5


@pytest.mark.slow
def test_first_20_000_of_a_million_documents_take_no_more_memory_than_the_first_2_000(extractor):
    words = ["Lark", "Force", "was", "based", "in", "Rabaul", "."]
    spans = [(0, 2, "ORG"), (5, 6, "LOC")]
    vertices = [
        [{"name": " ".join(words[begin:end]), "sent_id": 0, "pos": [begin, end], "type": kind}]
        for begin, end, kind in spans
    ]
    num_read = 0

    def million():
        nonlocal num_read
        for number in range(1_000_000):
            num_read += 1
            yield {"title": f"document {number}", "sents": [list(words)], "vertexSet": vertices, "labels": []}

    triples = extractor(million(), batch_size=32)
    for _ in itertools.islice(triples, 2_000):
        pass
    before = resident_megabytes()
    for _ in itertools.islice(triples, 18_000):
        pass
    assert num_read <= 20_000 + 33
    assert resident_megabytes() - before < 5


LONG = """
import json, resource

from transformers import pipeline

from tests.hub_model import make_model, make_processor, sample_documents

def peak_gigabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

# Sentences of 25 words, and three mentions of each entity, spread over the document.
document = {
    "title": "long",
    "sents": [["city"] * 24 + ["."] for _ in range(1_000)],
    "vertexSet": [
        [{"name": "city", "sent_id": sentence, "pos": [2, 3], "type": "LOC"} for sentence in range(entity, 1_000, 334)]
        for entity in range(300)
    ],
    "labels": [],
}
imported = peak_gigabytes()
processor = make_processor(sample_documents(4))
extract = pipeline("document-relation-extraction", model=make_model(processor).eval(), processor=processor)
extract(document)
print(json.dumps([len(processor([document])["input_ids"][0]), imported, peak_gigabytes()]))
"""


@pytest.mark.slow
def test_300_entities_in_25_000_tokens_take_less_than_2_gigabytes():
    """What the process needs at most, beyond what it needs after its imports."""
    done = subprocess.run([sys.executable, "-c", LONG], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    num_tokens, imported, most = json.loads(done.stdout.splitlines()[-1])
    assert num_tokens >= 25_000
    # The weights of all pairs and tokens alone would have 9 GB.
    assert most - imported < 2
