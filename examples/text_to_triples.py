#!/usr/bin/env python
"""
From a text to triples, and why each of them was predicted.

    python examples/text_to_triples.py outputs/quickstart
    python examples/text_to_triples.py org/docre-ii-bert --threshold 0.8

The model is a local folder or a name on the Hub. It relates the entities of a text and does not find them: here they
are given. `entities_with_token_classification.py` finds them with a tagger.
"""

import argparse

from transformers import pipeline

from modeling_docre_ii import describe_explanation  # the import also registers the pipeline


TEXT = (
    "Ada Lovelace was born in London. She was the daughter of Lord Byron, an English poet, and worked with Charles "
    "Babbage on his Analytical Engine. Babbage, too, was born in London, the capital of England."
)
# Type and mentions of every entity. All mentions of one entity belong together: names, pronouns, adjectives.
ENTITIES = [
    ("PER", ["Ada Lovelace", "She"]),
    ("LOC", ["London", "London"]),
    ("PER", ["Lord Byron"]),
    ("LOC", ["English", "England"]),
    ("PER", ["Charles Babbage", "Babbage"]),
    ("MISC", ["Analytical Engine"]),
]


def find_spans(text: str, names: list[str]) -> list[list[int]]:
    """Finds names in a text, each after the one before, as [start, end) in characters."""
    spans, end = [], 0
    for name in names:
        start = text.index(name, end)
        end = start + len(name)
        spans.append([start, end])
    return spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a DocRE-II checkpoint of stage 2: a folder or a name on the Hub")
    parser.add_argument("--threshold", type=float, default=0.5, help="score above which a triple is printed")
    parser.add_argument("--top_k", type=int, help="largest number of triples to print (default: all)")
    args = parser.parse_args()

    # 1. The model, with its processor.
    extractor = pipeline("document-relation-extraction", model=args.model)

    # 2. The document: a text and its entities. Your own data has the spans already.
    document = {
        "title": "Ada Lovelace",
        "text": TEXT,
        "entities": [{"type": kind, "mentions": find_spans(TEXT, names)} for kind, names in ENTITIES],
    }

    # 3. Its triples. `explain` adds the iteration in which each appeared, and the pairs it was inferred from.
    triples = extractor(document, threshold=args.threshold, top_k=args.top_k, explain=True)

    # 4. A triple has a relation, a score, and both entities with all their mentions in the text.
    print(f"{len(triples)} triples")
    for triple in triples:
        print(describe_explanation(triple))
        where = [f"{mention['start']}-{mention['end']}" for mention in triple["head"]["mentions"]]
        print(f"        head at characters {', '.join(where)}")

    # Several documents at once: extractor([document, ...], batch_size=8). Lists and datasets of any size work.


if __name__ == "__main__":
    main()
