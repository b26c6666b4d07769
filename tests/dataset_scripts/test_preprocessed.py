import gzip
from pathlib import Path

import pytest

from dataset_scripts.cdr import CDR
from dataset_scripts.gda import GDA
from modeling_docre_ii.documents import DocumentError


HERE = Path(__file__).parent
SAMPLE = str(HERE / "cdr_sample.PubTator.txt")
MESH_SAMPLE = str(HERE / "mesh_sample.txt")


def load(tmp_path, path, builder=CDR, split="train"):
    builder = builder(config_name="preprocessed", data_files={split: str(path)}, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The abstracts of the sample, with hypernyms marked."""
    cache = str(tmp_path_factory.mktemp("cache"))
    builder = CDR(data_files=SAMPLE, mesh_tree_file=MESH_SAMPLE, cache_dir=cache)
    builder.download_and_prepare()
    return list(builder.as_dataset(split="train"))


def words(row, mention):
    return " ".join(row["sents"][mention["sent_id"]][slice(*mention["pos"])])


def write_line(row):
    """Returns a document in 17 columns, and the directions of its pairs."""
    first_token = [sum(map(len, row["sents"][:index])) for index in range(len(row["sents"]))]

    def start(mention):
        return first_token[mention["sent_id"]] + mention["pos"][0]

    def end(mention):
        return first_token[mention["sent_id"]] + mention["pos"][1]

    def argument(mentions):
        return [
            mentions[0]["kb_id"],
            "|".join(words(row, mention) for mention in mentions),
            mentions[0]["type"],
            ":".join(str(start(mention)) for mention in mentions),
            ":".join(str(end(mention)) for mention in mentions),
            ":".join(str(mention["sent_id"]) for mention in mentions),
        ]

    relation = {(pair["h"], pair["t"]): "not_include" for pair in row["uncounted"]}
    relation |= {(label["h"], label["t"]): "1:CID:2" for label in row["labels"]}
    fields, directions = [row["title"], "|".join(" ".join(tokens) for tokens in row["sents"])], []
    for head, chemical in enumerate(row["vertexSet"]):
        for tail, disease in enumerate(row["vertexSet"]):
            if (chemical[0]["type"], disease[0]["type"]) == ("Chemical", "Disease"):
                closest = min(
                    ((one, other) for one in chemical for other in disease),
                    key=lambda pair: abs(start(pair[0]) - start(pair[1])),
                )
                directions.append("L2R" if start(closest[0]) < start(closest[1]) else "R2L")
                same = {mention["sent_id"] for mention in chemical} & {mention["sent_id"] for mention in disease}
                spans = [f"{start(mention)}-{end(mention)}" for mention in closest]
                fields += [relation.get((head, tail), "1:NR:2"), directions[-1], "NON-CROSS" if same else "CROSS"]
                fields += [*spans, *argument(chemical), *argument(disease)]
    return "\t".join(fields), directions


def by_identifier(row, name):
    """Returns mentions and pairs by type and identifier, not by index."""
    keys = [(mentions[0]["type"], mentions[0]["kb_id"]) for mentions in row["vertexSet"]]
    entities = {
        key: [{**mention, "name": name(row, mention)} for mention in mentions]
        for key, mentions in zip(keys, row["vertexSet"])
    }
    assert len(entities) == len(keys)
    labels, uncounted = (
        sorted((keys[pair["h"]], keys[pair["t"]]) for pair in row[kind]) for kind in ("labels", "uncounted")
    )
    return entities, labels, uncounted


def test_what_is_written_in_the_format_is_read_back(tmp_path, rows):
    path = tmp_path / "train_filter.data"
    lines, directions = zip(*map(write_line, rows))
    assert {direction for some in directions for direction in some} == {"L2R", "R2L"}
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    again = load(tmp_path, path)
    assert [(row["title"], row["sents"]) for row in again] == [(row["title"], row["sents"]) for row in rows]
    for row, original in zip(again, rows):
        found = by_identifier(row, lambda _, mention: mention["name"])
        assert found == by_identifier(original, words)
        assert {label["r"] for label in row["labels"]} == {1}
    assert [len(row["uncounted"]) for row in again] == [0, 0, 2, 0, 0]
    # Gzipped files and streams give the same rows.
    packed = tmp_path / "train_filter.data.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(load(tmp_path, packed)) == list(again)
    builder = CDR(config_name="preprocessed", data_files=str(path), cache_dir=str(tmp_path / "other"))
    assert list(builder.as_streaming_dataset(split="train")) == list(again)


# Tremor and nausea after lithium. Each line here has the columns of one pair.
SENTENCES = "Tremor during lithium .|Nausea and tremor followed Li and codeine ."
LITHIUM = ["D008094", "lithium|Li", "Chemical", "2:8", "3:9", "0:1"]
CODEINE = ["D003061", "codeine", "Chemical", "10", "11", "1"]
TREMOR = ["D014202", "Tremor|tremor", "Disease", "0:6", "1:7", "0:1"]
NAUSEA = ["D009325", "Nausea", "Disease", "4", "5", "1"]
PAIRS = [
    ["1:CID:2", "R2L", "NON-CROSS", "0-1", "2-3", *LITHIUM, *TREMOR],
    ["not_include", "L2R", "NON-CROSS", "8-9", "4-5", *LITHIUM, *NAUSEA],
    ["1:NR:2", "R2L", "NON-CROSS", "10-11", "6-7", *CODEINE, *TREMOR],
    ["1:CID:2", "R2L", "NON-CROSS", "10-11", "4-5", *CODEINE, *NAUSEA],
]


def line_of(pairs, pmid="10", sentences=SENTENCES):
    return "\t".join([pmid, sentences, *(column for pair in pairs for column in pair)])


def test_columns_are_read_as_they_are_described(tmp_path):
    path = tmp_path / "small.data"
    path.write_text(line_of(PAIRS) + "\n\n" + line_of([], "11", "No drug .") + "\n")
    first, second = load(tmp_path, path)
    assert first["title"] == "10"
    assert first["sents"] == [
        ["Tremor", "during", "lithium", "."],
        ["Nausea", "and", "tremor", "followed", "Li", "and", "codeine", "."],
    ]
    lithium, codeine = {"type": "Chemical", "kb_id": "D008094"}, {"type": "Chemical", "kb_id": "D003061"}
    tremor, nausea = {"type": "Disease", "kb_id": "D014202"}, {"type": "Disease", "kb_id": "D009325"}
    assert first["vertexSet"] == [
        [
            {"name": "lithium", "sent_id": 0, "pos": [2, 3], **lithium},
            {"name": "Li", "sent_id": 1, "pos": [4, 5], **lithium},
        ],
        [
            {"name": "Tremor", "sent_id": 0, "pos": [0, 1], **tremor},
            {"name": "tremor", "sent_id": 1, "pos": [2, 3], **tremor},
        ],
        [{"name": "Nausea", "sent_id": 1, "pos": [0, 1], **nausea}],
        [{"name": "codeine", "sent_id": 1, "pos": [6, 7], **codeine}],
    ]
    # The head is the chemical, even if the text mentions the disease first.
    assert [(label["h"], label["t"]) for label in first["labels"]] == [(0, 1), (3, 2)]
    assert first["uncounted"] == [{"h": 0, "t": 2}]
    assert (second["title"], second["sents"], second["vertexSet"]) == ("11", [["No", "drug", "."]], [])


def test_a_pair_with_an_ungrounded_argument_is_no_pair(tmp_path):
    path = tmp_path / "small.data"
    ungrounded = ["1:NR:2", "L2R", "CROSS", "10-11", "0-1", "-1", *CODEINE[1:], *TREMOR]
    path.write_text(line_of([PAIRS[0], ungrounded]))
    (row,) = load(tmp_path, path)
    assert [mentions[0]["kb_id"] for mentions in row["vertexSet"]] == ["D008094", "D014202"]


def test_gda_is_read_in_the_same_way(tmp_path):
    path = tmp_path / "test.data"
    gene = ["348", "APOE", "Gene", "0", "1", "0"]
    disease = ["D000544", "AD", "Disease", "2", "3", "0"]
    path.write_text(line_of([["1:GDA:2", "L2R", "NON-CROSS", "0-1", "2-3", *gene, *disease]], "12", "APOE in AD"))
    (row,) = load(tmp_path, path, GDA, "test")
    assert [mentions[0]["type"] for mentions in row["vertexSet"]] == ["Gene", "Disease"]
    assert row["labels"] == [{"h": 0, "t": 1, "r": 1, "evidence": []}]
    with pytest.raises(DocumentError, match="relation '1:GDA:2', expected 1:NR:2, not_include, 1:CID:2"):
        load(tmp_path, path)


def edited(column, value, pair=0):
    """Returns a line with another value in a column of a pair."""
    columns = list(PAIRS[pair])
    columns[column] = value
    return line_of([*PAIRS[:pair], columns, *PAIRS[pair + 1 :]])


FIRST = "document 10, pair 1, first argument: "


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (line_of(PAIRS) + "\tmore", "71 fields, expected PMID, sentences, and 17 more for every pair"),
        (line_of([PAIRS[0][:-1]]), "18 fields, expected PMID, sentences, and 17 more for every pair"),
        ("10", "1 fields, expected PMID, sentences, and 17 more"),
        (line_of(PAIRS, pmid=""), "PMID '' and sentences 'Tremor during lithium .|Nausea"),
        (line_of([], sentences=" | "), "PMID '10' and sentences ' | ', expected neither to be empty"),
        (edited(0, "CID"), "document 10, pair 1: relation 'CID', expected 1:NR:2, not_include, 1:CID:2"),
        (edited(1, "L2L"), "document 10, pair 1: direction 'L2L', expected L2R or R2L"),
        (line_of([[*PAIRS[0][:5], *TREMOR, *LITHIUM]]), FIRST + "type 'Disease', expected 'Chemical'"),
        (edited(13, "Sign", 2), "document 10, pair 3, second argument: type 'Sign', expected 'Disease'"),
        (edited(6, "lithium"), FIRST + "1 names, 2 starts, 2 ends and 2 sentences"),
        (edited(10, "0"), FIRST + "2 names, 2 starts, 2 ends and 1 sentences"),
        (edited(8, "2:x"), FIRST + "found '2:x', expected numbers joined by ':'"),
        (edited(9, ""), FIRST + "found '', expected numbers joined by ':'"),
        (edited(10, "0:2"), FIRST + "mention 'Li': sentence 2, expected one from 0 to 1"),
        (edited(10, "0:0"), FIRST + "mention 'Li': tokens [8, 9), expected some of [0, 4)"),
        (edited(9, "2:9"), FIRST + "mention 'lithium': tokens [2, 2), expected some of [0, 4)"),
        (edited(9, "3:13"), FIRST + "mention 'Li': tokens [8, 13), expected some of [4, 12)"),
        (edited(9, "3:10", 1), "pair 2, first argument: the mentions of D008094 differ from those in an earlier pair"),
        (line_of([PAIRS[0], PAIRS[1], PAIRS[0]]), "document 10, pair 3: the pair of D008094 and D014202 is repeated"),
    ],
)
def test_a_broken_line_is_named_and_leaves_nothing_behind(tmp_path, line, message):
    path = tmp_path / "small.data"
    path.write_text(line_of([], "9", "No drug .") + "\n" + line + "\n")
    with pytest.raises(DocumentError) as error:
        load(tmp_path, path)
    assert str(error.value).startswith(f"{path}, line 2: ") and message in str(error.value)
    left = [found for found in (tmp_path / "cache").rglob("*") if found.suffix in (".arrow", ".incomplete")]
    assert not left


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file has no document"), (b"\n\n", "the file has no document"), (b"10\t\xe9", "reading it failed")],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    path = tmp_path / "small.data"
    path.write_bytes(content)
    with pytest.raises(DocumentError) as error:
        load(tmp_path, path)
    assert str(error.value).startswith(f"{path}: {message}")
