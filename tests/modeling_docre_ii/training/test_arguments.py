import pytest

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.training import arguments as training_args


@pytest.mark.parametrize("has_bf16", [False, True])
def test_bfloat16_is_switched_off_where_a_cpu_would_emulate_it(tmp_path, monkeypatch, caplog, has_bf16):
    monkeypatch.setattr(training_args, "cpu_has_bf16", lambda: has_bf16)
    training_args.logger.warning_once.cache_clear()
    args = DocREIITrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=True)

    assert args.bf16 is has_bf16
    assert ("`bf16` is switched off" in caplog.text) is not has_bf16


def test_no_word_about_bfloat16_where_it_is_not_asked_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(training_args, "cpu_has_bf16", lambda: False)
    DocREIITrainingArguments(output_dir=str(tmp_path), use_cpu=True)

    assert "bf16" not in caplog.text
