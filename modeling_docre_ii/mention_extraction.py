"""Finds the mentions of raw texts with a token-classification model."""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from tokenizers import Regex, pre_tokenizers
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForTokenClassification, AutoTokenizer

from .configuration_docre_ii import num_positions
from .configuration_loading import load_error
from .mention_formats import Label, Span, read_labels
from .quoting import lone_surrogate, quote


# Words end at white space and punctuation. In scripts without spaces every character is a word of its own, and the
# model knows which belong together. Invisible characters around a word, such as a byte order mark, are not part of it.
_UNSPACED = Regex(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_AROUND = Regex(r"\A\p{Cf}+|\p{Cf}+\z")
_WORDS = pre_tokenizers.Sequence(
    [
        pre_tokenizers.BertPreTokenizer(),
        pre_tokenizers.Split(_UNSPACED, "isolated"),
        pre_tokenizers.Split(_AROUND, "removed"),
    ]
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")

# What a broken mention counts, as a factor of the probability of the labels.
_BREAK = 0.02
# The scores of this many texts are in memory together.
_TEXTS_AT_ONCE = 256


class TokenClassificationExtractor:
    r"""
    Finds the mentions of raw texts of any length with a token-classification model.

    Long texts are read in overlapping windows, and windows of similar length are batched, from whatever text they
    are. A word takes its label from its first piece, in the window where that piece has the most context, so no
    mention cuts a word. (The pipeline of transformers cuts words where windows meet, and finds words only with
    WordPiece tokenizers.)

    Args:
        model (`PreTrainedModel`):
            A model for token classification. It is put into evaluation mode.
        tokenizer (`PreTrainedTokenizerFast`):
            Its tokenizer.
        batch_size (`int`, *optional*, defaults to 8):
            Number of windows that the model reads together.
        max_length (`int`, *optional*):
            Largest number of tokens of a window, special tokens included. Defaults to what the model can read, at
            most 512. A quarter of it overlaps the next window.

    Raises:
        `ValueError`: the tokenizer does not tell where its tokens are, or the labels of the model name no types.

    Example:

    ```python
    >>> extractor = TokenClassificationExtractor.from_pretrained("dslim/bert-base-NER")
    >>> extractor(["Ada Lovelace was born in London."])
    [[{'start': 0, 'end': 12, 'type': 'PER', 'score': 0.99}, {'start': 25, 'end': 31, 'type': 'LOC', 'score': 0.99}]]
    ```
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 8, max_length: int | None = None):
        self.labels = read_labels(model.config.id2label)
        self.breaks = broken_mentions(self.labels)
        self.windows = TokenWindows(tokenizer, model.config, max_length)
        self.model = model.eval()
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        subfolder: str = "",
        token: str | bool | None = None,
        revision: str = "main",
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> "TokenClassificationExtractor":
        r"""
        Loads a model and its tokenizer, as `from_pretrained` of transformers does.

        Args:
            name_or_path (`str`): A local folder or a name on the Hub.
            subfolder, token, revision: As in transformers.
            device (`str` or `torch.device`, *optional*): Where the model runs. Defaults to the CPU.
            kwargs: `batch_size` and `max_length`.

        Raises:
            `OSError`: there is no such model. The message names it.
        """
        where = {"subfolder": subfolder, "token": token, "revision": revision}
        try:
            model = AutoModelForTokenClassification.from_pretrained(name_or_path, **where)
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **where)
        except (OSError, SafetensorError) as error:
            raise load_error(name_or_path, error).with_traceback(None) from None
        return cls(model if device is None else model.to(device), tokenizer, **kwargs)

    def __call__(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """
        Finds the mentions of texts.

        Args:
            texts (`list[str]`): The texts.

        Returns:
            `list[list[dict]]`: the mentions of each text in its order, each with `start` and `end` in characters,
            `end` excluded, `type`, and `score`, the mean probability of the labels of its words. Mentions do not
            overlap, do not begin or end in white space, and do not span a blank line.

        Raises:
            `ValueError`: `texts` is not a list of strings that UTF-8 can encode.
        """
        _check_texts(texts)
        found: list[list[dict[str, Any]]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = texts[start : start + _TEXTS_AT_ONCE]
            encoded = self.windows.encode(batch)
            for text, words, probabilities in zip(batch, (each.words for each in encoded), self.label_words(encoded)):
                parts = paragraphs(text, words)
                found.append([mention for part in parts for mention in self._join(words[part], probabilities[part])])
        return found

    def _join(self, words: Sequence[Span], probabilities: np.ndarray) -> list[dict[str, Any]]:
        path = best_path(probabilities, self.breaks)
        scores = [of_word[index] for of_word, index in zip(probabilities, path)]
        return join_words(words, [self.labels[index] for index in path], scores)

    @torch.inference_mode()
    def label_words(self, texts: "Sequence[EncodedText]") -> list[np.ndarray]:
        """
        Computes the probabilities of the labels of all words.

        Args:
            texts (`list[EncodedText]`): The texts.

        Returns:
            `list[np.ndarray]` of shape `(num_words, num_labels)`: the probabilities, for each text.
        """
        scores: list[np.ndarray] = [np.zeros((len(text.ids), len(self.labels))) for text in texts]
        windows = [(index, window) for index, text in enumerate(texts) for window in self.windows.split(text)]
        windows.sort(key=lambda item: item[1].end - item[1].start, reverse=True)
        for start in range(0, len(windows), self.batch_size):
            batch = windows[start : start + self.batch_size]
            inputs = self.windows.pad([self.windows.input_ids(texts[index], window) for index, window in batch])
            inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
            probabilities = self.model(**inputs).logits.float().softmax(-1).cpu().numpy()
            for (index, window), of_window in zip(batch, probabilities):
                first = len(self.windows.prefix) - window.start
                kept = of_window[first + window.keep_start : first + window.keep_end]
                scores[index][window.keep_start : window.keep_end] = kept
        return [of_text[text.first_pieces] for of_text, text in zip(scores, texts)]


@dataclass(frozen=True)
class EncodedText:
    """
    A text in pieces, and its words.

    Args:
        ids (`list[int]`): The ids of the pieces, without special tokens.
        words (`list[tuple[int, int]]`):
            The words, [start, end) in characters. A punctuation mark is a word. Words that share a piece are one, and
            words without any are left out.
        first_pieces (`list[int]`): The first piece of each word.
    """

    ids: list[int]
    words: list[Span]
    first_pieces: list[int]


class Window(NamedTuple):
    """
    A window over the pieces of a text.

    Args:
        start, end (`int`): The pieces that the model reads.
        keep_start, keep_end (`int`): Those of them that have more context here than in any other window.
    """

    start: int
    end: int
    keep_start: int
    keep_end: int


class TokenWindows:
    """
    Encodes texts of any length as windows.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): The tokenizer of the model.
        config (`PreTrainedConfig`): The configuration of the model.
        max_length (`int`, *optional*):
            Largest number of tokens of a window, special tokens included. Defaults to what the model can read, at
            most 512.
    """

    def __init__(self, tokenizer: Any, config: Any, max_length: int | None = None):
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} does not tell the characters of tokens: use a fast tokenizer"
            )
        self.tokenizer = tokenizer
        special = tokenizer("a", return_special_tokens_mask=True)
        ids, is_special = special["input_ids"], special["special_tokens_mask"]
        num_prefix, num_suffix = is_special.index(0), is_special[::-1].index(0)
        self.prefix, self.suffix = ids[:num_prefix], ids[len(ids) - num_suffix :]
        # Tokenizers that know of no limit have a number of 31 digits.
        longest = int(min(tokenizer.model_max_length, num_positions(config) or math.inf))
        self.max_length = min(512, longest) if max_length is None else max_length
        self.room = self.max_length - num_prefix - num_suffix
        if self.room < 1 or self.max_length > longest:
            raise ValueError(
                f"`max_length` is {self.max_length}, expected {num_prefix + num_suffix + 1} to {longest}, the longest "
                "input of the model"
            )

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encodes texts, each whole."""
        if not texts:
            return []
        options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        encoded = self.tokenizer(list(texts), truncation=False, padding=False, **options)
        return [
            align_words((span for _, span in _WORDS.pre_tokenize_str(text)), ids, offsets)
            for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"])
        ]

    def split(self, text: EncodedText) -> list[Window]:
        """Returns the windows over a text."""
        return split_windows(len(text.ids), self.room, self.room // 4)

    def input_ids(self, text: EncodedText, window: Window) -> list[int]:
        """Returns the ids of a window, with special tokens."""
        return [*self.prefix, *text.ids[window.start : window.end], *self.suffix]

    def pad(self, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Pads ids on the right, and masks the padding."""
        pad = self.tokenizer.pad_token_id or 0
        return {
            "input_ids": pad_sequence([torch.tensor(row) for row in rows], True, pad),
            "attention_mask": pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True, 0),
        }


def align_words(words: Iterable[Span], ids: list[int], offsets: Sequence[Span]) -> EncodedText:
    """
    Finds the first piece of every word.

    Args:
        words (`Iterable[tuple[int, int]]`): The words, [start, end) in characters.
        ids (`list[int]`): The ids of the pieces.
        offsets (`list[tuple[int, int]]`): The pieces in characters. Some tokenizers count the space before a piece.

    Returns:
        [`EncodedText`]: the text.
    """
    kept: list[Span] = []
    first_pieces: list[int] = []
    piece = 0
    for start, end in words:
        while piece < len(offsets) and offsets[piece][1] <= start:
            piece += 1
        # Tokenizers drop some control characters.
        if piece == len(offsets) or offsets[piece][0] >= end:
            continue
        if first_pieces and first_pieces[-1] == piece:
            kept[-1] = kept[-1][0], end
        else:
            kept.append((start, end))
            first_pieces.append(piece)
    return EncodedText(ids, kept, first_pieces)


def split_windows(num_pieces: int, room: int, overlap: int) -> list[Window]:
    """
    Spreads windows evenly over a text.

    Args:
        num_pieces (`int`): Number of pieces of the text.
        room (`int`): Largest number of pieces of a window.
        overlap (`int`): Smallest number of pieces that two neighbors share.

    Returns:
        `list[Window]`: the windows. Every piece is kept in one of them. There is none for an empty text.
    """
    if num_pieces <= room:
        return [Window(0, num_pieces, 0, num_pieces)] if num_pieces else []
    # Rounded up.
    steps = -(-(num_pieces - room) // (room - overlap))
    starts = [step * (num_pieces - room) // steps for step in range(steps + 1)]
    # Of the pieces that two windows share, the first half has more context in the first.
    cuts = [(start + room + following + 1) // 2 for start, following in zip(starts, starts[1:])]
    return [Window(start, start + room, *kept) for start, *kept in zip(starts, [0, *cuts], [*cuts, num_pieces])]


def paragraphs(text: str, words: Sequence[Span]) -> list[slice]:
    """Returns the words of each paragraph of a text. Paragraphs end at blank lines."""
    starts = (bisect_left(words, (blank.end(),)) for blank in _BLANK_LINE.finditer(text))
    return [slice(start, end) for start, end in pairwise([0, *starts, len(words)]) if start < end]


def broken_mentions(labels: Sequence[Label]) -> np.ndarray:
    """
    Finds which labels of two neighboring words break a mention.

    "I-PER" does so unless "B-PER" or "I-PER" is before it. If the model has no "B-PER", nothing does.

    Args:
        labels (`list[tuple[str, str]]`): Place and type of each label, from [`read_labels`].

    Returns:
        `np.ndarray` of shape `(num_labels, num_labels)`: whether the second label breaks a mention after the first.
    """
    begun = {kind for place, kind in labels if place == "B"}

    def breaks(before: Label, label: Label) -> bool:
        is_inside = label[0] in "IE" and label[1] in begun
        return is_inside and not (before[0] in "BI" and before[1] == label[1])

    return np.array([[breaks(before, label) for label in labels] for before in labels])


def best_path(probabilities: np.ndarray, breaks: np.ndarray) -> list[int]:
    """
    Chooses the labels of the words of a text together (Viterbi).

    The labels have the largest product of probabilities, in which every broken mention counts as a factor of
    `_BREAK`. So a word inside a mention does not start another because its own label has another type. Models that
    are trained to begin mentions with "I-PER" are surer than that.

    Args:
        probabilities (`np.ndarray` of shape `(num_words, num_labels)`): The probabilities of the labels of each word.
        breaks (`np.ndarray` of shape `(num_labels, num_labels)`): Whether the second label breaks a mention.

    Returns:
        `list[int]`: the label of each word.
    """
    if not len(probabilities) or not breaks.any():
        return probabilities.argmax(-1).tolist()
    steps = np.log(np.maximum(probabilities, 1e-30)).astype(np.float64)
    transitions = np.where(breaks, np.log(_BREAK), 0.0).T
    best, rows = steps[0], np.arange(len(transitions))
    sources = np.zeros(probabilities.shape, np.int64)
    for word in range(1, len(steps)):
        sums = transitions + best
        sources[word] = sums.argmax(1)
        best = sums[rows, sources[word]] + steps[word]
    path = [int(best.argmax())]
    for source in sources[:0:-1]:
        path.append(int(source[path[-1]]))
    return path[::-1]


def join_words(words: Sequence[Span], labels: Sequence[Label], scores: Sequence[float]) -> list[dict[str, Any]]:
    """
    Joins the words of each mention.

    Args:
        words (`list[tuple[int, int]]`): The words of a text, [start, end) in characters.
        labels (`list[tuple[str, str]]`): Place and type of the label of each word, as of [`read_labels`].
        scores (`list[float]`): The probability of each label.

    Returns:
        `list[dict]`: the mentions, each with `start`, `end`, `type` and `score`, the mean over its words.
    """
    mentions: list[dict[str, Any]] = []
    of_words: list[list[float]] = []
    # The type of a mention that the next word may belong to.
    open_type = None
    for (start, end), (place, kind), score in zip(words, labels, scores):
        if place in "IE" and kind == open_type:
            mentions[-1]["end"] = end
            of_words[-1].append(float(score))
        elif place != "O":
            mentions.append({"start": start, "end": end, "type": kind})
            of_words.append([float(score)])
        open_type = kind if place in "BI" else None
    return [mention | {"score": sum(values) / len(values)} for mention, values in zip(mentions, of_words)]


def _check_texts(texts: Any) -> None:
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"`texts` is {quote(texts)}, expected a list of strings")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {index} is {quote(text)}, expected a string")
        if surrogate := lone_surrogate(text):
            raise ValueError(f"text {index} has the lone surrogate {surrogate}, which UTF-8 cannot encode")


__all__ = [
    "EncodedText",
    "TokenClassificationExtractor",
    "TokenWindows",
    "Window",
    "align_words",
    "best_path",
    "broken_mentions",
    "join_words",
    "paragraphs",
    "split_windows",
]
