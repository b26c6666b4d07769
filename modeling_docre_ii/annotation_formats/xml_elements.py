"""Reads XML into elements that know their line, without entities."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from ..quoting import quote
from .source_files import fail, open_text


@dataclass
class Element:
    """
    An element of an XML file.

    Args:
        tag (`str`): Its name.
        line (`int`): The line that it starts in.
        attributes (`dict[str, str]`): Its attributes.
        pieces (`list[str]`): Its text, in pieces.
        children (`list[Element]`): The elements in it.
    """

    tag: str
    line: int
    attributes: dict[str, str]
    pieces: list[str] = field(default_factory=list)
    children: list["Element"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """`str`: its text, without that of its children."""
        return "".join(self.pieces)

    def all(self, tag: str) -> Iterator["Element"]:
        """Yields its children of a name."""
        return (child for child in self.children if child.tag == tag)

    def text_of(self, tag: str) -> str | None:
        """Returns the text of its first child of a name, if there is one."""
        return next((child.text for child in self.all(tag)), None)


def read_xml(path: str | Path) -> Element:
    """
    Reads an XML file.

    Files with entities of their own are refused: a few lines can stand for gigabytes. No other file is opened, also
    no DTD that defines entities.

    Args:
        path (`str` or `Path`):
            The file, plain or gzipped, in UTF-8.

    Returns:
        [`Element`]: its root.

    Raises:
        [`DocumentError`]: the file cannot be read, is not XML, or has entities that it or its DTD defines. The message
            names file and line.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    document = Element("", 0, {})
    opened = [document]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, parser.CurrentLineNumber, attributes)
        opened[-1].children.append(element)
        opened.append(element)

    def refuse_entity(name: str, *_: object) -> NoReturn:
        fail(f"{path}, line {parser.CurrentLineNumber}", f"this defines the entity {quote(name)}, which is not read")

    def refuse_unknown_entity(name: str, *_: object) -> NoReturn:
        fail(f"{path}, line {parser.CurrentLineNumber}", f"the entity {quote(name)} is not defined in this file")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: opened.pop()
    parser.CharacterDataHandler = lambda text: opened[-1].pieces.append(text)
    parser.EntityDeclHandler = refuse_entity
    # With a DTD elsewhere, which is not read, expat would leave out what it may define.
    parser.SkippedEntityHandler = refuse_unknown_entity
    with open_text(path) as stream:
        try:
            while piece := stream.read(1 << 20):
                parser.Parse(piece, False)
            parser.Parse("", True)
        except expat.ExpatError as error:
            fail(f"{path}, line {error.lineno}", f"this is not XML: {expat.errors.messages[error.code]}")
    return document.children[0]


__all__ = ["Element", "read_xml"]
