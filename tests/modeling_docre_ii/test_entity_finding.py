"""Raw texts get entities: mentions from any extractor, mapped types, clusters, one error for what is wrong."""

import logging as python_logging
import re

import pytest
import torch
from transformers.utils import logging

from modeling_docre_ii import DocumentError
from modeling_docre_ii.entity_finding import EntityFinder, join_clusters, vote_types
from tests.hub_model import make_model, make_processor, sample_documents


TEXT = "Charles Babbage was born in London. Babbage designed it, and he left London."
BABBAGE, LONDON, SURNAME, HE, LONDON_AGAIN = [0, 15], [28, 34], [36, 43], [61, 63], [69, 75]
DOCUMENT = {"title": "Babbage", "text": TEXT}


def mention(span, kind):
    return {"start": span[0], "end": span[1], "type": kind}


FOUND = [mention(BABBAGE, "PER"), mention(LONDON, "LOC"), mention(LONDON_AGAIN, "LOC")]


def find(extractor=lambda text: FOUND, document=DOCUMENT, **arguments):
    (found,) = EntityFinder(extractor, **arguments)([document])
    return found["entities"]


@pytest.fixture
def warnings_of(caplog):
    """Returns the messages of the warnings that a call causes."""

    def call(function):
        logging.enable_propagation()
        caplog.clear()
        try:
            function()
        finally:
            logging.disable_propagation()
        return [record.getMessage() for record in caplog.records if record.levelno == python_logging.WARNING]

    return call


def test_mentions_of_an_extractor_become_entities():
    assert find() == [
        {"type": "PER", "mentions": [BABBAGE]},
        {"type": "LOC", "mentions": [LONDON, LONDON_AGAIN]},
    ]


def test_only_raw_texts_are_read():
    with_entities = DOCUMENT | {"entities": []}
    in_docred_form = {"title": "T", "sents": [["A"]], "vertexSet": [], "text": "kept"}
    with_mentions = DOCUMENT | {"mentions": [mention(LONDON, "LOC")]}
    texts = []

    def extractor(text):
        texts.append(text)
        return []

    found = EntityFinder(extractor)([with_entities, in_docred_form, DOCUMENT, with_mentions])

    assert found[0] is with_entities and found[1] is in_docred_form
    assert found[2] == DOCUMENT | {"entities": []}
    assert found[3] == DOCUMENT | {"entities": [{"type": "LOC", "mentions": [LONDON]}]}
    assert texts == [TEXT]


def test_mentions_in_the_document_need_no_extractor():
    document = DOCUMENT | {"mentions": FOUND, "clusters": [[BABBAGE, HE]]}

    assert find(None, document)[0] == {"type": "PER", "mentions": [BABBAGE, HE]}


def test_an_extractor_with_pipe_reads_all_texts_together():
    class Language:
        def __call__(self, text):
            raise AssertionError("one text at a time")

        def pipe(self, texts):
            yield from ([mention([0, len(text)], "MISC")] for text in texts)

    found = EntityFinder(Language())([{"title": "1", "text": "A"}, {"title": "2", "text": "Bc"}])

    assert [document["entities"][0]["mentions"] for document in found] == [[[0, 1]], [[0, 2]]]


def test_a_linker_of_the_user():
    calls = []

    def linker(text, mentions):
        calls.append((text, mentions))
        return [{"type": "MISC", "mentions": [[0, 1]]}]

    assert find(linker=linker) == [{"type": "MISC", "mentions": [[0, 1]]}]
    assert calls == [(TEXT, FOUND)]


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        # Pronouns become mentions, and names are joined that the linker keeps apart.
        ([BABBAGE, SURNAME, HE], [BABBAGE, SURNAME, HE]),
        # A span that ends with a mention is that mention: "in London" is "London".
        ([[25, 34], HE], [LONDON, HE]),
        # A cluster without a mention is no entity.
        ([[54, 56], HE], None),
    ],
)
def test_clusters_join_entities_and_add_words(cluster, expected):
    mentions = [mention(BABBAGE, "PER"), mention(SURNAME, "PER"), mention(LONDON, "LOC")]
    entities = [{"type": found["type"], "mentions": [[found["start"], found["end"]]]} for found in mentions]
    joined = join_clusters(TEXT, entities, mentions, [[tuple(span) for span in cluster]])

    untouched = [entity["mentions"] for entity in entities if entity["mentions"][0] not in (expected or [])]
    assert sorted(entity["mentions"] for entity in joined) == sorted([*untouched, *([expected] if expected else [])])


