"""The MeSH tree, and the hypernym filter of CDR."""

import re
from collections import defaultdict
from typing import Any

from modeling_docre_ii.annotation_formats.source_files import open_text
from modeling_docre_ii.documents import DocumentError


TREE_NUMBER = re.compile(r"[A-Z]\d\d(\.\d{3})*")


class MeshTree:
    """
    The places of descriptors in the MeSH tree.

    Args:
        path (`str`):
            A file of tree numbers, descriptors and terms, separated by tabs, such as `2017MeshTree.txt`. The first
            line can hold headings.

    Raises:
        [`DocumentError`]: a line is not in this form, or the file is empty.
    """

    def __init__(self, path: str):
        self._numbers: dict[str, list[str]] = defaultdict(list)
        with open_text(path) as stream:
            for line_number, line in enumerate(stream, start=1):
                number, *rest = line.rstrip("\r\n").split("\t")
                if len(rest) != 2 or not all(rest) or (line_number > 1 and not TREE_NUMBER.fullmatch(number)):
                    raise DocumentError(
                        f"{path}, line {line_number}: found {line[:40]!r}, expected tree number, descriptor and term, "
                        "separated by tabs"
                    )
                if TREE_NUMBER.fullmatch(number):
                    self._numbers[rest[0]].append(number)
        if not self._numbers:
            raise DocumentError(f"{path}: the file has no descriptor")

    def is_hypernym(self, descriptor: str, other: str) -> bool:
        """
        Returns whether a descriptor is above another in a branch of the tree.

        Args:
            descriptor (`str`): The possible hypernym. Unknown descriptors are in no branch.
            other (`str`): The other descriptor.
        """
        return any(
            number.startswith(above + ".")
            for above in self._numbers.get(descriptor, ())
            for number in self._numbers.get(other, ())
        )

    def ignored_pairs(self, document: dict[str, Any], head_type: str, tail_type: str) -> list[dict[str, int]]:
        """
        Returns the pairs that papers on CDR exclude from training and scoring.

        Such a pair has no relation, and its tail is a hypernym of an entity to which the same head is related.

        Args:
            document (`dict`):
                A document with labels and `kb_id`s.
            head_type (`str`), tail_type (`str`):
                Types of candidate pairs.

        Returns:
            `list[dict]`: pairs `h`, `t` of entities.
        """
        entities = [(mentions[0]["type"], mentions[0]["kb_id"]) for mentions in document["vertexSet"]]
        related = {(label["h"], label["t"]) for label in document["labels"]}
        return [
            {"h": head, "t": tail}
            for head, (first_type, _) in enumerate(entities)
            for tail, (second_type, descriptor) in enumerate(entities)
            if (first_type, second_type) == (head_type, tail_type)
            and (head, tail) not in related
            and any(self.is_hypernym(descriptor, entities[other][1]) for same, other in related if same == head)
        ]
