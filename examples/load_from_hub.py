#!/usr/bin/env python
"""
Load a model from the Hub without this package: the checkpoint has its code.

    python examples/load_from_hub.py org/docre-ii-bert --documents examples/re_docred_sample/dev.json

Needs torch and transformers (and syntok for plain text), and nothing of this repository. Read the code of a checkpoint
before you trust it, and pin its commit with `--revision`.
"""

import argparse
import json

import torch
from transformers import AutoModel, AutoProcessor, pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name on the Hub, or a local folder")
    parser.add_argument("--documents", required=True, help="JSON list of documents, in DocRED's form or plain texts")
    parser.add_argument("--revision", help="commit, branch or tag of the model")
    parser.add_argument("--batch_size", type=int, default=4)
    args = parser.parse_args()
    with open(args.documents, encoding="utf-8") as file:
        documents = json.load(file)
    hub = {"revision": args.revision, "trust_remote_code": True}

    # 1. The pipeline is the short way. It streams the documents of an iterator.
    extractor = pipeline("document-relation-extraction", model=args.model, **hub)
    for document, triples in zip(documents, extractor(iter(documents), batch_size=args.batch_size, top_k=3)):
        print(document.get("title"))
        for triple in triples:
            head, tail = triple["head"]["name"], triple["tail"]["name"]
            print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")

    # 2. Model and processor give the logits. The processor reads documents in DocRED's form.
    model = AutoModel.from_pretrained(args.model, **hub)
    processor = AutoProcessor.from_pretrained(args.model, **hub)
    documents = [document for document in documents if "sents" in document][: args.batch_size]
    if documents:
        with torch.no_grad():
            outputs = model(**processor(documents, return_tensors="pt"))
        print(f"\nlogits of {len(documents)} documents: {tuple(outputs.logits.shape)}")


if __name__ == "__main__":
    main()
