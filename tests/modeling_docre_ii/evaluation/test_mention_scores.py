"""Scores of extraction from raw text: counts by hand, and a naive loop over random extractions."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_docre_ii.entity_linking import link_mentions
from modeling_docre_ii.evaluation.extraction_files import read_extractions
from modeling_docre_ii.evaluation.extractions import read_gold
from modeling_docre_ii.evaluation.matching import PredictionError
from modeling_docre_ii.evaluation.mention_metric import MentionMetric
from modeling_docre_ii.evaluation.mention_scores import count_extractions, score_extractions
from modeling_docre_ii.evaluation.plain_texts import plain_text_of


def spaced_text_of(document):
    """The tokens with spaces between them."""
    return plain_text_of(document, spaced=True)


# 0         1         2         3         4
# 012345678901234567890123456789012345678901234567
TEXT = "Ada Lovelace met Babbage in London. Ada wrote Notes."
ADA, BABBAGE, LONDON, SECOND_ADA, NOTES = [0, 12], [17, 24], [28, 34], [36, 39], [46, 51]
GOLD = {
    "title": "Ada",
    "sents": [
        ["Ada", "Lovelace", "met", "Babbage", "in", "London", "."],
        ["Ada", "wrote", "Notes", "."],
    ],
    "vertexSet": [
        [
            {"name": "Ada Lovelace", "sent_id": 0, "pos": [0, 2], "type": "PER"},
            {"name": "Ada", "sent_id": 1, "pos": [0, 1], "type": "PER"},
        ],
        [{"name": "Babbage", "sent_id": 0, "pos": [3, 4], "type": "PER"}],
        [{"name": "London", "sent_id": 0, "pos": [5, 6], "type": "LOC"}],
        [{"name": "Notes", "sent_id": 1, "pos": [2, 3], "type": "MISC"}],
    ],
    "labels": [
        {"h": 0, "t": 2, "r": "P20", "evidence": [0]},
        {"h": 1, "t": 2, "r": "P20", "evidence": [0]},
        {"h": 3, "t": 0, "r": "P50", "evidence": [1]},
    ],
}


def triple(head, relation, tail):
    head, tail = (
        {"name": "as the pipeline", "mentions": [{"start": start, "end": end} for start, end in mentions]}
        for mentions in (head, tail)
    )
    return {"head": head, "relation": relation, "relation_name": relation, "tail": tail, "score": 0.9}


# The second "Ada" is a person of her own, London has the wrong type, and Notes was not found.
FOUND = {
    "title": "Ada",
    "text": TEXT,
    "entities": [
        {"type": "PER", "mentions": [ADA]},
        {"type": "PER", "mentions": [BABBAGE]},
        {"type": "ORG", "mentions": [LONDON]},
        {"type": "PER", "mentions": [SECOND_ADA]},
        {"type": "LOC", "mentions": [[25, 27]]},
    ],
    "triples": [
        triple([BABBAGE], "P20", [LONDON]),
        triple([ADA], "P20", [LONDON]),
        triple([SECOND_ADA], "P20", [LONDON]),
        triple([SECOND_ADA], "P19", [LONDON]),
        triple([[25, 27]], "P20", [LONDON]),
    ],
}


def test_counts_by_hand():
    counts = {name: rows.tolist() for name, rows in count_extractions([FOUND], [GOLD]).items()}
    assert counts == {
        "mention_f1": [[4, 5, 5, 0]],
        "typed_mention_f1": [[3, 5, 5, 0]],
        "cluster_f1": [[2, 5, 4, 0]],
        "typed_cluster_f1": [[1, 5, 4, 0]],
        "relation_f1": [[1, 5, 3, 0]],
        "typed_relation_f1": [[0, 5, 3, 0]],
        # Both names of Ada stand for one entity, so four different facts are left.
        "relaxed_relation_f1": [[2, 4, 3, 0]],
        "facts_found": [[1, 0, 3, 0]],
        "relaxed_facts_found": [[2, 0, 3, 0]],
    }


def test_scores_are_percentages_of_these_counts():
    scores = score_extractions([FOUND], [GOLD])
    assert scores["mention_precision"] == scores["mention_recall"] == scores["mention_f1"] == pytest.approx(80)
    assert scores["cluster_precision"] == pytest.approx(40)
    assert scores["cluster_recall"] == pytest.approx(50)
    assert scores["cluster_f1"] == pytest.approx(2 * 40 * 50 / 90)
    assert scores["relaxed_relation_f1"] == pytest.approx(400 / 7)
    assert (scores["facts_found"], scores["relaxed_facts_found"]) == pytest.approx((100 / 3, 200 / 3))


def perfect(document):
    """The gold entities and facts of a document as if a system had found them."""
    plain = spaced_text_of(document)
    mentions = [entity["mentions"] for entity in plain["entities"]]
    triples = [triple(mentions[label["h"]], label["r"], mentions[label["t"]]) for label in plain["labels"]]
    return plain | {"triples": triples}


def test_gold_scores_all_against_either_form(sample_documents):
    documents = sample_documents["dev"]
    found = [perfect(document) for document in documents]
    for gold in (documents, found):
        scores = score_extractions(found, gold)
        # The type of a mention is that of its entity here, which is not always that of the annotators.
        assert min(scores.values()) > 99
        assert scores["mention_f1"] == scores["cluster_f1"] == scores["relation_f1"] == 100


def test_order_and_repetitions_do_not_matter(sample_documents):
    documents = sample_documents["dev"]
    found = [perfect(document) for document in documents]
    for prediction in found[::2]:
        del prediction["triples"][::3]
    shuffled = copy.deepcopy(found[::-1])
    for prediction in shuffled:
        prediction["entities"].reverse()
        prediction["triples"] = [*prediction["triples"][::-1], *prediction["triples"]]
        for entity in prediction["entities"]:
            entity["mentions"] = [*entity["mentions"][::-1], *entity["mentions"]]
    assert score_extractions(shuffled, documents) == score_extractions(found, documents)


def test_linker_is_better_than_equal_names(sample_documents):
    """Gold mentions of real documents, joined by the linker and by the same name and type."""
    plain = [spaced_text_of(document) for document in sample_documents["dev"]]

    def clusters_f1(link):
        found = []
        for document in plain:
            mentions = [
                {"start": start, "end": end, "type": entity["type"]}
                for entity in document["entities"]
                for start, end in entity["mentions"]
            ]
            found.append(document | {"entities": link(document["text"], mentions), "triples": []})
        return score_extractions(found, plain)["cluster_f1"]

    def by_name(text, mentions):
        entities = {}
        for mention in mentions:
            start, end, kind = mention["start"], mention["end"], mention["type"]
            entity = entities.setdefault((text[start:end].lower(), kind), {"type": kind, "mentions": []})
            entity["mentions"].append([start, end])
        return list(entities.values())

    assert clusters_f1(link_mentions) > clusters_f1(by_name) + 2


def test_white_space_of_the_text_does_not_matter():
    tokens = spaced_text_of(GOLD)
    assert tokens["text"] == "Ada Lovelace met Babbage in London . Ada wrote Notes ."
    shifted = copy.deepcopy(FOUND) | {"text": "\n" + TEXT.replace(" ", "  ")}

    def moved(offset):
        return offset + 1 + TEXT[:offset].count(" ")

    for entity in shifted["entities"]:
        entity["mentions"] = [[moved(start), moved(end)] for start, end in entity["mentions"]]
    for row in shifted["triples"]:
        for side in ("head", "tail"):
            row[side]["mentions"] = [
                {"start": moved(span["start"]), "end": moved(span["end"])} for span in row[side]["mentions"]
            ]
    assert score_extractions([shifted], [GOLD]) == score_extractions([FOUND], [GOLD])


def test_entity_of_two_gold_entities_stands_for_the_one_with_more_mentions():
    merged = {"type": "PER", "mentions": [ADA, SECOND_ADA, BABBAGE]}
    london = {"type": "LOC", "mentions": [LONDON]}
    found = {"title": "Ada", "text": TEXT, "entities": [merged, london], "triples": []}
    found["triples"] = [triple(merged["mentions"], "P20", [LONDON])]
    counts = count_extractions([found], [GOLD])
    assert counts["relaxed_relation_f1"].tolist() == [[1, 1, 3, 0]]
    assert counts["relaxed_facts_found"].tolist() == [[1, 0, 3, 0]]
    assert counts["relation_f1"].tolist() == [[0, 1, 3, 0]]


def test_nothing_found_scores_zero():
    nothing = {"title": "Ada", "text": TEXT, "entities": [], "triples": []}
    assert set(score_extractions([nothing], [GOLD]).values()) == {0.0}
    assert score_extractions([], [])["mention_f1"] == 0


def test_unknown_title_is_an_error_or_wrong():
    unknown = FOUND | {"title": "another"}
    with pytest.raises(PredictionError, match="document 'another': there is a prediction, but no gold document"):
        score_extractions([FOUND, unknown], [GOLD])
    counts = count_extractions([FOUND, unknown], [GOLD], "wrong")
    assert counts["mention_f1"].tolist() == [[4, 5, 5, 0], [0, 5, 0, 0]]
    assert counts["relation_f1"].tolist() == [[1, 5, 3, 0], [0, 5, 0, 0]]
    with pytest.raises(ValueError, match="`unknown_titles` must be one of"):
        score_extractions([FOUND], [GOLD], "ignore")


def changed(path, value):
    """The prediction with another value at a path of keys, or without it."""
    prediction = copy.deepcopy(FOUND)
    *parents, last = path
    place = prediction
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return prediction


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (["Ada"], "document without a title: found .'Ada'., expected a mapping"),
        (changed(["title"], None), "document without a title: 'title' is missing"),
        (changed(["text"], 5), "document 'Ada': 'text' is 5, expected a string"),
        (changed(["text"], "Ada met Babbage in London, and Ada wrote her Notes there."), "'text' is not that of the"),
        (changed(["entities"], None), "document 'Ada': 'entities' is missing, expected a list of entities"),
        (changed(["entities", 1], "Babbage"), "document 'Ada', entity 1: found 'Babbage', expected a mapping"),
        (changed(["entities", 1, "type"], None), "document 'Ada', entity 1: 'type' is missing"),
        (
            changed(["entities", 1, "mentions"], []),
            "document 'Ada', entity 1, 'mentions': found .., expected at",
        ),
        (
            changed(["entities", 1, "mentions", 0], [17, 99]),
            "entity 1, mention 0: found .17, 99., expected .start",
        ),
        (changed(["entities", 1, "mentions", 0], [True, 2]), "entity 1, mention 0: found .True, 2., expected"),
        (changed(["triples"], None), "document 'Ada': 'triples' is missing"),
        (changed(["triples", 2, "relation"], 3), "document 'Ada', triple 2: 'relation' is 3, expected a relation id"),
        (changed(["triples", 2, "tail"], "London"), "document 'Ada', triple 2, tail: found 'London', expected a map"),
        (changed(["triples", 2, "head", "mentions", 0], {"start": 1}), "triple 2, head, mention 0: found .1, None."),
        (
            changed(["triples", 2, "head", "mentions", 0, "start"], 37),
            "document 'Ada', triple 2, head, 'mentions': found .*, expected the mentions of one of the 'entities'",
        ),
    ],
)
def test_malformed_prediction_is_one_clear_error(prediction, message):
    with pytest.raises(PredictionError, match=message):
        score_extractions([prediction], [GOLD])


def test_document_without_a_prediction_is_an_error():
    with pytest.raises(PredictionError, match="document 'Ada': there is no prediction for it"):
        score_extractions([], [GOLD])
    with pytest.raises(PredictionError, match="two documents have the title 'Ada'"):
        score_extractions([FOUND, FOUND], [GOLD])


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (GOLD | {"labels": [{"h": 0, "t": 4, "r": "P20"}]}, "document 'Ada', label 0: .*expected entities below 4"),
        ({"title": "Ada", "labels": []}, "document 'Ada': 'sents' is missing"),
        ({"title": "Ada", "text": TEXT}, "document 'Ada': 'entities' is missing"),
    ],
)
def test_malformed_gold_is_one_clear_error(gold, message):
    with pytest.raises(PredictionError, match=message):
        score_extractions([FOUND], [gold])


def test_lines_of_a_file_are_named(tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text('{"title": "a", "text": "b", "entities": [], "triples": []}\n\n{"title": "c"}\n', encoding="utf-8")
    with pytest.raises(PredictionError, match="found.jsonl, line 3: document 'c': 'text' is missing"):
        read_extractions(path)
    path.write_text("[1,\n", encoding="utf-8")
    with pytest.raises(PredictionError, match="found.jsonl, line 1: not JSON"):
        read_extractions(path)


def test_relaxed_scores_of_entities_that_share_mentions_are_not_below_the_strict_ones():
    """As in CDR, where "A|B" is a mention of both entities."""
    first, both, last = [0, 1], [2, 3], [4, 5]
    text = {"title": "T", "text": "a b c"}
    entities = [
        {"type": "X", "mentions": spans} for spans in ([first, both], [both], [last], [last], [first, both, last])
    ]
    facts = [(0, 2), (1, 2), (1, 3), (4, 0)]
    gold = text | {"entities": entities, "labels": [{"h": head, "r": "r", "t": tail} for head, tail in facts]}
    triples = [triple(entities[head]["mentions"], "r", entities[tail]["mentions"]) for head, tail in facts]
    scores = score_extractions([text | {"entities": entities, "triples": triples}], [gold])
    assert scores["relation_f1"] == scores["relaxed_relation_f1"] == scores["relaxed_facts_found"] == 100


# Ten words of one letter: mentions are spans of words, and every word is one character without the spaces.
WORDS = "a b c d e f g h i j".split()
mentions = st.tuples(st.integers(0, 9), st.integers(1, 2)).map(lambda span: (span[0], min(span[0] + span[1], 10)))
entities = st.lists(
    st.tuples(st.sampled_from("XY"), st.sets(mentions, min_size=1, max_size=3)), min_size=2, max_size=5
)
facts = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from("rs")), max_size=6)


def naive_counts(found, found_facts, gold, gold_facts):
    """Correct, predicted and gold, by comparing everything with everything."""

    def unique(items):
        return [item for index, item in enumerate(items) if item not in items[:index]]

    def compare(one, other):
        one, other = unique(one), unique(other)
        return [sum(item in other for item in one), len(one), len(other), 0]

    def facts_of(facts, entities):
        return [(entities[head], entities[tail], relation) for head, tail, relation in facts]

    def clusters(entities):
        return [cluster for _, cluster in entities]

    def meant(cluster):
        fits = [(len(cluster & other), -len(other)) for other in clusters(gold)]
        return fits.index(max(fits)) if max(fits)[0] else ("none", cluster)

    exact = [cluster in clusters(found) for cluster in clusters(gold)]
    relaxed = [any(meant(cluster) == index for cluster in clusters(found)) for index in range(len(gold))]
    return {
        "mention_f1": compare(*([span for _, cluster in side for span in cluster] for side in (found, gold))),
        "typed_mention_f1": compare(
            *([(kind, span) for kind, cluster in side for span in cluster] for side in (found, gold))
        ),
        "cluster_f1": compare(clusters(found), clusters(gold)),
        "typed_cluster_f1": compare(found, gold),
        "relation_f1": compare(facts_of(found_facts, clusters(found)), facts_of(gold_facts, clusters(gold))),
        "typed_relation_f1": compare(facts_of(found_facts, found), facts_of(gold_facts, gold)),
        "relaxed_relation_f1": compare(
            facts_of(found_facts, [meant(cluster) for cluster in clusters(found)]), list(gold_facts)
        ),
        "facts_found": [sum(exact[h] and exact[t] for h, t, _ in gold_facts), 0, len(gold_facts), 0],
        "relaxed_facts_found": [sum(relaxed[h] and relaxed[t] for h, t, _ in gold_facts), 0, len(gold_facts), 0],
    }


@given(entities, facts, entities, facts)
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_a_naive_loop(found, found_facts, gold, gold_facts):
    # Repeated clusters would make the entity of a triple ambiguous.
    found = list({frozenset(cluster): (kind, cluster) for kind, cluster in found}.values())
    gold = list({frozenset(cluster): (kind, cluster) for kind, cluster in gold}.values())
    found_facts = {fact for fact in found_facts if max(fact[:2]) < len(found)}
    gold_facts = {fact for fact in gold_facts if max(fact[:2]) < len(gold)}
    text = " ".join(WORDS)
    spans = [[[2 * start, 2 * end - 1] for start, end in sorted(cluster)] for _, cluster in found]
    prediction = {
        "title": "T",
        "text": text,
        "entities": [{"type": kind, "mentions": of_entity} for (kind, _), of_entity in zip(found, spans)],
        "triples": [triple(spans[head], relation, spans[tail]) for head, tail, relation in found_facts],
    }
    document = {
        "title": "T",
        "sents": [WORDS],
        "vertexSet": [
            [{"name": "n", "sent_id": 0, "pos": list(span), "type": kind} for span in sorted(cluster)]
            for kind, cluster in gold
        ],
        "labels": [{"h": head, "t": tail, "r": relation} for head, tail, relation in gold_facts],
    }
    counts = {name: rows[0].tolist() for name, rows in count_extractions([prediction], [document]).items()}
    assert counts == naive_counts(found, found_facts, gold, gold_facts)


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_types_tell_entities_with_the_same_mentions_apart(order):
    gold = {"title": "T", "text": "a b", "labels": [{"h": 0, "t": 1, "r": "P1"}]}
    gold["entities"] = [{"type": "Y", "mentions": [[0, 1]]}, {"type": "X", "mentions": [[2, 3]]}]
    found = [{"type": kind, "mentions": [span]} for kind, span in (("X", [0, 1]), ("Y", [0, 1]), ("X", [2, 3]))]
    head, tail = ({"type": kind, "mentions": [{"start": s, "end": s + 1}]} for kind, s in (("Y", 0), ("X", 2)))
    predicted = {"title": "T", "text": "a b", "entities": [found[index] for index in order]}
    predicted["triples"] = [{"head": head, "tail": tail, "relation": "P1"}]

    assert score_extractions([predicted], [gold])["typed_relation_f1"] == 100.0
    metric = MentionMetric().compute(predictions=[predicted], references=[gold])
    assert metric == score_extractions([predicted], [gold])
    # Without types, the head is the first entity with its mentions.
    del head["type"]
    expected = 100.0 if order.index(1) < order.index(0) else 0.0
    assert score_extractions([predicted], [gold])["typed_relation_f1"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertexSet": None}, "'vertexSet' is None, expected a list of entities"),
        ({"vertexSet": [[]]}, r"entity 0: found \[\], expected a non-empty list of mentions"),
        ({"sent_id": 2}, "entity 0, mention 0, 'sent_id': found 2, expected a sentence, an integer below 2"),
        ({"sent_id": None}, "entity 0, mention 0, 'sent_id': found None"),
        ({"pos": None}, "entity 0, mention 0, 'pos': found None"),
        ({"pos": [0, 8]}, r"'pos': found \[0, 8\], expected \[start, end\) with 0 <= start < end <= 7, the length"),
        ({"pos": [1, 1]}, "'pos': found"),
        ({"type": None}, "entity 0, mention 0: 'type' is None, expected a string"),
    ],
)
def test_malformed_gold_entities_are_named(change, message):
    document = copy.deepcopy(GOLD)
    if "vertexSet" in change:
        document |= change
    else:
        document["vertexSet"][0][0] |= change
    with pytest.raises(PredictionError, match=f"^document 'Ada'[:,] .*{message}"):
        read_gold(document)


def test_the_type_of_a_gold_entity_is_that_of_its_first_mention():
    document = copy.deepcopy(GOLD)
    document["vertexSet"][1].append(document["vertexSet"][1][0] | {"type": "ORG"})
    entities = [{"type": "PER", "mentions": [BABBAGE]}]
    predicted = {"title": "Ada", "text": TEXT, "entities": entities, "triples": []}

    assert score_extractions([predicted], [document])["typed_cluster_precision"] == 100.0
