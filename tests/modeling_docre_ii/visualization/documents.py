"""A text, the same document as tokens, and triples of both."""

# An emoji is one character in Python and two in JavaScript. Sentence 0: [0, 24), sentence 1: [25, 44).
TEXT = "🎈 Ada was born in Paris. Paris is in France."
TEXT_DOCUMENT = {
    "title": "Ada",
    "text": TEXT,
    "entities": [
        {"type": "PER", "mentions": [[2, 5]]},
        {"type": "LOC", "mentions": [[18, 23], [25, 30]], "kb_id": "Q90"},
        {"type": "LOC", "mentions": [[37, 43]]},
    ],
}
TOKEN_DOCUMENT = {
    "title": "Ada",
    "sents": [["Ada", "was", "born", "in", "Paris", "."], ["Paris", "is", "in", "France", "."]],
    "vertexSet": [
        [{"name": "Ada", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
        [
            {"name": "Paris", "sent_id": 0, "pos": [4, 5], "type": "LOC", "kb_id": "Q90"},
            {"name": "Paris", "sent_id": 1, "pos": [0, 1], "type": "LOC"},
        ],
        [{"name": "France", "sent_id": 1, "pos": [3, 4], "type": "LOC"}],
    ],
}
NAMES = ["Ada", "Paris", "France"]


def triple(head, tail, name="country", evidence=(0,), **more):
    ends = {side: {"entity": index, "name": NAMES[index]} for side, index in (("head", head), ("tail", tail))}
    return {
        **ends,
        "relation": f"P-{name}",
        "relation_name": name,
        "score": 0.91239,
        "evidence": list(evidence),
        **more,
    }


def support(head, tail, *names, weight=0.25):
    pair = triple(head, tail)
    return {"head": pair["head"], "tail": pair["tail"], "relation_names": list(names), "weight": weight}


TRIPLES = [
    triple(0, 1, "place of birth", iteration=0, support=[]),
    triple(0, 2, "citizenship", (0, 1), iteration=2, support=[support(0, 1, "birth"), support(1, 2, "a", "b")]),
]
