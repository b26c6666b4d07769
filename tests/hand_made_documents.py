"""Small documents, written in one line."""


def mention(name, sentence, start, end, type="LOC"):
    """A mention in DocRED's form."""
    return {"name": name, "sent_id": sentence, "pos": [start, end], "type": type}


def document_of(sentences, *entities, title="hand-made"):
    """A document whose sentences are strings and whose entities are lists of (sentence, start, end)."""
    sentences = [sentence.split(" ") if sentence else [] for sentence in sentences]
    vertex_set = [[mention(f"entity {index}", *span) for span in spans] for index, spans in enumerate(entities)]
    return {"title": title, "sents": sentences, "vertexSet": vertex_set}
