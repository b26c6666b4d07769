"""Mentions of raw text: labels, words, windows and paths against naive loops, and a tagger that knows its words."""

import itertools
import random

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast, pipeline

from modeling_docre_ii.mention_extraction import (
    TokenClassificationExtractor,
    TokenWindows,
    align_words,
    best_path,
    broken_mentions,
    join_words,
    split_windows,
)
from modeling_docre_ii.mention_formats import read_labels


BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
# The pieces of "Lovelace" have labels that disagree with the first.
PIECES = {"ada": "B-PER", "love": "I-PER", "##lace": "B-LOC", "london": "B-LOC", "bridge": "I-LOC", "met": "O"}


def make_tokenizer(length=512):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ",", ".", "(", *PIECES]
    backend = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=length, **names)


def make_model(labels=BIO, **changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=13, initializer_range=0.5, id2label=dict(enumerate(labels)), **sizes | changes)
    return BertForTokenClassification(config)


@pytest.fixture
def tagger():
    """A model without layers that gives every piece its label in `PIECES`, and its tokenizer."""
    tokenizer = make_tokenizer()
    model = make_model(num_hidden_layers=0)
    with torch.no_grad():
        for parameter in model.bert.embeddings.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1.0)
        model.classifier.weight.copy_(3 * torch.eye(8)[: len(BIO)])
        model.classifier.bias.zero_()
        for piece, index in tokenizer.get_vocab().items():
            model.bert.embeddings.word_embeddings.weight[index, BIO.index(PIECES.get(piece, "O"))] = 1.0
    return model, tokenizer


@pytest.fixture
def extractor(tagger):
    return TokenClassificationExtractor(*tagger)


def named(text, mentions):
    return [(text[mention["start"] : mention["end"]], mention["type"]) for mention in mentions]


def test_mentions_of_texts(extractor):
    texts = ["Ada Lovelace met London  Bridge.", "", " \n\t", "met", "(Ada, Ada\nLovelace"]

    found = extractor(texts)

    assert [named(text, mentions) for text, mentions in zip(texts, found)] == [
        [("Ada Lovelace", "PER"), ("London  Bridge", "LOC")],
        [],
        [],
        [],
        [("Ada", "PER"), ("Ada\nLovelace", "PER")],
    ]
    assert found[0][0].keys() == {"start", "end", "type", "score"}
    assert extractor([]) == []


def test_score_is_the_mean_probability_of_the_words(tagger, extractor):
    model, tokenizer = tagger
    ids = tokenizer("Ada Lovelace", return_tensors="pt")
    expected = model(**ids).logits.softmax(-1)[0, 1:3].max(-1).values.mean()

    assert extractor(["Ada Lovelace"])[0][0]["score"] == pytest.approx(expected.item(), abs=1e-5)


def test_the_pipeline_of_transformers_finds_the_same(tagger, extractor):
    text = "Ada Lovelace met Ada, Ada (London Bridge. London met London"
    tokens = pipeline("token-classification", model=tagger[0], tokenizer=tagger[1], aggregation_strategy="first")

    expected = [(row["start"], row["end"], row["entity_group"]) for row in tokens(text)]

    assert [(row["start"], row["end"], row["type"]) for row in extractor([text])[0]] == expected
    assert len(expected) == 6


def test_a_text_of_100000_words(extractor):
    text = "Ada Lovelace met London Bridge. " * 20_000

    (found,) = extractor([text])

    assert len(found) == 40_000
    assert {name for name, _ in named(text, found)} == {"Ada Lovelace", "London Bridge"}


def test_accents_and_control_characters_keep_their_places(extractor):
    text = "mét\x00 \u200b Ａda Ádá\u0301 Lòvelace."

    assert named(text, extractor([text])[0]) == [("Ádá\u0301 Lòvelace", "PER")]


@pytest.mark.parametrize("invisible", ["\ufeff", "\u200b", "\u200e\u200b", "\u2060"])
def test_invisible_characters_around_a_word_are_not_part_of_the_mention(extractor, invisible):
    text = f"{invisible}Ada Love\u00adlace{invisible} met {invisible}London{invisible}."

    assert named(text, extractor([text])[0]) == [("Ada Love\u00adlace", "PER"), ("London", "LOC")]


@pytest.mark.parametrize(
    ("gap", "num_mentions"),
    [(" ", 1), ("\n", 1), ("\r\n", 1), ("\n\n", 2), ("\r\n\r\n", 2), ("\n \t\xa0\n", 2), ("\n\n\n\n", 2), ("\t\t", 1)],
)
def test_mentions_end_at_blank_lines_but_not_at_line_breaks(extractor, gap, num_mentions):
    text = f"\n\nAda{gap}Lovelace met London{gap}Bridge\n\n"

    found = extractor([text, "met\n\n", "\n\n"])

    assert [len(each) for each in found] == [2 * num_mentions, 0, 0]
    # A mention may begin with an inside label where a text or a paragraph begins.
    names = [text[mention["start"] : mention["end"]].split() for mention in found[0]]
    whole = [["Ada", "Lovelace"], ["London", "Bridge"]]
    assert names == (whole if num_mentions == 1 else [[word] for name in whole for word in name])


