"""Label Studio: regions and relations of its JSON export, annotations to choose from, and what is wrong with them."""

import copy
import json

import pytest

from modeling_docre_ii.annotation_formats.label_studio import read_label_studio
from modeling_docre_ii.documents import DocumentError
from tests.annotation_exports import counts_of, entities_of, facts_of, read


TEXT = "👩‍🔬 Marie Curie was born in Warsaw.\nShe won a Nobel Prize."


def region(name, start, end, text, *labels):
    """A region, as the export writes it. A line break is a backslash and an n."""
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {"value": value, "id": name, "from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}


def relation(source, target, *labels, direction="right"):
    return {"from_id": source, "to_id": target, "type": "relation", "direction": direction, "labels": list(labels)}


RESULT = [
    region("aB1_", 4, 15, "Marie Curie", "Person"),
    region("cD2_", 28, 34, "Warsaw", "City"),
    region("eF3_", 36, 39, "She", "Person"),
    region("gH4_", 46, 57, "Nobel Prize", "Award", "Thing"),
    relation("aB1_", "cD2_", "born_in"),
    relation("gH4_", "eF3_", "won", direction="left"),
    relation("eF3_", "aB1_", "same_as", direction="bi"),
    {"value": {"choices": ["Science"]}, "id": "xY9_", "from_name": "topic", "to_name": "text", "type": "choices"},
]
TASK = {
    "id": 7,
    "annotations": [
        {"id": 11, "completed_by": 1, "result": RESULT, "was_cancelled": False, "ground_truth": False,
         "created_at": "2024-03-01T10:00:00.000000Z", "updated_at": "2024-03-01T10:05:00.000000Z"},
        {"id": 12, "completed_by": 2, "result": [], "was_cancelled": True, "ground_truth": False},
    ],
    "predictions": [{"id": 1, "model_version": "m", "result": [region("p", 4, 15, "Marie Curie", "Person")]}],
    "file_upload": "1-tasks.json",
    "data": {"text": TEXT, "source": "an encyclopedia"},
    "meta": {},
    "project": 3,
}  # fmt: skip
EXPECTED = [
    ("Person", ["Marie Curie", "She"]),
    ("City", ["Warsaw"]),
    ("Award", ["Nobel Prize"]),
]


def write(folder, *tasks, name="export.json"):
    path = folder / name
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def changed(**fields):
    return {**copy.deepcopy(TASK), **fields}


def with_result(*results):
    return changed(annotations=[{"id": 11, "result": list(results)}])


def test_regions_and_relations(tmp_path):
    ((document,), report) = read(read_label_studio, write(tmp_path, TASK), coreference=["same_as"])

    assert (document["title"], document["text"]) == ("7", TEXT)
    assert entities_of(document) == EXPECTED
    assert document["entities"][0]["mentions"] == [[4, 15], [36, 39]]
    assert facts_of(document) == [("Marie Curie", "born_in", "Warsaw"), ("Marie Curie", "won", "Nobel Prize")]
    assert counts_of(report) == {
        "cancelled annotation": 1,
        "prediction": 1,
        "result of type 'choices'": 1,
        "further label of a region": 1,
    }


def test_both_directions_and_several_labels_are_facts_each(tmp_path):
    result = [*RESULT[:2], relation("aB1_", "cD2_", "knows", "likes", direction="bi")]
    ((document,), _) = read(read_label_studio, write(tmp_path, with_result(*result)))

    assert facts_of(document) == [
        ("Marie Curie", "knows", "Warsaw"),
        ("Warsaw", "knows", "Marie Curie"),
        ("Marie Curie", "likes", "Warsaw"),
        ("Warsaw", "likes", "Marie Curie"),
    ]


def in_utf16(result):
    """The offsets of older versions, which count as JavaScript does."""
    result = copy.deepcopy(result)
    for one in result:
        if one["type"] == "labels":
            for key in ("start", "end"):
                one["value"][key] = len(TEXT[: one["value"][key]].encode("utf-16-le")) // 2
    return result


def test_offsets_in_utf16_are_told_by_the_texts_of_the_regions(tmp_path):
    ((document,), _) = read(
        read_label_studio, write(tmp_path, with_result(*in_utf16(RESULT))), coreference=["same_as"]
    )

    assert in_utf16(RESULT)[0]["value"]["start"] == 6
    assert document["entities"][0]["mentions"] == [[4, 15], [36, 39]] and entities_of(document) == EXPECTED


def test_line_breaks_in_a_region_and_white_space_at_its_ends(tmp_path):
    path = write(tmp_path, with_result(region("a", 28, 40, "Warsaw.\\nShe ", "X")))
    ((document,), report) = read(read_label_studio, path)

    assert entities_of(document) == [("X", ["Warsaw.\nShe"])]
    assert counts_of(report)["mention, white space at the ends cut off"] == 1


def test_tasks_in_a_folder_legacy_completions_and_tasks_without_annotation(tmp_path):
    legacy = {"id": 1, "data": {"text": TEXT}, "completions": TASK["annotations"]}
    (tmp_path / "1").write_text("{")  # not an export
    (tmp_path / "1.json").write_text(json.dumps(legacy), encoding="utf-8")
    write(tmp_path, changed(id=2, annotations=[]), changed(id=3), name="2.json")
    documents, report = read(read_label_studio, tmp_path, coreference=["same_as"])

    assert [document["title"] for document in documents] == ["1", "3"]
    assert [entities_of(document) for document in documents] == [EXPECTED, EXPECTED]
    assert counts_of(report)["task without an annotation"] == 1


def annotation(number, updated, **fields):
    result = [region("a", 4, 15, "Marie Curie", f"Type{number}")]
    return {"id": number, "result": result, "updated_at": updated, **fields}


def test_one_of_several_annotations_must_be_chosen(tmp_path):
    several = [annotation(1, "2024-03-02T00:00:00Z"), annotation(2, "2024-03-01T00:00:00Z"), *TASK["annotations"][1:]]
    path = write(tmp_path, changed(annotations=several))
    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path)
    assert str(error.value) == (
        f"{path}, task 7: there are 2 annotations: mark one as the ground truth in Label Studio, or set "
        "`latest_annotation` to import the one that was updated last"
    )
    ((document,), report) = read(read_label_studio, path, None, True)
    assert entities_of(document) == [("Type1", ["Marie Curie"])]
    assert counts_of(report)["annotation beside the latest"] == 1

    several[1]["ground_truth"] = True
    ((document,), report) = read(read_label_studio, write(tmp_path, changed(annotations=several)))
    assert entities_of(document) == [("Type2", ["Marie Curie"])]
    assert counts_of(report)["annotation beside the ground truth"] == 1


