"""What a run records for its model card."""

from modeling_docre_ii.hub.training_record import TrainingRecord


def test_record_counts_documents_and_the_types_of_their_mentions(sample_documents):
    record = TrainingRecord()
    record.count({"train": sample_documents["train"][:3], "test": sample_documents["dev"][:1]})
    mentions = [
        mention
        for document in [*sample_documents["train"][:3], *sample_documents["dev"][:1]]
        for entity in document["vertexSet"]
        for mention in entity
    ]
    assert {split: count.documents for split, count in record.counts.items()} == {"train": 3, "test": 1}
    assert sum(count.mentions for count in record.counts.values()) == len(mentions)
    assert set(record.entity_types) == {mention["type"] for mention in mentions}
    frequencies = [sum(mention["type"] == type_ for mention in mentions) for type_ in record.entity_types]
    assert frequencies == sorted(frequencies, reverse=True)
