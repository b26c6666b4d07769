"""PubTator files of any types and relations, and CDR by way of the import and by its builder."""

from pathlib import Path

import pytest

from dataset_scripts.pubtator import to_document as to_cdr_document
from modeling_docre_ii.annotation_formats.pubtator import read_pubtator, read_pubtator_texts, split_identifiers
from modeling_docre_ii.documents import DocumentError
from modeling_docre_ii.text_documents import document_of
from tests.annotation_exports import counts_of, entities_of, facts_of, read


SAMPLE = Path(__file__).parents[2] / "dataset_scripts" / "cdr_sample.PubTator.txt"

# In the forms of BioRED and PubTator 3: variants, several identifiers, none, and relations with a fifth field.
BIORED = """\
doc-1|t|BRAF V600E and ERK in melanoma
doc-1|a|BRAF or MEK? V600E drives melanoma in mice.
doc-1\t0\t4\tBRAF\tGene\t673
doc-1\t5\t10\tV600E\tVariant\tp|SUB|V|600|E
doc-1\t15\t18\tERK\tGene\t5594,5595
doc-1\t22\t30\tmelanoma\tDisease\tMESH:D008545
doc-1\t31\t35\tBRAF\tGene\t673;
doc-1\t39\t42\tMEK\tGene\t-
doc-1\t44\t49\tV600E\tVariant\ttmVar:p|SUB|V|600|E;HGVS:p.V600E;CorrespondingGene:673
doc-1\t57\t65\tmelanoma\tDisease\tMESH:D008545
doc-1\t69\t73\tmice\tSpecies
doc-1\tPositive_Correlation\tp|SUB|V|600|E\tMESH:D008545\tNovel
doc-1\tBind\t673\t5595
"""


def test_types_identifiers_and_relations_of_other_tools(tmp_path):
    (tmp_path / "sample.pubtator").write_text(BIORED)
    (tmp_path / "empty.md").write_text("not an export")
    ((document,), report) = read(read_pubtator_texts, tmp_path)

    assert document["text"].startswith("BRAF V600E and ERK in melanoma\n\nBRAF or MEK?")
    assert entities_of(document) == [
        ("Gene", ["BRAF", "BRAF"], "673"),
        ("Variant", ["V600E"], "p|SUB|V|600|E"),
        ("Gene", ["ERK"], "5594"),
        ("Gene", ["ERK"], "5595"),
        ("Disease", ["melanoma", "melanoma"], "MESH:D008545"),
        ("Variant", ["V600E"], "tmVar:p|SUB|V|600|E;HGVS:p.V600E;CorrespondingGene:673"),
    ]
    assert facts_of(document) == [("V600E", "Positive_Correlation", "melanoma"), ("BRAF", "Bind", "ERK")]
    assert document["labels"][1] == {"h": 0, "r": "Bind", "t": 3}
    assert counts_of(report) == {"mention without an identifier": 2, "further field of relations": 1}


VARIANTS = (
    "c|DEL|1,2|A",
    "|SUB|V|600|E",
    "p|FS,FSX|G|46|",
    "p|FS|K|239||21",
    "p|Allele|V|158",
    "c|Copy number|",
    "tmVar:p|Allele|V|158;VariantGroup:0;CorrespondingGene:1312",
    "tmVar:c|DEL|993+1_993+2|;HGVS:c.993+1_993+2del",
    "tmVar:rs113488022;RS#:113488022",
)


@pytest.mark.parametrize(
    ("value", "identifiers"),
    [
        ("D1|D2", ["D1", "D2"]),
        ("7;8; 7", ["7", "8"]),
        ("-1", []),
        ("", []),
        ("-", []),
        ("MESH:D1,MESH:D2", ["MESH:D1", "MESH:D2"]),
        *((variant, [variant]) for variant in VARIANTS),
    ],
)
def test_identifiers_are_split(value, identifiers):
    assert split_identifiers(value) == identifiers


