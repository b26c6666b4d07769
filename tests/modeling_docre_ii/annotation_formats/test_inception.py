"""INCEpTION: spans, relations and chains of UIMA CAS JSON, and what is wrong with them."""

import copy
import json

import pytest

from modeling_docre_ii.annotation_formats.inception import read_inception
from modeling_docre_ii.documents import DocumentError
from tests.annotation_exports import counts_of, entities_of, facts_of, read


DKPRO = "de.tudarmstadt.ukp.dkpro.core.api"
TEXT = "Ada 🎓 met Charles Babbage in London. She admired him."


def feature(name, kind="uima.cas.String"):
    return {name: {"%NAME": name, "%RANGE": kind}}


def layer(name, *features, above="uima.tcas.Annotation"):
    return {
        name: {"%NAME": name, "%SUPER_TYPE": above, **{key: one for part in features for key, one in part.items()}}
    }


LINK = f"{DKPRO}.coref.type.CoreferenceLink"
ENDS = (feature("Governor", "uima.tcas.Annotation"), feature("Dependent", "uima.tcas.Annotation"))
TYPES = {
    **layer(f"{DKPRO}.metadata.type.DocumentMetaData", feature("documentTitle"), above="uima.tcas.DocumentAnnotation"),
    **layer(f"{DKPRO}.segmentation.type.Token", feature("order", "uima.cas.Integer")),
    **layer(f"{DKPRO}.ner.type.NamedEntity", feature("value"), feature("identifier")),
    **layer(f"{DKPRO}.coref.type.CoreferenceChain", feature("first", LINK), above="uima.cas.AnnotationBase"),
    **layer(LINK, feature("next", LINK), feature("referenceType"), feature("referenceRelation")),
    **layer("webanno.custom.Relation", *ENDS, feature("label")),
    **layer("custom.Comment", feature("text"), feature("author")),
    **layer("custom.Place"),
}


def structure(name, kind, begin=None, end=None, **features):
    """A feature structure, with offsets in UTF-16."""
    span = {} if begin is None else {"begin": begin, "end": end}
    rest = {key.replace("at_", "@"): value for key, value in features.items()}
    return {"%ID": name, "%TYPE": kind, "@sofa": 1, **span, **rest}


STRUCTURES = [
    {
        "%ID": 1,
        "%TYPE": "uima.cas.Sofa",
        "sofaNum": 1,
        "sofaID": "_InitialView",
        "mimeType": "text",
        "sofaString": TEXT,
    },
    structure(2, f"{DKPRO}.metadata.type.DocumentMetaData", 0, 55, documentTitle="ada.txt", documentId="ada"),
    structure(3, f"{DKPRO}.segmentation.type.Token", 0, 3, order=0),
    structure(
        10, f"{DKPRO}.ner.type.NamedEntity", 0, 3, value="PER", identifier="http://www.wikidata.org/entity/Q7259"
    ),
    structure(11, f"{DKPRO}.ner.type.NamedEntity", 11, 26, value="PER"),
    structure(12, "custom.Place", 30, 36),
    structure(20, "webanno.custom.Relation", 11, 26, at_Governor=10, at_Dependent=11, label="met"),
    structure(21, "webanno.custom.Relation", 30, 36, at_Governor=11, at_Dependent=12, label="in"),
    structure(30, LINK, 0, 3, at_next=31, referenceType="nam"),
    structure(31, LINK, 38, 41, referenceType="pro"),
    structure(32, LINK, 11, 26, at_next=33),
    structure(33, LINK, 50, 53),
    structure(40, f"{DKPRO}.coref.type.CoreferenceChain", at_first=30),
    structure(41, f"{DKPRO}.coref.type.CoreferenceChain", at_first=32),
]
EXPECTED = [
    ("PER", ["Ada", "She"], "http://www.wikidata.org/entity/Q7259"),
    ("PER", ["Charles Babbage", "him"]),
    ("Place", ["London"]),
]


def write(folder, structures=STRUCTURES, types=TYPES, name="admin.json"):
    members = [one["%ID"] for one in structures[1:]] if isinstance(structures, list) else []
    views = {"_InitialView": {"%SOFA": 1, "%MEMBERS": members}}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"%TYPES": types, "%FEATURE_STRUCTURES": structures, "%VIEWS": views}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def changed(name, **features):
    structures = copy.deepcopy(STRUCTURES)
    one = next(one for one in structures if one["%ID"] == name)
    one.update({key.replace("at_", "@"): value for key, value in features.items()})
    return structures


