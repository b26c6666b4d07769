"""What the demo shows of a text: entities, triples, and what every iteration predicted. Knows nothing of Gradio."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline

from modeling_docre_ii import DocREIIConfig, DocREIIOutput
from modeling_docre_ii.cli.extract import write_lines
from modeling_docre_ii.cli.text_inputs import list_inputs, read_inputs
from modeling_docre_ii.configuration_loading import load_config
from modeling_docre_ii.documents import is_raw_text, name_of
from modeling_docre_ii.pipeline_docre_ii import read_document
from modeling_docre_ii.text_documents import with_title
from modeling_docre_ii.triples import at_characters
from modeling_docre_ii.utils.wording import counted


# Limits of a public demo. Memory grows with the cube of the number of entities.
MAX_CHARACTERS = 10_000
MAX_ENTITIES = 150
MAX_DOCUMENTS = 100
MAX_TRIPLES = 200

NO_MENTION_MODEL = (
    "This checkpoint has no mention model, so it cannot find the entities of a text. Start the app with a "
    "--mention_extractor, such as dslim/bert-base-NER, or upload .jsonl files with the entities."
)
NO_INFERENCE_MODULE = "This checkpoint has no inference module: the triples are those of the base module."


@dataclass
class Reading:
    """
    What the model found in a document.

    Args:
        document (`dict`):
            The document, a text with its `entities` or a document in DocRED's form.
        triples (`list[dict]`):
            The triples above the threshold, the highest score first.
        steps (`list[list[dict]]`):
            The triples that the base module and every iteration predict, those with a score above 0.5.
    """

    document: Mapping[str, Any]
    triples: list[dict[str, Any]]
    steps: list[list[dict[str, Any]]]

    @property
    def best(self) -> list[dict[str, Any]]:
        """`list[dict]`: the triples that the page shows, at most `MAX_TRIPLES`. Files have all of them."""
        return self.triples[:MAX_TRIPLES]

    def first_step(self, triple: Mapping[str, Any]) -> str:
        """Names the step that predicted a triple first, or returns a dash if all its scores were 0.5 or below."""
        found = (step_name(step) for step, triples in enumerate(self.steps) if key(triple) in map(key, triples))
        return next(found, "–")

    def summary(self) -> str:
        """Counts entities and triples."""
        num_entities = len(self.document["entities"])
        found = f"{num_entities} entities" if num_entities > 1 else "One entity, and a triple needs two"
        found += f", {counted(len(self.triples), 'triple')}" if num_entities > 1 else ""
        limit = f", of which the {MAX_TRIPLES} best are shown" if len(self.triples) > MAX_TRIPLES else ""
        return found + limit

    def counts(self) -> str:
        """Counts the triples that every step predicts."""
        counted_steps = (f"{step_name(step)}: {len(triples)}" for step, triples in enumerate(self.steps))
        return "Triples predicted by each step: " + ", ".join(counted_steps)

    def changes(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """
        Compares every step with the one before.

        Yields:
            `tuple[str, str, dict]`: name of the step, whether it `"added"` or `"dropped"` a triple, and the triple.
        """
        before: list[dict[str, Any]] = []
        for step, triples in enumerate(self.steps):
            yield from ((step_name(step), "added", triple) for triple in without(before, triples))
            yield from ((step_name(step), "dropped", triple) for triple in without(triples, before))
            before = triples


class NoEntityError(ValueError):
    """A text has no entities."""


class Reader:
    """
    Reads texts and files with a checkpoint.

    Args:
        checkpoint (`str`):
            A DocRE-II checkpoint, a folder or a name on the Hub.
        mention_extractor (`str`, *optional*):
            A token-classification model that finds the mentions. Defaults to the checkpoint's own.

    Raises:
        `OSError`: there is no such checkpoint.
        `ValueError`: it is not a DocRE-II checkpoint.
    """

    def __init__(self, checkpoint: str, mention_extractor: str | None = None):
        if load_config(checkpoint).model_type != DocREIIConfig.model_type:
            raise ValueError(f"{checkpoint!r} is not a DocRE-II checkpoint")
        self.extractor = pipeline(
            "document-relation-extraction", model=checkpoint, mention_extractor=mention_extractor
        )
        self.model, self.processor = self.extractor.model.eval(), self.extractor.processor
        self.num_iterations: int = self.model.config.num_iterations
        self.finds_mentions: bool = self.extractor.entity_finder.finds_mentions

    @property
    def notices(self) -> list[str]:
        """`list[str]`: what this checkpoint cannot do."""
        missing = {NO_MENTION_MODEL: not self.finds_mentions, NO_INFERENCE_MODULE: not self.num_iterations}
        return [notice for notice, is_missing in missing.items() if is_missing]

    def read(self, given: str | Mapping[str, Any], threshold: float, num_iterations: int) -> Reading:
        """
        Finds the entities and triples of a document, in one pass through the model.

        The pass has the logits of the base module and of every iteration, so that any number of iterations can be
        looked at.

        Args:
            given (`str` or `dict`):
                A text, or a document as the pipeline takes it.
            threshold (`float`):
                Score above which a triple is kept.
            num_iterations (`int`):
                Iteration whose triples are returned, 0 for the base module.

        Raises:
            `ValueError`: the text is empty, too long, or has no or too many entities. A [`DocumentError`] is one.
        """
        check_length(given)
        document = with_title(given)
        if is_raw_text(document) and document.get("mentions") is None and not self.finds_mentions:
            raise ValueError(NO_MENTION_MODEL)
        document = self.extractor.find_entities(document)
        encoded = read_document(document)
        check_entities(len(encoded.document["vertexSet"]))

        config = self.model.config
        can_explain = num_iterations > 0 and config.cross_attention == "extended"
        inputs = self.processor([encoded.document], return_tensors="pt").to(self.model.device)
        with torch.no_grad():
            outputs = self.model(**inputs, output_attentions=can_explain)

        documents = [encoded.document]
        decode = self.processor.explain if can_explain else self.processor.post_process_relation_extraction
        (triples,) = decode(at_iteration(outputs, num_iterations), documents, threshold=threshold)
        if encoded.mention_spans is not None and encoded.sentence_spans is not None:
            at_characters(triples, encoded.mention_spans, encoded.sentence_spans)
        steps = [
            self.processor.post_process_relation_extraction(at_iteration(outputs, step), documents, evidence="none")[0]
            for step in range(num_iterations + 1)
        ]
        return Reading(document, triples, steps)

    def read_files(self, files: Iterable[str], threshold: float, num_iterations: int, output: str) -> str:
        """
        Extracts the triples of .txt and .jsonl files, in the form of `docre-ii extract --output triples.jsonl`.

        Args:
            files (`list[str]`):
                The files.
            threshold, num_iterations:
                As for [`~Reader.read`].
            output (`str`):
                The file to write. After an error there is none.

        Returns:
            `str`: what was written, for the user.

        Raises:
            `ValueError`: a file or a document is malformed or too long. The message names the file, and the line or
                the document.
        """
        readings = self._read_all(list_inputs(files), threshold, num_iterations)
        return write_lines(output, readings).removeprefix(f"{Path(output).parent}/")

    def _read_all(
        self, files: list[str], threshold: float, num_iterations: int
    ) -> Iterator[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
        num_documents = 0
        for file in files:
            name = Path(file).name  # not the server's path
            try:
                for document in read_inputs([file]):
                    num_documents += 1
                    if num_documents > MAX_DOCUMENTS:
                        raise ValueError(
                            f"{file}: more than {MAX_DOCUMENTS} documents, use `docre-ii extract` instead"
                        )
                    try:
                        reading = self.read(document, threshold, num_iterations)
                    except NoEntityError:
                        yield (document if "sents" in document else {**document, "entities": []}), []
                        continue
                    except ValueError as error:
                        raise ValueError(f"{file}: {name_of(document)}: {error}") from None
                    yield reading.document, reading.triples
            except ValueError as error:
                raise ValueError(str(error).replace(file, name)) from None


def at_iteration(outputs: DocREIIOutput, step: int) -> DocREIIOutput:
    """
    Returns the output that the model would have had after fewer iterations.

    Args:
        outputs ([`DocREIIOutput`]):
            Output of the model.
        step (`int`):
            Number of iterations, 0 for the base module.
    """
    if not step:
        return replace(outputs, logits=outputs.base_logits, iteration_logits=None, cross_attentions=None)
    logits, attentions = outputs.iteration_logits, outputs.cross_attentions
    return replace(
        outputs,
        logits=logits[step - 1],
        iteration_logits=logits[:step],
        cross_attentions=attentions and attentions[:step],
    )


def check_length(given: str | Mapping[str, Any]) -> None:
    """Checks that a document has words, and not too many of them."""
    text = given if isinstance(given, str) else given.get("text")
    if text is None:
        text = " ".join(word for sentence in given["sents"] for word in sentence)
    if not text.strip():
        raise ValueError("The text is empty: paste a paragraph, or choose an example.")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"The text has {len(text):,} characters, and this demo reads up to {MAX_CHARACTERS:,}: shorten it, or use "
            "`docre-ii extract`, which has no limit."
        )


def check_entities(num_entities: int) -> None:
    """Checks that a document has entities, and not too many of them."""
    if not num_entities:
        raise NoEntityError("No entity was found in this text, so it has no triples.")
    if num_entities > MAX_ENTITIES:
        raise ValueError(
            f"The text has {num_entities} entities, and this demo relates up to {MAX_ENTITIES}: shorten it, or use "
            "`docre-ii extract`, which has no limit."
        )


def key(triple: Mapping[str, Any]) -> tuple[int, str, int]:
    """Returns what makes a triple of a document the same as another."""
    return triple["head"]["entity"], triple["relation"], triple["tail"]["entity"]


def without(others: Iterable[dict[str, Any]], triples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the triples that are not among others."""
    known = set(map(key, others))
    return [triple for triple in triples if key(triple) not in known]


def step_name(step: int) -> str:
    """Names the base module (0) or an iteration."""
    return f"iteration {step}" if step else "base module"