def test_the_text_is_the_string_that_has_the_regions_or_the_one_named(tmp_path):
    data = {"headline": "Polonium and radium were found", "body": TEXT, "page": 3}
    ((document,), _) = read(read_label_studio, write(tmp_path, changed(data=data)))
    assert document["text"] == TEXT

    path = write(tmp_path, changed(data={"a": TEXT, "b": TEXT + " And more."}))
    with pytest.raises(DocumentError, match=r"task 7: 'data' has 2 texts, \['a', 'b'\]: set `text_field` to the key"):
        read(read_label_studio, path)
    assert read(read_label_studio, path, "b")[0][0]["text"] == TEXT + " And more."
    with pytest.raises(DocumentError, match="task 7: 'data' has no text 'c', its keys are"):
        read(read_label_studio, path, "c")


def region_of(to_name, name, start, end, label, text=None):
    """A region of a text that is not the only one. Some exports have no texts of regions."""
    one = {**region(name, start, end, text, label), "to_name": to_name}
    return one if text is not None else {**one, "value": {"start": start, "end": end, "labels": [label]}}


TWO_TEXTS = {"title": "Ada Lovelace", "text": "Bob met Ada in London."}


@pytest.mark.parametrize(("to_name", "name"), [("title", "Ada Lovelace"), ("text", "Bob met Ada ")])
def test_regions_without_texts_belong_to_the_text_that_they_name(tmp_path, to_name, name):
    task = changed(data=TWO_TEXTS, annotations=[{"result": [region_of(to_name, "a", 0, 12, "X")]}])
    ((document,), report) = read(read_label_studio, write(tmp_path, task))
    assert document["text"] == TWO_TEXTS[to_name]
    assert entities_of(document) == [("X", [name.strip()])]

    outside = changed(data=TWO_TEXTS, annotations=[{"result": [region_of("title", "a", 0, 13, "X")]}])
    with pytest.raises(DocumentError, match=r"region 'a': the span is \[0, 13\], expected .* <= 12, the length"):
        read(read_label_studio, write(tmp_path, outside))
    unknown = changed(data=TWO_TEXTS, annotations=[{"result": [region_of("t", "a", 0, 12, "X")]}])
    with pytest.raises(DocumentError, match=r"'data' has 2 texts, \['title', 'text'\]: set `text_field`"):
        read(read_label_studio, write(tmp_path, unknown))


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (("title", "text"), (None, None, None)),
        (("title", "text"), ("Ada", "Bob", "Ada")),
        # The names of the configuration differ from the keys. Their regions tell which is which.
        (("t1", "t2"), ("Ada", "Bob", "Ada")),
    ],
)
def test_a_task_with_regions_in_several_texts_needs_the_one_to_read(tmp_path, names, texts):
    result = [
        region_of(names[0], "a", 0, 3, "PER", texts[0]),
        region_of(names[1], "b", 0, 3, "PER", texts[1]),
        region_of(names[1], "c", 8, 11, "PER", texts[2]),
        relation("b", "c", "met"),
        relation("a", "b", "met"),
    ]
    path = write(tmp_path, changed(data=TWO_TEXTS, annotations=[{"result": result}]))
    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path)
    assert str(error.value) == (
        f"{path}, task 7: the regions are of 2 texts, {list(names)} (their `to_name`): set `text_field` to the key in "
        "'data' of the one to import"
    )
    ((document,), report) = read(read_label_studio, path, "text")
    assert entities_of(document) == [("PER", ["Bob"]), ("PER", ["Ada"])] and document["text"] == TWO_TEXTS["text"]
    assert facts_of(document) == [("Bob", "met", "Ada")]
    assert counts_of(report)["region of other texts"] == counts_of(report)["relation of what was left out"] == 1
    ((document,), report) = read(read_label_studio, path, "title")
    assert entities_of(document) == [("PER", ["Ada"])] and counts_of(report)["region of other texts"] == 2


