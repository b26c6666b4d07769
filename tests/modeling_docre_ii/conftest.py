"""Tiny models, a small batch, and a Trainer of random documents."""

import json

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import AutoConfig, PreTrainedTokenizerFast

from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIConfig,
    DocREIIForRelationExtraction,
    DocREIITrainer,
    DocREIITrainingArguments,
    make_compute_metrics,
)
from modeling_docre_ii.training.precision import PrecisionRecord
from tests import paper_equations
from tests.encoder_families import FAMILIES
from tests.worker_processes import run_worker


@pytest.fixture(scope="session")
def encoder_config():
    """Makes the configuration of a tiny encoder of a family."""

    def make(family="bert", **changes):
        model_type, sizes = FAMILIES[family]
        return AutoConfig.for_model(model_type, **(sizes | changes))

    return make


@pytest.fixture(scope="session")
def docre_config(encoder_config):
    """Makes the configuration of a tiny DocRE-II model."""

    def make(family="bert", encoder_changes=None, **changes):
        fields = {
            "encoder_config": encoder_config(family, **(encoder_changes or {})),
            "id2label": {0: "Na", 1: "P1", 2: "P2", 3: "P3"},
            "pair_hidden_size": 12,
            "pair_intermediate_size": 20,
            "pair_bilinear_rank": 6,
            "pair_block_size": 4,
            "pair_feature_size": 10,
            # The base module alone, unless a test asks for iterations.
            "num_iterations": 0,
            "inference_hidden_size": 16,
            "inference_intermediate_size": 12,
            "inference_dropout": 0.0,
            "contrastive_hidden_size": 8,
            "window_overlap": 8,
            "initializer_range": 0.3,
        }
        return DocREIIConfig(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def shaken():
    """Moves every parameter a little, so that biases and layer norms, which start at 0 and 1, matter."""

    def shake(module):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return module

    return shake


@pytest.fixture(scope="session")
def tiny_model(docre_config, shaken):
    """Makes a tiny model in evaluation mode, the same at every call."""

    def make(*args, **changes):
        torch.manual_seed(0)
        return shaken(DocREIIForRelationExtraction(docre_config(*args, **changes))).eval()

    return make


@pytest.fixture
def tiny_batch():
    """
    Two documents: 24 tokens, 3 entities, 5 mentions, 3 facts (two of one pair), and 15 tokens, 2 entities, 2 mentions,
    1 fact.
    """
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 100, (2, 24), generator=generator)
    attention_mask = torch.ones(2, 24, dtype=torch.long)
    attention_mask[1, 15:] = 0
    pair_mask = ~torch.eye(3, dtype=torch.bool).repeat(2, 1, 1)
    pair_mask[1, 2] = pair_mask[1, :, 2] = False
    return {
        "input_ids": input_ids.masked_fill(attention_mask == 0, 0),
        "attention_mask": attention_mask,
        "mention_positions": torch.tensor([[2, 5, 9, 14, 20], [3, 11, -1, -1, -1]]),
        "mention_entities": torch.tensor([[0, 1, 0, 2, 0], [1, 0, -1, -1, -1]]),
        "pair_mask": pair_mask,
        "labels": torch.tensor([[[0, 1, 2], [0, 1, 3], [2, 0, 1]], [[1, 0, 1], [-100] * 3, [-100] * 3]]),
    }


@pytest.fixture(scope="session")
def alone():
    """Gives one document of a batch like `tiny_batch` without its padding."""

    def cut(batch, row):
        length = batch["attention_mask"][row].sum()
        mentions = (batch["mention_positions"][row] >= 0).sum()
        entities = batch["mention_entities"][row].max() + 1
        facts = (batch["labels"][row, :, 0] >= 0).sum()
        return {
            "input_ids": batch["input_ids"][row : row + 1, :length],
            "attention_mask": batch["attention_mask"][row : row + 1, :length],
            "mention_positions": batch["mention_positions"][row : row + 1, :mentions],
            "mention_entities": batch["mention_entities"][row : row + 1, :mentions],
            "pair_mask": batch["pair_mask"][row : row + 1, :entities, :entities],
            "labels": batch["labels"][row : row + 1, :facts],
        }

    return cut


# Training


@pytest.fixture(scope="session")
def deterministic_model(tiny_model):
    """Makes a tiny model that trains without randomness: no dropout and no noise on the relations."""

    def make(**changes):
        no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return tiny_model(encoder_changes=no_dropout, max_noise_rate=0, **changes)

    return make


