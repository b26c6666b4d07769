"""Pages: hostile text stays text, nothing is loaded, and the parts are shared."""

import modeling_docre_ii
from modeling_docre_ii import render
from modeling_docre_ii.visualization.pages import PARTS
from tests.html_page import HOSTILE, Page, references_of
from tests.modeling_docre_ii.visualization.documents import (
    TEXT_DOCUMENT,
    TOKEN_DOCUMENT,
    TRIPLES,
)


def test_hostile_text_stays_text():
    entities = [{"type": HOSTILE, "mentions": [[0, len(HOSTILE)]], "kb_id": HOSTILE}]
    document = {"title": HOSTILE, "text": HOSTILE + " Paris.", "entities": entities}
    surrogate = HOSTILE + "\ud83d"
    head = {"entity": 0, "name": HOSTILE}
    pair = {"head": head, "tail": head, "relation_names": [surrogate], "weight": 1.0}
    hostile_triple = {
        **{"head": head, "tail": head, "relation": surrogate, "relation_name": surrogate, "score": 1, "evidence": []},
        **{"iteration": 1, "support": [pair]},
    }
    page = render(document, [hostile_triple])
    hostile, harmless = Page(page), Page(render(TEXT_DOCUMENT, []))

    (shown,) = hostile.data["documents"]
    assert shown["title"] == HOSTILE and "".join(shown["sents"]).startswith(HOSTILE)
    assert shown["entities"][0]["type"] == shown["entities"][0]["kb_id"] == HOSTILE
    assert shown["triples"][0]["name"] == surrogate and shown["triples"][0]["support"][0]["names"] == [surrogate]
    assert hostile.tags == harmless.tags
    assert hostile.scripts[1:] == harmless.scripts[1:]
    assert "<" not in hostile.raw_data and hostile.raw_data.isascii()
    page.encode()


def test_the_page_asks_for_nothing_outside():
    page = render(TEXT_DOCUMENT, TRIPLES)

    assert list(references_of(page)) == []
    (policy,) = [attributes for tag, attributes in Page(page).tags if "http-equiv" in attributes]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def test_report_and_picture_are_built_of_the_same_parts(tmp_path):
    modeling_docre_ii.write_error_report(tmp_path / "report.html", [TOKEN_DOCUMENT], {"base": []}, {})
    report, picture = (tmp_path / "report.html").read_text(encoding="utf-8"), render(TOKEN_DOCUMENT, [])

    assert "/* include" not in report + picture
    parts = {path.name: path.read_text(encoding="utf-8") for path in PARTS.iterdir()}
    shared = {"page.css", "table.css", "text.css", "elements.js", "table.js", "text.js"}
    assert {name for name, part in parts.items() if part in picture} == set(parts)
    assert {name for name, part in parts.items() if part in report} == shared
