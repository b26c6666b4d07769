#!/usr/bin/env python
"""
From a raw text to triples, and why each of them was predicted.

    python examples/text_to_triples.py outputs/quickstart
    python examples/text_to_triples.py outputs/quickstart --text "Ada Lovelace was born in London. She ..."
    python examples/text_to_triples.py org/docre-ii-bert --mention_extractor dslim/bert-base-NER --threshold 0.8

The model is a local folder or a name on the Hub. The quickstart's model has a mention model of its own; with another
one, name a token-classification model that finds the mentions.
"""

import argparse

from transformers import pipeline

from modeling_docre_ii import describe_explanation  # the import also registers the pipeline


TEXT = (
    "Ada Lovelace was born in London. She was the daughter of Lord Byron, an English poet, and worked with Charles "
    "Babbage on his Analytical Engine. Babbage, too, was born in London, the capital of England."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a DocRE-II checkpoint of stage 2: a folder or a name on the Hub")
    parser.add_argument("--mention_extractor", help="a token-classification model (default: the checkpoint's own)")
    parser.add_argument("--text", default=TEXT, help="the text to read")
    parser.add_argument("--threshold", type=float, default=0.5, help="score above which a triple is printed")
    parser.add_argument("--top_k", type=int, help="largest number of triples to print (default: all)")
    args = parser.parse_args()

    # 1. The model, with its processor and its mention model.
    extractor = pipeline("document-relation-extraction", model=args.model, mention_extractor=args.mention_extractor)

    # 2. The entities of the text. Correct or add some here, or give your own in the same form.
    document = extractor.find_entities(args.text)
    for entity in document["entities"]:
        mentions = [args.text[start:end] for start, end in entity["mentions"]]
        print(f"{entity['type']:6}{', '.join(mentions)}")

    # 3. Its triples. `explain` adds the iteration in which each appeared, and the pairs it was inferred from.
    triples = extractor(document, threshold=args.threshold, top_k=args.top_k, explain=True)

    # 4. A triple has a relation, a score, and both entities with all their mentions in the text.
    print(f"{len(triples)} triples")
    for triple in triples:
        print(describe_explanation(triple))
        where = [f"{mention['start']}-{mention['end']}" for mention in triple["head"]["mentions"]]
        print(f"        head at characters {', '.join(where)}")

    # In one step: extractor(text). Several at once: extractor([text, ...], batch_size=8).


if __name__ == "__main__":
    main()