def test_regions_that_could_be_of_several_texts_are_an_error(tmp_path):
    result = [region_of("t1", "a", 0, 3, "PER"), region_of("t2", "b", 0, 3, "PER")]
    path = write(tmp_path, changed(data=TWO_TEXTS, annotations=[{"result": result}]))
    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path, "text")
    assert str(error.value) == (
        f"{path}, task 7: it is unclear which text of 'data' the regions with the `to_name` 't1' belong to: change "
        "the `to_name` to the key of the text"
    )


def test_offsets_that_could_be_of_either_kind_are_an_error(tmp_path):
    text = "Ada 🎓 met Bob in Paris."

    def path(*spans):
        result = [region_of("text", str(start), start, end, "PER", given) for start, end, given in spans]
        return write(tmp_path, changed(data={"text": text}, annotations=[{"result": result}]))

    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path((0, 3, None), (11, 14, None)))
    assert str(error.value) == (
        f"{tmp_path / 'export.json'}, task 7: the text has characters that are two in UTF-16, and no region tells "
        "whether offsets count them as one or two: export the regions with their texts"
    )
    with pytest.raises(DocumentError, match="no region tells whether"):
        read(read_label_studio, path((0, 3, "Ada"), (11, 14, None)))
    # Before the emoji there is no difference, one text tells, and so does an offset inside the emoji.
    for spans, expected in (
        ([(0, 3, None)], ["Ada"]),
        ([(11, 14, "Bob"), (18, 23, None)], ["Bob", "Paris"]),
        ([(10, 13, "Bob"), (17, 22, None)], ["Bob", "Paris"]),
        ([(5, 9, None)], ["met"]),
    ):
        ((document,), _) = read(read_label_studio, path(*spans))
        assert [name for _, (name,) in entities_of(document)] == expected


