"""Identifiers of nodes, and names of relations in other tools."""

import re
from collections.abc import Collection
from functools import lru_cache

from ..entity_linking import normalized_name


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# How the identifiers of entities begin that have no id in a knowledge base, or a number that does not say which.
_NAMED, _NUMBERED = "name:", "number:"
_NUMBER = re.compile("[0-9]+")
_WIKIDATA_ITEM = re.compile("Q[1-9][0-9]*")
_WIKIDATA_PROPERTY = re.compile("P[1-9][0-9]*")


# Documents repeat names.
@lru_cache(maxsize=1 << 16)
def node_id(name: str, kind: str, kb_id: str | None) -> str:
    """
    Returns the identifier of an entity's node, the same for entities to merge.

    Args:
        name (`str`):
            Name of the entity.
        kind (`str`):
            Its type.
        kb_id (`str`, *optional*):
            Its identifier in a knowledge base.

    Returns:
        `str`: the `kb_id`, such as `"Q90"`. For a number, type and `kb_id`, such as `"number:Gene:10090"`: genes and
            species of NCBI have the same numbers. Without a `kb_id`, type and normalized name, such as
            `"name:LOC:new%20york"`. All but letters, digits, other printable characters outside of ASCII, and `-._~:`
            is percent-encoded, so that the identifier is valid in XML, in an IRI and in CSV.
    """
    if kb_id:
        if _NUMBER.fullmatch(kb_id):
            return f"{_NUMBERED}{percent_encode(kind)}:{kb_id}"
        encoded = percent_encode(kb_id, safe=":")
        # A knowledge base may have a "name:" of its own.
        return encoded.replace(":", "%3A", 1) if encoded.startswith((_NAMED, _NUMBERED)) else encoded
    return f"{_NAMED}{percent_encode(kind)}:{percent_encode(normalized_name(name, kind), safe=':')}"


def percent_encode(text: str, safe: Collection[str] = ()) -> str:
    """
    Percent-encodes what a part of an IRI cannot hold.

    Args:
        text (`str`):
            The text.
        safe (`Collection[str]`, *optional*):
            Characters to keep.

    Returns:
        `str`: the text, different for different texts. Printable characters outside of ASCII stay, as in
        `urllib.parse.quote` they would not.
    """
    return "".join(
        character
        if character in _UNRESERVED or character in safe or _is_iri_character(character)
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )


def _is_iri_character(character: str) -> bool:
    """Returns whether a character is one of RFC 3987's `ucschar`, and printable."""
    code = ord(character)
    return code >= 0xA0 and not 0xFFF0 <= code <= 0xFFFF and character.isprintable()


def is_wikidata_item(kb_id: str | None) -> bool:
    """Returns whether an identifier looks like a Wikidata item, such as `"Q90"`."""
    return kb_id is not None and _WIKIDATA_ITEM.fullmatch(kb_id) is not None


def is_wikidata_property(relation: str) -> bool:
    """Returns whether an id looks like a Wikidata property, such as `"P17"`."""
    return _WIKIDATA_PROPERTY.fullmatch(relation) is not None


def relationship_type(relation: str, relation_name: str) -> str:
    """
    Returns a relation's name in the style of property graphs.

    Args:
        relation (`str`):
            Id of the relation.
        relation_name (`str`):
            Its readable name.

    Returns:
        `str`: the name in capital letters, with `_` for everything but letters and digits, such as
        `"PLACE_OF_BIRTH"`. The id if nothing is left of the name.
    """
    return re.sub(r"\W+", "_", relation_name).strip("_").upper() or relation


__all__ = ["is_wikidata_item", "is_wikidata_property", "node_id", "percent_encode", "relationship_type"]
