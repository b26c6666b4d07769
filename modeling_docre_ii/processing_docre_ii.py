"""Processor of DocRE-II: documents -> model inputs, and model outputs -> triples with names."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin

from .data_collator import DataCollatorForRelationExtraction
from .decoding import PredictedFact, predicted_facts
from .documents import NO_RELATION, DocumentError, check_document
from .explanation import Support, explain_facts
from .mention_marking import MENTION_ANCHORS, candidate_pairs, mark_mentions


class DocREIIProcessor(ProcessorMixin):
    r"""
    Marks the mentions of a document, tokenizes it, and turns predictions back into triples with names.

    A document has DocRED's form: `title`, `sents` (lists of tokens), `vertexSet` (entities as lists of mentions with
    `name`, `sent_id`, `pos`, `type`) and, for training, `labels`. Every distinct span gets a marker before its first
    and after its last token. Nested spans nest their markers, spans that two mentions share are marked once, and
    between two adjacent spans the first is closed before the second is opened.

    Args:
        tokenizer ([`PreTrainedTokenizerFast`]):
            Tokenizer of the encoder. It reads the document as plain text with single spaces, so that word-start spaces
            come out as in pretraining.
        relations (`list[str]`):
            Ids of the relations in the order of the model's classes, the no-relation class first, as `"Na"`, `"P17"`.
        relation_names (`dict[str, str]`, *optional*):
            Readable names of the relations. A relation without one goes by its id.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of entity types (head, tail) that can be related, as `[["Chemical", "Disease"]]`. An entity has the
            types of all its mentions. Defaults to every pair of different entities.
        marker (`str`, *optional*, defaults to `"*"`):
            What is put before and after a mention.
        mark_types (`bool`, *optional*, defaults to `False`):
            Whether the type of a mention follows its opening marker, as a word of the text: `* LOC Paris *`. The paper
            marks no types; its released code does, with tokens of its own.

    Raises:
        `ValueError`: the tokenizer is not a fast one or reads nothing in the marker, `relations` does not list
            distinct classes, `candidate_types` does not list pairs of types, or `mention_anchor` is unknown.

    Example:

    ```python
    >>> inputs = processor(document, return_tensors="pt")
    >>> outputs = model(**inputs)
    >>> processor.post_process_relation_extraction(
    ...     outputs, [document], max_labels_per_pair=model.config.max_labels_per_pair
    ... )
    ```
    """

    def __init__(
        self,
        tokenizer,
        relations=None,
        relation_names=None,
        candidate_types=None,
        marker="*",
        mark_types=False,
        mention_anchor="marker",
    ):
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} is not a fast tokenizer: it cannot say where a marker went")
        self.relations = _check_relations(relations)
        super().__init__(tokenizer)
        self.relation_names = dict(relation_names or {})
        self.candidate_types = _check_candidate_types(candidate_types)
        self.marker = marker
        self.mark_types = mark_types
        if mention_anchor not in MENTION_ANCHORS:
            raise ValueError(f"`mention_anchor` has to be one of {MENTION_ANCHORS}, got {mention_anchor!r}")
        self.mention_anchor = mention_anchor
        self._relation_index = {relation: index for index, relation in enumerate(self.relations)}
        self._known_relations = set(self.relations[1:])
        special = tokenizer(marker, return_special_tokens_mask=True)["special_tokens_mask"]
        if 0 not in special:
            raise ValueError(f"the tokenizer reads nothing in the marker {marker!r}")
        self.num_prefix_tokens = special.index(0)
        self.num_suffix_tokens = special[::-1].index(0)

    def __call__(
        self,
        documents: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        return_labels: bool = False,
        skip_uncounted: bool = False,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """
        Args:
            documents (`dict` or `list[dict]`):
                One document or several, in DocRED's form.
            return_labels (`bool`, *optional*, defaults to `False`):
                Whether to return the facts in `labels`. A document without any is one without a fact then.
            skip_uncounted (`bool`, *optional*, defaults to `False`):
                Whether the `uncounted` pairs of a document are no candidates. For training only: they are known from
                the labels.
            return_tensors (`str`, *optional*):
                `"pt"` for padded tensors, as the model takes them. By default, lists with one entry a document.

        Returns:
            [`BatchFeature`] with `input_ids` (all tokens, any length), `mention_positions` and `mention_entities` (the
            anchor and the entity of every mention), `pair_mask` (the candidate pairs), and `labels` (facts as
            head, tail, relation).

        Raises:
            [`DocumentError`]: a document is malformed, has an unknown relation, or a fact on a pair that is no
            candidate.
        """
        if return_tensors not in (None, "pt"):
            raise ValueError(f"`return_tensors` has to be 'pt' or None, got {return_tensors!r}")
        documents = [documents] if isinstance(documents, Mapping) else list(documents)
        if not documents:
            raise ValueError("there are no documents to process")
        for document in documents:
            check_document(document, self._known_relations if return_labels else None)
        marked = [mark_mentions(document, self.marker, self.mark_types, self.mention_anchor) for document in documents]
        encodings = self._tokenize([text for text, _, _ in marked])
        features = {
            "input_ids": encodings["input_ids"],
            "mention_positions": [
                [_first_piece(encodings, index, character) for character in characters]
                for index, (_, characters, _) in enumerate(marked)
            ],
            "mention_entities": [entities for _, _, entities in marked],
            "pair_mask": [candidate_pairs(document, self.candidate_types, skip_uncounted) for document in documents],
        }
        if return_labels:
            features["labels"] = [
                self._facts(document, pair_mask) for document, pair_mask in zip(documents, features["pair_mask"])
            ]
        if return_tensors is None:
            return BatchFeature(features)
        rows = [dict(zip(features, values)) for values in zip(*features.values())]
        return BatchFeature(DataCollatorForRelationExtraction(self.tokenizer)(rows))

    def _tokenize(self, texts):
        return self.tokenizer(
            texts,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            # A "[SEP]" in the text is text; only a marker may be a special token.
            split_special_tokens=self.marker not in self.tokenizer.all_special_tokens,
            # Being longer than the encoder's positions is no reason for a warning here.
            verbose=False,
        )

    def _facts(self, document, pair_mask):
        facts = []
        for label in document.get("labels") or []:
            if not pair_mask[label["h"]][label["t"]]:
                fact = (label["h"], label["t"], label["r"])
                raise DocumentError(
                    f"document {document['title']!r}: the fact {fact} is on a pair of entities whose types are not "
                    f"among the candidate types {self.candidate_types}"
                )
            facts.append([label["h"], label["t"], self._relation_index[label["r"]]])
        return facts

    def post_process_relation_extraction(
        self,
        outputs,
        documents: Sequence[Mapping[str, Any]],
        max_labels_per_pair: int,
        threshold: float = 0.5,
        top_k: int | None = None,
    ) -> list[list[dict[str, Any]]]:
        """
        Turns the output of [`DocREIIForRelationExtraction`] into triples with names.

        Args:
            outputs ([`DocREIIOutput`]):
                Output of the model for these documents.
            documents (`dict` or `list[dict]`):
                The documents, in the order of the batch.
            max_labels_per_pair (`int`):
                Largest number of relations of one pair, `model.config.max_labels_per_pair`.
            threshold (`float`, *optional*, defaults to 0.5):
                Score above which a triple is returned, from 0 to below 1. At 0.5 a relation is as probable as "no
                relation": what the model predicts. A lower one returns more triples, a higher one fewer.
            top_k (`int`, *optional*):
                Largest number of triples of a document, those with the highest scores. Defaults to all.

        Returns:
            `list[list[dict]]`: the triples of each document, as [`~DocREIIProcessor.name_facts`] makes them.

        Raises:
            `ValueError`: the number of documents is not that of the output, or `threshold` or `top_k` is out of range.
        """
        documents = [documents] if isinstance(documents, Mapping) else list(documents)
        if len(documents) != len(outputs.logits):
            raise ValueError(f"got {len(documents)} documents for the output of {len(outputs.logits)}")
        check_selection(threshold, top_k)
        pair_mask = torch.zeros(outputs.logits.shape[:-1], dtype=torch.bool)
        for index, document in enumerate(documents):
            num_entities = len(document["vertexSet"])
            pairs = torch.tensor(candidate_pairs(document, self.candidate_types), dtype=torch.bool)
            pair_mask[index, :num_entities, :num_entities] = pairs
        facts, scores = predicted_facts(
            outputs.logits,
            max_labels_per_pair,
            pair_mask.to(outputs.logits.device),
            reach=math.log((1 - threshold) / threshold) if threshold else math.inf,
        )
        by_document: list[list[PredictedFact]] = [[] for _ in documents]
        for (document, head, tail, relation), score in zip(facts.tolist(), scores.tolist()):
            by_document[document].append(PredictedFact(head, tail, self.relations[relation], score))
        return [self.name_facts(rows, document)[:top_k] for rows, document in zip(by_document, documents)]

    def explain(
        self,
        outputs,
        documents: Sequence[Mapping[str, Any]],
        max_labels_per_pair: int,
        threshold: float = 0.5,
        top_k: int | None = None,
        num_support: int = 3,
    ) -> list[list[dict[str, Any]]]:
        """
        As [`~DocREIIProcessor.post_process_relation_extraction`], with the reasons of every triple.

        Args:
            outputs ([`DocREIIOutput`]):
                Output of the model for these documents with `output_attentions=True`.
            documents (`dict` or `list[dict]`):
                The documents, in the order of the batch.
            max_labels_per_pair (`int`):
                Largest number of relations of one pair, `model.config.max_labels_per_pair`.
            threshold, top_k (`float`, `int`, *optional*):
                Which triples are returned, see [`~DocREIIProcessor.post_process_relation_extraction`].
            num_support (`int`, *optional*, defaults to 3):
                Largest number of supporting pairs of a triple.

        Returns:
            `list[list[dict]]`: the triples of each document, each also with `iteration`, the first that predicted it
            (0: the base module; the last for a triple that none predicted), and `support`: the overlapping pairs that
            the inference module attended to most then, as `head`, `tail`, `relations`, `relation_names` and `weight`,
            their share of the attention.
        """
        documents = [documents] if isinstance(documents, Mapping) else list(documents)
        all_triples = self.post_process_relation_extraction(outputs, documents, max_labels_per_pair, threshold, top_k)
        for index, (document, triples) in enumerate(zip(documents, all_triples)):
            facts = [
                (triple["head"]["entity"], triple["tail"]["entity"], self.relations.index(triple["relation"]))
                for triple in triples
            ]
            for triple, explanation in zip(triples, explain_facts(outputs, index, facts, num_support)):
                triple["iteration"] = explanation.iteration
                triple["support"] = [self._name_support(support, document) for support in explanation.support]
        return all_triples

    def _name_support(self, support: Support, document: Mapping[str, Any]) -> dict[str, Any]:
        relations = [self.relations[relation] for relation in support.relations]
        return {
            "head": _describe_entity(support.head, document["vertexSet"][support.head]),
            "relations": relations,
            "relation_names": [self.relation_names.get(relation, relation) for relation in relations],
            "tail": _describe_entity(support.tail, document["vertexSet"][support.tail]),
            "weight": support.weight,
        }

    def name_facts(self, facts: Iterable[PredictedFact], document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """
        Names predicted facts of one document.

        Args:
            facts (`Iterable[PredictedFact]`):
                Predicted facts.
            document (`dict`):
                The document they were made on.

        Returns:
            `list[dict]`, the highest score first, with `head` and `tail` (each `entity`, the index, `name` and `type`
            of its first mention, and all `mentions` with `name`, `sent_id` and `pos`), `relation` (id),
            `relation_name`, and `score`, the probability of the relation against "no relation".
        """
        entities = [_describe_entity(index, mentions) for index, mentions in enumerate(document["vertexSet"])]
        return [
            {
                "head": entities[fact.head],
                "relation": fact.relation,
                "relation_name": self.relation_names.get(fact.relation, fact.relation),
                "tail": entities[fact.tail],
                "score": fact.score,
            }
            for fact in sorted(facts, key=lambda fact: -fact.score)
        ]

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "mention_positions", "mention_entities", "pair_mask"]


def check_selection(threshold: float, top_k: int | None) -> None:
    """
    Raises:
        `ValueError`: `threshold` or `top_k` is out of range.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"`threshold` has to be from 0 to below 1, got {threshold!r}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"`top_k` has to be at least 1, got {top_k!r}")


