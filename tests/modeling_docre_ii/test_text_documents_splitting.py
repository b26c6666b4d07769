"""The sentences and tokens of a text against their definition, and their time."""

import random
import re
import time
from itertools import pairwise

from syntok import segmenter

from modeling_docre_ii.text_documents import document_from_text


WORDS = ["Dr.", "Ada", "was", "born", "in", "U.S.", "3.5", "e.g.", "co-op", "(sic)", "it's", "中文", "...", "!", "a"]
GAPS = [" ", " ", " ", "  ", "\n", "\n\n", "\xa0", "", ". ", "? ", ".\n"]


def sentences_by_definition(text, breaks, spans):
    """
    Cuts a text at the edges of syntok's words and of the mentions, and into sentences at the starts of syntok's
    sentences, unless a mention is around them. Every edge is compared with every sentence, and every mention with
    every start.
    """
    edges = {offset for span in spans for offset in span}
    starts = set()
    for section_start, section_end in pairwise(sorted({0, *breaks, len(text)})):
        for paragraph in segmenter.analyze(text[section_start:section_end]):
            for sentence in map(list, paragraph):
                starts.add(section_start + sentence[0].offset)
                for token in sentence:
                    edges |= {section_start + token.offset, section_start + token.offset + len(token.value)}
    outside = {start for start in starts if not any(left < start < right for left, right in spans)}
    sentences = []
    for start, end in pairwise(sorted({0, len(text)} | outside)):
        cuts = [start, *sorted(edge for edge in edges if start < edge < end), end]
        tokens = [word for left, right in pairwise(cuts) for word in re.findall(r"\S+", text[left:right])]
        sentences += [tokens] if tokens else []
    return sentences


def random_text(generator):
    return "".join(generator.choice(WORDS) + generator.choice(GAPS) for _ in range(generator.randrange(1, 60)))


def random_spans(generator, text):
    spans = []
    for _ in range(generator.randrange(8)):
        start = generator.randrange(len(text))
        end = generator.randrange(start, min(len(text), start + generator.choice([5, 80]))) + 1
        if text[start:end] == text[start:end].strip():
            spans.append([start, end])
    return spans


def test_sentences_are_those_of_the_definition():
    generator = random.Random(0)
    num_joined = 0
    for _ in range(400):
        text = random_text(generator)
        spans = random_spans(generator, text)
        breaks = generator.sample(range(len(text)), k=min(len(text), generator.randrange(3)))
        expected = sentences_by_definition(text, breaks, spans)
        entities = [{"type": "THING", "mentions": [span]} for span in spans]
        document = document_from_text("a text", text, entities, breaks)
        assert document["sents"] == expected
        for (mention,), (start, end) in zip(document["vertexSet"], spans):
            tokens = document["sents"][mention["sent_id"]][slice(*mention["pos"])]
            assert "".join(tokens) == "".join(text[start:end].split())
        num_joined += expected != sentences_by_definition(text, breaks, [])
    assert num_joined > 100  # mentions change the sentences of many of these texts


def test_the_time_grows_with_the_text_and_not_with_its_square():
    sentence = "Charles Babbage was an English mathematician in London. "
    text = sentence * 20_000
    mentions = [[start, start + 15] for start in range(0, len(text), len(sentence))]
    started = time.process_time()
    document = document_from_text("a book", text, [{"type": "PER", "mentions": mentions}])
    # The square took over 10 minutes, and the time itself is 3 seconds.
    assert time.process_time() - started < 60
    assert len(document["sents"]) == len(document["vertexSet"][0]) == 20_000
