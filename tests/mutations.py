"""Hypothesis strategies that damage documents, predictions and files."""

import copy
import json

import numpy as np
from hypothesis import strategies as st


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


# `as_json` writes it 100,000 deep.
DEEP = nested(60)
# White space, control characters, half of a surrogate pair, joiners, other scripts, quotes.
STRINGS = [
    "",
    " ",
    "\n",
    "\xa0",
    "\x00",
    "\ud800",
    "a\udc00b",
    "\ufeff",
    "\u202e",
    "e\u0301",
    "\u200d",
    "中文",
    "'\"\\",
]
# What a user's JSON can hold in the wrong place.
JSON_VALUES = [
    *(None, True, False, -1, 0, 1, 3, 10**9, -(10**400), 10**5000, 1.0, 0.5, float("nan"), float("inf")),
    *(*STRINGS, "Na", "P17", "*", "[SEP]", "<b>&", "a" * 5_000, "many words " * 500),
    *([], {}, [[]], [{}], [0, 1], [1, 0], [0, 10**9], ["a"], [None], {"a": {"b": []}}, DEEP, [1] * 3_000),
]
# What only Python can hold.
PYTHON_VALUES = [
    *(b"bytes", bytearray(b"a"), (0, 1), (), {1, 2}, frozenset(), 1j, object(), nested(50_000), range(2), ..., int),
    *(np.int64(1), np.float32(0.5), np.str_("text"), np.array([0, 1]), {1: 2, "a": 3}, {None: 0}),
]
KEYS = ["text", "title", "sents", "vertexSet", "entities", "labels", "uncounted", "mentions", "evidence", "\ud800", ""]
# Byte order marks, bytes that are not UTF-8, deep nesting, long numbers, and what separates fields.
MARKS = [b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b'"\\ud800"', b"[" * 100_000, b"9" * 5_000, b"\t", b"|", b"\n"]


@st.composite
def damaged(draw, originals, values, most=2):
    """Draws one of `originals` and changes it in up to `most` places, at any depth."""
    root = [copy.deepcopy(draw(st.sampled_from(originals)))]
    # Values that were put in are shared between cases, and some are too deep to walk through.
    foreign = {id(value) for value in values}
    for _ in range(draw(st.integers(1, most))):
        parent, key = root, 0
        while True:
            child = parent[key]
            keys = () if id(child) in foreign else keys_of(child)
            if not keys or draw(st.integers(0, 7)) == 7:
                break
            parent, key = child, draw(st.sampled_from(keys))
        damage(draw, parent, key, values)
    return root[0]


def keys_of(value):
    return sorted(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()


def damage(draw, parent, key, values):
    kind = draw(st.sampled_from(["shift", "add", "repeat", "replace", "replace", "delete"]))
    child = parent[key]
    if kind == "delete" and not (isinstance(parent, list) and len(parent) == 1):
        del parent[key]
    elif kind == "repeat" and isinstance(parent, list):
        parent.insert(key, child if child is None or isinstance(child, (int, str)) else draw(st.sampled_from(values)))
    elif kind == "add" and isinstance(parent, dict):
        parent[draw(st.sampled_from(KEYS))] = draw(st.sampled_from(values))
    elif kind == "shift" and type(child) is int:
        parent[key] = child + draw(st.integers(-3, 3))
    elif kind == "shift" and isinstance(child, str):
        parent[key] = child + draw(st.text(max_size=5))
    else:
        parent[key] = draw(st.sampled_from(values))


def as_json(value):
    """Writes JSON. Integers may have any number of digits."""
    if value is DEEP:
        return "[" * 100_000 + "]" * 100_000
    if type(value) is int and value.bit_length() > 10_000:
        return "9" * 5_000
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    return json.dumps(value)


@st.composite
def damaged_bytes(draw, originals):
    """Draws one of `originals`, bytes, and changes, cuts, repeats or inserts some of them."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content)))
        end = min(len(content), place + draw(st.sampled_from([0, 1, 1, 4, 40])))
        inserted = draw(
            st.one_of(
                st.just(b""),
                st.binary(min_size=1, max_size=4),
                st.just(bytes(content[place:end]) * 2),
                st.sampled_from(MARKS),
            )
        )
        content[place:end] = inserted
    return bytes(content[: draw(st.sampled_from([len(content)] * 4 + [len(content) // 2]))])
