import os

import pytest

from modeling_docre_ii.utils.suggestions import check_names, did_you_mean, did_you_mean_path


def test_nearest_name_is_suggested():
    assert did_you_mean("trian", ["score", "train"]) == ", did you mean 'train'?"
    assert did_you_mean("zzzz", ["score", "train"]) == ""


def test_unknown_name_is_an_error():
    check_names("a.yaml", ["seed", "bf16"], iter(["bf16", "seed", "fp16"]))
    with pytest.raises(ValueError, match="^a.yaml: unknown name 'sed', did you mean 'seed'\\?$"):
        check_names("a.yaml", ["seed", "sed"], iter(["bf16", "seed"]))


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [("quickstrat", "quickstart"), ("quickstart/stage1/", "quickstart/stage_1"), ("zzzz", None), ("no/folder", None)],
)
@pytest.mark.parametrize("is_absolute", [True, False])
def test_similar_path_beside_a_missing_one_is_suggested(tmp_path, monkeypatch, path, suggestion, is_absolute):
    (tmp_path / "quickstart" / "stage_1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    prefix = str(tmp_path) + os.sep if is_absolute else ""
    expected = "" if suggestion is None else f", did you mean {prefix + suggestion!r}?"
    assert did_you_mean_path(prefix + path) == expected


def test_path_that_exists_is_no_misspelling(tmp_path):
    (tmp_path / "quickstart").touch()
    (tmp_path / "quickstart2").touch()
    assert did_you_mean_path(str(tmp_path / "quickstart")) == ""