def test_spans_relations_and_chains(tmp_path):
    ((document,), report) = read(read_inception, write(tmp_path))

    assert (document["title"], document["text"]) == ("ada.txt", TEXT)
    assert entities_of(document) == EXPECTED
    # Characters: in UTF-16, which INCEpTION counts, the second mention starts at 11.
    assert document["entities"][1]["mentions"] == [[10, 25], [49, 52]]
    assert facts_of(document) == [("Ada", "met", "Charles Babbage"), ("Charles Babbage", "in", "London")]
    assert counts_of(report) == {}


def test_feature_structures_by_id(tmp_path):
    by_id = {str(one["%ID"]): {key: value for key, value in one.items() if key != "%ID"} for one in STRUCTURES}
    ((document,), _) = read(read_inception, write(tmp_path, by_id))
    assert entities_of(document) == EXPECTED


def test_the_same_identifier_of_one_label_and_relations_of_coreference(tmp_path):
    one = structure(13, f"{DKPRO}.ner.type.NamedEntity", 38, 41, value="PER", identifier=STRUCTURES[3]["identifier"])
    ((document,), _) = read(read_inception, write(tmp_path, [*STRUCTURES[:8], one]))
    assert entities_of(document)[0] == EXPECTED[0] and len(document["labels"]) == 2

    structures = [
        *STRUCTURES[:6],
        structure(20, "webanno.custom.Relation", at_Governor=10, at_Dependent=11, label="same"),
    ]
    ((document,), _) = read(read_inception, write(tmp_path, structures), coreference=["same"])
    assert [names for _, names, *_ in entities_of(document)] == [["Ada", "Charles Babbage"], ["London"]]


def test_a_project_export_is_a_folder_and_two_annotators_of_a_document_have_one_title(tmp_path):
    for name in ("annotation/ada.txt/anna.json", "annotation/ada.txt/ben.json"):
        write(tmp_path, name=name)
    documents, _ = read(read_inception, tmp_path)
    assert [document["title"] for document in documents] == ["ada.txt", "ada.txt"]
    write(tmp_path, changed(2, documentTitle=None), name="single.json")
    assert [document["title"] for document in read(read_inception, tmp_path / "single.json")[0]] == ["ada"]


def test_layers_can_be_chosen_with_the_feature_of_their_label(tmp_path):
    structures = [*STRUCTURES, structure(50, "custom.Comment", 30, 36, text="where?", author="Ben")]
    path = write(tmp_path, structures)
    with pytest.raises(DocumentError) as error:
        read(read_inception, path)
    assert str(error.value) == (
        f"{path}: 'Comment' 50: the layer has the texts ['text', 'author']: name that of the label, `layer` "
        "LAYER:FEATURE"
    )
    ((document,), report) = read(read_inception, path, ["custom.Comment:author", "custom.Place"])
    assert entities_of(document) == [("Place", ["London"]), ("Ben", ["London"])]
    assert counts_of(report)[f"annotation of the layer '{DKPRO}.ner.type.NamedEntity'"] == 2
    with pytest.raises(DocumentError, match="there is no layer 'custom.Plaec', did you mean 'custom.Place'"):
        read(read_inception, path, ["custom.Plaec"])
    with pytest.raises(DocumentError, match="'Comment' 50: the layer has no feature 'auhtor', did you mean 'author'"):
        read(read_inception, path, ["custom.Comment:auhtor"])


def test_a_chain_without_a_label_and_a_second_text_are_counted(tmp_path):
    view = {"%ID": 60, "%TYPE": "uima.cas.Sofa", "sofaNum": 2, "sofaID": "other", "sofaString": "Another text."}
    other = {**structure(61, "custom.Place", 0, 7), "@sofa": 60}
    structures = [one for one in STRUCTURES if one["%ID"] not in (10, 20)]
    ((document,), report) = read(read_inception, write(tmp_path, [*structures, view, other]))
    assert entities_of(document) == EXPECTED[1:]
    assert counts_of(report) == {
        "coreference chain without a labelled span": 1,
        "text beside the first of its file": 1,
        "annotation of other texts": 1,
    }


