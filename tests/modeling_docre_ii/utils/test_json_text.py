"""JSON is that of `json`, also behind a byte order mark, with long integers, and nested deep."""

import json

import pytest

from modeling_docre_ii.utils.json_text import LongInteger, parse_json


CONTENT = {"title": 'a "quoted" [bracket', "numbers": [1, -2.5, 10**600, None, True], "中": [{"a": []}, {}]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_bytes_are_read_with_any_mark(encoding):
    assert parse_json(json.dumps(CONTENT, ensure_ascii=False).encode(encoding)) == CONTENT


def test_a_string_is_read_with_a_mark():
    assert parse_json("\ufeff[1]") == [1]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,}', "[1] [2]", "[" * 100_000, '["' + "[" * 5_000, '{"a":' * 5_000])
def test_what_is_not_json_is_an_error_of_json(text):
    with pytest.raises(json.JSONDecodeError):
        parse_json(text)


def test_bytes_that_are_no_text_are_an_error():
    with pytest.raises(UnicodeDecodeError):
        parse_json(b'["\xff"]')


def test_a_long_integer_is_no_number():
    first, second, third = parse_json(f"[1, -{'9' * 5_000}, {10**200}]")
    assert (first, third) == (1, 10**200)
    assert isinstance(second, LongInteger) and not isinstance(second, int)
    assert repr(second) == "an integer of 5,000 digits"


@pytest.mark.parametrize("opened, closed", [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deep_is_cut(opened, closed):
    deep = f"{opened * 100_000}1{closed * 100_000}" if opened == "[" else f"{opened * 99_999}{{}}{closed * 99_999}"
    read = parse_json(f'[{{"deep": {deep}, "brackets": "]}}[\\"{{", "next": [7]}}, 8]')
    assert read[1] == 8 and read[0]["next"] == [7] and read[0]["brackets"] == ']}["{'
    depth, value = 0, read[0]["deep"]
    while value:
        depth, value = depth + 1, value[0] if isinstance(value, list) else value["a"]
    assert 90 < depth <= 100


def test_a_long_integer_in_deep_nesting():
    assert repr(parse_json(f"[{'[' * 5_000}{']' * 5_000}, {'1' * 5_000}]")[1]) == "an integer of 5,000 digits"
