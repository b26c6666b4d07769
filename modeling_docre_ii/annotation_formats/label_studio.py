"""Label Studio, in JSON: tasks with labelled regions of a text and relations."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..quoting import quote
from .annotated_text import AnnotatedText, Node, Relation, Report, check_span, utf16_positions
from .source_files import ENDINGS, fail, list_files, read_json


_DIRECTIONS = ("right", "left", "bi")


def read_label_studio(
    path: str, report: Report, text_field: str | None = None, latest: bool = False
) -> Iterator[AnnotatedText]:
    """
    Reads an export of Label Studio.

    The regions of type `labels` are mentions. A relation goes from its first region to the second (`right`), back
    (`left`), or in both directions (`bi`, two facts).

    Args:
        path (`str`):
            A `.json` file with a task or a list of tasks, or a folder of such files.
        report ([`Report`]):
            Counts predictions, cancelled annotations, tasks without an annotation, results of other types, and regions
            of other texts.
        text_field (`str`, *optional*):
            The key of the text in `data`. Defaults to the string that has the regions at their offsets, or the one
            that their `to_name` names. It must be given if regions have several `to_name`.
        latest (`bool`, *optional*, defaults to `False`):
            Whether to read the annotation that was updated last, if a task has several and none is the ground truth.

    Yields:
        [`AnnotatedText`]: a document, with the id of its task as the title.

    Raises:
        [`DocumentError`]: a task is malformed, or has several annotations. The message names file, task and field.
    """
    for file in list_files(path, ENDINGS["label_studio"]):
        tasks = read_json(file)
        if isinstance(tasks, Mapping):
            tasks = [tasks]
        if not isinstance(tasks, list) or not tasks:
            fail(str(file), f"found {quote(tasks)}, expected a list of tasks")
        for index, task in enumerate(tasks):
            if not isinstance(task, Mapping):
                fail(f"{file}, item {index}", f"found {quote(task)}, expected a task, a JSON object")
            annotated = _read_task(task, file, index, report, text_field, latest)
            if annotated is not None:
                yield annotated


def _read_task(
    task: Mapping[str, Any], file: Path, index: int, report: Report, text_field: str | None, latest: bool
) -> AnnotatedText | None:
    name = task.get("id", index)
    place = f"{file}, task {quote(name)}"
    data = task.get("data")
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(data, Mapping):
        fail(
            place,
            "'data' is missing, expected the text of the task (exports of the kind JSON-MIN have no 'data' and no "
            "relations: choose JSON)",
        )
    if annotations is not None and not isinstance(annotations, list):
        fail(place, f"'annotations' is {quote(annotations)}, expected a list")
    predictions = task.get("predictions")
    report.skip("prediction", count=len(predictions) if isinstance(predictions, list) else 0)
    annotation = _choose_annotation(annotations or [], place, report, latest)
    if annotation is None:
        report.skip("task", " without an annotation")
        return None
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(result, Mapping) for result in results):
        fail(place, f"'result' is {quote(results)}, expected a list of regions and relations")
    return _Task(place, str(name), data, results, report).read(text_field)


def _choose_annotation(annotations: list[Any], place: str, report: Report, latest: bool) -> Mapping[str, Any] | None:
    for annotation in annotations:
        if not isinstance(annotation, Mapping):
            fail(place, f"found the annotation {quote(annotation)}, expected a JSON object")
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    report.skip("cancelled annotation", count=len(annotations) - len(kept))
    if len(kept) > 1 and any(one.get("ground_truth") for one in kept):
        report.skip("annotation", " beside the ground truth", sum(not one.get("ground_truth") for one in kept))
        kept = [one for one in kept if one.get("ground_truth")]
    if len(kept) > 1:
        if not latest:
            fail(
                place,
                f"there are {len(kept)} annotations: mark one as the ground truth in Label Studio, or set "
                "`latest_annotation` to import the one that was updated last",
            )
        report.skip("annotation", " beside the latest", len(kept) - 1)
        # Times are in ISO 8601. The later of two equal ones is the later in the file.
        kept = sorted(kept, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    return kept[-1] if kept else None


class _Task:
    """A task with the annotation that is read."""

    def __init__(
        self, place: str, title: str, data: Mapping[str, Any], results: list[Mapping[str, Any]], report: Report
    ):
        self.place, self.title, self.data, self.report = place, title, data, report
        self.regions = [result for result in results if result.get("type") == "labels"]
        self.relations = [result for result in results if result.get("type") == "relation"]
        self.nodes: dict[str, tuple[Node, ...]] = {}
        self.left_out: set[str] = set()
        for result in results:
            kind = result.get("type")
            if isinstance(kind, str) and kind.endswith("labels") and kind != "labels":
                fail(self._name(result), f"'type' is {quote(kind)}, expected 'labels': only plain texts can be read")
            if kind not in ("labels", "relation"):
                self.report.skip("result", f" of type {quote(kind)}")

    def read(self, text_field: str | None) -> AnnotatedText:
        self.text = AnnotatedText(self.title, self.place, self._find_text(text_field))
        self.positions = self._offsets(self.text.text)
        for region in self.regions:
            self._read_region(region)
        for relation in self.relations:
            self._read_relation(relation)
        return self.text

    def _name(self, result: Mapping[str, Any]) -> str:
        return f"{self.place}, region {quote(result.get('id'))}"

    def _find_text(self, text_field: str | None) -> str:
        """Finds the text to read, and leaves out the regions of others."""
        texts = {key: value for key, value in self.data.items() if isinstance(value, str)}
        names = dict.fromkeys(_to_name(region) for region in self.regions)
        if text_field is not None:
            if text_field not in texts:
                fail(self.place, f"'data' has no text {text_field!r}, its keys are {quote(list(self.data))}")
            self._leave_out_others(text_field, {name: self._key_of(name, texts) for name in names})
            return texts[text_field]
        if len(names) > 1:
            found = f"the regions are of {len(names)} texts, {quote(list(names))} (their `to_name`)"
            fail(self.place, f"{found}: set `text_field` to the key in 'data' of the one to import")
        name = next(iter(names), "text")
        key = self._key_of(name, texts)
        if key is None:
            found = f"{len(texts)} texts, {quote(list(texts))}"
            fail(self.place, f"'data' has {found}: set `text_field` to the key of the one that was annotated")
        return texts[key]

    def _key_of(self, name: str, texts: Mapping[str, str]) -> str | None:
        """
        Finds the text that regions belong to.

        Exports do not have the labeling configuration, which says it. The texts of the regions do, and where they do
        not tell, the name is usually the key.
        """
        regions = [region for region in self.regions if _to_name(region) == name]
        if name in texts and not any(_has_text(region) for region in regions):
            return name
        matches = {key: _num_matches(regions, text) for key, text in texts.items()}
        best = [key for key, count in matches.items() if count == max(matches.values())]
        return name if name in best else best[0] if len(best) == 1 else None

    def _leave_out_others(self, text_field: str, key_of_name: Mapping[str, str | None]) -> None:
        # With a single name that could be of several texts, the user knows.
        unknown = [name for name, key in key_of_name.items() if key is None and len(key_of_name) > 1]
        if unknown:
            fail(
                self.place,
                f"it is unclear which text of 'data' the regions with the `to_name` {quote(unknown[0])} belong to: "
                "change the `to_name` to the key of the text",
            )
        others = [one for one in self.regions if key_of_name[_to_name(one)] not in (text_field, None)]
        self.regions = [one for one in self.regions if key_of_name[_to_name(one)] in (text_field, None)]
        self.report.skip("region", " of other texts", len(others))
        self.left_out.update(one["id"] for one in others if isinstance(one.get("id"), str))

    def _offsets(self, text: str) -> list[int] | range:
        """Finds out how offsets are counted: in characters by newer versions, in UTF-16 by older ones."""
        characters, in_utf16 = range(len(text) + 1), utf16_positions(text)
        num_characters, num_utf16 = (_matching(self.regions, text, one) for one in (characters, in_utf16))
        if num_characters == num_utf16 == len(self.regions) and any(
            in_utf16[offset] != offset for region in self.regions for offset in _span(region)
        ):
            fail(
                self.place,
                "the text has characters that are two in UTF-16, and no region tells whether offsets count them as "
                "one or two: export the regions with their texts",
            )
        return in_utf16 if num_utf16 > num_characters else characters

    def _read_region(self, region: Mapping[str, Any]) -> None:
        place, value, name = self._name(region), region.get("value"), region.get("id")
        if not isinstance(value, Mapping) or not isinstance(name, str):
            fail(place, f"'value' is {quote(value)}, expected a JSON object with start, end and labels, and an 'id'")
        positions = self.positions
        start, end = check_span(place, (value.get("start"), value.get("end")), len(positions) - 1)
        if not _matches(region, self.text.text, positions):
            found, expected = self.text.text[positions[start] : positions[end]], value.get("text")
            fail(place, f"the text from {start} to {end} is {quote(found, 60)}, expected {quote(expected, 60)}")
        labels = value.get("labels") or []
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            fail(place, f"'labels' is {quote(labels)}, expected a list of strings")
        if name in self.nodes:
            self.report.skip("further label", " of a region", len(labels))
        elif labels:
            self.report.skip("further label", " of a region", len(labels) - 1)
            self.nodes[name] = ((name,),)
            span = (positions[start], positions[end])
            self.text.add_mention(place, span, labels[0], self.nodes[name], self.report)
        else:
            self.report.refuse("unlabelled", place, "the region has no label", "region", " without a label")
            self.left_out.add(name)

    def _read_relation(self, relation: Mapping[str, Any]) -> None:
        source, target = relation.get("from_id"), relation.get("to_id")
        place = f"{self.place}, relation from {quote(source)} to {quote(target)}"
        for name in (source, target):
            if not isinstance(name, str) or name not in {*self.nodes, *self.left_out}:
                fail(place, f"there is no region {quote(name)}")
        if {source, target} & self.left_out:
            self.report.skip("relation", " of what was left out")
            return
        labels, direction = relation.get("labels") or [], relation.get("direction", "right")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            fail(place, f"'labels' is {quote(labels)}, expected a list of strings")
        if not isinstance(direction, str) or direction not in _DIRECTIONS:
            fail(place, f"'direction' is {quote(direction)}, expected {', '.join(_DIRECTIONS)}")
        if not labels:
            self.report.refuse("unlabelled", place, "the relation has no label", "relation", " without a label")
        pair = self.nodes[str(source)], self.nodes[str(target)]
        for label in labels:
            if direction != "left":
                self.text.relations.append(Relation(place, label, *pair))
            if direction != "right":
                self.text.relations.append(Relation(place, label, *reversed(pair)))


def _to_name(region: Mapping[str, Any]) -> str:
    name = region.get("to_name")
    return name if isinstance(name, str) else ""


def _has_text(region: Mapping[str, Any]) -> bool:
    value = region.get("value")
    return isinstance(value, Mapping) and value.get("text") is not None


def _span(region: Mapping[str, Any]) -> tuple[Any, Any]:
    value = region.get("value")
    return (value.get("start"), value.get("end")) if isinstance(value, Mapping) else (None, None)


def _num_matches(regions: Sequence[Mapping[str, Any]], text: str) -> int:
    """Counts the regions that have their text at their offsets, however these are counted."""
    return max(_matching(regions, text, range(len(text) + 1)), _matching(regions, text, utf16_positions(text)))


def _matching(regions: Sequence[Mapping[str, Any]], text: str, positions: list[int] | range) -> int:
    return sum(_matches(region, text, positions) for region in regions)


def _matches(region: Mapping[str, Any], text: str, positions: list[int] | range) -> bool:
    """Returns whether a region has its text at its offsets. Not all versions export the text."""
    start, end = _span(region)
    if type(start) is not int or type(end) is not int or not 0 <= start < end < len(positions):
        return False
    if -1 in (positions[start], positions[end]):
        return False
    # Label Studio writes a line break as a backslash and an n.
    found = text[positions[start] : positions[end]]
    return not _has_text(region) or _without_breaks(found) == _without_breaks(str(region["value"]["text"]))


def _without_breaks(text: str) -> str:
    return " ".join(text.replace("\\n", "\n").split())


__all__ = ["read_label_studio"]
