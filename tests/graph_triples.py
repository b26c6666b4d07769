"""Triples as the pipeline returns them, and files of them, for knowledge graphs."""

import json
from pathlib import Path

from modeling_docre_ii.deployment.extraction_run import ExtractionRun
from modeling_docre_ii.deployment.extraction_shards import write_shard


# Names that break writers which forget to escape. XML cannot hold the last characters.
HOSTILE = [
    'Dwayne "The Rock" Johnson',
    "New\nYork",
    "carriage\rreturn",
    "<b>R&D</b>",
    "]]> --> &amp;",
    "emoji 😀, семь; 北京",
    "back\\slash, comma",
    "it's 100%",
    " \u00a0 ",
    "bell \x07, no character \ufffe",
]
RUN = {"model": "m", "documents": "d", "bf16": False, "bf16_requested": False, "evidence": "rule"}


def entity(name, kind="LOC", kb_id=None, index=0):
    described = {"entity": index, "name": name, "type": kind, "mentions": [{"name": name, "start": 0, "end": 1}]}
    return described if kb_id is None else {**described, "kb_id": kb_id}


def triple(head, relation, tail, score=0.75, evidence=(0,), spans=None):
    """A triple of entities, or of the names of places."""
    head, tail = (entity(side) if isinstance(side, str) else side for side in (head, tail))
    names = {"P17": "country", "P19": "place of birth", "CID": "chemical-induced disease"}
    made = {
        "head": head,
        "relation": relation,
        "relation_name": names.get(relation, relation),
        "tail": tail,
        "score": score,
        "evidence": list(evidence),
    }
    return made if spans is None else {**made, "evidence_spans": spans}


def hostile_documents():
    """Titles and triples of documents with hostile names, types, relations and identifiers."""
    documents = []
    for index, name in enumerate(HOSTILE):
        tail = entity("Somewhere", kind="" if index % 2 else f"T;{name}", kb_id=name if index % 3 == 0 else None)
        triples = [triple(name, "P17", tail, 0.5 + index / 64, (0, 2), [[0, 3], [5, 9]])]
        triples.append(triple(tail, f"r {name}", name, 0.625, ()))
        documents.append((f"title {name}", triples))
    # The same name in capitals is the same node.
    documents.append(("capitals", [triple(HOSTILE[0].upper(), "P17", "Somewhere", 0.75)]))
    return documents


def write_jsonl(path, documents):
    """Writes titles and triples as `docre-ii extract` does."""
    lines = [json.dumps({"title": title, "triples": triples}, ensure_ascii=False) for title, triples in documents]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_shards(folder, documents, documents_per_shard=2):
    """Writes titles and triples as a bulk extraction does."""
    run = ExtractionRun(num_documents=len(documents), documents_per_shard=documents_per_shard, **RUN)
    folder = Path(folder)
    folder.mkdir()
    for shard in range(run.num_shards):
        rows = [
            flat(index, documents[index][0], each) for index in run.documents_of(shard) for each in documents[index][1]
        ]
        write_shard(folder, run, shard, rows)
    return folder


def flat(index, title, each):
    """A triple as a row of a bulk extraction."""
    row = {"document": index, "title": title, "evidence_spans": None}
    for field, value in each.items():
        if field in ("head", "tail"):
            row |= {field: value["entity"], f"{field}_name": value["name"], f"{field}_type": value["type"]}
            row[f"{field}_kb_id"] = value.get("kb_id")
        else:
            row[field] = value
    return row
