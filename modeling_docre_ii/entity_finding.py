"""Finds the entities of raw texts, with a mention extractor and a linker."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from torch import nn
from transformers import TokenClassificationPipeline
from transformers.utils import CONFIG_NAME, logging

from .configuration_docre_ii import DocREIIConfig
from .configuration_loading import load_config
from .documents import ENTITIES_HELP, DocumentError, is_raw_text, name_of
from .entity_linking import EXACT_TYPES, Linker, link_mentions
from .mention_extraction import TokenClassificationExtractor
from .mention_formats import FoundMentions, Span, TypeMap, read_mentions
from .quoting import quote
from .text_documents import check_entities


logger = logging.get_logger(__name__)

# The folder of a checkpoint with the token-classification model that finds mentions for it.
MENTION_MODEL_FOLDER = "mention_model"

_PERSON_TYPES = ("PER", "PERSON")

# Mean score from which a name's own type stands against that of a person with this surname.
_SURE = 0.9

# What stands before a mention that is not the head of its phrase: "the capital of", "London, the rival of".
_HEAD_BEFORE = re.compile(r"\w\s*,|\w\s+(?:at|by|for|from|in|of|on|to|with)\b")


class EntityFinder:
    """
    Finds the entities of raw texts.

    Args:
        mention_extractor (`str`, `TokenClassificationPipeline` or `Callable`, *optional*):
            What finds the mentions: the name or folder of a token-classification model, a pipeline of one, or anything
            that takes a text and returns what [`read_mentions`] reads, such as a spaCy `Language`. Without it, texts
            need their `mentions`.
        linker (`Callable`, *optional*):
            Takes a text and its mentions, each with `start`, `end` and `type`, and returns the entities, each with
            `type` and `mentions`. Defaults to [`link_mentions`].
        type_map (`dict[str, str]`, *optional*):
            The model's types for the types of the extractor. `None` for a type leaves its mentions out. A type that is
            not in it stays if the model knows it, in whatever case; of the common types of other corpora, those that
            mean a type of DocRED which the model knows become that.
        entity_types (`list[str]`, *optional*):
            The types that the model knows. Any other type is named in a warning, and kept.
        device (`torch.device`, *optional*):
            Where a model runs that is given by name.

    Raises:
        `OSError`: there is no such token-classification model.
        `ValueError`: `mention_extractor` or `linker` is nothing that can be called, or `type_map` maps to a type that
            the model does not know.
    """

    def __init__(
        self,
        mention_extractor: Any = None,
        linker: Linker | None = None,
        type_map: Mapping[str, str | None] | None = None,
        entity_types: Collection[str] | None = None,
        device: Any = None,
    ):
        self.extractor = _load_extractor(mention_extractor, device)
        self.linker = link_mentions if linker is None else linker
        if not callable(self.linker):
            raise ValueError(f"`linker` is {quote(linker)}, expected a callable (text, mentions) -> entities")
        self.types = TypeMap(type_map, entity_types)

    @property
    def finds_mentions(self) -> bool:
        """Whether there is a mention extractor."""
        return self.extractor is not None

    def __call__(
        self, documents: Sequence[Mapping[str, Any]], number_from: int | None = None
    ) -> list[Mapping[str, Any]]:
        """
        Adds entities to those of some documents that are raw texts.

        Args:
            documents (`list[dict]`):
                Documents as users of the pipeline pass them, with titles. Raw texts have no `entities`, and may have
                `mentions` and `clusters`, as [`read_mentions`] reads them.
            number_from (`int`, *optional*):
                Number of the first document, for messages. Defaults to no numbers.

        Returns:
            `list[dict]`: the documents in the same order. Raw texts have `title`, `text` and `entities`.

        Raises:
            [`DocumentError`]: what was found is malformed. The message names document and extractor.
        """
        names = [
            name_of(document) if number_from is None else f"documents[{number_from + index}]: {name_of(document)}"
            for index, document in enumerate(documents)
        ]
        unread = [index for index, document in enumerate(documents) if _needs_mentions(document)]
        if unread and self.extractor is None:
            raise DocumentError(f"{names[unread[0]]}: 'entities' is missing. {ENTITIES_HELP}")
        found = dict(zip(unread, self._extract([documents[index]["text"] for index in unread])))
        results: list[Mapping[str, Any]] = []
        for index, document in enumerate(documents):
            if not is_raw_text(document):
                results.append(document)
                continue
            text, clusters = document["text"], document.get("clusters")
            if index in found:
                mentions = read_mentions(found[index], text, f"{names[index]}: {self._name}", clusters)
            else:
                mentions = read_mentions(document["mentions"], text, f"{names[index]}: 'mentions'", clusters)
            try:
                entities = self.link(text, mentions)
            except DocumentError as error:
                raise DocumentError(f"{names[index]}: {error}") from None
            results.append({"title": document["title"], "text": text, "entities": entities})
        return results

    def link(self, text: str, found: FoundMentions) -> list[dict[str, Any]]:
        """
        Maps the types of mentions, and joins those of one entity.

        Of mentions that a model found, those with the same name get the same type ([`vote_types`]).
        Mentions that share a cluster or a `kb_id` are of one entity, and so are those that the linker joins, unless
        they have different `kb_id`s: mentions without any go with the most frequent one. An entity has the most
        frequent type of its mentions. If the linker gave it a `kb_id`, it keeps that and all its mentions.

        Args:
            text (`str`):
                The text.
            found ([`FoundMentions`]):
                Mentions and clusters.

        Returns:
            `list[dict]`: the entities, each with `type`, `mentions` and, if known, `kb_id`, as [`document_from_text`]
            takes them.

        Raises:
            [`DocumentError`]: the linker returned something else. The message names it.
        """
        mentions = [mention | {"type": kind} for mention in found.mentions if (kind := self.types[mention["type"]])]
        mentions = vote_types(text, mentions)
        entities = self.linker(text, mentions)
        try:
            check_entities(text, entities)
        except DocumentError as error:
            raise DocumentError(f"the linker {name_of_callable(self.linker)!r}, {error}") from None
        spans_of: dict[str, list[Span]] = {}
        for mention in mentions:
            if "kb_id" in mention:
                spans_of.setdefault(mention["kb_id"], []).append((mention["start"], mention["end"]))
        clusters = [*found.clusters, *spans_of.values()]
        return _identified(join_clusters(text, entities, mentions, clusters), spans_of) if clusters else entities

    def _extract(self, texts: list[str]) -> list[Any]:
        if not texts:
            return []
        if isinstance(self.extractor, TokenClassificationExtractor):
            return self.extractor(texts)
        if hasattr(self.extractor, "pipe"):  # a spaCy Language
            return list(self.extractor.pipe(texts))
        return [self.extractor(text) for text in texts]

    @property
    def _name(self) -> str:
        return f"the mention extractor {name_of_callable(self.extractor)!r}"


def checkpoint_of(model: Any) -> tuple[str, str]:
    """
    Returns where a model was loaded from, whatever the working folder is later.

    Args:
        model (`PreTrainedModel`):
            The model.

    Returns:
        `tuple[str, str]`: folder or name on the Hub, empty for a new model, and commit on the Hub.
    """
    name, commit = model.config._name_or_path, getattr(model.config, "_commit_hash", None)
    return os.path.abspath(name) if os.path.isdir(name) else name, commit or "main"


def find_mention_model(name: str, revision: str, device: Any = None) -> TokenClassificationExtractor | None:
    """
    Loads the mention model of a checkpoint.

    Args:
        name, revision (`str`):
            From [`checkpoint_of`].
        device (`torch.device`, *optional*):
            Where the mention model runs.

    Returns:
        [`TokenClassificationExtractor`], or `None` if the model's folder or repository has no `mention_model`. Where
        the Hub cannot be asked and the cache does not say, a warning names the model.
    """
    if os.path.isdir(name):
        if not os.path.isfile(os.path.join(name, MENTION_MODEL_FOLDER, CONFIG_NAME)):
            return None
    elif not name or not _is_on_hub(name, f"{MENTION_MODEL_FOLDER}/{CONFIG_NAME}", revision):
        return None
    return TokenClassificationExtractor.from_pretrained(
        name, subfolder=MENTION_MODEL_FOLDER, revision=revision, device=device
    )


def save_mention_model(extractor: Any, folder: str | os.PathLike) -> None:
    """Saves a [`TokenClassificationExtractor`] with the checkpoint in a folder."""
    if isinstance(extractor, TokenClassificationExtractor):
        place = os.path.join(folder, MENTION_MODEL_FOLDER)
        extractor.model.save_pretrained(place)
        extractor.windows.tokenizer.save_pretrained(place)


def _is_on_hub(name: str, file: str, revision: str) -> bool:
    """Whether a repository has a file. Warns if nobody can tell, such as offline."""
    try:
        if try_to_load_from_cache(name, file, revision=revision) is _CACHED_NO_EXIST:
            return False
        hf_hub_download(name, file, revision=revision)
    except (OSError, HFValidationError, EntryNotFoundError) as error:
        is_unknown = isinstance(error, LocalEntryNotFoundError) or not isinstance(error, EntryNotFoundError)
        if is_unknown:
            logger.warning(f"whether {name!r} has a mention model is unknown: {str(error).splitlines()[0]}")
        return False
    return True


def vote_types(text: str, mentions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Gives mentions of the same name the type with the largest sum of scores.

    A model may take "Paris" for a place here and for an organization there, which would make two entities of it. The
    last word of a person's name, such as "Babbage" after "Charles Babbage", is a person, unless it is a time or a
    number, or the model is sure of another type on average, as of the city "Washington" after "George Washington".

    Args:
        text (`str`):
            The text.
        mentions (`list[dict]`):
            The mentions, each with `start`, `end` and `type`. Those without a `score`, which no model found, keep
            their types.

    Returns:
        `list[dict]`: the mentions with their types, in the same order.
    """
    names = [text[mention["start"] : mention["end"]].casefold() for mention in mentions]
    sums: dict[str, Counter[str]] = {}
    for name, mention in zip(names, mentions):
        if "score" in mention:
            sums.setdefault(name, Counter())[mention["type"]] += mention["score"]
    types = {name: votes.most_common(1)[0][0] for name, votes in sums.items()}
    persons = [(name.split(), kind) for name, kind in types.items() if kind in _PERSON_TYPES]
    surnames = {words[-1]: kind for words, kind in persons if len(words) > 1}
    counts = Counter(name for name, mention in zip(names, mentions) if "score" in mention)
    doubtful = {
        name
        for name, kind in types.items()
        if kind.upper() not in EXACT_TYPES and sums[name][kind] < _SURE * counts[name]
    }
    types |= {name: kind for name, kind in surnames.items() if name in doubtful}
    return [
        {**mention, "type": types[name]} if "score" in mention else dict(mention)
        for name, mention in zip(names, mentions)
    ]


