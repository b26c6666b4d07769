"""All shards of a bulk extraction have one precision, whatever the CPUs do that they are made on."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import datasets
import pyarrow.parquet as pq
import pytest

from modeling_docre_ii import extract_to_parquet
from modeling_docre_ii.deployment.extraction_precision import settle_precision
from modeling_docre_ii.deployment.extraction_run import ExtractionRun
from modeling_docre_ii.deployment.extraction_shards import METADATA_KEY
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial
from tests.hub_model import make_model, make_processor, sample_documents


FASTER, SLOWER = BF16Trial(slowdown=0.4), BF16Trial(slowdown=1.7)
DYING = BF16Trial(failure="ends the process with SIGILL")
REQUESTED = ExtractionRun("m", "d", 10, 2, bf16=True, bf16_requested=True, evidence="rule")


@pytest.fixture(scope="module")
def documents():
    return sample_documents(4)


@pytest.fixture(scope="module")
def processor(documents):
    return make_processor(documents)


@pytest.fixture(scope="module")
def model(processor):
    return make_model(processor).eval()


@pytest.fixture
def extract(model, processor, documents, set_bf16_trial, faster_in_bf16, tmp_path):
    """Extracts one document a shard, on a CPU where the trial of bf16 ends so, and gives the dtypes computed in."""

    def run(trial, folder=tmp_path / "triples", **settings):
        set_bf16_trial(trial)
        dtypes = set()
        hook = model.base_model.classifier.register_forward_hook(
            lambda module, args, output: dtypes.add(str(output.dtype).removeprefix("torch."))
        )
        try:
            extract_to_parquet(model, processor, documents, folder, 1, **{"bf16": True} | settings)
        finally:
            hook.remove()
        return dtypes

    return run


def described(folder):
    files = sorted(folder.glob("*.parquet"))
    return [json.loads(pq.read_metadata(path).metadata[METADATA_KEY]) for path in files]


def shards_of(index):
    return {"process_index": index, "num_processes": 2}


@pytest.mark.parametrize(
    ("trial", "dtype", "warnings"),
    [
        (FASTER, "bfloat16", []),
        (SLOWER, "float32", [f"`bf16` is switched off, and float32 is used instead: {SLOWER}"]),
        (DYING, "float32", [f"`bf16` is switched off, and float32 is used instead: {DYING}"]),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"process_index": 0, "num_processes": 1}])
def test_extraction_runs_in_bf16_only_where_it_is_faster(extract, tmp_path, caplog, trial, dtype, warnings, settings):
    assert extract(trial, **settings) == {dtype}

    choices = {(shard["bf16_requested"], shard["bf16"]) for shard in described(tmp_path / "triples")}
    assert choices == {(True, dtype == "bfloat16")}
    assert [log.getMessage() for log in caplog.records] == warnings


def test_bf16_is_not_tried_where_it_is_not_asked_for(extract, caplog, tmp_path):
    assert extract(DYING, bf16=False) == {"float32"}
    assert not caplog.records
    assert not list(tmp_path.glob("triples/*.json"))


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (FASTER, SLOWER, "bfloat16"),
        (SLOWER, FASTER, "float32"),
        (DYING, FASTER, "float32"),
        (SLOWER, DYING, "float32"),
    ],
)
def test_extraction_goes_on_in_the_precision_it_was_started_in(extract, tmp_path, caplog, first, second, dtype):
    assert extract(first, **shards_of(1)) == {dtype}
    caplog.clear()
    assert extract(second) == {dtype}

    assert {shard["bf16"] for shard in described(tmp_path / "triples")} == {dtype == "bfloat16"}
    (warning,) = caplog.records
    name = {"bfloat16": "bf16", "float32": "float32"}[dtype]
    switched_off = f"`bf16` is switched off, and float32 is used instead: {second}"
    expected = f"was started in {name} and continues in it" if second.is_faster != (name == "bf16") else switched_off
    assert warning.getMessage().endswith(expected)


def test_extraction_in_bf16_does_not_go_on_on_a_cpu_without(extract):
    extract(FASTER, **shards_of(1))
    message = (
        "triples was started in bf16, but a bf16 matrix product ends the process with SIGILL on this CPU: continue"
    )
    with pytest.raises(FileExistsError, match=message):
        extract(DYING)


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_another_request_is_refused(extract, first, second):
    extract(SLOWER, bf16=first, **shards_of(1))
    with pytest.raises(FileExistsError, match=rf"is of another run \(`bf16_requested` {first}, here {second}\)"):
        extract(SLOWER, bf16=second)


@pytest.mark.parametrize("trial", [FASTER, None])
def test_processes_use_the_decision_of_the_first_before_a_shard_is_finished(tmp_path, trial):
    """As in an array of jobs on machines of two kinds; None is a GPU."""
    assert settle_precision(REQUESTED, tmp_path, None, SLOWER, False).bf16 is False
    assert settle_precision(REQUESTED, tmp_path, None, trial, False).bf16 is False


def test_only_one_of_many_processes_is_the_first(tmp_path):
    trials = [FASTER, SLOWER] * 20
    with ThreadPoolExecutor(len(trials)) as threads:
        settled = threads.map(lambda trial: settle_precision(REQUESTED, tmp_path, None, trial, False), trials)
    assert len({run.bf16 for run in settled}) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_decision_is_recorded_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for trial in (SLOWER, FASTER):
        assert settle_precision(REQUESTED, tmp_path, None, trial, False).bf16 is False


def test_another_extraction_in_an_emptied_folder_decides_for_itself(tmp_path):
    settle_precision(REQUESTED, tmp_path, None, SLOWER, False)
    other = ExtractionRun("m", "other documents", 10, 2, bf16=True, bf16_requested=True, evidence="rule")
    assert settle_precision(other, tmp_path, None, FASTER, False).bf16 is True


def test_datasets_does_not_take_the_record_for_triples(extract, tmp_path):
    extract(SLOWER)
    assert [path.name for path in (tmp_path / "triples").iterdir() if path.suffix == ".json"]
    triples = datasets.load_dataset(
        "parquet", data_dir=str(tmp_path / "triples"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(triples) > 0
