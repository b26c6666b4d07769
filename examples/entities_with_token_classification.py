#!/usr/bin/env python
"""
From raw text to triples: a tagger finds the entities, DocRE-II relates them.

    python examples/entities_with_token_classification.py outputs/quickstart dslim/bert-base-NER
    python examples/entities_with_token_classification.py outputs/quickstart dslim/bert-base-NER --text "Ada was ..."

Any NER model of transformers works as the tagger. Mentions of the same name and type become one entity. This misses
pronouns and other names of an entity ("She", "Babbage" for "Charles Babbage"), which a coreference model finds. Use a
tagger with the entity types of the corpus that the relation model was trained on, or rename its types.
"""

import argparse
from typing import Any

from transformers import Pipeline, pipeline

import modeling_docre_ii  # noqa: F401  # registers the pipeline


TEXT = (
    "Charles Babbage was an English mathematician. He was born in London, the capital of England. "
    "In London, Charles Babbage designed the Analytical Engine."
)


def find_entities(tagger: Pipeline, text: str) -> list[dict[str, Any]]:
    """Finds mentions with a tagger, and groups those of the same name and type."""
    entities: dict[tuple[str, str], dict[str, Any]] = {}
    for found in tagger(text):
        kind = found["entity_group"]
        # With some tokenizers, a word has the space before it and the punctuation after it.
        name = text[found["start"] : found["end"]].strip(" .,;:!?()")
        if name:
            start = text.index(name, found["start"])
            entity = entities.setdefault((kind, name.lower()), {"type": kind, "mentions": []})
            entity["mentions"].append([start, start + len(name)])
    return list(entities.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a DocRE-II checkpoint: a folder or a name on the Hub")
    parser.add_argument("tagger", help="a token-classification model: a folder or a name on the Hub")
    parser.add_argument("--text", default=TEXT, help="the text to read")
    parser.add_argument("--threshold", type=float, default=0.5, help="score above which a triple is printed")
    args = parser.parse_args()

    # 1. Find the entities. "first" gives all pieces of a word the label of the first, so that no mention cuts a word.
    tagger = pipeline("token-classification", model=args.tagger, aggregation_strategy="first")
    entities = find_entities(tagger, args.text)
    for entity in entities:
        mentions = [args.text[start:end] for start, end in entity["mentions"]]
        print(f"{entity['type']:6}{', '.join(mentions)}")

    # 2. Relate them.
    extractor = pipeline("document-relation-extraction", model=args.model)
    triples = extractor({"text": args.text, "entities": entities}, threshold=args.threshold)
    print(f"{len(triples)} triples")
    for triple in triples:
        head, tail = triple["head"]["name"], triple["tail"]["name"]
        print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")


if __name__ == "__main__":
    main()