def join_clusters(
    text: str,
    entities: Sequence[Mapping[str, Any]],
    mentions: Iterable[Mapping[str, Any]],
    clusters: Iterable[Sequence[Span]],
) -> list[dict[str, Any]]:
    """
    Joins the entities that the clusters of a coreference model say are one.

    A span of a cluster is a mention if it is one, or ends with one: "the mathematician Charles Babbage" is "Charles
    Babbage", but "the capital of England" is not "England". The other spans, such as pronouns, become mentions of the
    entity. A cluster without a mention is no entity.

    Args:
        text (`str`):
            The text.
        entities (`list[dict]`):
            The entities from the linker.
        mentions (`list[dict]`):
            The mentions with their types.
        clusters (`list[list[tuple[int, int]]]`):
            The clusters, in characters.

    Returns:
        `list[dict]`: the entities, each with the most frequent type of its mentions and the first `kb_id` of those
        that it joins, if any, in the order of their first mention.
    """
    # A linker may have spans of its own.
    kinds = {(start, end): entity["type"] for entity in entities for start, end in entity["mentions"]}
    kinds |= {(mention["start"], mention["end"]): mention["type"] for mention in mentions}
    group_of = {tuple(span): index for index, entity in enumerate(entities) for span in entity["mentions"]}
    groups = [{tuple(span) for span in entity["mentions"]} for entity in entities]
    identifiers = [entity.get("kb_id") for entity in entities]
    ending_at: dict[int, list[Span]] = {}
    for span in group_of:
        ending_at.setdefault(span[1], []).append(span)
    for cluster in clusters:
        found = [_mention_of(text, (span[0], span[1]), ending_at) for span in cluster]
        joined = {group_of[span] for span in found if span is not None}
        if not joined:
            continue
        target = min(joined)
        new = {tuple(span) for span, mention in zip(cluster, found) if mention is None} - set(group_of)
        groups[target] |= new.union(*(groups[index] for index in joined))
        identifiers[target] = next((identifiers[index] for index in sorted(joined) if identifiers[index]), None)
        for index in joined - {target}:
            groups[index] = set()
        group_of.update((span, target) for span in groups[target])
    joined_entities = [
        {"type": _most_frequent(kinds[span] for span in spans if span in kinds), "mentions": [*map(list, spans)]}
        | ({"kb_id": identifier} if identifier else {})
        for spans, identifier in zip(map(sorted, groups), identifiers)
        if spans
    ]
    return sorted(joined_entities, key=lambda entity: entity["mentions"])