def naive_probabilities(model, tokenizer, text, room, starts):
    """Probabilities of the labels of the pieces, each from the window where it has the most context."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    best = [(-1, None)] * len(ids)
    for start in starts:
        window = torch.tensor([[2, *ids[start : start + room], 3]])
        probabilities = model(window).logits.softmax(-1)[0, 1:-1]
        for piece in range(start, min(start + room, len(ids))):
            left = piece - start if start else len(ids)
            right = start + room - 1 - piece if start + room < len(ids) else len(ids)
            if min(left, right) > best[piece][0]:
                best[piece] = min(left, right), probabilities[piece - start]
    return torch.stack([probabilities for _, probabilities in best])


def test_words_are_labelled_where_they_have_most_context():
    random.seed(0)
    words = ["ada", "lovelace", "met", "london", "bridge", ","]
    texts = [" ".join(random.choices(words, k=count)) for count in (3, 40, 17, 90)]
    model, tokenizer = make_model().eval(), make_tokenizer()
    extractor = TokenClassificationExtractor(model, tokenizer, batch_size=3, max_length=22)

    encoded = extractor.windows.encode(texts)
    found = extractor.label_words(encoded)

    for text, of_text, probabilities in zip(texts, encoded, found):
        starts = [window.start for window in extractor.windows.split(of_text)]
        expected = naive_probabilities(model, tokenizer, text, 20, starts).detach().numpy()
        assert len(of_text.words) == len(text.split())
        np.testing.assert_allclose(probabilities, expected[of_text.first_pieces], atol=1e-5)


def test_windows_are_as_one_pass_for_a_model_without_context(tagger, extractor):
    random.seed(1)
    text = " ".join(random.choices(["Ada", "Lovelace", "met", "London", "Bridge", ","], k=300))

    for max_length in (3, 5, 20, 300):
        assert TokenClassificationExtractor(*tagger, max_length=max_length)([text]) == extractor([text])


@pytest.mark.parametrize("room", [1, 2, 3, 8, 21])
def test_every_piece_is_kept_where_it_has_most_context(room):
    overlap = room // 4
    for num_pieces in range(70):
        windows = split_windows(num_pieces, room, overlap)
        assert all(window.end - window.start == min(room, num_pieces) for window in windows)
        assert [piece for window in windows for piece in range(*window[2:])] == list(range(num_pieces))
        for window, following in zip(windows, windows[1:]):
            assert window.end - following.start >= overlap

        def context(window, piece, last=num_pieces):
            left = piece - window.start if window.start else last
            return min(left, window.end - 1 - piece if window.end < last else last)

        for window in windows:
            for piece in range(*window[2:]):
                others = [other for other in windows if other.start <= piece < other.end]
                assert context(window, piece) == max(context(other, piece) for other in others)


def test_words_find_their_first_piece():
    generator = random.Random(0)
    for _ in range(300):
        cuts = sorted(generator.sample(range(40), generator.randrange(2, 20)))
        words = [(start, end) for start, end in zip(cuts, cuts[1:]) if generator.random() < 0.7]
        cuts = sorted(generator.choices(range(40), k=generator.randrange(2, 20)))
        offsets = [(start, end) for start, end in zip(cuts, cuts[1:]) if generator.random() < 0.8]

        expected = {}
        for start, end in words:
            pieces = [index for index, (left, right) in enumerate(offsets) if left < end and right > start]
            if pieces:
                expected.setdefault(pieces[0], []).append((start, end))

        text = align_words(words, list(range(len(offsets))), offsets)
        assert text.first_pieces == list(expected)
        assert text.words == [(shared[0][0], shared[-1][1]) for shared in expected.values()]


@pytest.mark.parametrize(
    "text, words",
    [
        ("London's (1997–98), naïve", ["London", "'", "s", "(", "1997", "–", "98", ")", ",", "naïve"]),
        ("कुशवाहा है", ["कुशवाहा", "है"]),
        ("東京に", ["東", "京", "に"]),
    ],
)
def test_words_of_a_text(text, words):
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    windows = TokenWindows(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?"), BertConfig())

    assert [text[start:end] for start, end in windows.encode([text])[0].words] == words


@pytest.mark.parametrize(
    "names, labels",
    [
        (BIO, [("O", ""), ("B", "PER"), ("I", "PER"), ("B", "LOC"), ("I", "LOC")]),
        (["I-PER", "o"], [("I", "PER"), ("O", "")]),
        (["O", "Chemical", "B"], [("O", ""), ("I", "Chemical"), ("I", "B")]),
        (["O", "U_X-Y", "L_X-Y", "S-A", "E-A"], [("O", ""), ("S", "X-Y"), ("E", "X-Y"), ("S", "A"), ("E", "A")]),
        (["O", "[PAD]", "PER"], [("O", ""), ("O", ""), ("I", "PER")]),
    ],
)
def test_labels_are_read(names, labels):
    assert read_labels(dict(enumerate(names))) == labels


@pytest.mark.parametrize(
    "names, message",
    [
        (["LABEL_0", "LABEL_1"], "are .*LABEL_0.*, which name no types: set `id2label`"),
        (["O"], "expected 'O' for words outside mentions, and labels with types"),
        (["B-PER", "I-PER"], "expected 'O' for words outside"),
    ],
)
def test_models_without_types_are_an_error(names, message):
    with pytest.raises(ValueError, match=message):
        TokenClassificationExtractor(make_model(names), make_tokenizer())


def test_labels_that_break_a_mention():
    labels = read_labels(dict(enumerate(["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B"])))
    breaks = broken_mentions(labels)

    unbroken = {("B-A", "I-A"), ("B-A", "E-A"), ("I-A", "I-A"), ("I-A", "E-A"), ("B-B", "I-B"), ("I-B", "I-B")}
    names = ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B"]
    for (row, before), (column, name) in itertools.product(enumerate(names), repeat=2):
        assert breaks[row, column] == (name[0] in "IE" and (before, name) not in unbroken)
    assert not broken_mentions(read_labels({0: "O", 1: "I-A", 2: "B"})).any()


def test_path_is_the_most_probable():
    generator = np.random.default_rng(0)
    breaks = broken_mentions(read_labels(dict(enumerate(BIO))))
    for length in (1, 2, 4):
        for _ in range(10):
            probabilities = generator.dirichlet(np.full(len(BIO), 0.5), size=length)

            def value(path, given=probabilities):
                broken = sum(breaks[pair] for pair in itertools.pairwise(path))
                return np.prod([row[label] for row, label in zip(given, path)]) * 0.02**broken

            best = max(itertools.product(range(len(BIO)), repeat=length), key=value)
            assert best_path(probabilities, breaks) == list(best)


def test_a_mention_keeps_a_word_that_alone_has_another_type():
    breaks = broken_mentions(read_labels(dict(enumerate(BIO))))
    hotel = [[0.1, 0.5, 0.1, 0.3, 0], [0.1, 0, 0.1, 0, 0.8]]  # B-PER and I-LOC

    assert best_path(np.array(hotel), breaks) == [3, 4]
    # As in a corpus that begins a mention with "B-" only beside another.
    assert best_path(np.array([[1, 0, 0, 0, 0], [0.01, 0.01, 0.98, 0, 0]]), breaks) == [0, 2]


@pytest.mark.parametrize(
    "names, mentions",
    [
        ("O B-A I-A I-A O", [(1, 4, "A")]),
        ("B-A B-A I-B I-B", [(0, 1, "A"), (1, 2, "A"), (2, 4, "B")]),
        ("I-A I-A O I-A", [(0, 2, "A"), (3, 4, "A")]),
        ("A A B O B", [(0, 2, "A"), (2, 3, "B"), (4, 5, "B")]),
        ("S-A S-A B-A E-A E-A I-A", [(0, 1, "A"), (1, 2, "A"), (2, 4, "A"), (4, 5, "A"), (5, 6, "A")]),
    ],
)
def test_words_are_joined(names, mentions):
    labels = read_labels(dict(enumerate(["O", *names.split()])))[1:]
    words = [(index, index + 1) for index in range(len(labels))]

    found = join_words(words, labels, [0.5] * len(words))

    assert [(mention["start"], mention["end"], mention["type"]) for mention in found] == mentions
    assert all(mention["score"] == 0.5 for mention in found)


def test_texts_that_are_none_are_an_error(extractor):
    with pytest.raises(ValueError, match="`texts` is 'Ada', expected a list of strings"):
        extractor("Ada")
    with pytest.raises(ValueError, match="text 1 is None, expected a string"):
        extractor(["Ada", None])
    with pytest.raises(ValueError, match=r"text 0 has the lone surrogate '\\ud83d' at character 2"):
        extractor(["a \ud83d"])


def test_windows_that_do_not_fit_are_an_error(tagger):
    for max_length in (2, 513):
        with pytest.raises(ValueError, match=f"`max_length` is {max_length}, expected 3 to 512"):
            TokenClassificationExtractor(*tagger, max_length=max_length)
    assert TokenClassificationExtractor(tagger[0], make_tokenizer(30)).windows.max_length == 30
    assert TokenClassificationExtractor(tagger[0], make_tokenizer(10**30)).windows.max_length == 512


def test_saved_models_are_loaded(tagger, extractor, tmp_path):
    for part in tagger:
        part.save_pretrained(tmp_path / "mention_model")
    loaded = TokenClassificationExtractor.from_pretrained(
        str(tmp_path), subfolder="mention_model", device="cpu", batch_size=2
    )

    assert loaded(["Ada met London"]) == extractor(["Ada met London"])
    assert loaded.batch_size == 2
    with pytest.raises(OSError, match="'nobody/no-model' is not a local folder, and loading it"):
        TokenClassificationExtractor.from_pretrained("nobody/no-model")
