"""BioC: which argument of a relation is the head, what its label is, and which annotations its identifiers name."""

import pytest

from modeling_docre_ii.annotation_formats.bioc import read_bioc
from modeling_docre_ii.documents import DocumentError
from tests.annotation_exports import counts_of, facts_of, read
from tests.modeling_docre_ii.annotation_formats.test_bioc import (
    ANNOTATIONS,
    CDR,
    RELATIONS,
    annotation,
    collection,
    write,
)


@pytest.mark.parametrize(
    ("roles", "head"),
    [
        (("Arg1", "Arg2"), "T1"),
        (("Arg2", "Arg1"), "T2"),
        (("OBJECT", "subject"), "T2"),
        (("Target", "Source"), "T2"),
        (("tail", "head"), "T2"),
        (("head", "tail"), "T1"),
        (("Arg2", "subject"), "T1"),
        (("partner", "partner"), "T1"),
        (("Theme", "Agent"), "T1"),
    ],
)
def test_roles_of_nodes_say_which_is_the_head(tmp_path, roles, head):
    nodes = [{"refid": name, "role": role} for name, role in zip(("T1", "T2"), roles)]
    content = collection(ANNOTATIONS, [{"id": "R1", "infons": {"type": "bind"}, "nodes": nodes}])
    ((document,), _) = read(read_bioc, write(tmp_path, content, "own.json"))
    expected = [("BRAF", "bind", "MEK") if head == "T1" else ("MEK", "bind", "BRAF")]
    assert facts_of(document) == expected

    written = "".join('<node refid="{refid}" role="{role}"/>'.format(**node) for node in nodes)
    annotations = (
        '<annotation id="T1"><infon key="type">Gene</infon><location offset="0" length="4"/></annotation>'
        '<annotation id="T2"><infon key="type">Gene</infon><location offset="11" length="3"/></annotation>'
    )
    xml = (
        "<collection><document><id>1</id><passage><offset>0</offset><text>BRAF binds MEK.</text>"
        f'{annotations}<relation id="R1"><infon key="type">bind</infon>{written}</relation>'
        "</passage></document></collection>"
    )
    ((document,), _) = read(read_bioc, write(tmp_path, xml))
    assert facts_of(document) == expected


def test_a_relation_of_a_converter_of_brat_has_its_label_in_relation_type(tmp_path):
    infons = {"file": "ann", "type": "Relation", "relation type": "bind"}
    path = write(tmp_path, collection(ANNOTATIONS, [{**RELATIONS[0], "infons": infons}]), "own.json")
    ((document,), report) = read(read_bioc, path)
    assert facts_of(document) == [("BRAF", "bind", "MEK")]
    assert counts_of(report) == {"infon of relations": 2}


# In PubTator 3, 3906 is a gene of humans and a species of beans.
SHARED = [
    annotation("1", 40, "BRAF", "Gene", identifier="3906"),
    annotation("2", 51, "MEK", "Species", identifier="3906"),
    annotation("3", 56, "It", "Variant", identifier="tmVar:p|SUB|V|600|E;HGVS:p.V600E"),
    annotation("4", 68, "melanoma", "Disease", identifier="MESH:D008545"),
]


def with_roles(*roles):
    return {"id": "R1", "infons": {"type": "x", **dict(zip(("role1", "role2"), roles))}, "nodes": []}


@pytest.mark.parametrize(
    ("roles", "fact"),
    [
        (("Gene|3906", "Disease|MESH:D008545"), ("BRAF", "x", "melanoma")),
        (("Disease|MESH:D008545", "Species|3906"), ("melanoma", "x", "MEK")),
        (("Variant|tmVar:p|SUB|V|600|E;HGVS:p.V600E", "Gene|3906"), ("It", "x", "BRAF")),
        (("tmVar:p|SUB|V|600|E;HGVS:p.V600E", "MESH:D008545"), ("It", "x", "melanoma")),
        (
            ({"identifier": "3906", "type": "Species"}, {"identifier": "MESH:D008545", "type": "Disease"}),
            ("MEK", "x", "melanoma"),
        ),
        # No annotation has the type, and the identifier is of one.
        (({"identifier": "MESH:D008545", "type": "Phenotype"}, "Gene|3906"), ("melanoma", "x", "BRAF")),
    ],
)
def test_types_of_roles_tell_apart_what_shares_an_identifier(tmp_path, roles, fact):
    ((document,), report) = read(read_bioc, write(tmp_path, collection(SHARED, [with_roles(*roles)]), "own.json"))
    assert facts_of(document) == [fact] and counts_of(report) == {}


def test_an_identifier_without_a_type_or_with_another_is_named(tmp_path):
    for role, state in (
        ("3906", "'3906', which has annotations of several types, ['Gene', 'Species']"),
        ({"identifier": "3906", "type": "Strain"}, "'3906', which has annotations of several types,"),
        ("Disease|3906", "'3906', which has no annotation of type 'Disease'"),
        ("Strain|3906", "'Strain|3906', which has no annotation"),
    ):
        path = write(tmp_path, collection(SHARED, [with_roles(role, "MESH:D008545")]), "own.json")
        with pytest.raises(DocumentError) as error:
            read(read_bioc, path)
        assert str(error.value).startswith(f"{path}: document 'PMC7', relation 'R1': it names the identifier {state}")


def test_a_relation_of_a_type_whose_only_mention_is_left_out_is_left_out(tmp_path):
    gene = {**SHARED[0], "locations": [{"offset": 40, "length": 1}, {"offset": 43, "length": 1}]}
    path = write(tmp_path, collection([gene, *SHARED[1:]], [with_roles("Gene|3906", "MESH:D008545")]), "own.json")
    ((document,), report) = read(read_bioc, path, leave_out=["discontinuous"])
    assert document["labels"] == []
    assert counts_of(report) == {"discontinuous annotation": 1, "relation of what was left out": 1}


def test_roles_in_xml_are_a_type_and_an_identifier(tmp_path):
    roles = '<infon key="role1">Chemical|D008094</infon><infon key="role2">Disease|D014202</infon>'
    old = '<infon key="Chemical">D008094</infon><infon key="Disease">D014202</infon>'
    ((document,), _) = read(read_bioc, write(tmp_path, CDR.replace(old, roles)), "MESH")
    assert CDR.count(old) == 1 and document == read(read_bioc, write(tmp_path, CDR), "MESH")[0][0]