def test_clusters_that_share_a_mention_are_one_entity():
    mentions = [mention(BABBAGE, "PER"), mention(SURNAME, "ORG"), mention(LONDON, "PER")]
    entities = [{"type": found["type"], "mentions": [[found["start"], found["end"]]]} for found in mentions]
    clusters = [[tuple(BABBAGE), tuple(SURNAME)], [tuple(SURNAME), tuple(LONDON), tuple(HE)]]

    assert join_clusters(TEXT, entities, mentions, clusters) == [
        {"type": "PER", "mentions": [BABBAGE, LONDON, SURNAME, HE]}  # the most frequent type
    ]


def test_mentions_with_one_identifier_are_one_entity():
    found = [mention(BABBAGE, "PER") | {"kb_id": "Q1"}, mention(LONDON, "LOC") | {"kb_id": "Q2"}]
    found += [mention(HE, "PER") | {"kb_id": "Q1"}, mention(LONDON_AGAIN, "LOC"), mention(SURNAME, "ORG")]

    assert find(lambda text: found) == [
        {"type": "PER", "mentions": [BABBAGE, HE], "kb_id": "Q1"},
        {"type": "LOC", "mentions": [LONDON, LONDON_AGAIN], "kb_id": "Q2"},
        {"type": "ORG", "mentions": [SURNAME]},
    ]


def test_mentions_with_different_identifiers_are_different_entities():
    names = [mention(LONDON, "LOC") | {"kb_id": "Q1"}, mention(LONDON_AGAIN, "LOC") | {"kb_id": "Q2"}]

    assert find(lambda text: [*names, mention(HE, "LOC") | {"kb_id": "Q2"}]) == [
        {"type": "LOC", "mentions": [LONDON], "kb_id": "Q1"},
        {"type": "LOC", "mentions": [HE, LONDON_AGAIN], "kb_id": "Q2"},
    ]


def test_mentions_without_identifier_go_with_the_most_frequent_one():
    text = "Paris is in France. Paris, Texas is far. Paris has 25,000 people. Paris!"
    starts = [match.start() for match in re.finditer("Paris", text)]
    found = [mention([start, start + 5], "LOC") for start in starts]
    for one, identifier in zip(found, ["Q90", "Q830149", "Q830149"]):
        one["kb_id"] = identifier

    assert find(lambda text: found, document={"title": "1", "text": text}) == [
        {"type": "LOC", "mentions": [[0, 5]], "kb_id": "Q90"},
        {"type": "LOC", "mentions": [[start, start + 5] for start in starts[1:]], "kb_id": "Q830149"},
    ]


def test_identifiers_of_the_linker_stay():
    def linker(text, mentions):
        return [
            {"type": "PER", "mentions": [BABBAGE], "kb_id": "Q1"},
            {"type": "PER", "mentions": [SURNAME], "kb_id": None},
            {"type": "LOC", "mentions": [LONDON], "kb_id": "Q2"},
        ]

    found = {"mentions": [mention(LONDON, "LOC") | {"kb_id": "Q9"}], "clusters": [[SURNAME, HE, BABBAGE]]}
    assert find(lambda text: found, linker=linker) == [
        {"type": "PER", "mentions": [BABBAGE, SURNAME, HE], "kb_id": "Q1"},
        {"type": "LOC", "mentions": [LONDON], "kb_id": "Q2"},
    ]


def test_the_longest_mention_at_the_end_of_a_span_is_meant():
    mentions = [mention([8, 15], "MISC"), mention(BABBAGE, "PER")]
    entities = [{"type": found["type"], "mentions": [[found["start"], found["end"]]]} for found in mentions]
    joined = join_clusters(TEXT, entities, mentions, [[tuple(BABBAGE), tuple(HE)]])

    assert joined == [{"type": "PER", "mentions": [BABBAGE, HE]}, {"type": "MISC", "mentions": [[8, 15]]}]


