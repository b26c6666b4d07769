"""Quotations are short, whatever the value."""

import pytest

from modeling_docre_ii.quoting import lone_surrogate, quote


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["a\n" * 5_000, 10**5_000, -(10**100_000), nested(100_000), {"key": 10**5_000}, list(range(10**5)), b"a" * 10_000],
    ids=["text", "integer", "negative integer", "nested", "in a mapping", "list", "bytes"],
)
def test_a_quotation_is_part_of_a_line(value):
    assert len(quote(value)) < 100 and "\n" not in quote(value)


def test_short_values_are_quoted_whole():
    for value in ("Skai TV", [0, 2], {"name": None}, 10**20, 0.5, ("a", 1)):
        assert quote(value) == repr(value)


def test_a_long_text_loses_its_middle():
    quotation = quote("begin " + "." * 500 + " end", 40)
    assert quotation.startswith("'begin") and quotation.endswith("end'") and len(quotation) == 40


def test_lone_surrogates_are_found():
    assert lone_surrogate("Paris \U0001f600 中") is None
    assert lone_surrogate("Paris \ud83d!\ude00") == r"'\ud83d' at character 6"