def test_what_has_no_label_is_refused_or_left_out(tmp_path):
    path = write(tmp_path, changed(11, value=None))
    with pytest.raises(DocumentError) as error:
        read(read_inception, path)
    assert str(error.value).startswith(f"{path}: 'NamedEntity' 11: 'value' is None, which a document cannot hold: set")
    ((document,), report) = read(read_inception, path, leave_out=["unlabelled"])
    assert entities_of(document) == [EXPECTED[0], EXPECTED[2]] and document["labels"] == []
    counts = counts_of(report)
    assert counts["span without a label"] == 1 and counts["relation of what was left out"] == 2


STRING_ARRAYS = ("uima.cas.String[]", "uima.cas.StringArray")


def with_arrays(kind, place, relation):
    """A document whose places and relations have labels in arrays, as multi-value features do."""
    types = {
        **TYPES,
        **layer("custom.Place", feature("kinds", kind)),
        **layer("custom.Relation", *ENDS, feature("labels", kind)),
    }
    structures = [
        *STRUCTURES[:5],
        structure(12, "custom.Place", 30, 36, at_kinds=80),
        structure(20, "custom.Relation", at_Governor=10, at_Dependent=12, at_labels=81),
        {"%ID": 80, "%TYPE": kind, **({} if place is None else {"%ELEMENTS": place})},
        {"%ID": 81, "%TYPE": kind, "%ELEMENTS": relation},
    ]
    return structures, types


@pytest.mark.parametrize("kind", STRING_ARRAYS)
def test_labels_in_features_with_several_values(tmp_path, kind):
    ((document,), report) = read(read_inception, write(tmp_path, *with_arrays(kind, ["City"], ["lived in"])))
    assert entities_of(document)[2] == ("City", ["London"]) and counts_of(report) == {}
    assert facts_of(document) == [("Ada", "lived in", "London")]

    path = write(tmp_path, *with_arrays(kind, ["City", "Capital", "Port"], ["lived in", "died in"]))
    for layers in ((), ["custom.Place:kinds", "custom.Relation:labels", f"{DKPRO}.ner.type.NamedEntity"]):
        ((document,), report) = read(read_inception, path, layers)
        assert entities_of(document)[2] == ("City", ["London"])
        assert facts_of(document) == [("Ada", "lived in", "London"), ("Ada", "died in", "London")]
        assert counts_of(report) == {"further label of a span": 2}


@pytest.mark.parametrize(
    ("place", "relation", "message"),
    [
        ([], ["in"], "'Place' 12: 'kinds' is []"),
        (None, ["in"], "'Place' 12: 'kinds' is None"),
        (["City", None], ["in"], "'Place' 12: 'kinds' is ['City', None]"),
        (["City"], [" "], "'Relation' 20: 'labels' is [' ']"),
    ],
)
def test_arrays_without_a_label_are_refused_or_left_out(tmp_path, place, relation, message):
    path = write(tmp_path, *with_arrays(STRING_ARRAYS[1], place, relation))
    with pytest.raises(DocumentError) as error:
        read(read_inception, path)
    assert str(error.value).startswith(
        f"{path}: {message}, which a document cannot hold: set `leave_out` to unlabelled"
    )
    ((document,), report) = read(read_inception, path, leave_out=["unlabelled"])
    assert document["labels"] == [] and sum(counts_of(report).values()) == (2 if relation == ["in"] else 1)


