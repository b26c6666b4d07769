"""brat: mentions, equivalences, relations and normalizations of .ann files, and what is wrong with them."""

import pytest

from modeling_docre_ii.annotation_formats.annotated_text import Report
from modeling_docre_ii.annotation_formats.brat import read_brat
from modeling_docre_ii.documents import DocumentError
from tests.annotation_exports import counts_of, entities_of, facts_of, read


# The offsets are characters, as brat counts them: the emoji is one.
TEXT = """\
Sony 🎧 formed a joint venture with Ericsson, a mobile phone company based in Sweden.
The Japanese
company pays half. Its partner Ericsson builds the phones. SE was sold in 2012.
"""
ANN = """\
T1\tOrganization 0 4\tSony
T2\tOrganization 35 43\tEricsson
T3\tCountry 77 83\tSweden
T4\tOrganization 85 97;98 105\tThe Japanese company
T5\tOrganization 129 137\tEricsson
R1\tBased_in Arg1:T2 Arg2:T3\t
R2\tPartner Arg2:T5 Arg1:T4
R3\tPartner Arg1:T1 Arg2:T2
*\tEquiv T1 T4
*\tEquiv T5 T2
N1\tReference T1 Wikipedia:26989\tSony
N2\tReference T3 Wikidata:Q34\tSweden
A1\tConfidence T1 High
M1\tNegation R1
#1\tAnnotatorNotes T1\tthe Japanese one

"""