@pytest.fixture(scope="session")
def features():
    """Seven random encoded documents, of 1, 2, 3, 4, 1, 2 and 3 entities. No test edits them."""
    generator = torch.Generator().manual_seed(0)

    def number(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    rows = []
    for index in range(7):
        entities, length = 1 + index % 4, number(12, 30)
        facts = [[head, (head + 1) % entities, number(1, 4)] for head in range(entities) if entities > 1]
        rows.append(
            {
                "input_ids": [number(3, 100) for _ in range(length)],
                "mention_positions": [number(1, length - 1) for _ in range(entities)],
                "mention_entities": list(range(entities)),
                "pair_mask": [[head != tail for tail in range(entities)] for head in range(entities)],
                "labels": facts,
                "document_index": index,
            }
        )
    return rows


@pytest.fixture(scope="session")
def related(features):
    """The five rows of `features` that have pairs of entities."""
    return [row for row in features if len(row["mention_entities"]) > 1]


@pytest.fixture(scope="session")
def documents_of(features, docre_config):
    """Makes the documents of rows, by their index. Documents of other rows have no facts."""
    relations = docre_config().id2label

    def documents(rows):
        labels = {row["document_index"]: row["labels"] for row in rows}
        return [
            {
                "title": f"document {index}",
                "vertexSet": [[{"name": f"entity {entity}"}] for entity in row["mention_entities"]],
                "labels": [{"h": head, "t": tail, "r": relations[r]} for head, tail, r in labels.get(index, [])],
            }
            for index, row in enumerate(features)
        ]

    return documents


@pytest.fixture(scope="session")
def collate():
    words = Tokenizer(models.WordLevel({"[PAD]": 0}))
    return DataCollatorForRelationExtraction(PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]"))


@pytest.fixture(scope="session")
def one_by_one(collate):
    """Runs a model on each row alone, and yields the row and the output."""

    def run(model, rows):
        for row in rows:
            batch = collate([row])
            del batch["document_index"]
            yield row, model(**batch)

    return run


@pytest.fixture
def make_trainer(tiny_model, collate, tmp_path):
    """Makes a Trainer on rows. With the documents of the rows, its evaluation includes F1."""

    def make(model=None, train=None, evaluation=None, documents=None, train_facts=None, **settings):
        model = model or tiny_model()
        relations = list(model.config.id2label.values())
        return DocREIITrainer(
            model=model,
            args=DocREIITrainingArguments(**{"output_dir": str(tmp_path), "disable_tqdm": True} | settings),
            train_dataset=train and Dataset.from_list(train).remove_columns("document_index"),
            eval_dataset=evaluation and Dataset.from_list(evaluation),
            data_collator=collate,
            compute_metrics=documents and make_compute_metrics(documents, relations, train_facts),
        )

    return make


@pytest.fixture
def make_args(tmp_path):
    """Makes training arguments for the CPU."""
    return lambda **settings: DocREIITrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True, **settings)


@pytest.fixture
def record_precision(tmp_path):
    """Writes the precision record of a checkpoint."""

    def write(requested, used, folder="checkpoint-3"):
        path = tmp_path / folder / "trainer_state.json"
        path.parent.mkdir(parents=True)
        state = PrecisionRecord(requested._asdict(), used._asdict()).state()
        path.write_text(json.dumps({"stateful_callbacks": {"PrecisionRecord": state}}))
        return str(path.parent)

    return write


@pytest.fixture(scope="session")
def one_sgd_step():
    """Training arguments for one plain SGD step, which subtracts the gradient from the weights."""
    return {
        "max_steps": 1,
        "warmup_steps": 0,
        "optim": "sgd",
        "learning_rate": 1.0,
        "base_learning_rate": 1.0,
        "encoder_learning_rate": 1.0,
        "max_grad_norm": 0,
        "logging_steps": 1,
        "save_strategy": "no",
    }


@pytest.fixture(scope="session")
def launch(deterministic_model, collate, tmp_path_factory):
    """
    Runs a script (see [`run_worker`]) in two processes, and gives the folder that it worked in and what loads the
    model of a run at its start. Each of `runs` has a `model`, `"base"` or `"iterating"`, and the `settings` of its
    training.
    """

    def run(script, rows, runs, *launcher):
        folder = tmp_path_factory.mktemp("processes")
        deterministic_model().save_pretrained(folder / "base")
        deterministic_model(num_iterations=2, base_loss_weight=0.5, contrastive_loss_weight=0.25).save_pretrained(
            folder / "iterating"
        )
        collate.tokenizer.save_pretrained(folder / "tokenizer")
        (folder / "rows.json").write_text(json.dumps(rows))
        (folder / "runs.json").write_text(json.dumps(runs))
        run_worker(folder, script, *launcher)
        return folder, lambda name: DocREIIForRelationExtraction.from_pretrained(folder / runs[name]["model"])

    return run


@pytest.fixture(scope="session")
def naive():
    """The definitions, as loops."""
    return paper_equations
