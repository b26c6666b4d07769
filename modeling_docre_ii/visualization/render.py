"""Draws documents with their entities and triples: `render`."""

import html
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils.atomic_write import atomic_write
from .pages import fill_page
from .picture_data import picture_data


TEMPLATE = Path(__file__).with_name("picture.html")
# In a notebook. In a browser the page fills the window.
_HEIGHT = 640


class RenderedDocument(str):
    """
    A page of HTML that shows documents, their entities and their triples.

    It is a string. A notebook shows it as a picture, and [`~RenderedDocument.save`] writes it to a file. It loads
    nothing, so the file can be sent and opened anywhere.
    """

    def _repr_html_(self) -> str:
        # In a frame, its styles do not leak into the notebook. In a sandbox, it cannot reach the notebook.
        return (
            f'<iframe title="Document with its triples" srcdoc="{html.escape(self)}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} characters, which .save(path) writes>"

    def save(self, path: str | os.PathLike) -> Path:
        """
        Writes the page to a file.

        Args:
            path (`str` or `os.PathLike`):
                The file. Its folder is created.

        Returns:
            `Path`: the file.

        Raises:
            [`FileWriteError`]: the file cannot be written. An older one stays.
        """
        with atomic_write(path) as partial:
            partial.write_text(self, encoding="utf-8")
        return Path(path)


def render(document: Any, triples: Iterable[Any]) -> RenderedDocument:
    """
    Draws a document, or several, with their entities and triples.

    The page has the text with its entities, the graph of the triples and a table of them. A click on a triple marks
    its mentions and the sentences of its evidence. If the pipeline was called with `explain=True`, the page also shows
    the iteration that found it and the pairs it was inferred from.

    Args:
        document (`dict` or a list of them):
            A plain text with `entities`, such as `find_entities` of the pipeline returns, or a document in DocRED's
            form. Of several documents, the reader picks one.
        triples (`list[dict]`, or a list of such lists for several documents):
            What the pipeline returned for it.

    Returns:
        [`RenderedDocument`]: the page, a string. A notebook shows it, and `save(path)` writes it.

    Raises:
        [`DocumentError`]: a document has no entities or is malformed, or a triple is malformed or of another document.
            The message names the document, the triple and the field.
        `ValueError`: there are not as many lists of triples as documents.

    Example:

    ```python
    >>> extractor = pipeline("document-relation-extraction", model="outputs/quickstart")
    >>> document = extractor.find_entities("Charles Babbage was born in London, the capital of England.")
    >>> render(document, extractor(document, explain=True)).save("babbage.html")
    ```
    """
    is_one = isinstance(document, (Mapping, str))
    data = picture_data([document], [triples]) if is_one else picture_data(document, triples)
    return RenderedDocument(fill_page(TEMPLATE, data))


__all__ = ["RenderedDocument", "render"]
