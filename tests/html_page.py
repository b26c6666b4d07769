"""Reads the pages that the library writes, with Python's HTML parser."""

import json
import re
from html.parser import HTMLParser


# Text that ends scripts, attributes and strings, and would be replaced in a template.
HOSTILE = "</script><b> <!-- <script> \u2028\u2029 ${x} __PAGE_DATA__ /* include page.css */ \\ \" '"


class Page(HTMLParser):
    """What a browser sees: the start tags, their attributes, and the text of the scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append((dict(attributes), []))

    def handle_data(self, text):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1][1].append(text)

    @property
    def raw_data(self):
        (text,) = (text for attributes, text in self.scripts if attributes.get("type") == "application/json")
        return "".join(text)

    @property
    def data(self):
        return json.loads(self.raw_data)


def references_of(text):
    """Yields everything in a page that could be loaded from elsewhere."""
    yield from re.findall(r"https?://|@import|url\(|\bimport\b|fetch\(|XMLHttpRequest|innerHTML|WebSocket", text)
    for tag, attributes in Page(text).tags:
        for name in attributes.keys() & {"src", "srcset", "href", "xlink:href", "action", "data", "poster"}:
            if not (attributes[name] or "").startswith("#"):
                yield f"{tag} {name}={attributes[name]}"
