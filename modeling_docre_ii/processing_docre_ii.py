"""Processor of DocRE-II: makes model inputs of documents, and triples of outputs."""

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, BatchEncoding, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from .configuration_loading import load_error
from .data_collator import DataCollatorForRelationExtraction
from .decoding import MAX_LABELS_PER_PAIR, PredictedFact, check_finite, check_selection, predicted_facts
from .documents import ENCODABLE, DocumentError, check_document, check_relations, name_of
from .entity_pairs import candidate_pairs, check_candidate_types, check_entity_types
from .evidence import EVIDENCE_THRESHOLD, add_evidence
from .explanation import Support, explain_facts
from .mention_marking import MENTION_ANCHORS, mark_mentions, sentences_of_tokens, tokens_of_mentions
from .model_outputs import DocREIIOutput
from .quoting import lone_surrogate, quote
from .triples import describe_entity, named_triples


class DocREIIProcessor(ProcessorMixin):
    r"""
    Encodes documents for the model, and decodes its predictions to triples.

    A document has DocRED's form: `title`, `sents` (lists of tokens), `vertexSet` (entities as lists of mentions with
    `name`, `sent_id`, `pos`, `type`) and, for training, `labels`. [`document_from_text`] converts plain text.

    Every distinct span gets a marker before its first and after its last token. Markers of nested spans are nested. A
    span that two mentions share is marked once.

    Args:
        tokenizer ([`PreTrainedTokenizerFast`]):
            Tokenizer of the encoder. It reads the document as plain text with single spaces, as in pretraining.
        relations (`dict[str, str]` or `list[str]`):
            The relations in the order of the model's classes: a mapping of id to readable name, such as `{"P17":
            "country"}`, or a list of ids. The no-relation class `"Na"` is class 0, and is added if it is missing.
        relation_names (`dict[str, str]`, *optional*):
            Readable names for a list of relations. The name of a relation defaults to its id.
        candidate_types (`list[list[str]]`, *optional*):
            Pairs of entity types (head, tail) that can be related, such as `[["Chemical", "Disease"]]`. An entity has
            the types of all its mentions. Defaults to every pair of different entities.
        marker (`str`, *optional*, defaults to `"*"`):
            Token before and after a mention.
        mark_types (`bool`, *optional*, defaults to `False`):
            Whether the type of a mention follows its opening marker, as a word of the text: `* LOC Paris *`. The paper
            marks no types. Its released code does, with special tokens.
        mention_anchor (`str`, *optional*, defaults to `"marker"`):
            Tokens whose hidden states and attention stand for a mention: its opening `"marker"`, as in the paper, the
            first `"token"` of its text, or all of them, its `"span"`, which learns fastest from few documents.
        max_labels_per_pair (`int`, *optional*, defaults to 4):
            Largest number of relations decoded for one pair: 4 on DocRED, 1 on CDR and GDA.
        evidence_threshold (`float`, *optional*, defaults to 0.4):
            Share of a sentence in the localized context of a pair above which it is evidence of its triples, beside
            the sentences of the rule. Used for models that were trained to find evidence.
        entity_types (`list[str]`, *optional*):
            The types of the entities that the model was trained on, to which types of other tools are mapped.

    Raises:
        `ValueError`: the tokenizer is not a fast one or reads nothing in the marker, `relations` does not name
            distinct classes, `candidate_types` does not list pairs of types, or `mark_types`, `mention_anchor`,
            `max_labels_per_pair` or `evidence_threshold` is out of range.

    Example:

    ```python
    >>> from transformers import AutoModel, AutoProcessor
    >>> import modeling_docre_ii  # registers the classes

    >>> model = AutoModel.from_pretrained("outputs/quickstart")
    >>> processor = AutoProcessor.from_pretrained("outputs/quickstart")
    >>> outputs = model(**processor(document, return_tensors="pt"))
    >>> (triples,) = processor.post_process_relation_extraction(outputs, document)
    ```
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        relations: Mapping[str, str] | Sequence[str] | None = None,
        relation_names: Mapping[str, str] | None = None,
        candidate_types: Sequence[Sequence[str]] | None = None,
        marker: str = "*",
        mark_types: bool = False,
        mention_anchor: Literal["marker", "token", "span"] = "marker",
        max_labels_per_pair: int = MAX_LABELS_PER_PAIR,
        evidence_threshold: float = EVIDENCE_THRESHOLD,
        entity_types: Sequence[str] | None = None,
    ):
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} is not a fast tokenizer, which is needed to find the tokens of markers"
            )
        if not isinstance(mark_types, bool):
            raise ValueError(f"`mark_types` must be True or False, got {mark_types!r}")
        if mention_anchor not in MENTION_ANCHORS:
            raise ValueError(f"`mention_anchor` must be one of {MENTION_ANCHORS}, got {mention_anchor!r}")
        if type(max_labels_per_pair) is not int or max_labels_per_pair < 1:
            raise ValueError(f"`max_labels_per_pair` must be an integer of at least 1, got {max_labels_per_pair!r}")
        if not isinstance(evidence_threshold, (int, float)) or not 0 < evidence_threshold < 1:
            raise ValueError(f"`evidence_threshold` must lie between 0 and 1, got {evidence_threshold!r}")
        self.relations = check_relations(relations)
        super().__init__(tokenizer)
        named = {**(relation_names or {}), **(relations if isinstance(relations, Mapping) else {})}
        self.relation_names = {relation: named[relation] for relation in self.relations if relation in named}
        for relation, name in self.relation_names.items():
            if not isinstance(name, str) or lone_surrogate(relation + name):
                raise ValueError(f"the name of the relation {quote(relation)} is {quote(name)}, expected {ENCODABLE}")
        self.candidate_types = check_candidate_types(candidate_types)
        self.marker = marker
        self.mark_types = mark_types
        self.mention_anchor = mention_anchor
        self.max_labels_per_pair = max_labels_per_pair
        self.evidence_threshold = evidence_threshold
        self.entity_types = check_entity_types(entity_types)
        self._relation_index = {relation: index for index, relation in enumerate(self.relations)}
        self._known_relations = set(self.relations[1:])
        special = tokenizer(marker, return_special_tokens_mask=True)["special_tokens_mask"]
        if 0 not in special:
            raise ValueError(f"the tokenizer reads nothing in the marker {marker!r}")
        self.num_prefix_tokens = special.index(0)
        self.num_suffix_tokens = special[::-1].index(0)

    @classmethod
    def from_encoder_pretrained(
        cls,
        name_or_path: str,
        relations: Mapping[str, str] | Sequence[str],
        mention_anchor: Literal["marker", "token", "span"] = "span",
        **kwargs: Any,
    ) -> "DocREIIProcessor":
        r"""
        Makes a processor for a new model on a pretrained text encoder.

        It has the recommended settings.

        Args:
            name_or_path (`str`):
                A model on the Hub or a local folder that `AutoTokenizer` loads.
            relations (`dict[str, str]` or `list[str]`):
                The relations, see [`DocREIIProcessor`].
            mention_anchor (`str`, *optional*, defaults to `"span"`):
                Tokens that stand for a mention, see [`DocREIIProcessor`].
            kwargs:
                Further arguments of [`DocREIIProcessor`].

        Raises:
            `OSError`: there is no such tokenizer.
            `ValueError`: as for [`DocREIIProcessor`].
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path)
        except OSError as error:
            raise load_error(name_or_path, error).with_traceback(None) from None
        return cls(tokenizer, relations, mention_anchor=mention_anchor, **kwargs)

    @classmethod
    def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        settings = list(inspect.signature(cls.__init__).parameters)
        for name in set(kwargs).difference(settings):
            # Those of `from_pretrained` and the tokenizer are here as well, so that not every other name is wrong.
            if near := difflib.get_close_matches(name, settings, n=1, cutoff=0.8):
                raise TypeError(f"{cls.__name__} has no setting {name!r}: did you mean {near[0]!r}?")
        return super().from_args_and_dict(args, processor_dict, **kwargs)

    @property
    def label_maps(self) -> dict[str, dict]:
        """`dict`: `id2label` and `label2id` of a model with these relations."""
        return {"id2label": dict(enumerate(self.relations)), "label2id": dict(self._relation_index)}

    @property
    def config_fields(self) -> dict[str, Any]:
        """`dict`: fields of [`DocREIIConfig`] for a new model with this processor."""
        return {
            **self.label_maps,
            "num_prefix_tokens": self.num_prefix_tokens,
            "num_suffix_tokens": self.num_suffix_tokens,
            "entity_pooling": "logmeanexp" if self.mention_anchor == "span" else "logsumexp",
        }

    def __call__(
        self,
        documents: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        return_labels: bool = False,
        skip_uncounted: bool = False,
        return_tensors: str | None = None,
        check_documents: bool = True,
    ) -> BatchFeature:
        """
        Encodes documents.

        Args:
            documents (`dict` or `list[dict]`):
                One document or several, in DocRED's form.
            return_labels (`bool`, *optional*, defaults to `False`):
                Whether to return the facts in `labels`, and their evidence. Documents without labels have no facts.
            skip_uncounted (`bool`, *optional*, defaults to `False`):
                Whether to leave the `uncounted` pairs of a document out of the candidates. For training only: labels
                define them.
            return_tensors (`str`, *optional*):
                `"pt"` for padded tensors, which the model takes. Defaults to lists with one entry per document.
            check_documents (`bool`, *optional*, defaults to `True`):
                Whether to check the documents. Set it to `False` only if [`check_document`] has checked them.

        Returns:
            [`BatchFeature`] with `input_ids` (all tokens, any length), `mention_positions` and `mention_entities` (the
            anchor and the entity of every mention), `pair_mask` (the candidate pairs), `sentence_ids` (the sentence of
            every token), `labels` (facts as head, tail, relation) and `evidence` (the sentences of every fact).

        Raises:
            [`DocumentError`]: a document is malformed, has an unknown relation, or a fact on a pair that is no
                candidate.
            `ValueError`: there are no documents, or `return_tensors` is neither `"pt"` nor `None`.
        """
        if return_tensors not in (None, "pt"):
            raise ValueError(f"`return_tensors` must be 'pt' or None, got {return_tensors!r}")
        if not isinstance(documents, Iterable):
            raise DocumentError(f"found {quote(documents)}, expected a document, a mapping, or several")
        documents = [documents] if isinstance(documents, (Mapping, str)) else list(documents)
        if not documents:
            raise ValueError("there are no documents to process")
        for document in documents if check_documents else ():
            check_document(document, self._known_relations if return_labels else None)
        marked = [mark_mentions(document, self.marker, self.mark_types, self.mention_anchor) for document in documents]
        encodings = self._tokenize([of_document.text for of_document in marked])
        mentions = [tokens_of_mentions(encodings, index, of_document) for index, of_document in enumerate(marked)]
        features = {
            "input_ids": encodings["input_ids"],
            "mention_positions": [positions for positions, _ in mentions],
            "mention_entities": [entities for _, entities in mentions],
            "pair_mask": [candidate_pairs(document, self.candidate_types, skip_uncounted) for document in documents],
            "sentence_ids": [
                sentences_of_tokens(encodings, index, of_document, self.num_prefix_tokens, self.num_suffix_tokens)
                for index, of_document in enumerate(marked)
            ],
        }
        if return_labels:
            features["labels"] = [
                self._facts(document, pair_mask) for document, pair_mask in zip(documents, features["pair_mask"])
            ]
            features["evidence"] = [
                [list(label.get("evidence") or ()) for label in document.get("labels") or ()] for document in documents
            ]
        if return_tensors is None:
            return BatchFeature(features)
        rows = [dict(zip(features, values)) for values in zip(*features.values())]
        return BatchFeature(DataCollatorForRelationExtraction(self.tokenizer)(rows))

    def _tokenize(self, texts: list[str]) -> BatchEncoding:
        return self.tokenizer(
            texts,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            # A "[SEP]" in the text is text; only a marker may be a special token.
            split_special_tokens=self.marker not in self.tokenizer.all_special_tokens,
            # No warning for texts that are longer than the encoder's positions.
            verbose=False,
        )

    def _facts(self, document: Mapping[str, Any], pair_mask: list[list[bool]]) -> list[list[int]]:
        facts = []
        for label in document.get("labels") or []:
            if not pair_mask[label["h"]][label["t"]]:
                fact = (label["h"], label["t"], label["r"])
                raise DocumentError(
                    f"{name_of(document)}: the fact {fact} is on a pair of entities whose types are not "
                    f"among the candidate types {self.candidate_types}"
                )
            facts.append([label["h"], label["t"], self._relation_index[label["r"]]])
        return facts

    def post_process_relation_extraction(
        self,
        outputs: DocREIIOutput,
        documents: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        threshold: float = 0.5,
        top_k: int | None = None,
        evidence: str | None = None,
    ) -> list[list[dict[str, Any]]]:
        """
        Turns the output of [`DocREIIForRelationExtraction`] into triples with names.

        Args:
            outputs ([`DocREIIOutput`]):
                Output of the model for these documents.
            documents (`dict` or `list[dict]`):
                The documents, in the order of the batch.
            threshold (`float`, *optional*, defaults to 0.5):
                Score above which a triple is returned, from 0 to below 1. At 0.5, where a relation is as probable as
                "no relation", it is what the model predicts. A lower threshold returns more triples.
            top_k (`int`, *optional*):
                Largest number of triples of a document, the highest scores first. Defaults to all.
            evidence (`str`, *optional*):
                Where the evidence of a triple comes from:

                - `"model"`: the sentences of the rule, and those with a share of the pair's localized context above
                  `evidence_threshold`. Needs `sentence_shares`. The default if the output has them.
                - `"rule"`: sentences in which both entities have a mention; if there is none, the first sentence of
                  each that mentions it. Otherwise the default.
                - `"none"`: triples have no evidence.

        Returns:
            `list[list[dict]]`: the triples of each document, as [`~DocREIIProcessor.name_facts`] makes them.

        Raises:
            [`NonFiniteLogitsError`]: logits of a document are NaN or infinite. The message names it.
            `ValueError`: the output is of another number of documents, `threshold` or `top_k` is out of range, or
                there is no such evidence.
        """
        documents = [documents] if isinstance(documents, Mapping) else list(documents)
        facts = self._decode(outputs, documents, threshold, top_k, evidence)
        return [self.name_facts(rows, document) for rows, document in zip(facts, documents)]

    def _decode(
        self,
        outputs: DocREIIOutput,
        documents: Sequence[Mapping[str, Any]],
        threshold: float,
        top_k: int | None,
        evidence: str | None,
    ) -> list[list[PredictedFact]]:
        """Decodes the facts of each document above the threshold, the best first."""
        logits = outputs.logits
        if logits is None:
            raise ValueError("the output has no `logits`")
        if len(documents) != len(logits):
            raise ValueError(f"got {len(documents)} documents for the output of {len(logits)}")
        for document in documents:
            if "vertexSet" not in document:
                raise DocumentError(
                    f"{name_of(document)} has no 'vertexSet': pass the documents in DocRED's form that the processor "
                    "was given"
                )
        check_selection(threshold, top_k)
        check_finite(
            (logits, outputs.base_logits, *(outputs.iteration_logits or ())[:-1]),
            lambda index: name_of(documents[index]),
        )
        pair_mask = torch.zeros(logits.shape[:-1], dtype=torch.bool)
        for index, document in enumerate(documents):
            num_entities = len(document["vertexSet"])
            pairs = torch.tensor(candidate_pairs(document, self.candidate_types), dtype=torch.bool)
            pair_mask[index, :num_entities, :num_entities] = pairs
        facts, scores = predicted_facts(
            logits,
            self.max_labels_per_pair,
            pair_mask.to(logits.device),
            margin=math.log((1 - threshold) / threshold) if threshold else math.inf,
        )
        by_document: list[list[PredictedFact]] = [[] for _ in documents]
        for (document, head, tail, relation), score in zip(facts.tolist(), scores.tolist()):
            by_document[document].append(PredictedFact(head, tail, self.relations[relation], score))
        best = [sorted(rows, key=lambda fact: -fact.score)[:top_k] for rows in by_document]
        if evidence is None:
            evidence = "rule" if outputs.sentence_shares is None else "model"
        return add_evidence(best, documents, evidence, outputs.sentence_shares, self.evidence_threshold)

    def explain(
        self,
        outputs: DocREIIOutput,
        documents: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        threshold: float = 0.5,
        top_k: int | None = None,
        num_support: int = 3,
        evidence: str | None = None,
    ) -> list[list[dict[str, Any]]]:
        """
        Turns the output of the model into triples, and explains each of them.

        Args:
            outputs ([`DocREIIOutput`]):
                Output of the model for these documents with `output_attentions=True`.
            documents (`dict` or `list[dict]`):
                The documents, in the order of the batch.
            threshold, top_k (`float`, `int`, *optional*):
                Which triples are returned, see [`~DocREIIProcessor.post_process_relation_extraction`].
            num_support (`int`, *optional*, defaults to 3):
                Largest number of supporting pairs of a triple.
            evidence (`str`, *optional*):
                Source of the evidence, see [`~DocREIIProcessor.post_process_relation_extraction`].

        Returns:
            `list[list[dict]]`: the triples of each document, each also with `iteration`, the first that predicted it
            (0: the base module; the last iteration if none predicted it), and `support`: the overlapping pairs that
            the inference module attended to most in it, as `head`, `tail`, `relations`, `relation_names` and `weight`,
            their share of the attention. [`describe_explanation`] describes such a triple in words.

        Raises:
            `ValueError`: the model has no inference module, the output has no `cross_attentions`, or as for
                [`~DocREIIProcessor.post_process_relation_extraction`].
        """
        documents = [documents] if isinstance(documents, Mapping) else list(documents)
        all_triples = []
        decoded = self._decode(outputs, documents, threshold, top_k, evidence)
        for index, (document, facts) in enumerate(zip(documents, decoded)):
            classes = [(fact.head, fact.tail, self._relation_index[fact.relation]) for fact in facts]
            triples = self.name_facts(facts, document)
            for triple, explanation in zip(triples, explain_facts(outputs, index, classes, num_support)):
                triple["iteration"] = explanation.iteration
                triple["support"] = [self._name_support(support, document) for support in explanation.support]
            all_triples.append(triples)
        return all_triples

    def _name_support(self, support: Support, document: Mapping[str, Any]) -> dict[str, Any]:
        relations = [self.relations[relation] for relation in support.relations]
        return {
            "head": describe_entity(support.head, document["vertexSet"][support.head]),
            "relations": relations,
            "relation_names": [self.relation_names.get(relation, relation) for relation in relations],
            "tail": describe_entity(support.tail, document["vertexSet"][support.tail]),
            "weight": support.weight,
        }

    def name_facts(self, facts: Iterable[PredictedFact], document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """
        Converts predicted facts of one document to triples with names.

        Args:
            facts (`Iterable[PredictedFact]`):
                The predictions.
            document (`dict`):
                The document.

        Returns:
            `list[dict]`, the highest score first, with `head` and `tail` (each `entity`, the index, `name` and `type`
            of its first mention, and all `mentions` with `name`, `sent_id` and `pos`), `relation` (id),
            `relation_name`, `score`, the probability of the relation against "no relation", and `evidence`, the
            sentences that state it.
        """
        return named_triples(facts, document, self.relation_names)

    @property
    def model_input_names(self) -> list[str]:
        """`list[str]`: the inputs of the model."""
        return ["input_ids", "attention_mask", "mention_positions", "mention_entities", "pair_mask", "sentence_ids"]


__all__ = ["DocREIIProcessor"]
