"""BioC in XML and JSON: annotations, identifiers and relations of several conventions, and what is wrong with them."""

import gzip
import json
from pathlib import Path

import pytest

from modeling_docre_ii.annotation_formats.bioc import read_bioc
from modeling_docre_ii.annotation_formats.pubtator import read_pubtator_texts
from modeling_docre_ii.documents import DocumentError
from tests.annotation_exports import counts_of, entities_of, facts_of, read


SAMPLE = Path(__file__).parents[2] / "dataset_scripts" / "cdr_sample.PubTator.txt"
# As in CDR: identifiers in the infon MESH, and relations with identifiers in infons named as the types.
CDR = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>PubTator</source><date>2015</date><key>BC5CDR.key</key>
  <document>
    <id>10</id>
    <passage>
      <infon key="type">title</infon>
      <offset>0</offset>
      <text>Lithium &amp; tremor</text>
      <annotation id="0">
        <infon key="type">Chemical</infon><infon key="MESH">D008094</infon>
        <location offset="0" length="7"/><text>Lithium</text>
      </annotation>
      <annotation id="1">
        <infon key="type">Disease</infon><infon key="MESH">D014202</infon>
        <location offset="10" length="6"/><text>tremor</text>
      </annotation>
    </passage>
    <passage>
      <infon key="type">abstract</infon>
      <offset>17</offset>
      <text>It causes tremors, nausea and rash.</text>
      <annotation id="2">
        <infon key="type">Disease</infon><infon key="MESH">D014202</infon>
        <location offset="27" length="7"/><text>tremors</text>
      </annotation>
      <annotation id="3">
        <infon key="type">Disease</infon><infon key="MESH">D009325|D005076</infon>
        <location offset="36" length="15"/><text>nausea and rash</text>
      </annotation>
      <annotation id="4">
        <infon key="type">Chemical</infon><infon key="MESH">-1</infon>
        <location offset="17" length="2"/><text>It</text>
      </annotation>
    </passage>
    <relation id="R0">
      <infon key="relation">CID</infon><infon key="Chemical">D008094</infon><infon key="Disease">D014202</infon>
    </relation>
    <relation id="R1">
      <infon key="relation">CID</infon><infon key="Chemical">D008094</infon><infon key="Disease">D005076</infon>
    </relation>
  </document>
