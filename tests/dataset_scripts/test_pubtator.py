import gzip
from pathlib import Path

import pytest

from dataset_scripts.cdr import CDR
from dataset_scripts.pubtator import to_document
from modeling_docre_ii.annotation_formats.pubtator import read_pubtator
from modeling_docre_ii.documents import DocumentError


SAMPLE = str(Path(__file__).with_name("cdr_sample.PubTator.txt"))
TYPES = ("Chemical", "Disease")

SMALL = """\
10|t|Lithium and tremor.
10|a|Lithium caused tremor and nausea.
10\t0\t7\tLithium\tChemical\tD008094
10\t12\t18\ttremor\tDisease\tD014202
10\t20\t27\tLithium\tChemical\tD008094
10\t35\t41\ttremor\tDisease\tD014202
10\tCID\tD008094\tD014202

11|t|Nausea.
11|a|None was seen after codeine.
11\t0\t6\tNausea\tDisease\tD009325
11\t28\t35\tcodeine\tChemical\tD003061
"""


def read(path):
    return {abstract.pmid: abstract for abstract in read_pubtator(str(path), TYPES, "CID")}


def document_of(tmp_path, content, pmid):
    path = tmp_path / "own.txt"
    path.write_text(content, encoding="utf-8")
    return to_document(read(path)[pmid], *TYPES)


def test_abstracts_of_the_real_corpus():
    abstracts = read(SAMPLE)
    assert list(abstracts) == ["8638876", "227508", "2234245", "3800626", "7265370"]
    abstract = abstracts["7265370"]
    assert abstract.title == "Triamterene nephrolithiasis complicating dyazide therapy."
    assert abstract.abstract.startswith("A case of triamterene") and abstract.abstract.endswith("cases are reviewed.")
    assert abstract.text[58:68] == "A case of " and abstract.place == f"{SAMPLE}, line 96"
    assert len(abstract.annotations) == 11
    salts = abstract.annotations[8]
    assert (salts.place, salts.start, salts.end) == (f"{SAMPLE}, line 106", 286, 301)
    assert (salts.text, salts.type, salts.ids) == ("uric acid salts", "Chemical", ("D014527", "D012492"))
    assert abstract.facts == [(f"{SAMPLE}, line 109", "CID", "D014223", "D053040")]


def test_ungrounded_mentions_and_the_names_of_composite_ones():
    abstracts = read(SAMPLE)
    ungrounded = [mention.text for mention in abstracts["227508"].annotations if not mention.ids]
    assert ungrounded == ["nalozone", "[3H]-naloxone", "[3H]-dihydroergocryptine"]
    # The optional seventh field names the parts of the mention, and is not used.
    mentions = {mention.start: mention for mention in abstracts["2234245"].annotations}
    assert mentions[0].text == "Ocular and auditory toxicity" and mentions[250].text == "audiovisual toxicity"
    assert mentions[0].ids == mentions[250].ids == ("D014786", "D006311")


def test_the_document_of_an_abstract():
    document = to_document(read(SAMPLE)["7265370"], *TYPES)
    assert (document["title"], len(document["sents"])) == ("7265370", 4)
    assert document["sents"][0] == ["Triamterene", "nephrolithiasis", "complicating", "dyazide", "therapy", "."]
    entities = [
        (mentions[0]["type"], mentions[0]["kb_id"], [(mention["name"], mention["sent_id"]) for mention in mentions])
        for mentions in document["vertexSet"]
    ]
    triamterene, stones = ("Triamterene", "triamterene"), "nephrolithiasis"
    assert entities == [
        ("Chemical", "D014223", [(triamterene[0], 0), (triamterene[1], 1), (triamterene[1], 2), (triamterene[1], 3)]),
        ("Disease", "D053040", [(stones, 0), (stones, 1), (stones, 3)]),
        ("Chemical", "C020743", [("dyazide", 0), ("hydrochlorothiazide-triamterene", 1)]),
        ("Disease", "D006973", [("hypertension", 1)]),
        ("Chemical", "D014527", [("uric acid salts", 2)]),
        ("Chemical", "D012492", [("uric acid salts", 2)]),
    ]
    assert document["vertexSet"][4][0]["pos"] == document["vertexSet"][5][0]["pos"]
    assert document["labels"] == [{"h": 0, "t": 1, "r": "CID", "evidence": []}]