def write(folder, ann=ANN, text=TEXT, name="sony"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
    (folder / f"{name}.ann").write_text(ann, encoding="utf-8")
    return folder / f"{name}.ann"


def error_of(folder, ann, text=TEXT, **options):
    path = write(folder, ann, text)
    with pytest.raises(DocumentError) as error:
        read(read_brat, path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mentions_equivalences_relations_and_normalizations(tmp_path):
    ((document,), report) = read(read_brat, write(tmp_path))

    assert (document["title"], document["text"]) == ("sony", TEXT)
    assert document["entities"][1] == {"type": "Organization", "mentions": [[35, 43], [129, 137]]}
    assert entities_of(document) == [
        # brat cuts a mention into pieces where its line ends.
        ("Organization", ["Sony", "The Japanese\ncompany"], "Wikipedia:26989"),
        ("Organization", ["Ericsson", "Ericsson"]),
        ("Country", ["Sweden"], "Wikidata:Q34"),
    ]
    assert facts_of(document) == [("Ericsson", "Based_in", "Sweden"), ("Sony", "Partner", "Ericsson")]
    assert counts_of(report) == {"attribute": 2, "note": 1, "repeated relation": 1}


def test_a_relation_can_say_the_same_entity(tmp_path):
    ann = ANN.replace("*\tEquiv T1 T4", "R4\tCoref Arg1:T4 Arg2:T1").replace("*\tEquiv T5 T2", "R5\tCoref A:T5 B:T2")
    ((document,), _) = read(read_brat, write(tmp_path, ann), coreference=["Coref"])
    ((expected,), _) = read(read_brat, write(tmp_path))

    assert document == expected


def test_a_relation_of_one_entity_is_left_out_and_types_follow_the_majority(tmp_path):
    ann = ANN.replace("T5\tOrganization", "T5\tPronoun") + "R6\tPart Arg1:T1 Arg2:T4\nT6\tOrganization 157 159\tSE\n"
    ((document,), report) = read(read_brat, write(tmp_path, ann + "*\tEquiv T6 T5\n"))

    assert document["entities"][1] == {"type": "Organization", "mentions": [[35, 43], [129, 137], [157, 159]]}
    counts = counts_of(report)
    assert counts["mention, given the type of most mentions of their entity"] == 1
    assert counts["relation between mentions of one entity"] == 1 and len(facts_of(document)) == 2


def test_the_same_reference_of_one_type_is_one_entity(tmp_path):
    ann = ANN.replace(
        "*\tEquiv T5 T2\n", "N3\tReference T2 W:1\tE\nN4\tReference T5 W:1\tE\nN5\tReference T5 F:9\tE\n"
    )
    ((document,), report) = read(read_brat, write(tmp_path, ann))

    assert entities_of(document)[1] == ("Organization", ["Ericsson", "Ericsson"], "W:1")
    assert counts_of(report)["further identifier of entities"] == 1


def test_a_folder_is_read_with_the_folders_in_it(tmp_path):
    write(tmp_path, name="b/one"), write(tmp_path, "", name="a")
    (tmp_path / "README.txt").write_text("How to annotate")
    documents, report = read(read_brat, tmp_path)

    assert [document["title"] for document in documents] == ["a", "b/one"]
    assert documents[0]["entities"] == documents[0]["labels"] == []
    assert counts_of(report)["text without an .ann file"] == 1


@pytest.mark.parametrize("width", [1, 2])
def test_line_ends_of_windows_count_as_one_or_two_characters(tmp_path, width):
    text = "Ada met\r\nCharles\r\nBabbage."
    start = 7 + width
    spans = (start, start + 7, start + 7 + width, start + 14 + width)
    ann = "T1\tPER 0 3\tAda\nT2\tPER {} {};{} {}\tCharles Babbage\n".format(*spans)
    ((document,), _) = read(read_brat, write(tmp_path, ann, text))

    assert [names[0].split() for _, names in entities_of(document)] == [["Ada"], ["Charles", "Babbage"]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("counted", [0, 1])
def test_a_byte_order_mark_counts_as_a_character_or_not(tmp_path, counted, end):
    start = counted + 8
    ann = f"T1\tPER {counted} {counted + 3}\tAda\nT2\tPER {start} {start + 7}\tCharles\nR1\tmet Arg1:T1 Arg2:T2\n"
    ((document,), report) = read(read_brat, write(tmp_path, ann, f"\ufeffAda met{end}Charles."))
    assert facts_of(document) == [("Ada", "met", "Charles")] and counts_of(report) == {}
    assert document["text"].split() == ["Ada", "met", "Charles."]


def test_a_mention_may_begin_with_the_byte_order_mark(tmp_path):
    ((document,), _) = read(read_brat, write(tmp_path, "T1\tPER 0 4\t\ufeffAda\n", "\ufeffAda met Charles."))
    assert entities_of(document) == [("PER", ["Ada"])]


def test_offsets_that_are_off_by_one_are_an_error_without_a_byte_order_mark(tmp_path):
    assert "T1: the text at 1 4 is 'da ', expected 'Ada'" in error_of(tmp_path, "T1\tPER 1 4\tAda\n", "Ada met.")
    error = error_of(tmp_path, "T1\tPER 2 5\tAda\n", "\ufeffAda met.")
    assert "T1: the text at 2 5 is 'a m', expected 'Ada'" in error


def test_an_equivalence_of_what_was_left_out_is_counted(tmp_path):
    ann = ANN + "T8\tProduct 111 115;149 155\thalf phones\n*\tEquiv T8 T3\n*\tEquiv T8 T2 T5\n"
    ((document,), report) = read(read_brat, write(tmp_path, ann), leave_out=["discontinuous"])
    assert document == read(read_brat, write(tmp_path))[0][0]
    counts = counts_of(report)
    assert counts["discontinuous mention"] == counts["equivalence of what was left out"] == 1


EVENT = "T7\tMerge-org 7 13\tformed\nE1\tMerge-org:T7 Org1:T1 Org2:T2\nA9\tNegation E1\nR9\tCause Arg1:E1 Arg2:T3\n"
PIECES = "T8\tProduct 111 115;149 155\thalf phones\nR9\tMakes Arg1:T1 Arg2:T8\n"
THREE = "R9\tDeal A:T1 B:T2 C:T3\n"
OF_RELATIONS = "R9\tCause Arg1:R1 Arg2:T3\n"


@pytest.mark.parametrize(
    ("added", "kind", "message", "counts"),
    [
        (EVENT, "events", "line 18: E1 is an event, 'Merge-org:T7'", {"event": 1, "relation of what was left out": 1}),
        (
            PIECES,
            "discontinuous",
            "line 17, T8: the mention 'half phones' consists of 2 pieces",
            {"discontinuous mention": 1, "relation of what was left out": 1},
        ),
        (THREE, "n_ary", "line 17, R9: 'Deal' has 3 arguments", {"n-ary relation": 1}),
        (OF_RELATIONS, "n_ary", "line 17, R9: 'Cause' is one of relations", {"relation of relations": 1}),
    ],
)
def test_what_a_document_cannot_hold_is_refused_or_left_out(tmp_path, added, kind, message, counts):
    ann = ANN + added
    assert error_of(tmp_path, ann) == (
        f"{tmp_path / 'sony.ann'}, {message}, which a document cannot hold: set `leave_out` to {kind} to import the "
        "rest"
    )
    ((document,), report) = read(read_brat, write(tmp_path, ann), leave_out=[kind])
    ((expected,), _) = read(read_brat, write(tmp_path))
    assert document == expected
    assert counts.items() <= counts_of(report).items()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Based_in", "Na", "'Na' is the class of pairs without a relation: give this one another name"),
        ("0 4\tSony", "0 5\tSony", "line 1, T1: the text at 0 5 is 'Sony ', expected 'Sony'"),
        ("T1\tOrganization 0 4", "T1\tOrganization 1 5", "line 1, T1: the text at 1 5 is 'ony ', expected 'Sony'"),
        ("0 4\tSony", "0 400\tSony", "T1: the span is [0, 400], expected [start, end) with 0 <= start < end <= 178"),
        ("0 4\tSony", "4 4\tSony", "T1: the span is [4, 4], expected [start, end)"),
        ("0 4\tSony", "0 x\tSony", "T1: the span is '0 x', expected start and end, two numbers"),
        ("0 4\tSony", "0 4", "line 1, T1: the text of the mention is missing"),
        ("T1\tOrganization 0 4\tSony", "T1", "line 1: found 'T1', expected an id, a tab, a type and its arguments"),
        ("T2\tOrg", "T1\tOrg", "line 2: the id 'T1' repeats that at "),
        ("T2\tOrganization", "X2\tOrganization", "the id is 'X2', expected T, R, E, A, M, N or # with a number, or *"),
        ("Arg1:T2", "Arg1:T9", "line 6, R1: there is no mention 'T9', expected the id of a T line"),
        ("Arg1:T2 Arg2:T3", "T2 T3", "line 6, R1: the arguments are 'T2 T3', expected two, such as 'Arg1:T1 Arg2:T2'"),
        ("Arg1:T2 Arg2:T3", "Arg1:T2 Arg1:T3", "expected two different roles"),
        ("*\tEquiv T1 T4", "*\tEquiv T1", "line 9: the equivalence names 'T1', expected two or more mentions"),
        ("*\tEquiv T1 T4", "*\tEquiv T1 T44", "line 9: there is no mention 'T44'"),
        ("T1 Wikipedia:26989", "T1", "line 11, N1: found 'T1', expected a mention and a reference"),
        ("Arg1:T2 Arg2:T3", "Arg1:T9 Arg2:T3", "line 6, R1: there is no mention 'T9', expected the id of a T line"),
    ],
)
def test_a_broken_line_is_named(tmp_path, old, new, message):
    assert old in ANN
    error = error_of(tmp_path, ANN.replace(old, new, 1))
    assert error.startswith(f"{tmp_path / 'sony.ann'}, line ") and message in error


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(DocumentError, match="the folder has no .ann files$"):
        next(read_brat(str(tmp_path), Report()))
    path = write(tmp_path)
    with pytest.raises(DocumentError, match="there is no file or folder .*sony.an'.*, did you mean .*sony.ann'"):
        next(read_brat(str(path)[:-1], Report()))
    path.write_bytes(ANN.replace("Sony", "Soný").encode("latin-1"))
    with pytest.raises(DocumentError, match="sony.ann: reading it failed: 'utf-8' codec"):
        next(read_brat(str(path), Report()))
    assert "'text' is '', expected at least one word" in error_of(tmp_path, "", "")
    path.with_suffix(".txt").unlink()
    with pytest.raises(DocumentError, match="sony.ann: there is no sony.txt beside it, expected the text$"):
        next(read_brat(str(path), Report()))


def test_what_bioc_writes_as_brat(tmp_path):
    """The `bioc` library reads and writes the format, so its files are an independent export."""
    brat = pytest.importorskip("bioc.brat")
    written = brat.BratDocument()
    written.text = "Ada Lovelace wrote to Babbage.\nAda admired him."
    for name, kind, start, end in (("T1", "PER", 0, 12), ("T2", "PER", 22, 29), ("T3", "PER", 31, 34)):
        entity = brat.BratEntity()
        entity.id, entity.type, entity.text = name, kind, written.text[start:end]
        entity.add_span(start, end)
        written.add_annotation(entity)
    relation = brat.BratRelation()
    relation.id, relation.type, relation.arguments = "R1", "wrote_to", {"Arg1": "T1", "Arg2": "T2"}
    equivalence = brat.BratEquivRelation()
    equivalence.type, equivalence.argids = "Equiv", {"T1", "T3"}
    written.add_annotation(relation), written.add_annotation(equivalence)
    with open(tmp_path / "ada.txt", "w") as text, open(tmp_path / "ada.ann", "w") as ann:
        brat.dump(written, text, ann)
    ((document,), _) = read(read_brat, tmp_path)

    assert entities_of(document) == [("PER", ["Ada Lovelace", "Ada"]), ("PER", ["Babbage"])]
    assert facts_of(document) == [("Ada Lovelace", "wrote_to", "Babbage")]
