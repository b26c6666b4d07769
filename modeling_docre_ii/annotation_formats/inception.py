"""INCEpTION, in UIMA CAS JSON 0.4: layers of spans, relations and chains."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..quoting import quote
from ..utils.suggestions import did_you_mean
from .annotated_text import AnnotatedText, Node, Relation, Report, check_span, utf16_positions
from .source_files import ENDINGS, fail, list_files, read_json


_ANNOTATION = "uima.tcas.Annotation"
_SOFA = "uima.cas.Sofa"
_NAMED_ENTITY = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
_COREFERENCE = "de.tudarmstadt.ukp.dkpro.core.api.coref.type.Coreference"
_METADATA = "de.tudarmstadt.ukp.dkpro.core.api.metadata.type.DocumentMetaData"

# Layers of words, sentences and syntax, and what INCEpTION keeps for itself.
_BUILT_IN = ("uima.", "de.tudarmstadt.ukp.", "org.dkpro.")

# The types of texts, and of features with several. Arrays have the name of their own or that of their elements.
_TEXTS = ("uima.cas.String", "uima.cas.String[]", "uima.cas.StringArray")

# The features of labels, if a layer has several texts, and the feature of a link to a knowledge base.
_LABELS = ("value", "label")
_IDENTIFIER = "identifier"


def read_inception(path: str, report: Report, layers: Sequence[str] = ()) -> Iterator[AnnotatedText]:
    """
    Reads documents that INCEpTION exports as UIMA CAS JSON.

    Spans of named entities and of custom layers are mentions. A relation goes from its source (`Governor`) to its
    target (`Dependent`). A coreference chain is one entity, and so are the spans of one label with the same
    `identifier`.

    Args:
        path (`str`):
            A `.json` file, or a folder of such files, at any depth.
        report ([`Report`]):
            Counts the layers that are left out, and the further labels of a span whose label has several values.
        layers (`Sequence[str]`, *optional*):
            The layers to read, as `NAME` or, if a layer has several texts, `NAME:FEATURE` with that of the label.
            Defaults to named entities, coreference, and all custom layers.

    Yields:
        [`AnnotatedText`]: a document, with the title that it has in INCEpTION.

    Raises:
        [`DocumentError`]: a file is malformed, or the label of a layer is unknown. The message names file, feature
            structure and feature.
    """
    chosen = dict(layer.partition(":")[::2] for layer in layers)
    for file in list_files(path, ENDINGS["inception"]):
        content = read_json(file)
        structures = content.get("%FEATURE_STRUCTURES") if isinstance(content, Mapping) else None
        types = content.get("%TYPES") if isinstance(content, Mapping) else None
        if not isinstance(structures, (list, Mapping)) or not isinstance(types, Mapping):
            fail(str(file), "found no '%TYPES' and '%FEATURE_STRUCTURES', expected UIMA CAS JSON")
        yield _Document(file, types, structures, chosen, report).read()


class _Document:
    """The feature structures of a file, by their ids."""

    def __init__(
        self,
        file: Path,
        types: Mapping[str, Any],
        structures: list[Any] | Mapping[str, Any],
        chosen: dict[str, str],
        report: Report,
    ):
        self.file, self.types, self.chosen, self.report = file, types, chosen, report
        pairs = structures.items() if isinstance(structures, Mapping) else ((None, one) for one in structures)
        self.structures: dict[Any, Mapping[str, Any]] = {}
        for key, structure in pairs:
            if not isinstance(structure, Mapping) or not isinstance(structure.get("%TYPE"), str):
                fail(str(file), f"found the feature structure {quote(structure)}, expected one with a '%TYPE'")
            name = structure.get("%ID") if key is None else int(key) if key.isdecimal() else key
            if not isinstance(name, (int, str)) or name in self.structures:
                fail(str(file), f"'%ID' is {quote(name)}, expected an id that no other feature structure has")
            self.structures[name] = structure
        for name in chosen:
            if name not in types:
                fail(str(file), f"there is no layer {name!r}{did_you_mean(name, types)}")
        self.nodes: dict[Any, tuple[Node, ...]] = {}
        self.labels: dict[Node, str] = {}
        self.left_out: set[Any] = set()
        # The mentions at each span, for chains.
        self.by_span: dict[tuple[int, int], list[Node]] = {}

    def read(self) -> AnnotatedText:
        sofas = {key: one for key, one in self.structures.items() if one["%TYPE"] == _SOFA}
        texts = {key: one["sofaString"] for key, one in sofas.items() if isinstance(one.get("sofaString"), str)}
        if not texts:
            fail(str(self.file), "there is no text, expected a uima.cas.Sofa with a 'sofaString'")
        self.sofa, text = next(iter(texts.items()))
        self.report.skip("text", " beside the first of its file", len(texts) - 1)
        metadata = next((one for one in self.structures.values() if one["%TYPE"] == _METADATA), {})
        title = metadata.get("documentTitle") or metadata.get("documentId") or self.file.stem
        self.text = AnnotatedText(str(title), str(self.file), text)
        self.positions = utf16_positions(text)
        kinds: dict[str, list[tuple[Any, Mapping[str, Any]]]] = {"span": [], "relation": [], "chain": []}
        for key, structure in self.structures.items():
            kind = self._kind(structure)
            if kind in kinds:
                kinds[kind].append((key, structure))
        for key, structure in kinds["span"]:
            self._read_span(key, structure)
        for key, structure in kinds["relation"]:
            self._read_relation(key, structure)
        for key, structure in kinds["chain"]:
            self._read_chain(key, structure)
        return self.text

    def _kind(self, structure: Mapping[str, Any]) -> str:
        """Returns whether a feature structure is a span, a relation, a chain, or none of these."""
        layer = structure["%TYPE"]
        features = self.types.get(layer)
        is_known = layer in (_NAMED_ENTITY, f"{_COREFERENCE}Chain", f"{_COREFERENCE}Link")
        if layer.endswith("[]") or (layer.startswith(_BUILT_IN) and not is_known):
            return ""
        if not isinstance(features, Mapping):
            fail(self._name(structure.get("%ID"), structure), "its type is not in '%TYPES'")
        if "next" in features and "referenceType" in features:
            return "link"
        is_annotation = self._is_annotation(layer)
        if not is_annotation and "first" not in features:
            # A role of a slot feature, counted with its host.
            return ""
        if self.chosen and layer not in self.chosen:
            self.report.skip("annotation", f" of the layer {quote(layer, 80)}")
            return ""
        if not is_annotation:
            return "chain"
        return "relation" if {"Governor", "Dependent"} <= set(features) else "span"

    def _is_annotation(self, layer: str) -> bool:
        for _ in range(len(self.types) + 1):
            if layer == _ANNOTATION:
                return True
            above = self.types.get(layer)
            layer = str(above.get("%SUPER_TYPE")) if isinstance(above, Mapping) else ""
        return False

    def _name(self, key: Any, structure: Mapping[str, Any]) -> str:
        return f"{self.file}: {quote(structure['%TYPE'].rpartition('.')[2], 40)} {quote(key)}"

    def _target(self, structure: Mapping[str, Any], feature: str) -> int | str | None:
        """Returns the id that a feature refers to."""
        target = structure.get(feature)
        if target is not None and not isinstance(target, (int, str)):
            fail(self._name(structure.get("%ID"), structure), f"{quote(feature)} is {quote(target)}, expected an id")
        return target

    def _labels(self, place: str, structure: Mapping[str, Any], noun: str) -> list[str]:
        """Finds the labels of a span or relation, usually one. A layer without texts is its own label."""
        layer = structure["%TYPE"]
        feature = self.chosen.get(layer, "")
        declared = {
            name: one.get("%RANGE")
            for name, one in self.types[layer].items()
            if isinstance(one, Mapping) and not name.startswith("%")
        }
        if feature and feature not in declared:
            fail(place, f"the layer has no feature {feature!r}{did_you_mean(feature, declared)}")
        texts = [name for name, kind in declared.items() if kind in _TEXTS and name != _IDENTIFIER]
        feature = feature or next((name for name in _LABELS if name in texts), "")
        if not feature and len(texts) > 1:
            fail(
                place,
                f"the layer has the texts {quote(texts, 60)}: name that of the label, `layer` LAYER:FEATURE",
            )
        if not feature and not texts:
            return [layer.rpartition(".")[2]]
        feature = feature or texts[0]
        label = structure.get(feature)
        target = self._target(structure, f"@{feature}")
        if target is not None:
            label = self.structures.get(target, {}).get("%ELEMENTS")
        given = label if isinstance(label, list) else [label]
        labels = [one for one in given if isinstance(one, str) and one.strip()]
        if labels and len(labels) == len(given):
            return labels
        self.report.refuse("unlabelled", place, f"{quote(feature)} is {quote(label)}", noun, " without a label")
        return []

    def _read_span(self, key: Any, structure: Mapping[str, Any]) -> None:
        place = self._name(key, structure)
        for feature in structure:
            target = self._target(structure, feature) if feature.startswith("@") else None
            elements = self.structures.get(target, {})
            if elements.get("%ELEMENTS") and _holds_structures(elements["%TYPE"]):
                self.report.refuse("events", place, f"it has roles, {quote(feature[1:])}", "role feature", " of spans")
        if structure.get("@sofa", self.sofa) != self.sofa:
            self.report.skip("annotation", " of other texts")
            self.left_out.add(key)
            return
        labels = self._labels(place, structure, "span")
        if not labels:
            self.left_out.add(key)
            return
        label = labels[0]
        self.report.skip("further label", " of a span", len(labels) - 1)
        node: Node = (str(key),)
        self.nodes[key], self.labels[node] = (node,), label
        self._add(place, structure, label, node)
        identifier = structure.get(_IDENTIFIER)
        if isinstance(identifier, str) and identifier.strip():
            self.text.links.append((node, (label, identifier.strip())))

    def _add(self, place: str, structure: Mapping[str, Any], label: str, node: Node) -> None:
        span = self.text.add_mention(place, self._span(place, structure), label, (node,), self.report)
        self.by_span.setdefault(span, []).append(node)

    def _span(self, place: str, structure: Mapping[str, Any]) -> tuple[int, int]:
        begin, end = check_span(place, (structure.get("begin"), structure.get("end")), len(self.positions) - 1)
        if -1 in (self.positions[begin], self.positions[end]):
            fail(place, f"the span [{begin}, {end}] cuts a character, expected offsets in UTF-16")
        return self.positions[begin], self.positions[end]

    def _read_relation(self, key: Any, structure: Mapping[str, Any]) -> None:
        place = self._name(key, structure)
        ends = [self._target(structure, feature) for feature in ("@Governor", "@Dependent")]
        if self.left_out & set(ends):
            self.report.skip("relation", " of what was left out")
            return
        for feature, end in zip(("Governor", "Dependent"), ends):
            if end not in self.nodes:
                fail(place, f"{feature!r} is {quote(end)}, expected a span of a layer that is read")
        for label in self._labels(place, structure, "relation"):
            self.text.relations.append(Relation(place, label, self.nodes[ends[0]], self.nodes[ends[1]]))

    def _read_chain(self, key: Any, structure: Mapping[str, Any]) -> None:
        """
        Joins the spans of a chain.

        The links of a chain have no labels of entities. Those at the same characters as a span stand for it, and the
        others become mentions of the same type.
        """
        links: list[tuple[Any, Mapping[str, Any]]] = []
        current = self._target(structure, "@first")
        while current is not None:
            link = self.structures.get(current)
            if link is None or len(links) == len(self.structures):
                found = f"there is no link {quote(current)}" if link is None else "its links form a circle"
                fail(self._name(key, structure), f"{found}, expected a list of links")
            links.append((current, link))
            current = self._target(link, "@next")
        spans = [self._span(self._name(link_key, link), link) for link_key, link in links]
        labelled = [node for span in spans for node in self.by_span.get(span, ())]
        if not labelled:
            self.report.skip("coreference chain", " without a labelled span")
            return
        for (link_key, link), span in zip(links, spans):
            if span not in self.by_span:
                self._add(self._name(link_key, link), link, self.labels[labelled[0]], labelled[0])
        self.text.links += zip(labelled, labelled[1:])


def _holds_structures(array: str) -> bool:
    """Returns whether an array holds feature structures, not texts or numbers."""
    is_built_in = array.startswith("uima.cas.")
    return array in ("uima.cas.FSArray", "uima.cas.TOP[]") or (array.endswith("[]") and not is_built_in)


__all__ = ["read_inception"]
