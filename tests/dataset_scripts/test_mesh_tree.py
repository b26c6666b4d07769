from itertools import product
from pathlib import Path

import pytest

from dataset_scripts.mesh_tree import MeshTree
from modeling_docre_ii.documents import DocumentError


SAMPLE = Path(__file__).with_name("mesh_sample.txt")
SHARED_TREE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdr" / "2017MeshTree.txt"

DISORDERS, LOSS, SENSORINEURAL = "D006311", "D034381", "D006319"  # of hearing, each below the one before
VISION, SALTS = "D014786", "D012492"


def document(entities, labels):
    vertices = [[{"type": kind, "kb_id": kb_id}] for kind, kb_id in entities]
    return {"vertexSet": vertices, "labels": [{"h": head, "t": tail} for head, tail in labels]}


def uncounted(entities, labels, path=SAMPLE):
    pairs = MeshTree(str(path)).ignored_pairs(document(entities, labels), "Chemical", "Disease")
    return [(pair["h"], pair["t"]) for pair in pairs]


def test_hypernyms_are_those_above_at_any_distance():
    tree = MeshTree(str(SAMPLE))
    descriptors = (DISORDERS, LOSS, SENSORINEURAL, VISION, "D064420", "unknown")
    above = {pair for pair in product(descriptors, repeat=2) if tree.is_hypernym(*pair)}
    assert above == {(DISORDERS, LOSS), (DISORDERS, SENSORINEURAL), (LOSS, SENSORINEURAL)}


def test_a_descriptor_may_stand_in_several_branches(tmp_path):
    path = tmp_path / "tree.txt"
    path.write_text("C10\tD1\ta\nC10.500\tD2\tb\nC11\tD2\tb\nC11.250\tD3\tc\nC10.501\tD4\td\n")
    tree = MeshTree(str(path))
    pairs = {pair for pair in product(("D1", "D2", "D3", "D4"), repeat=2) if tree.is_hypernym(*pair)}
    assert pairs == {("D1", "D2"), ("D1", "D4"), ("D2", "D3")}


def test_the_first_line_may_be_a_descriptor_or_headings(tmp_path):
    path = tmp_path / "tree.txt"
    lines = "C09.218.458\tD006311\tHearing Disorders\nC09.218.458.341\tD034381\tHearing Loss\n"
    for heading in ("", "Tree Number\tDesc Ui\tTerm\n"):
        path.write_text(heading + lines)
        assert MeshTree(str(path)).is_hypernym(DISORDERS, LOSS)


def test_a_negative_pair_is_not_counted_if_its_disease_is_above_one_with_the_same_chemical():
    entities = [
        ("Chemical", "D003676"),
        ("Disease", SENSORINEURAL),
        ("Disease", LOSS),
        ("Disease", DISORDERS),
        ("Disease", VISION),
        ("Chemical", "D010423"),
    ]
    assert uncounted(entities, [(0, 1)]) == [(0, 2), (0, 3)]
    # Each chemical separately. Pairs with the relation are counted, and so are hyponyms.
    assert uncounted(entities, [(0, 2), (5, 1)]) == [(0, 3), (5, 2), (5, 3)]
    assert uncounted(entities, [(0, 1), (0, 3)]) == [(0, 2)]
    assert uncounted(entities, [(0, 3), (0, 4)]) == []
    assert uncounted(entities, []) == []


@pytest.mark.skipif(not SHARED_TREE.is_file(), reason="the corpora are not beside the checkout")
def test_the_sample_is_an_excerpt_of_the_tree():
    lines = SHARED_TREE.read_text(encoding="utf-8").splitlines()
    excerpt = SAMPLE.read_text(encoding="utf-8").splitlines()
    descriptors = {line.split("\t")[1] for line in excerpt[1:]}
    assert excerpt == [lines[0], *(line for line in lines[1:] if line.split("\t")[1] in descriptors)]


GOOD = "Tree Number\tDesc Ui\tTerm\nC09.218.458\tD006311\tHearing Disorders\n"


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (GOOD + "C09.218.458.341\tD034381\n", ", line 3", r"found 'C09.218.458.341\tD034381\n', expected tree number"),
        (GOOD + "C09.218.458.341\t\tHearing Loss\n", ", line 3", "expected tree number, descriptor and term"),
        (GOOD + "C09\tD034381\tHearing\tLoss\n", ", line 3", "expected tree number, descriptor and term"),
        (GOOD + "D034381\tC09.218.458.341\tHearing Loss\n", ", line 3", r"found 'D034381\tC09.218.458.341\tHearing"),
        (GOOD + "\n", ", line 3", "expected tree number, descriptor and term, separated by tabs"),
        ("Descriptor,Tree Numbers\n", ", line 1", "expected tree number, descriptor and term, separated by tabs"),
        (GOOD.splitlines()[0], "", "the file has no descriptor"),
        ("", "", "the file has no descriptor"),
    ],
)
def test_a_broken_tree_is_named(tmp_path, content, place, message):
    path = tmp_path / "tree.txt"
    path.write_text(content)
    with pytest.raises(DocumentError) as error:
        MeshTree(str(path))
    assert str(error.value).startswith(f"{path}{place}: ") and message in str(error.value)
