"""The type baseline against rules chosen by hand and by trying every cut."""

from collections import Counter

from modeling_docre_ii import TypePairBaseline, score_facts


def document_of(title, types, facts=()):
    """Entities as their types; facts as (head, tail, relation)."""
    return {
        "title": title,
        "vertexSet": [[{"name": type, "type": type}] for type in types],
        "labels": [{"h": head, "t": tail, "r": relation} for head, tail, relation in facts],
    }


def predicted(title, *facts):
    return [{"title": title, "h_idx": head, "t_idx": tail, "r": relation} for head, tail, relation in facts]


def test_type_baseline_by_hand():
    train = [
        document_of("one", ["LOC", "LOC"], [(0, 1, "P17")]),
        document_of("two", ["PER", "LOC"], [(0, 1, "P27")]),
        document_of("three", ["PER", "LOC"], [(0, 1, "P27"), (0, 1, "P19")]),
    ]
    # P27 holds for 2 of 2 pairs (PER, LOC), P17 for 1 of 2 (LOC, LOC), P19 for 1 of 2 (PER, LOC). F1 on these
    # documents of the first rule alone is 4 / (2 + 4) = 0.67, of the first two 6 / (4 + 4) = 0.75,
    # of all three 8 / (6 + 4) = 0.8.
    baseline = TypePairBaseline(train)
    assert {types: sorted(relations) for types, relations in baseline.relations.items()} == {
        ("PER", "LOC"): ["P19", "P27"],
        ("LOC", "LOC"): ["P17"],
    }
    predictions = baseline.predict([document_of("new", ["LOC", "PER"])])
    assert predictions == predicted("new", (1, 0, "P27"), (1, 0, "P19"))


def test_chosen_rules_are_the_best_of_all_cuts(sample_documents):
    """The rules sorted by how often they hold, and cut where F1 on the training documents is best, found by loops."""
    train = sample_documents["train"]
    pairs, facts = Counter(), Counter()
    for document in train:
        types = [mentions[0]["type"] for mentions in document["vertexSet"]]
        for head in range(len(types)):
            for tail in range(len(types)):
                if head != tail:
                    pairs[types[head], types[tail]] += 1
        for head, tail, relation in {(label["h"], label["t"], label["r"]) for label in document["labels"]}:
            facts[types[head], types[tail], relation] += 1
    rules = sorted(facts, key=lambda rule: (-facts[rule] / pairs[rule[:2]], rule))
    f1s = []
    for cut in range(len(rules) + 1):
        correct, predictions = sum(facts[rule] for rule in rules[:cut]), sum(pairs[rule[:2]] for rule in rules[:cut])
        f1s.append(200 * correct / (predictions + facts.total()))
    best = f1s.index(max(f1s))
    assert 0 < best < len(rules)

    baseline = TypePairBaseline(train)
    chosen = {(*types, relation) for types, relations in baseline.relations.items() for relation in relations}
    assert chosen == set(rules[:best])
    scores = score_facts(baseline.predict(train), train)
    assert abs(scores["f1"] - f1s[best]) < 1e-9


def test_without_a_fact_nothing_is_predicted():
    baseline = TypePairBaseline([document_of("one", ["LOC", "PER"])])
    assert baseline.predict([document_of("new", ["LOC", "PER"])]) == []