def test_mentions_of_one_name_get_the_type_with_the_largest_sum_of_scores():
    scored = [
        mention(LONDON, "ORG") | {"score": 0.9},
        mention(LONDON_AGAIN, "LOC") | {"score": 0.8},
        mention(SURNAME, "ORG") | {"score": 0.5},
    ]
    assert [found["type"] for found in vote_types(TEXT, scored)] == ["ORG", "ORG", "ORG"]
    scored.append(mention(LONDON, "LOC") | {"score": 0.2})
    assert [found["type"] for found in vote_types(TEXT, scored)] == ["LOC", "LOC", "ORG", "LOC"]
    assert find(lambda text: scored[:2]) == [{"type": "ORG", "mentions": [LONDON, LONDON_AGAIN]}]


@pytest.mark.parametrize(
    ("between", "kept"),
    [
        ("the mathematician ", True),
        ("in ", True),
        ("The late, great ", False),  # a comma may also end the head
        ("the capital of ", False),
        ("Ada, a friend of ", False),
        ("Ada, ", False),
        ("the man from ", False),
        ("the Toronto ", True),  # "to" is part of a word
    ],
)
def test_a_span_is_the_mention_it_ends_with_unless_another_word_is_its_head(between, kept):
    text = f"He met {between}London"
    span, name = [7, len(text)], [7 + len(between), len(text)]
    entities = [{"type": "LOC", "mentions": [name]}]

    (joined,) = join_clusters(text, entities, [mention(name, "LOC")], [[tuple(span), (0, 2), tuple(name)]])
    assert joined["mentions"] == ([[0, 2], name] if kept else sorted([[0, 2], span, name]))


def test_the_last_word_of_a_persons_name_is_a_person():
    scored = [mention(SURNAME, "MISC") | {"score": 0.89}, mention(BABBAGE, "PER") | {"score": 0.1}]
    assert [found["type"] for found in vote_types(TEXT, scored)] == ["PER", "PER"]
    scored[1]["type"] = "ORG"
    assert [found["type"] for found in vote_types(TEXT, scored)] == ["MISC", "ORG"]


@pytest.mark.parametrize(
    ("kind", "scores", "expected"),
    [
        ("LOC", [0.98, 0.97], "LOC"),
        ("LOC", [0.98, 0.75], "PER"),  # 0.865 on average
        ("TIME", [0.6, 0.6], "TIME"),
        ("Number", [0.6, 0.6], "PER"),
    ],
)
def test_a_surname_is_no_person_where_the_model_is_sure_or_it_is_a_time(kind, scores, expected):
    text = "George May met May. May."
    found = [mention([0, 10], "PER") | {"score": 0.9}]
    found += [mention(span, kind) | {"score": score} for span, score in zip([[15, 18], [20, 23]], scores)]

    assert [one["type"] for one in vote_types(text, found)] == ["PER", expected, expected]


def test_types_that_no_model_found_do_not_change():
    given = [mention(LONDON, "ORG"), mention(LONDON_AGAIN, "LOC")]
    assert vote_types(TEXT, given) == given
    assert len(find(lambda text: given)) == 2


def test_types_are_mapped():
    found = [mention(BABBAGE, "Writer"), mention(LONDON, "GPE"), mention(LONDON_AGAIN, "gpe")]
    entities = find(lambda text: found, type_map={"Writer": "PER", "gpe": None}, entity_types=["PER", "LOC"])

    assert entities == [{"type": "PER", "mentions": [BABBAGE]}, {"type": "LOC", "mentions": [LONDON]}]


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("PERSON", ["PER", "LOC"], "PER"),
        ("person", ["PER", "LOC"], "PER"),
        ("NORP", ["PER", "LOC"], "LOC"),
        ("DATE", ["TIME"], "TIME"),
        ("CARDINAL", ["NUM"], "NUM"),
        ("CHEMICAL", ["Chemical", "Disease"], "Chemical"),
        # Known as they are: no common name replaces them.
        ("DATE", ["DATE", "TIME"], "DATE"),
        ("date", ["Date", "TIME"], "Date"),
        ("PER", ["PER"], "PER"),
    ],
)
def test_common_types_become_those_of_the_model(given, known, expected, warnings_of):
    entities = []
    warnings = warnings_of(lambda: entities.extend(find(lambda text: [mention(LONDON, given)], entity_types=known)))

    assert entities[0]["type"] == expected
    assert warnings == []