</collection>
"""
ENTITIES = [
    ("Chemical", ["Lithium"], "D008094"),
    ("Disease", ["tremor", "tremors"], "D014202"),
    ("Disease", ["nausea and rash"], "D009325"),
    ("Disease", ["nausea and rash"], "D005076"),
]


def write(folder, content, name="own.xml"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_xml_with_identifiers_in_infons(tmp_path):
    ((document,), report) = read(read_bioc, write(tmp_path, CDR), "MESH")

    assert (document["title"], document["text"]) == ("10", "Lithium & tremor\n\nIt causes tremors, nausea and rash.")
    assert entities_of(document) == ENTITIES
    assert [(fact["h"], fact["r"], fact["t"]) for fact in document["labels"]] == [(0, "CID", 1), (0, "CID", 3)]
    assert counts_of(report) == {"annotation without an identifier": 1}
    (tmp_path / "own.xml.gz").write_bytes(gzip.compress(CDR.encode()))
    assert read(read_bioc, tmp_path / "own.xml.gz", "MESH")[0] == [document]


def annotation(name, start, text, kind, **infons):
    locations = [{"offset": start, "length": len(text)}]
    return {"id": name, "infons": {"type": kind, **infons}, "text": text, "locations": locations}


def relation(name, label, *nodes, **infons):
    nodes = [{"refid": node, "role": f"Arg{number}"} for number, node in enumerate(nodes, 1)]
    return {"id": name, "infons": {"type": label, **infons}, "nodes": nodes}


def collection(annotations, relations, **fields):
    """A document whose passage has two sentences."""
    texts = ["BRAF binds MEK.", "It 🎯 drives melanoma."]
    sentences = [
        {"offset": 40, "infons": {}, "text": texts[0], "annotations": annotations[:2], "relations": []},
        {"offset": 56, "infons": {}, "text": texts[1], "annotations": annotations[2:], "relations": []},
    ]
    passage = {"offset": 40, "infons": {}, "sentences": sentences, "annotations": [], "relations": []}
    document = {"id": "PMC7", "infons": {}, "passages": [passage], "annotations": [], "relations": relations}
    return {"source": "", "date": "", "key": "", "infons": {}, "documents": [{**document, **fields}]}


ANNOTATIONS = [
    annotation("T1", 40, "BRAF", "Gene"),
    annotation("T2", 51, "MEK", "Gene"),
    annotation("T3", 56, "It", "Gene"),
    annotation("T4", 68, "melanoma", "Disease"),
]
RELATIONS = [
    relation("R1", "bind", "T1", "T2"),
    relation("R2", "coref", "T1", "T3"),
    relation("R3", "drive", "T3", "T4"),
]
GENES = [("Gene", ["BRAF", "It"]), ("Gene", ["MEK"]), ("Disease", ["melanoma"])]


def test_json_with_sentences_and_relations_of_annotations(tmp_path):
    path = write(tmp_path, collection(ANNOTATIONS, RELATIONS), "own.json")
    ((document,), report) = read(read_bioc, path, coreference=["coref"])

    assert document["text"] == "BRAF binds MEK. It 🎯 drives melanoma."
    assert entities_of(document) == GENES and counts_of(report) == {}
    assert facts_of(document) == [("BRAF", "bind", "MEK"), ("BRAF", "drive", "melanoma")]


def test_relations_of_biored_and_pubtator_3(tmp_path):
    ids = ({"identifier": "673"}, {"identifier": "5604;5605"}, {"identifier": "673"}, {"identifier": "MESH:D008545"})
    annotations = [{**one, "infons": {**one["infons"], **more}} for one, more in zip(ANNOTATIONS, ids)]
    relations = [
        {"id": "R1", "infons": {"type": "Bind", "entity1": "673", "entity2": "5605", "novel": "Novel"}, "nodes": []},
        {
            "id": "R2",
            "infons": {
                "type": "Association",
                "score": "0.99",
                "role1": {"identifier": "673", "type": "Gene"},
                "role2": {"identifier": "MESH:D008545", "type": "Disease"},
            },
            "nodes": [{"refid": "0", "role": "3,0"}],
        },
    ]
    content = collection(annotations, relations)
    for wrapped in (content, [content], {"PubTator3": content["documents"]}):
        ((document,), report) = read(read_bioc, write(tmp_path, wrapped, "own.json"))
        assert [entity["kb_id"] for entity in document["entities"]] == ["673", "5604", "5605", "MESH:D008545"]
        labels = [(fact["h"], fact["r"], fact["t"]) for fact in document["labels"]]
        assert labels == [(0, "Bind", 2), (0, "Association", 3)]
        assert counts_of(report) == {"infon of relations": 2}


def test_a_relation_with_a_mention_of_two_entities_is_a_fact_for_each(tmp_path):
    annotations = [{**ANNOTATIONS[0], "infons": {"type": "Gene", "identifier": "1|2"}}, *ANNOTATIONS[1:]]
    ((document,), _) = read(read_bioc, write(tmp_path, collection(annotations, RELATIONS[:1]), "own.json"))
    assert [(fact["h"], fact["t"]) for fact in document["labels"]] == [(0, 2), (1, 2)]
    with pytest.raises(
        DocumentError, match="relation 'R2': 'coref' names a mention of several entities, expected one"
    ):
        read(read_bioc, write(tmp_path, collection(annotations, RELATIONS), "own.json"), coreference=["coref"])


def test_repeated_ids_are_refused_only_if_a_relation_names_them(tmp_path):
    path = write(tmp_path, CDR.replace('annotation id="1"', 'annotation id="0"'))
    ((document,), _) = read(read_bioc, path, "MESH")
    assert entities_of(document) == ENTITIES
    repeated = [ANNOTATIONS[0], {**ANNOTATIONS[1], "id": "T1"}, *ANNOTATIONS[2:]]
    ((document,), _) = read(read_bioc, write(tmp_path, collection(repeated, RELATIONS[2:]), "own.json"))
    assert [names for _, names in entities_of(document)] == [["BRAF"], ["MEK"], ["It"], ["melanoma"]]
    with pytest.raises(DocumentError, match="annotation 'T1': a relation names this id, which is repeated"):
        read(read_bioc, write(tmp_path, collection(repeated, RELATIONS), "own.json"))


def test_identifiers_may_be_a_list(tmp_path):
    infons = {"type": "Gene", "identifier": [673, "5604;5605", "673"]}
    own = collection([{**ANNOTATIONS[0], "infons": infons}, *ANNOTATIONS[1:]], [])
    ((document,), _) = read(read_bioc, write(tmp_path, own, "own.json"))
    braf = [entity["kb_id"] for entity in document["entities"] if [0, 4] in entity["mentions"]]
    assert braf == ["673", "5604", "5605"]

    infons["identifier"] = {"id": 7}
    with pytest.raises(
        DocumentError, match="annotation 'T1': the identifier is {'id': 7}, expected a string, or a list"
    ):
        read(read_bioc, write(tmp_path, own, "own.json"))


def test_a_relation_of_an_identifier_whose_only_mention_is_left_out_is_left_out(tmp_path):
    content = CDR.replace(
        '<location offset="0" length="7"/>', '<location offset="0" length="2"/><location offset="5" length="2"/>'
    )
    path = write(tmp_path, content)
    with pytest.raises(DocumentError, match="annotation '0': it consists of 2 pieces, which a document cannot hold"):
        read(read_bioc, path, "MESH")
    ((document,), report) = read(read_bioc, path, "MESH", leave_out=["discontinuous"])
    assert entities_of(document) == ENTITIES[1:] and document["labels"] == []
    assert counts_of(report)["relation of what was left out"] == 2


def pieces(first, second):
    locations = [{"offset": start, "length": length} for start, length in (first, second)]
    return {**ANNOTATIONS[3], "locations": locations}


def test_pieces_with_white_space_between_them_are_one_mention(tmp_path):
    whole = {**pieces((61, 6), (68, 8)), "text": "drives melanoma"}
    ((document,), _) = read(read_bioc, write(tmp_path, collection([*ANNOTATIONS[:3], whole], []), "own.json"))
    assert ("Disease", ["drives melanoma"]) in entities_of(document)


@pytest.mark.parametrize(
    ("annotations", "relations", "kind", "message", "counts"),
    [
        (
            [*ANNOTATIONS[:3], pieces((56, 2), (68, 8))],
            RELATIONS,
            "discontinuous",
            "annotation 'T4': it consists of 2 pieces",
            {"discontinuous annotation": 1, "relation of what was left out": 1},
        ),
        (ANNOTATIONS, [relation("R9", "x", "T1", "T2", "T3")], "n_ary", "relation 'R9': 'x' has 3 nodes", {}),
        (
            ANNOTATIONS,
            [*RELATIONS, relation("R9", "causes", "R1", "T4")],
            "n_ary",
            "relation 'R9': 'causes' names another relation",
            {"n-ary relation": 1},
        ),
        (
            [*ANNOTATIONS[:3], {**ANNOTATIONS[3], "infons": {}}],
            RELATIONS,
            "unlabelled",
            "annotation 'T4': there is no infon 'type'",
            {"annotation without a type": 1, "relation of what was left out": 1},
        ),
        (
            ANNOTATIONS,
            [{**RELATIONS[0], "infons": {}}],
            "unlabelled",
            "relation 'R1': there is no infon 'type'",
            {"relation without a type": 1},
        ),
    ],
)
def test_what_a_document_cannot_hold_is_refused_or_left_out(tmp_path, annotations, relations, kind, message, counts):
    path = write(tmp_path, collection(annotations, relations), "own.json")
    with pytest.raises(DocumentError) as error:
        read(read_bioc, path)
    expected = f"{path}: document 'PMC7', {message}, which a document cannot hold: set `leave_out` to {kind} "
    assert str(error.value).startswith(expected)
    _, report = read(read_bioc, path, leave_out=[kind])
    assert counts.items() <= counts_of(report).items()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'offset="0" length="7"',
            'offset="1" length="7"',
            "line 10: document '10', annotation '0': the text from 1 to 8",
        ),
        ('offset="0" length="7"', 'offset="99" length="7"', "annotation '0': there is no text at the offset 99"),
        (
            'offset="0" length="7"',
            'offset="0" length="70"',
            "annotation '0': the span is [0, 70], expected [start, end)",
        ),
        ('offset="0" length="7"', 'offset="0"', "annotation '0': 'length' is None, expected a number"),
        ('<location offset="0" length="7"/>', "", "annotation '0': there is no location, expected one with 'offset'"),
        ('<infon key="relation">', '<node refid="9"/><infon key="x">', "there is no infon 'type', which a document"),
        (
            '"Chemical">D008094</infon><infon key="D',
            '"Chemical">D9</infon><infon key="D',
            "it names the identifier 'D9', which has no",
        ),
        (
            '<infon key="Chemical">D008094</infon><infon',
            "<infon",
            "relation 'R0': 'CID' has 0 nodes, expected two nodes",
        ),
        (
            "<offset>17</offset>",
            "<offset>0</offset>",
            "annotation '0': the offset 0 is in 2 passages, expected offsets in the whole document",
        ),
        ("<offset>17</offset>", "<offset>x</offset>", "line 19: document '10': 'offset' is 'x', expected a number"),
        ("</text>", "</txt>", "line 9: this is not XML: mismatched tag"),
        ("collection>\n", "", "line 43: this is not XML: unclosed token"),
        (
            "<id>10</id>",
            "",
            "line 4: document '': document without a title: 'title' is '', expected a non-empty string",
        ),
        ('SYSTEM "BioC.dtd"', '[<!ENTITY a "aaaa">]', "line 2: this defines the entity 'a', which is not read"),
        ("collection", "compilation", "line 3: the root is 'compilation', expected 'collection'"),
        ("document", "paper", ": the file has no document"),
    ],
)
def test_a_broken_element_is_named(tmp_path, old, new, message):
    content = CDR.replace(old, new) if old in ("collection", "document", "collection>\n") else CDR.replace(old, new, 1)
    assert content != CDR
    path = write(tmp_path, content)
    with pytest.raises(DocumentError) as error:
        read(read_bioc, path, "MESH")
    assert str(error.value).startswith(str(path)) and message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, ": found 3, expected a collection with 'documents'"),
        ({"documents": []}, ": the file has no document"),
        ({"documents": [{"passages": []}]}, "expected a JSON object with an 'id'"),
        ({"documents": [{"id": 1, "passages": 3}]}, "document '1': 'passages' is 3, expected a list of JSON objects"),
        (collection([{**ANNOTATIONS[0], "infons": 3}], []), "annotation 'T1': 'infons' is 3, expected a JSON object"),
        (collection([{**ANNOTATIONS[0], "text": 3}], []), "annotation 'T1': 'text' is 3, expected a string"),
        (collection(ANNOTATIONS, [relation("R", "x", "T1", "T9")]), "relation 'R': there is no annotation 'T9'"),
        (
            collection(ANNOTATIONS, [relation("R", "x", entity1="1", entity2="2")]),
            "relation 'R': it names the identifier '1', which has no annotation",
        ),
        (collection([], [], passages=[{"text": "a", "offset": "b"}]), "document 'PMC7': 'offset' is 'b', expected a"),
    ],
)
def test_broken_json_is_named(tmp_path, content, message):
    path = write(tmp_path, content, "own.json")
    with pytest.raises(DocumentError) as error:
        read(read_bioc, path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_what_the_bioc_library_writes(tmp_path):
    bioc, biocxml, biocjson = map(pytest.importorskip, ("bioc", "bioc.biocxml", "bioc.biocjson"))
    made, document, passage = bioc.BioCCollection(), bioc.BioCDocument(), bioc.BioCPassage()
    document.id, passage.text, passage.offset = "doc1", "Ada met <Babbage> & Ada left.", 5
    for name, start, text, kind in (("1", 5, "Ada", "PER"), ("2", 14, "Babbage", "PER"), ("3", 25, "Ada", "PER")):
        one = bioc.BioCAnnotation()
        one.id, one.text, one.infons = name, text, {"type": kind}
        one.add_location(bioc.BioCLocation(start, len(text)))
        passage.add_annotation(one)
    for name, label, ends in (("R1", "met", ("1", "2")), ("R2", "same", ("3", "1"))):
        one = bioc.BioCRelation()
        one.id, one.infons = name, {"type": label}
        for end, role in zip(ends, ("first", "second")):
            one.add_node(bioc.BioCNode(end, role))
        document.add_relation(one)
    document.add_passage(passage), made.add_document(document)
    made.source, made.date, made.key = "test", "2024", "none"
    with open(tmp_path / "own.xml", "w") as xml, open(tmp_path / "own.json", "w") as as_json:
        biocxml.dump(made, xml), biocjson.dump(made, as_json)
    for name in ("own.xml", "own.json"):
        ((converted,), _) = read(read_bioc, tmp_path / name, coreference=["same"])
        assert converted["text"] == passage.text
        assert entities_of(converted) == [("PER", ["Ada", "Ada"]), ("PER", ["Babbage"])]
        assert facts_of(converted) == [("Ada", "met", "Babbage")]


def test_real_abstracts_in_bioc_become_the_documents_of_pubtator(tmp_path):
    """The `bioc` library reads the abstracts of CDR and writes them as BioC."""
    bioc, biocxml, pubtator = map(pytest.importorskip, ("bioc", "bioc.biocxml", "bioc.pubtator"))
    made = bioc.BioCCollection()
    made.source, made.date, made.key = "CDR", "2015", "BC5CDR.key"
    for abstract in pubtator.loads(SAMPLE.read_text(encoding="utf-8")):
        document = bioc.BioCDocument()
        document.id = abstract.pmid
        for text, offset in ((abstract.title, 0), (abstract.abstract, len(abstract.title) + 1)):
            passage = bioc.BioCPassage()
            passage.text, passage.offset = text, offset
            document.add_passage(passage)
        for number, mention in enumerate(abstract.annotations):
            one = bioc.BioCAnnotation()
            one.id, one.text, one.infons = str(number), mention.text, {"type": mention.type, "MESH": mention.id}
            one.add_location(bioc.BioCLocation(mention.start, mention.end - mention.start))
            document.passages[mention.start > len(abstract.title)].add_annotation(one)
        for number, fact in enumerate(abstract.relations):
            one = bioc.BioCRelation()
            one.id, one.infons = f"R{number}", {"relation": fact.type, "Chemical": fact.id1, "Disease": fact.id2}
            document.add_relation(one)
        made.add_document(document)
    with open(tmp_path / "cdr.xml", "w", encoding="utf-8") as file:
        biocxml.dump(made, file)
    documents, _ = read(read_bioc, tmp_path / "cdr.xml", "MESH")
    assert documents == read(read_pubtator_texts, SAMPLE)[0] and len(documents) == 5