def test_white_space_at_the_ends_of_a_mention_is_cut_off_and_counted(tmp_path):
    path = tmp_path / "one.txt"
    # The space at 17 is that between title and abstract.
    path.write_text(
        "1|t|A melanoma of age\n1|a|It comes.\n"
        "1\t1\t11\t melanoma \tDisease\tD1\n"
        "1\t14\t18\tage \tDisease\tD2\n"
        "1\t17\t20\t It\tDisease\tD3\n"
    )
    ((document,), report) = read(read_pubtator_texts, path)

    expected = [("melanoma", "D1"), ("age", "D2"), ("It", "D3")]
    assert entities_of(document) == [("Disease", [name], identifier) for name, identifier in expected]
    assert counts_of(report) == {"mention, white space at the ends cut off": 3}
    with pytest.raises(
        DocumentError, match="line 3: abstract 1, mention ' melanoma ': expected no white space at its"
    ):
        list(read_pubtator(str(path), ("Disease",)))
    path.write_text("1|t|A melanoma\n1|a|It comes.\n1\t1\t2\t \tDisease\tD1\n")
    with pytest.raises(DocumentError, match=r"line 3: the span \[1, 2\] is ' ', expected at least one word"):
        read(read_pubtator_texts, path)


def check_against_the_builder(path):
    documents, report = read(read_pubtator_texts, path)
    expected = [to_cdr_document(abstract, "Chemical", "Disease") for abstract in read_pubtator(str(path))]
    for document, of_builder in zip(documents, expected, strict=True):
        facts = [(fact["h"], fact["r"], fact["t"]) for fact in of_builder["labels"]]
        assert [(fact["h"], fact["r"], fact["t"]) for fact in document["labels"]] == facts
        converted = document_of(document)
        assert {**converted, "labels": None} == {**of_builder, "labels": None}
    return documents, report


def test_real_abstracts_become_the_documents_of_the_cdr_builder():
    documents, report = check_against_the_builder(SAMPLE)

    # Counted by hand in the file.
    assert [document["title"] for document in documents] == ["8638876", "227508", "2234245", "3800626", "7265370"]
    assert facts_of(documents[4]) == [("Triamterene", "CID", "nephrolithiasis")]
    assert counts_of(report)["mention without an identifier"] == 5


@pytest.mark.parametrize(
    ("title", "abstract", "span", "mention", "expected"),
    [
        ("", "Lithium was given.", (1, 8), "Lithium", "Lithium"),
        ("Lithium", "", (0, 7), "Lithium", "Lithium"),
        ("On lithium", "salts.", (3, 16), "lithium salts", "lithium\n\nsalts"),
    ],
)
def test_sections_may_be_empty_and_mentions_may_cross_them(tmp_path, title, abstract, span, mention, expected):
    path = tmp_path / "one.txt"
    path.write_text(f"1|t|{title}\n1|a|{abstract}\n1\t{span[0]}\t{span[1]}\t{mention}\tX\tD1\n")
    ((document,), _) = read(read_pubtator_texts, path)
    assert entities_of(document) == [("X", [expected], "D1")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "p|SUB|V|600|E\tMESH:D008545",
            "p|SUB\tMESH:D008545",
            "line 12: abstract doc-1: 'Positive_Correlation' of 'p|SUB'",
        ),
        ("Bind\t673", "Bind\t674", "line 13: abstract doc-1: 'Bind' of '674', which has no mention"),
        ("39\t42\tMEK\tGene\t-", "39\t42\tMEK\tChemical\t673", "of several types, ['Gene', 'Chemical']"),
        ("doc-1\t0\t4", "doc-2\t0\t4", "line 3: PMID 'doc-2', expected 'doc-1', or an empty line before"),
        ("0\t4\tBRAF", "0\t5\tBRAF", "line 3: abstract doc-1, mention 'BRAF': the text from 0 to 5 is 'BRAF '"),
        ("doc-1|t|", "|t|", "line 1: found '|t|BRAF V600E"),
    ],
)
def test_a_broken_line_is_named(tmp_path, old, new, message):
    path = tmp_path / "own.txt"
    path.write_text(BIORED.replace(old, new, 1))
    with pytest.raises(DocumentError) as error:
        read(read_pubtator_texts, path)
    assert str(error.value).startswith(f"{path}, line ") and message in str(error.value)
