#!/usr/bin/env python
"""
Own text with the character spans of its mentions -> triples, and why each was predicted.

    python examples/predict_own_text.py outputs/quickstart
    python examples/predict_own_text.py org/docre-ii-bert --threshold 0.8

The model is a folder or a name on the Hub. Where the spans come from (a tagger and a coreference model, or people) is
up to you: all mentions of one entity belong together.
"""

import argparse

from transformers import pipeline

from modeling_docre_ii import describe_explanation  # the import registers the pipeline as well


TEXT = (
    "Ada Lovelace was born in London. She was the daughter of Lord Byron, an English poet, and worked with Charles "
    "Babbage on his Analytical Engine. Babbage, too, was born in London, the capital of England."
)
# Type and mentions of every entity. In your own data the mentions are [start, end) in characters already.
ENTITIES = [
    ("PER", ["Ada Lovelace", "She"]),
    ("LOC", ["London", "London"]),
    ("PER", ["Lord Byron"]),
    ("LOC", ["English", "England"]),
    ("PER", ["Charles Babbage", "Babbage"]),
    ("MISC", ["Analytical Engine"]),
]


def find_spans(text: str, names: list[str]) -> list[list[int]]:
    """Finds names in a text, each behind the one before."""
    spans, end = [], 0
    for name in names:
        start = text.index(name, end)
        end = start + len(name)
        spans.append([start, end])
    return spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a DocRE-II checkpoint with an inference module")
    parser.add_argument("--threshold", type=float, default=0.5, help="score above which a triple is printed")
    parser.add_argument("--top_k", type=int, help="print so many triples at most")
    args = parser.parse_args()

    extractor = pipeline("document-relation-extraction", model=args.model)
    document = {
        "title": "Ada Lovelace",
        "text": TEXT,
        "entities": [{"type": kind, "mentions": find_spans(TEXT, names)} for kind, names in ENTITIES],
    }
    triples = extractor(document, threshold=args.threshold, top_k=args.top_k, explain=True)
    print(f"{len(triples)} triples")
    for triple in triples:
        print(describe_explanation(triple))
        where = [f"{mention['start']}-{mention['end']}" for mention in triple["head"]["mentions"]]
        print(f"        head at the characters {', '.join(where)}")


if __name__ == "__main__":
    main()