def test_a_composite_id_gives_an_entity_each_but_none_for_minus_one(tmp_path):
    content = SMALL.replace("35\t41\ttremor\tDisease\tD014202", "35\t41\ttremor\tDisease\tD014202|-1|D9|D9\ta|b|c|d")
    entities = document_of(tmp_path, content, "10")["vertexSet"]
    assert [(mentions[0]["kb_id"], len(mentions)) for mentions in entities] == [
        ("D008094", 2),
        ("D014202", 2),
        ("D9", 1),
    ]


def test_the_same_id_of_two_types_is_two_entities_and_a_repeated_line_is_one_mention(tmp_path):
    twice = "10\t20\t27\tLithium\tChemical\tD008094\n"
    content = SMALL.replace(twice, twice + twice + "10\t20\t27\tLithium\tDisease\tD008094\n")
    entities = document_of(tmp_path, content, "10")["vertexSet"]
    described = [(mentions[0]["type"], mentions[0]["kb_id"], len(mentions)) for mentions in entities]
    expected = [("Chemical", "D008094", 2), ("Disease", "D014202", 2), ("Disease", "D008094", 1)]
    assert described == expected


def test_mentions_may_be_in_any_order_and_line_ends_of_windows_read_alike(tmp_path):
    first, second = SMALL.split("\n\n")
    lines = first.split("\n")
    shuffled = "\n".join([*lines[:2], lines[6], *lines[5:1:-1]]) + "\n\n\n\n" + second
    document = document_of(tmp_path, SMALL, "10")
    assert document_of(tmp_path, shuffled, "10") == document
    (tmp_path / "windows.txt").write_bytes(SMALL.replace("\n", "\r\n").encode())
    assert to_document(read(tmp_path / "windows.txt")["10"], *TYPES) == document


def test_an_abstract_may_be_empty_and_hold_bars(tmp_path):
    document = document_of(tmp_path, "12|t|A|t|B study\n12|a|\n", "12")
    assert document["sents"] == [["A|t|B", "study"]] and document["vertexSet"] == []


def test_the_title_is_a_sentence_even_without_a_full_stop(tmp_path):
    document = document_of(tmp_path, "12|t|Tremor after\n12|a|Lithium was given.\n", "12")
    assert document["sents"] == [["Tremor", "after"], ["Lithium", "was", "given", "."]]


def replaced(number, *lines):
    """Returns `SMALL` with one line replaced."""
    content = SMALL.split("\n")
    return "\n".join([*content[: number - 1], *lines, *content[number:]])


