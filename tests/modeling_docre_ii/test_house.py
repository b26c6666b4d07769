"""The structure of the library: what a checkpoint carries, the rooms and their imports, types and docstrings."""

import ast
from pathlib import Path

import pytest
from transformers import AutoConfig


REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "modeling_docre_ii"
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
# The rooms that each room may import, beside the top.
MAY_IMPORT = {
    "utils": set(),
    "annotation_formats": {"utils"},
    "visualization": {"utils"},
    "evaluation": {"utils", "visualization"},
    "hub": {"evaluation", "utils"},
    "training": {"evaluation", "hub", "utils"},
    "deployment": {"utils"},
    "experiments": {"evaluation", "training", "utils"},
    "knowledge_graph": {"deployment", "utils"},
    "cli": {
        "annotation_formats",
        "deployment",
        "evaluation",
        "experiments",
        "hub",
        "knowledge_graph",
        "training",
        "utils",
        "visualization",
    },
}
# The files that `save_pretrained` copies beside the weights, for `trust_remote_code`.
CARRIED = {
    "configuration_docre_ii.py",
    "configuration_loading.py",
    "cross_attention.py",
    "data_collator.py",
    "decoding.py",
    "document_encoding.py",
    "documents.py",
    "entity_finding.py",
    "entity_linking.py",
    "entity_pairs.py",
    "evidence.py",
    "explanation.py",
    "handler.py",
    "inference_module.py",
    "loaded_weights.py",
    "losses.py",
    "mention_extraction.py",
    "mention_formats.py",
    "mention_marking.py",
    "model_outputs.py",
    "modeling_docre_ii.py",
    "pair_features.py",
    "pipeline_docre_ii.py",
    "processing_docre_ii.py",
    "quoting.py",
    "relation_matrix.py",
    "text_documents.py",
    "triples.py",
}


def imports_of(path):
    """Yields `(level, module)` of every import in a file, also inside functions. `import x` has level 0."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((0, name.name) for name in node.names)


def files_of(room):
    return sorted((PACKAGE / room).rglob("*.py"))


def rooms_imported(path):
    """Yields the rooms that a file imports, by `from ..room.module import x` or by the name of the package."""
    for level, module in imports_of(path):
        parts = module.split(".")
        if level == 0 and parts[0] == PACKAGE.name:
            parts = parts[1:]
        elif level != 2:
            continue
        if parts and parts[0] in ROOMS:
            yield parts[0]


def test_the_top_holds_what_a_checkpoint_carries_and_no_more():
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}

    assert modules == CARRIED
    assert len(modules) <= 28


@pytest.mark.parametrize("name", sorted(CARRIED))
def test_files_of_a_checkpoint_import_only_each_other(name):
    """The loader of remote code copies one folder, and follows only `from .sibling import x`."""
    for level, module in imports_of(PACKAGE / name):
        assert level <= 1
        if level == 1:
            assert f"{module}.py" in CARRIED
        else:
            assert module.split(".")[0] not in (PACKAGE.name, "dataset_scripts", "run_docre")


def test_a_saved_model_and_its_processor_bring_these_files(tiny_model, tmp_path):
    tiny_model(num_iterations=2).save_pretrained(tmp_path)

    assert {path.name for path in tmp_path.glob("*.py")} == CARRIED
    assert AutoConfig.from_pretrained(tmp_path).auto_map["AutoModel"].startswith("modeling_docre_ii.")


def test_every_room_is_on_the_plan():
    assert ROOMS == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_the_top_and_the_rooms_that_the_plan_allows(room):
    found = {other for path in files_of(room) for other in rooms_imported(path)} - {room}

    assert found <= MAY_IMPORT[room]


def test_no_rooms_import_each_other_in_a_circle():
    order = []
    while rooms := {room for room in MAY_IMPORT if room not in order and MAY_IMPORT[room] <= set(order)}:
        order += sorted(rooms)

    assert len(order) == len(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(set(MAY_IMPORT) - {"cli"}))
def test_only_the_command_line_knows_corpora_and_argument_parsers(room):
    for path in files_of(room):
        for _, module in imports_of(path):
            assert module.split(".")[0] not in ("argparse", "dataset_scripts", "run_docre"), path
        assert "HfArgumentParser(" not in path.read_text(encoding="utf-8"), path


def test_no_file_wants_a_table_of_contents():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}

    assert {path.name: length for path, length in lengths.items() if length > 450} == {}


def unannotated(path):
    """Yields what has no type in public signatures, as `function(argument)` or `function -> ?`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        for function in owner.body:
            if (
                not isinstance(function, ast.FunctionDef)
                or function.name.startswith("_")
                and function.name[:2] != "__"
            ):
                continue
            name, given = f"{getattr(owner, 'name', path.stem)}.{function.name}", function.args
            arguments = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
            for argument in filter(None, arguments):
                if argument.annotation is None and argument.arg not in ("self", "cls"):
                    yield f"{name}({argument.arg})"
            if function.returns is None and function.name != "__init__":
                yield f"{name} -> ?"


def source_files():
    return [*PACKAGE.rglob("*.py"), *(REPOSITORY / "dataset_scripts").glob("*.py"), REPOSITORY / "run_docre.py"]


def test_every_public_signature_is_typed():
    assert len(source_files()) > 50
    assert [missing for path in source_files() for missing in unannotated(path)] == []
    assert (PACKAGE / "py.typed").exists()


def test_a_signature_without_types_is_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("class A:\n    def f(self, x, *y, z: int = 0, **w): ...\ndef _g(x): ...\ndef h(): ...\n")

    assert list(unannotated(path)) == ["module.h -> ?", "A.f(x)", "A.f(y)", "A.f(w)", "A.f -> ?"]


def stretched(path):
    """Yields the first docstring lines of public objects that are too long or do not end like a sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    for node in (tree, *(node for node in public if not node.name.startswith("_"))):
        first = (ast.get_docstring(node) or ".").splitlines()[0]
        if len(first) > 80 or first[-1] not in ".:?":
            yield f"{path.name}: {first}"


def test_docstrings_begin_with_a_short_sentence():
    assert [line for path in source_files() for line in stretched(path)] == []


def test_a_docstring_that_begins_otherwise_is_found(tmp_path):
    path = tmp_path / "module.py"
    long = "Returns " + "very " * 20 + "much."
    path.write_text(
        f'"""A module."""\nclass A:\n    """\n    A class\n    """\n    def f(self):\n        """{long}"""\n'
    )

    assert list(stretched(path)) == ["module.py: A class", f"module.py: {long}"]


def test_public_names_exist_and_are_few():
    import modeling_docre_ii

    assert len(modeling_docre_ii.__all__) <= 45
    assert modeling_docre_ii.__all__ == sorted(modeling_docre_ii.__all__)
    assert all(getattr(modeling_docre_ii, name) is not None for name in modeling_docre_ii.__all__)