@pytest.mark.parametrize("array", ["custom.Role[]", "uima.cas.FSArray", "uima.cas.TOP[]"])
def test_roles_are_refused_or_left_out(tmp_path, array):
    types = {
        **TYPES,
        **layer("custom.Role", feature("role"), feature("target", "uima.tcas.Annotation"), above="uima.cas.TOP"),
        **layer("custom.Meeting", feature("value"), feature("who", "custom.Role[]")),
    }
    roles = [
        structure(70, "custom.Meeting", 7, 10, value="meeting", at_who=71),
        {"%ID": 71, "%TYPE": array, "%ELEMENTS": [72]},
        {"%ID": 72, "%TYPE": "custom.Role", "role": "guest", "@target": 11},
    ]
    path = write(tmp_path, [*STRUCTURES, *roles], types)
    with pytest.raises(DocumentError, match="'Meeting' 70: it has roles, 'who', which a document cannot hold: set"):
        read(read_inception, path)
    ((document,), report) = read(read_inception, path, leave_out=["events"])
    assert ("meeting", ["met"]) in entities_of(document) and counts_of(report) == {"role feature of spans": 1}


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        (changed(11, begin=12, end=99), "'NamedEntity' 11: the span is [12, 99], expected [start, end) with 0 <="),
        (
            changed(11, begin=5, end=8),
            "'NamedEntity' 11: the span [5, 8] cuts a character, expected offsets in UTF-16",
        ),
        (changed(11, begin=None), "'NamedEntity' 11: the span is [None, 26], expected [start, end)"),
        (changed(20, at_Dependent=99), "'Relation' 20: 'Dependent' is 99, expected a span of a layer that is read"),
        (changed(20, at_Dependent=[9]), "'Relation' 20: '@Dependent' is [9], expected an id"),
        (changed(31, at_next=30), "'CoreferenceChain' 40: its links form a circle, expected a list of links"),
        (changed(40, at_first=77), "'CoreferenceChain' 40: there is no link 77, expected a list of links"),
        (changed(12, **{"%TYPE": "custom.Plaice"}), "'Plaice' 12: its type is not in '%TYPES'"),
        (changed(12, **{"%ID": 11}), "'%ID' is 11, expected an id that no other feature structure has"),
        ([*STRUCTURES[1:]], "there is no text, expected a uima.cas.Sofa with a 'sofaString'"),
        ([*STRUCTURES, 3], "found the feature structure 3, expected one with a '%TYPE'"),
    ],
)
def test_a_broken_structure_is_named(tmp_path, structures, message):
    path = write(tmp_path, structures) if 3 not in structures else write(tmp_path)
    if 3 in structures:
        path.write_text(json.dumps({"%TYPES": TYPES, "%FEATURE_STRUCTURES": structures}))
    with pytest.raises(DocumentError) as error:
        read(read_inception, path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_another_file_is_named(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[1]")
    with pytest.raises(
        DocumentError, match="other.json: found no '%TYPES' and '%FEATURE_STRUCTURES', expected UIMA CAS"
    ):
        read(read_inception, path)
    path.write_bytes(write(tmp_path).read_bytes()[:-9])
    with pytest.raises(DocumentError, match="other.json: this is not JSON: "):
        read(read_inception, path)


def test_what_cassis_writes(tmp_path):
    """`cassis`, of INCEpTION's authors, has the types of DKPro and writes the format."""
    cassis = pytest.importorskip("cassis")
    types = cassis.load_dkpro_core_typesystem()
    relation = types.create_type("webanno.custom.Relation", supertypeName="uima.tcas.Annotation")
    for name, kind in (("Governor", "uima.tcas.Annotation"), ("Dependent", "uima.tcas.Annotation")):
        types.create_feature(relation, name, kind)
    types.create_feature(relation, "value", "uima.cas.String")
    place = types.create_type("webanno.custom.Place", supertypeName="uima.tcas.Annotation")
    types.create_feature(place, "kinds", "uima.cas.StringArray")
    cas = cassis.Cas(types)
    cas.sofa_string = TEXT
    entity = types.get_type(f"{DKPRO}.ner.type.NamedEntity")
    ada, babbage = (
        entity(begin=TEXT.index(name), end=TEXT.index(name) + len(name), value="PER")
        for name in ("Ada", "Charles Babbage")
    )
    link, chain = (types.get_type(f"{DKPRO}.coref.type.Coreference{name}") for name in ("Link", "Chain"))
    pronoun = link(begin=TEXT.index("him"), end=TEXT.index("him") + 3)
    first = link(begin=babbage.begin, end=babbage.end, next=pronoun)
    met = relation(begin=babbage.begin, end=babbage.end, Governor=ada, Dependent=babbage, value="met")
    kinds = types.get_type("uima.cas.StringArray")(elements=["City"])
    london = place(begin=TEXT.index("London"), end=TEXT.index("London") + 6, kinds=kinds)
    cas.add_all([ada, babbage, first, pronoun, chain(first=first), met, london])
    cas.to_json(tmp_path / "ada.json")
    ((document,), _) = read(read_inception, tmp_path)

    assert (document["title"], document["text"]) == ("ada", TEXT)
    assert entities_of(document) == [("PER", ["Ada"]), ("PER", ["Charles Babbage", "him"]), ("City", ["London"])]
    assert facts_of(document) == [("Ada", "met", "Charles Babbage")]
