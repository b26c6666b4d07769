"""Submissions are read and written in CodaLab's form, and errors say what is wrong."""

import json
import os
import struct
import tracemalloc
import zipfile

import pytest

from modeling_docre_ii import PredictedFact, PredictionError, read_submission, to_submission, write_submission


PREDICTIONS = [
    {"title": "Santa Elena de Uairén", "h_idx": 0, "t_idx": 12, "r": "P17", "evidence": [0, 3]},
    {"title": "second", "h_idx": 1, "t_idx": 0, "r": "P27", "evidence": []},
]


def without(field):
    return {name: value for name, value in PREDICTIONS[0].items() if name != field}


def test_predicted_facts_become_items_by_title():
    facts = [
        [PredictedFact(1, 0, "P17", 0.7)],
        [],
        [PredictedFact(0, 2, "P131", 0.9, (3, 1)), PredictedFact(0, 2, "P17")],
    ]
    items = to_submission(facts, [{"title": "first"}, {"title": "second"}, {"title": "third"}])
    assert items == [
        {"title": "first", "h_idx": 1, "t_idx": 0, "r": "P17", "evidence": [], "score": 0.7},
        {"title": "third", "h_idx": 0, "t_idx": 2, "r": "P131", "evidence": [3, 1], "score": 0.9},
        {"title": "third", "h_idx": 0, "t_idx": 2, "r": "P17", "evidence": [], "score": 1.0},
    ]


def test_facts_have_to_be_those_of_the_documents():
    with pytest.raises(ValueError):
        to_submission([[]], [{"title": "first"}, {"title": "second"}])


def test_the_file_has_the_official_fields_alone(tmp_path):
    write_submission(
        tmp_path / "result.json", to_submission([[PredictedFact(1, 0, "P17", 0.7)]], [{"title": "first"}])
    )
    written = json.loads((tmp_path / "result.json").read_text())
    assert written == [{"title": "first", "h_idx": 1, "t_idx": 0, "r": "P17", "evidence": []}]


@pytest.mark.parametrize("name", ["result.json", "submission.zip"])
@pytest.mark.parametrize("predictions", [PREDICTIONS, []])
def test_what_is_written_is_read_again(tmp_path, name, predictions):
    write_submission(tmp_path / name, predictions)
    assert read_submission(str(tmp_path / name)) == predictions
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_zip_holds_the_result_alone(tmp_path):
    write_submission(tmp_path / "mine.zip", PREDICTIONS)
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert archive.namelist() == ["result.json"]
        assert json.loads(archive.read("result.json")) == PREDICTIONS
        # No time of writing, so that the same predictions give the same bytes.
        assert archive.getinfo("result.json").date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("name", ["result.json", "submission.zip"])
def test_the_order_of_fields_and_other_fields_leave_no_trace(tmp_path, name):
    others = [{"score": 0.9, **dict(reversed(prediction.items()))} for prediction in PREDICTIONS]
    del others[1]["evidence"]
    for folder, predictions in (("one", PREDICTIONS), ("other", others)):
        (tmp_path / folder).mkdir()
        write_submission(tmp_path / folder / name, predictions)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_submission_without_evidence_is_read(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps([without("evidence"), {**PREDICTIONS[1], "evidence": None}]))
    assert read_submission(path) == [without("evidence"), {**PREDICTIONS[1], "evidence": None}]


