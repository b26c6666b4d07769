"""XML: elements with their lines, as ElementTree reads them, and files that are refused."""

import xml.etree.ElementTree as ElementTree

import pytest

from modeling_docre_ii.annotation_formats.xml_elements import read_xml
from modeling_docre_ii.documents import DocumentError
from tests.modeling_docre_ii.annotation_formats.test_bioc import CDR


def same(element, other):
    pieces = (other.text or "") + "".join(child.tail or "" for child in other)
    assert (element.tag, element.attributes, element.text) == (other.tag, other.attrib, pieces)
    assert len(element.children) == len(other)
    for child, of_other in zip(element.children, other):
        same(child, of_other)


def test_elements_are_those_of_elementtree_and_know_their_line(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(CDR, encoding="utf-8")
    root = read_xml(path)
    same(root, ElementTree.fromstring(CDR))

    lines = CDR.splitlines()
    (document,) = root.all("document")
    for passage in document.all("passage"):
        assert lines[passage.line - 1].strip() == "<passage>"
    assert document.text_of("id") == "10" and document.text_of("none") is None


def test_entities_are_refused_before_they_grow(tmp_path):
    path = tmp_path / "bomb.xml"
    levels = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 30))
    path.write_text(f'<!DOCTYPE x [\n<!ENTITY a0 "a">\n{levels}]><x>&a29;</x>')
    with pytest.raises(DocumentError, match="bomb.xml, line 2: this defines the entity 'a0', which is not read$"):
        read_xml(path)
    path.write_text('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>')
    with pytest.raises(DocumentError, match="line 1: this defines the entity 'e'"):
        read_xml(path)


def test_entities_that_only_a_dtd_defines_are_refused(tmp_path):
    """The DTD is not read, so they would be missing in the text."""
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE x SYSTEM "x.dtd">\n<x>5 &mu;m &lt; &#956;</x>', encoding="utf-8")
    with pytest.raises(DocumentError, match="a.xml, line 2: the entity 'mu' is not defined in this file$"):
        read_xml(path)
    path.write_text('<!DOCTYPE x SYSTEM "x.dtd">\n<x>5 &lt; &#956;</x>', encoding="utf-8")
    assert read_xml(path).text == "5 < \u03bc"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.xml"
    for content, message in (
        ("", "line 1: this is not XML: no element found"),
        ("<a>\n<b></a>", "line 2: this is not"),
    ):
        path.write_text(content)
        with pytest.raises(DocumentError, match=f"a.xml, {message}"):
            read_xml(path)