MENTION = "abstract 10, mention "


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (replaced(1, "Chemicals of 2016"), 1, "found 'Chemicals of 2016', expected the title line PMID|t|..."),
        (replaced(1, "ten|t|Lithium"), 1, "found 'ten|t|Lithium', expected the title line PMID|t|..."),
        (replaced(2), 2, r"found '10\t0\t7\tLithium\tChemical\tD008094', expected the abstract line 10|a|..."),
        (replaced(2, "11|a|Lithium"), 2, "found '11|a|Lithium', expected the abstract line 10|a|..."),
        (replaced(2, ""), 1, "abstract 10 has a title but no line 10|a|..."),
        (replaced(12, "", "13|t|Nausea"), 13, "abstract 13 has a title but no line 13|a|..."),
        ("10|t|\n10|a| \n", 1, "abstract 10 has neither a title nor a text"),
        (replaced(4, "12\t12\t18\ttremor\tDisease\tD014202"), 4, "PMID '12', expected '10', or an empty line before"),
        (replaced(8), 8, "PMID '11|t|Nausea.', expected '10', or an empty line before the next abstract"),
        (replaced(3, "10\t0\t7\tLithium\tChemical"), 3, "abstract 10: 5 fields, expected 6 or 7 of a mention"),
        (replaced(3, "10 0 7 Lithium Chemical D008094"), 3, "PMID '10 0 7 Lithium Chemical D008094', expected '10'"),
        (
            replaced(3, "10\tO\t7\tLithium\tChemical\tD008094"),
            3,
            MENTION + "'Lithium': start 'O' and end '7', expected",
        ),
        (replaced(3, "10\t-1\t7\tLithium\tChemical\tD008094"), 3, MENTION + "'Lithium': start '-1' and end '7'"),
        (replaced(6, "10\t35\t54\ttremor\tDisease\tD014202"), 6, "[35, 54), expected start < end <= 53, the length"),
        (replaced(6, "10\t35\t35\t\tDisease\tD014202"), 6, MENTION + "'': [35, 35), expected start < end"),
        (replaced(4, "10\t12\t18\tTremor\tDisease\tD014202"), 4, "'Tremor': the text from 12 to 18 is 'tremor'"),
        (
            replaced(4, "10\t11\t18\t tremor\tDisease\tD1"),
            4,
            "mention ' tremor': expected no white space at its start and end",
        ),
        (replaced(4, "10\t12\t18\ttremor\tSign\tD014202"), 4, "'tremor': type 'Sign', expected Chemical or Disease"),
        (replaced(4, "10\t12\t18\ttremor\tDisease\t"), 4, "'tremor': ids '', expected -1 or one id or several"),
        (replaced(4, "10\t12\t18\ttremor\tDisease\tD1||D2"), 4, "'tremor': ids 'D1||D2', expected -1 or one id"),
        (replaced(7, "10\tCPI\tD008094\tD014202"), 7, "abstract 10: relation 'CPI', expected 'CID'"),
        (replaced(7, "10\tCID\tD008094\tD009325"), 7, "abstract 10: CID of Disease 'D009325', which has no mention"),
        (replaced(7, "10\tCID\tD014202\tD008094"), 7, "abstract 10: CID of Chemical 'D014202', which has no mention"),
        (replaced(7, *["10\tCID\tD008094\tD014202"] * 2), 8, "abstract 10: CID of D008094 and D014202 is repeated"),
    ],
)
def test_a_broken_line_is_named_and_leaves_nothing_behind(tmp_path, content, line, message):
    check_broken(tmp_path, "own.PubTator.txt", content.encode(), f", line {line}: ", message)


def test_a_doubled_pmid_is_named_with_both_places(tmp_path):
    content = SMALL.replace("\n11|", "\n10|").replace("\n11\t", "\n10\t").encode()
    message = f"abstract 10 repeats that at {tmp_path / 'own.txt'}, line 1"
    check_broken(tmp_path, "own.txt", content, ", line 9: ", message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.txt.gz", gzip.compress(SMALL.encode())[:-12], "reading it failed: "),
        ("own.txt.gz", SMALL.encode(), "reading it failed: Not a gzipped file"),
        ("own.txt", SMALL.replace("nausea", "naus\xe9e").encode("latin-1"), "reading it failed: 'utf-8' codec"),
        ("own.txt", b"", "the file has no abstract"),
        ("own.txt", b"\n \n\n", "the file has no abstract"),
        ("own.txt.gz", gzip.compress(b""), "the file has no abstract"),
    ],
    # pytest would name the cases after their bytes, and gzip writes the time into its own
    ids=["cut gzip", "text as gzip", "latin-1", "no byte", "blank lines", "gzip of no byte"],
)
def test_a_broken_file_is_named_and_leaves_nothing_behind(tmp_path, name, content, message):
    check_broken(tmp_path, name, content, ": ", message)


def check_broken(tmp_path, name, content, place, message):
    path = tmp_path / name
    path.write_bytes(content)
    builder = CDR(data_files={"train": str(path)}, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(DocumentError) as error:
        builder.download_and_prepare()
    assert str(error.value).startswith(f"{path}{place}") and message in str(error.value)
    left = [found for found in (tmp_path / "cache").rglob("*") if found.suffix in (".arrow", ".incomplete")]
    assert not left
    with pytest.raises(DocumentError) as streamed:
        list(builder.as_streaming_dataset(split="train"))
    assert str(streamed.value) == str(error.value)
