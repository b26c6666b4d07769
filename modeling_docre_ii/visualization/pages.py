"""HTML pages: a template, the parts that pages share, and the data they show."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


PARTS = Path(__file__).with_name("parts")
# A line of a template, in CSS and JavaScript alike.
_INCLUDE = re.compile(r"^/\* include (\S+) \*/\n", re.MULTILINE)
_DATA = "__PAGE_DATA__"


def fill_page(template: Path, data: Mapping[str, Any]) -> str:
    """
    Fills a template with the shared parts and with data.

    Args:
        template (`Path`):
            An HTML file. Its lines `/* include NAME */` stand for a file in `parts/`, and `__PAGE_DATA__` for the
            data, inside a `<script type="application/json">`.
        data (`dict`):
            The data. Any text in it stays text: it can neither end the script element nor be lost on the way.

    Returns:
        `str`: the page, which loads nothing from elsewhere.

    Raises:
        `ValueError`: a number in the data is NaN or infinite.
    """
    page = _INCLUDE.sub(lambda include: _read(PARTS / include[1]), _read(template))
    before, _, after = page.partition(_DATA)
    # In JSON `<` is only ever part of a string. Without it no text ends the script element, or opens a comment in it.
    return before + json.dumps(data, allow_nan=False).replace("<", "\\u003c") + after


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def entities_data(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Describes the entities of a document for a page.

    Args:
        document (`dict`):
            A document in DocRED's form, checked.

    Returns:
        `list[dict]`: `name`, `type`, `kb_id` and `mentions` of each entity, a mention as [sentence, start, end, type].
    """
    return [
        {
            "name": mentions[0]["name"],
            "type": mentions[0]["type"],
            "kb_id": mentions[0].get("kb_id"),
            "mentions": [[mention["sent_id"], *mention["pos"], mention["type"]] for mention in mentions],
        }
        for mentions in document["vertexSet"]
    ]


def entity_types(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """
    Lists the types of all mentions, the most frequent first.

    A page colors them in this order.

    Args:
        documents (`Iterable[dict]`):
            Documents in DocRED's form, checked.
    """
    types = Counter(mention["type"] for doc in documents for mentions in doc["vertexSet"] for mention in mentions)
    return [name for name, _ in types.most_common()]