ITEM_ERRORS = [
    ("P17", "item 1: found 'P17', expected a mapping"),
    (without("title"), "item 1: 'title' is missing, expected a string"),
    (without("h_idx"), "item 1: 'h_idx' is missing, expected an entity index"),
    (without("t_idx"), "item 1: 't_idx' is missing, expected an entity index"),
    (without("r"), "item 1: 'r' is missing, expected a relation id"),
    ({**PREDICTIONS[0], "title": 7}, "item 1: 'title' is 7, expected a string"),
    ({**PREDICTIONS[0], "h_idx": "0"}, "item 1: 'h_idx' is '0', expected an entity index"),
    ({**PREDICTIONS[0], "h_idx": True}, "item 1: 'h_idx' is True, expected an entity index"),
    ({**PREDICTIONS[0], "t_idx": 1.0}, "item 1: 't_idx' is 1.0, expected an entity index"),
    ({**PREDICTIONS[0], "r": None}, "item 1: 'r' is None, expected a relation id"),
    ({**PREDICTIONS[0], "evidence": 3}, "item 1: 'evidence' is 3, expected a list of sentence indices"),
    ({**PREDICTIONS[0], "evidence": ["3"]}, r"item 1: 'evidence' is \['3'\], expected a list of sentence indices"),
]


@pytest.mark.parametrize(("item", "message"), ITEM_ERRORS)
def test_a_wrong_item_is_named_on_reading(tmp_path, item, message):
    path = tmp_path / "result.json"
    path.write_text(json.dumps([PREDICTIONS[0], item]))
    with pytest.raises(PredictionError, match=f"result.json: {message}"):
        read_submission(path)


@pytest.mark.parametrize(("item", "message"), ITEM_ERRORS)
def test_a_wrong_item_is_not_written(tmp_path, item, message):
    path = tmp_path / "result.json"
    write_submission(path, PREDICTIONS)
    with pytest.raises(PredictionError, match=message):
        write_submission(path, [PREDICTIONS[0], item])
    assert read_submission(path) == PREDICTIONS


def zip_of(path, name, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path.read_bytes()


def test_a_file_that_is_no_submission_is_named(tmp_path):
    whole = zip_of(tmp_path / "whole.zip", "result.json", json.dumps(PREDICTIONS * 9))
    spoilt = whole.replace(b"Santa", b"Sonta")
    files = {
        "empty.json": (b"", "not JSON"),
        "cut.json": (json.dumps(PREDICTIONS).encode()[:-9], "not JSON"),
        "latin.json": (b'["\xff"]', "not JSON"),
        "mapping.json": (b'{"title": "first"}', "found {'title': 'first'}, expected a list"),
        "folder.zip": (
            zip_of(tmp_path / "folder.zip", "mine/result.json", "[]"),
            r"holds \['mine/result.json'\], expected 'result.json'",
        ),
        "content.zip": (zip_of(tmp_path / "content.zip", "result.json", "[{}]"), "item 0: 'title' is missing"),
        "cut.zip": (whole[:-9], "not a complete zip file"),
        "spoilt.zip": (spoilt, "not a complete zip file"),
        "none.zip": (b"[]", "not a complete zip file"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PredictionError, match=f"{name}: .*{message}"):
            read_submission(tmp_path / name)


def test_a_file_of_another_kind_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="result.txt: a submission is a .json or a .zip file"):
        write_submission(tmp_path / "result.txt", PREDICTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["result.json", "submission.zip"])
def test_nothing_half_written_is_left(tmp_path, name):
    # A folder is in the way, which is found only when the whole file is to be moved there.
    (tmp_path / name).mkdir()
    with pytest.raises(OSError):
        write_submission(tmp_path / name, PREDICTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_triples_for_reading_are_told_from_a_submission(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text('[{"title": "first", "triples": []}]')
    with pytest.raises(PredictionError, match="predictions.json is not a submission.*: use the 'result.json' beside"):
        read_submission(path)


def zip_with(path, method=zipfile.ZIP_DEFLATED, content="[]", flags=0, size=None):
    """Writes a zip whose headers can claim flags and a size that its content has not."""
    with zipfile.ZipFile(path, "w", method if method in (0, 8, 12, 14) else zipfile.ZIP_STORED) as archive:
        archive.writestr("result.json", content)
    written = bytearray(path.read_bytes())
    directory = written.rindex(b"PK\x01\x02")
    # Offsets of flags, method and uncompressed size: APPNOTE.TXT 4.3.7 and 4.3.12.
    for flags_at, size_at in ((6, 22), (directory + 8, directory + 24)):
        struct.pack_into("<HH", written, flags_at, flags, method)
        if size is not None:
            struct.pack_into("<I", written, size_at, size)
    path.write_bytes(written)
    return path


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"flags": 1}, "'result.json' is encrypted: unzip it"),
        ({"method": zipfile.ZIP_BZIP2}, "'result.json' is compressed with method 12, expected deflate"),
        ({"method": zipfile.ZIP_LZMA}, "'result.json' is compressed with method 14, expected deflate"),
        ({"method": 99}, "'result.json' is compressed with method 99, expected deflate"),
        ({"flags": 0x20}, "not a complete zip file"),
    ],
)
def test_a_zip_that_cannot_be_read_says_why(tmp_path, headers, message):
    path = zip_with(tmp_path / "result.zip", **headers)
    with pytest.raises(PredictionError, match=f"^{path}: {message}") as error:
        read_submission(path)
    assert "\n" not in str(error.value)