def test_unknown_types_are_kept_and_named_once(warnings_of):
    finder = EntityFinder(lambda text: [mention(LONDON, "Gene")], entity_types=["LOC", "PER"])
    found = []
    warnings = warnings_of(lambda: found.extend(finder([DOCUMENT, DOCUMENT])))

    assert [document["entities"][0]["type"] for document in found] == ["Gene", "Gene"]
    assert len(warnings) == 1
    assert "does not know the entity type 'Gene' (it knows LOC, PER): pass `type_map={'Gene': ...}`" in warnings[0]


def test_without_known_types_only_the_map_of_the_user_counts(warnings_of):
    assert warnings_of(lambda: find(lambda text: [mention(LONDON, "GPE")])) == []
    assert find(lambda text: [mention(LONDON, "GPE")])[0]["type"] == "GPE"
    assert find(lambda text: [mention(LONDON, "GPE")], type_map={"GPE": "LOC"})[0]["type"] == "LOC"


def beyond_the_text(text):
    return [mention([0, len(text) + 1], "PER")]


@pytest.mark.parametrize(
    ("extractor", "message"),
    [
        (beyond_the_text, "document 'Babbage': the mention extractor 'beyond_the_text', mention 0: the span is"),
        (None, "document 'Babbage': 'entities' is missing. .*`mention_extractor`"),
        (lambda text: None, "document 'Babbage': the mention extractor '.*<lambda>': found None, expected rows"),
    ],
)
def test_errors_name_document_and_extractor(extractor, message):
    with pytest.raises(DocumentError, match=f"^{message}"):
        find(extractor)
    with pytest.raises(DocumentError, match=rf"^documents\[7\]: {message}"):
        EntityFinder(extractor)([DOCUMENT | {"entities": []}, DOCUMENT], number_from=6)


def test_mentions_of_the_document_are_named_in_errors():
    with pytest.raises(DocumentError, match=r"^document 'Babbage': 'mentions', mention 0: the span is \[0, 900\]"):
        find(None, DOCUMENT | {"mentions": [mention([0, 900], "PER")]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mention_extractor": 3}, "`mention_extractor` is 3, expected a token-classification model"),
        (
            {"mention_extractor": torch.nn.Linear(2, 2)},
            r"is Linear\(.*, expected a token-classification model, its pipe",
        ),
        ({"linker": "fuzzy"}, "`linker` is 'fuzzy', expected a callable"),
        ({"type_map": {"GPE": "PLACE"}, "entity_types": ["LOC"]}, "maps 'GPE' to 'PLACE', but the model knows"),
        ({"type_map": ["PER"]}, r"`type_map` is \['PER'\], expected a mapping"),
        ({"type_map": {"GPE": 3}}, "`type_map` maps 'GPE' to 3, expected a type or None"),
    ],
)
def test_malformed_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EntityFinder(**arguments)


@pytest.mark.parametrize("clusters", [[], [[BABBAGE, HE]]])
@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "'entities': found None, expected a list"),
        ([{"type": "PER"}], "entity 0: found"),
        ([{"type": "PER", "mentions": [[0, 900]]}], r"entity 0, mention 0: the span is \[0, 900\]"),
    ],
)
def test_a_linker_that_returns_something_else_is_named(returned, message, clusters):
    def linker(text, mentions):
        return returned

    with pytest.raises(DocumentError, match=f"^document 'Babbage': the linker '.*linker', {message}"):
        find(None, DOCUMENT | {"mentions": FOUND, "clusters": clusters}, linker=linker)


def test_spans_of_a_linkers_own_can_be_in_clusters():
    def linker(text, mentions):
        return [{"type": "PER", "mentions": [SURNAME]}]

    entities = find(None, DOCUMENT | {"mentions": FOUND, "clusters": [[SURNAME, HE]]}, linker=linker)
    assert entities == [{"type": "PER", "mentions": [SURNAME, HE]}]


def test_a_relation_model_finds_no_mentions(tmp_path):
    documents = sample_documents(1)
    make_model(make_processor(documents)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a DocRE-II checkpoint, expected a token-classification model"):
        EntityFinder(str(tmp_path))


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(OSError, match="no-such-model"):
        EntityFinder("no-such-model")