def _check_relations(relations) -> list[str]:
    is_list = isinstance(relations, (list, tuple)) and all(isinstance(relation, str) for relation in relations)
    if not is_list or len(relations) < 2 or len(set(relations)) != len(relations) or NO_RELATION in relations[1:]:
        raise ValueError(
            f"`relations` has to list the no-relation class and at least one relation, each once: {relations!r}"
        )
    return list(relations)


def _check_candidate_types(candidate_types) -> list[list[str]] | None:
    if candidate_types is None:
        return None
    for types in candidate_types:
        if not isinstance(types, (list, tuple)) or len(types) != 2:
            raise ValueError(f"`candidate_types` has to list pairs of types [head, tail], got {types!r}")
    return [list(types) for types in candidate_types]


def _first_piece(encodings, document: int, character: int) -> int:
    # A token of white space alone gives no piece: the next one stands for it, at the latest the closing marker's.
    position = encodings.char_to_token(document, character)
    while position is None:
        character += 1
        position = encodings.char_to_token(document, character)
    return position


def _describe_entity(index: int, mentions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "entity": index,
        "name": mentions[0]["name"],
        "type": mentions[0]["type"],
        "mentions": [
            {"name": mention["name"], "sent_id": mention["sent_id"], "pos": list(mention["pos"])}
            for mention in mentions
        ],
    }


__all__ = ["DocREIIProcessor"]