UNLABELLED = [
    (region("z", 46, 51, "Nobel"), "region without a label", "region 'z': the region has no label"),
    (
        relation("aB1_", "gH4_"),
        "relation without a label",
        "relation from 'aB1_' to 'gH4_': the relation has no label",
    ),
]


@pytest.mark.parametrize(("result", "noun", "message"), UNLABELLED)
def test_what_has_no_label_is_refused_or_left_out(tmp_path, result, noun, message):
    path = write(tmp_path, with_result(*RESULT, result, *([relation("z", "aB1_", "r")] if "value" in result else [])))
    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path)
    assert f"{path}, task 7, {message}, which a document cannot hold: set `leave_out` to unlabelled" in str(
        error.value
    )
    ((document,), report) = read(read_label_studio, path, coreference=["same_as"], leave_out=["unlabelled"])
    assert entities_of(document) == EXPECTED and counts_of(report)[noun] == 1


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (3, "item 0: found 3, expected a task, a JSON object"),
        (
            {"id": 7, "text": TEXT, "label": [{"start": 4, "end": 15, "text": "Marie Curie", "labels": ["Person"]}]},
            "task 7: 'data' is missing, expected the text of the task (exports of the kind JSON-MIN have no "
            "'data' and no relations: choose JSON)",
        ),
        (changed(annotations={}), "task 7: 'annotations' is {}, expected a list"),
        (changed(annotations=[1]), "task 7: found the annotation 1, expected a JSON object"),
        (changed(annotations=[{"id": 1}]), "task 7: 'result' is None, expected a list of regions and relations"),
        (changed(data={"text": 3}), "task 7: 'data' has 0 texts, []: set `text_field`"),
        (with_result(region("a", 4, 17, "Marie Curie", "X")), "region 'a': the text from 4 to 17 is 'Marie Curie w'"),
        (with_result(region("a", 4, 99, None, "X")), "region 'a': the span is [4, 99], expected [start, end) with 0"),
        (with_result(region("a", "/p[1]", 9, None, "X")), "region 'a': the span is ['/p[1]', 9], expected [start"),
        (
            with_result(region("a", 15, 16, " ", "X")),
            "region 'a': the span [15, 16] is ' ', expected at least one word",
        ),
        (with_result({**RESULT[0], "value": 3}), "region 'aB1_': 'value' is 3, expected a JSON object"),
        (with_result(region("a", 4, 15, "Marie Curie", 3)), "region 'a': 'labels' is [3], expected a list of strings"),
        (
            with_result({**RESULT[0], "type": "hypertextlabels"}),
            "region 'aB1_': 'type' is 'hypertextlabels', expected 'labels': only plain texts can be read",
        ),
        (with_result(*RESULT, relation("aB1_", "??", "r")), "relation from 'aB1_' to '??': there is no region '??'"),
        (with_result(*RESULT, relation(["a"], "aB1_", "r")), "there is no region ['a']"),
        (with_result(*RESULT, relation("aB1_", "cD2_", "r", direction="up")), "'direction' is 'up', expected right,"),
        (changed(data={"text": " "}, annotations=[{"result": []}]), "'text' is ' ', expected at least one word"),
    ],
)
def test_a_broken_task_is_named(tmp_path, task, message):
    path = write(tmp_path, task)
    with pytest.raises(DocumentError) as error:
        read(read_label_studio, path, coreference=["same_as"])
    assert str(error.value).startswith(f"{path}, ") and message in str(error.value)


def test_a_broken_file_is_named(tmp_path):
    path = write(tmp_path, TASK)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DocumentError, match="export.json: this is not JSON: "):
        read(read_label_studio, path)
    path.write_text("[]")
    with pytest.raises(DocumentError, match=r"export.json: found \[\], expected a list of tasks"):
        read(read_label_studio, path)