def _identified(entities: Iterable[Mapping[str, Any]], spans_of: Mapping[str, Iterable[Span]]) -> list[dict[str, Any]]:
    """Gives entities without a `kb_id` that of their mentions, and splits those that have several."""
    identifier_of = {span: identifier for identifier, spans in spans_of.items() for span in spans}
    identified = []
    for entity in entities:
        given = [identifier_of[span] for span in map(tuple, entity["mentions"]) if span in identifier_of]
        if entity.get("kb_id") is not None or not given:
            identified.append(dict(entity))
            continue
        parts: dict[str, list[list[int]]] = {}
        usual = _most_frequent(given)
        for span in entity["mentions"]:
            parts.setdefault(identifier_of.get(tuple(span), usual), []).append(span)
        identified += [{**entity, "mentions": spans, "kb_id": identifier} for identifier, spans in parts.items()]
    return sorted(identified, key=lambda entity: entity["mentions"])


def _mention_of(text: str, span: Span, ending_at: Mapping[int, Sequence[Span]]) -> Span | None:
    """Returns the longest mention that a span ends with, unless it only says more of what the span means."""
    mention = min((mention for mention in ending_at.get(span[1], ()) if mention[0] >= span[0]), default=None)
    return None if mention is None or _HEAD_BEFORE.search(text[span[0] : mention[0]]) else mention


def _most_frequent(kinds: Iterable[str]) -> str:
    return Counter(kinds).most_common(1)[0][0]


def name_of_callable(function: Any) -> str:
    """Returns the name of a function, or that of the class of another callable."""
    return getattr(function, "__qualname__", type(function).__qualname__)


def _needs_mentions(document: Any) -> bool:
    return is_raw_text(document) and document.get("mentions") is None


def _load_extractor(given: Any, device: Any) -> Any:
    if isinstance(given, (str, os.PathLike)):
        if load_config(os.fspath(given)).model_type == DocREIIConfig.model_type:
            raise ValueError(
                f"`mention_extractor` is {os.fspath(given)!r}, a DocRE-II checkpoint, expected a token-classification "
                "model"
            )
        return TokenClassificationExtractor.from_pretrained(os.fspath(given), device=device)
    if isinstance(given, TokenClassificationPipeline):
        return TokenClassificationExtractor(given.model, given.tokenizer)
    if given is not None and (not callable(given) or isinstance(given, nn.Module)):
        raise ValueError(
            f"`mention_extractor` is {quote(given)}, expected a token-classification model, its pipeline, or a "
            "callable text -> mentions"
        )
    return given


__all__ = ["EntityFinder"]
