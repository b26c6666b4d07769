import pytest

from modeling_docre_ii.utils.suggestions import check_names, did_you_mean


def test_nearest_name_is_suggested():
    assert did_you_mean("trian", ["score", "train"]) == ", did you mean 'train'?"
    assert did_you_mean("zzzz", ["score", "train"]) == ""


def test_unknown_name_is_an_error():
    check_names("a.yaml", ["seed", "bf16"], iter(["bf16", "seed", "fp16"]))
    with pytest.raises(ValueError, match="^a.yaml: unknown name 'sed', did you mean 'seed'\\?$"):
        check_names("a.yaml", ["seed", "sed"], iter(["bf16", "seed"]))