def peak_of_reading(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(PredictionError, match=message):
            read_submission(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def write_bomb(path, megabytes, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("result.json", "w", force_zip64=True) as entry:
        for _ in range(megabytes):
            entry.write(bytes(2**20))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_not_decompressed(tmp_path, method):
    path = write_bomb(tmp_path / "bomb.zip", 200, method)
    assert path.stat().st_size < 2**20
    assert peak_of_reading(path, "bytes, more than the 33,554,432|expected deflate") < 2**20


def test_a_bomb_that_claims_to_be_small_is_read_as_far_as_it_claims(tmp_path):
    path = zip_with(tmp_path / "bomb.zip", content=bytes(2**28), size=1_000)
    assert peak_of_reading(path, "not a complete zip file|not JSON") < 2**20


@pytest.mark.slow
def test_a_bomb_of_gigabytes_is_not_decompressed(tmp_path):
    assert peak_of_reading(write_bomb(tmp_path / "bomb.zip", 1_500), "1,572,864,000 bytes, more than") < 2**20


@pytest.mark.parametrize("name", ["result.json", "result.zip"])
def test_long_integers_deep_nesting_and_surrogates_are_named(tmp_path, name):
    item = '{"title": "T", "h_idx": 0, "t_idx": 1, "r": "P17"}'
    for damaged, message in {
        item.replace("0", "9" * 5_000): "item 1: 'h_idx' is an integer of 5,000 digits, expected an entity index",
        item.replace("0", "[" * 10**5 + "]" * 10**5): r"item 1: 'h_idx' is \[\[\[\[\[\[...",
        item.replace('"T"', r'"T\ud800"'): r"item 1: 'title' is 'T\\ud800', expected text that UTF-8 can encode",
        item.replace("P17", r"\udfff"): r"item 1: 'r' is '\\udfff', expected text that UTF-8 can encode",
    }.items():
        content = f"[{item}, {damaged}]"
        if name.endswith(".zip"):
            zip_with(tmp_path / name, content=content)
        else:
            (tmp_path / name).write_text(content)
        with pytest.raises(PredictionError, match=f"{name}: {message}"):
            read_submission(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_skipped(tmp_path, encoding):
    (tmp_path / "result.json").write_text(json.dumps(PREDICTIONS, ensure_ascii=False), encoding=encoding)
    assert read_submission(tmp_path / "result.json") == PREDICTIONS


@pytest.mark.parametrize("name", ["result.json", "submission.zip"])
def test_a_file_of_gigabytes_is_refused_unread(tmp_path, name):
    path = tmp_path / name
    path.touch()
    os.truncate(path, 2**30 + 1)  # takes no space on the disk
    with pytest.raises(PredictionError, match=f"^{path} has 1,073,741,825 bytes, more than the 1,073,741,824 that "):
        read_submission(path)
