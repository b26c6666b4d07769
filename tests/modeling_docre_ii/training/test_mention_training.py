"""The training of a mention model: its labels against naive loops, and a tiny model that learns its mentions."""

import random

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForTokenClassification, BertConfig, BertModel, PreTrainedTokenizerFast

from modeling_docre_ii.documents import DocumentError
from modeling_docre_ii.evaluation.matching import PredictionError
from modeling_docre_ii.evaluation.plain_texts import plain_text_of
from modeling_docre_ii.mention_extraction import TokenClassificationExtractor, TokenWindows
from modeling_docre_ii.training.mention_training import (
    MentionTrainingArguments,
    MentionWindows,
    label_words,
    mention_labels,
    train_mention_model,
    without_overlaps,
)
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial
from tests.hub_model import save_checkpoint


WORDS = ["a", "b", "p", "r", "ada", "##s", "bob", "paris", "rome", "met", "lives", "in", ".", "^"]


@pytest.fixture
def encoder(tmp_path):
    """A folder with a tiny uncased encoder, whose tokenizer knows `WORDS`."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(tmp_path / "encoder")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=20, **sizes))
    model.save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


def document(sentence, *entities):
    """A document of one sentence. Each entity has a type and [start, end) of its mentions."""
    tokens = sentence.split()
    rows = [
        [{"name": " ".join(tokens[slice(*pos)]), "sent_id": 0, "pos": pos, "type": kind} for pos in spans]
        for kind, *spans in entities
    ]
    return {"title": sentence, "sents": [tokens], "vertexSet": rows, "labels": []}


DOCUMENTS = [
    document("Ada met Bob in Paris .", ("PER", [0, 1]), ("PER", [2, 3]), ("LOC", [4, 5])),
    document("Bob lives in Rome .", ("PER", [0, 1]), ("LOC", [3, 4])),
    document("Ada Bob lives in Paris Rome .", ("PER", [0, 2]), ("LOC", [4, 6])),
]


@pytest.fixture
def make_args(tmp_path):
    settings = {"learning_rate": 0.02, "report_to": [], "disable_tqdm": True, "use_cpu": True}
    return lambda **changes: MentionTrainingArguments(output_dir=str(tmp_path / "trained"), **settings | changes)


def test_a_model_learns_its_mentions(encoder, make_args, tmp_path):
    # It is read as it is.
    plain = {"title": "1", "text": "Rome.", "entities": [{"type": "LOC", "mentions": [[0, 4]]}]}

    scores = train_mention_model([*DOCUMENTS, plain], DOCUMENTS, encoder, make_args(num_train_epochs=40))

    assert scores["mention_f1"] == scores["typed_mention_f1"] == scores["spaced_mention_f1"] == 100
    assert scores["train_loss"] < 1
    extractor = TokenClassificationExtractor.from_pretrained(str(tmp_path / "trained"))
    text = "Bob met Ada in  Rome."
    assert [(text[row["start"] : row["end"]], row["type"]) for row in extractor([text])[0]] == [
        ("Bob", "PER"),
        ("Ada", "PER"),
        ("Rome", "LOC"),
    ]
    assert extractor.windows.tokenizer.tokenize("Ada met") == ["^", "ada", "met"]


def test_the_seed_decides(encoder, make_args, tmp_path):
    weights = []
    for seed in (1, 1, 2):
        scores = train_mention_model(DOCUMENTS, None, encoder, make_args(max_steps=2, seed=seed))
        assert list(scores) == ["train_loss"]
        model = AutoModelForTokenClassification.from_pretrained(tmp_path / "trained")
        weights.append(model.classifier.weight)

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert model.config.id2label == {0: "O", 1: "B-LOC", 2: "I-LOC", 3: "B-PER", 4: "I-PER"}
    assert model.config.attention_probs_dropout_prob == 0.0


def test_the_loss_of_a_step_does_not_depend_on_accumulation(encoder, make_args):
    def loss(batch_size, steps):
        args = make_args(
            per_device_train_batch_size=batch_size, gradient_accumulation_steps=steps, max_steps=1, learning_rate=0.0
        )
        return train_mention_model(DOCUMENTS[:1] * 4, None, encoder, args)["train_loss"]

    # Four equal documents, but for the dropout.
    assert loss(1, 4) == pytest.approx(loss(4, 1), rel=0.2)


def test_validation_documents_may_have_entities_of_white_space_and_unique_titles(encoder, make_args):
    blank = document("Ada met \xa0 .", ("PER", [0, 1]))
    blank["sents"][0].insert(2, "\xa0")
    blank["vertexSet"].append([{"name": "\xa0", "sent_id": 0, "pos": [2, 3], "type": "LOC"}])
    blank["labels"] = [{"h": 0, "r": "P17", "t": 1}]
    scores = train_mention_model(DOCUMENTS, [blank], encoder, make_args(max_steps=1))
    assert {"mention_f1", "spaced_mention_f1"} <= scores.keys()
    with pytest.raises(PredictionError, match="two documents have the title"):
        train_mention_model(DOCUMENTS, [blank, blank], encoder, make_args(max_steps=1))


def test_documents_without_mentions_are_an_error(encoder, make_args):
    with pytest.raises(ValueError, match="the documents to learn mentions from have no mention"):
        train_mention_model([document("Ada met Bob .")], None, encoder, make_args())
    with pytest.raises(DocumentError, match="document 'Ada', entity 0, mention 0"):
        train_mention_model([document("Ada", ("PER", [0, 2]))], None, encoder, make_args())
    with pytest.raises(DocumentError, match="document 'Ada', entity 0: 'type' is empty"):
        train_mention_model([document("Ada", ("", [0, 1]))], None, encoder, make_args())


def test_what_is_no_encoder_is_named(make_args, tmp_path):
    with pytest.raises(ValueError, match="is a DocRE-II checkpoint, expected a text encoder. Its mention model, if"):
        train_mention_model(DOCUMENTS, None, save_checkpoint(tmp_path / "checkpoint"), make_args())
    with pytest.raises(OSError, match="'/no/such/folder' is not a local folder"):
        train_mention_model(DOCUMENTS, None, "/no/such/folder", make_args())


def test_the_longest_of_overlapping_mentions_is_kept():
    entities = [
        {"type": "B", "mentions": [[0, 3], [8, 9]]},
        {"type": "A", "mentions": [[0, 3], [2, 7], [7, 9], [10, 11]]},
        {"type": "C", "mentions": [[10, 14], [4, 5]]},
    ]
    # [2, 7) is the longest, then [10, 14), and [0, 3) overlaps the first.
    assert without_overlaps(entities) == [(2, 7, "A"), (7, 9, "A"), (10, 14, "C")]


def test_labels_of_words_against_a_loop():
    generator = random.Random(0)
    for _ in range(200):
        cuts = sorted(generator.sample(range(30), 12))
        words = [(start, end) for start, end in zip(cuts, cuts[1:]) if generator.random() < 0.8]
        edges = sorted(generator.sample(cuts, 6))
        mentions = [(*edges[place : place + 2], kind) for place, kind in ((0, "A"), (2, "B"), (4, "A"))]

        expected = []
        for start, _ in words:
            kind = next((kind for left, right, kind in mentions if left <= start < right), None)
            begun = any(
                left <= other < start for left, right, _ in mentions if left <= start < right for other, _ in words
            )
            expected.append("O" if kind is None else f"{'I' if begun else 'B'}-{kind}")
        assert label_words(words, mentions) == expected


def test_a_word_that_a_mention_cuts_belongs_to_it():
    assert label_words([(0, 5), (6, 9)], [(2, 8, "A")]) == ["B-A", "I-A"]
    assert label_words([(0, 5)], [(0, 2, "A"), (3, 5, "B")]) == ["B-A"]


def test_windows_hold_the_labels_of_every_word_once(sample_documents):
    texts = [plain_text_of(row) for row in sample_documents["dev"][:5]]
    names = mention_labels(texts)
    backend = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    windows = TokenWindows(tokenizer, BertConfig(max_position_embeddings=50))

    rows = MentionWindows(texts, windows, names)

    assert max(len(row["input_ids"]) for row in rows) == 50
    expected = [
        label
        for text, encoded in zip(texts, windows.encode([text["text"] for text in texts]))
        for label in label_words(encoded.words, without_overlaps(text["entities"]))
    ]
    assert [names[label] for row in rows for label in row["labels"] if label != -100] == expected
    assert names[:3] == ["O", "B-LOC", "I-LOC"] and len(names) == 13


def test_bf16_is_tried_on_a_cpu(set_bf16_trial, tmp_path):
    for slowdown, used in ((0.5, True), (2.0, False)):
        set_bf16_trial(BF16Trial(slowdown=slowdown))
        args = MentionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=True)
        assert args.bf16 == used
        assert args.mixed_precision == ("bf16" if used else "no")


@pytest.mark.parametrize(("slowdown", "used"), [(0.5, "bf16"), (2.0, "no")])
def test_bf16_that_accelerate_launch_asks_for_is_tried_too(set_bf16_trial, monkeypatch, tmp_path, slowdown, used):
    set_bf16_trial(BF16Trial(slowdown=slowdown))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    args = MentionTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert (args.mixed_precision, args.bf16) == (used, used == "bf16")
