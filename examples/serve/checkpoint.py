"""A checkpoint behind the service: checks and encodes requests, and predicts batches."""

import importlib.util
from typing import Any

from batching import Budget, WaitingDocument
from transformers.utils import cached_file


class RequestError(Exception):
    """
    Raised for a request that cannot be answered.

    Args:
        status (`int`): The HTTP status: 422 for a malformed request, 413 for one that is too large.
        detail (`str`): What is wrong, with the name of the field.
    """

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status, self.detail = status, detail


class Checkpoint:
    """
    A checkpoint, loaded with the `handler.py` that it carries for Inference Endpoints.

    Args:
        name (`str`):
            Folder or name on the Hub. Its code is run.
        budget ([`Budget`]):
            Largest size of a batch, and so of a single document.
        max_inputs (`int`):
            Largest number of documents of a request.
    """

    def __init__(self, name: str, budget: Budget, max_inputs: int):
        specification = importlib.util.spec_from_file_location("handler", cached_file(name, "handler.py"))
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        self.handler = module.EndpointHandler(name)
        self.budget, self.max_inputs = budget, max_inputs

    def read(self, request_id: str, request: dict[str, Any]) -> list[WaitingDocument]:
        """
        Checks a request, and encodes its documents.

        Args:
            request_id (`str`):
                Id of the request.
            request (`dict`):
                The request, as the handler takes it.

        Returns:
            `list[WaitingDocument]`: its documents.

        Raises:
            [`RequestError`]: the request is malformed or too large.
        """
        try:
            # Without documents, the handler checks the form and the parameters, and runs no model.
            self.handler({**request, "inputs": []} if "inputs" in request else request)
            inputs = request["inputs"]
            if isinstance(inputs, list) and len(inputs) > self.max_inputs:
                raise RequestError(
                    413, f"'inputs' has {len(inputs):,} documents, expected at most {self.max_inputs:,}"
                )
            for index, document in enumerate(inputs if isinstance(inputs, list) else [inputs]):
                self._check_text(document, f"documents[{index}]: " if isinstance(inputs, list) else "")
            found = self.handler.extractor.find_entities(inputs)
            found = found if isinstance(inputs, list) else [found]
            places = [f"documents[{index}]: " if isinstance(inputs, list) else "" for index in range(len(found))]
            for document, place in zip(found, places):
                self._check_entities(document, place)
            encoded = [self.handler.extractor.preprocess(document)["encoded"] for document in found]
        except ValueError as error:  # a `DocumentError` is one
            raise RequestError(422, str(error)) from None
        parameters = {name: value for name, value in (request.get("parameters") or {}).items() if value is not None}
        documents = [
            WaitingDocument(
                request_id,
                index,
                document,
                parameters,
                len(document.features["input_ids"]),
                len(document.document["vertexSet"]),
            )
            for index, document in enumerate(encoded)
        ]
        for document, place in zip(documents, places):
            self._check_length(document, place)
        return documents

    def predict(self, batch: list[WaitingDocument]) -> list[list[dict[str, Any]]]:
        """Extracts the triples of documents with the same parameters in one pass of the model."""
        inputs = {"encoded": [document.encoded for document in batch]}
        return self.handler.extractor.forward(inputs, **batch[0].parameters)["triples"]

    def _check_text(self, document: Any, place: str) -> None:
        """Checks the length of a text before the mention model reads it."""
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str):
            return
        try:
            text.encode()
        except UnicodeEncodeError:
            return  # the handler names the document
        tokenizer = self.handler.extractor.processor.tokenizer
        num_tokens = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if num_tokens > self.budget.max_tokens:
            raise RequestError(
                413, f"{place}'text' has {num_tokens:,} tokens, expected at most {self.budget.max_tokens:,}"
            )

    def _check_entities(self, document: Any, place: str) -> None:
        """Checks the number of entities before a document is encoded, which lists all pairs of them."""
        entities = document.get("vertexSet") if "sents" in document else document.get("entities")
        limit = int(self.budget.max_pairs**0.5)
        if isinstance(entities, (list, tuple)) and len(entities) > limit:
            found = f"{len(entities):,} entities"
            title = f"document {document['title']!r}" if document.get("title") else "the document"
            raise RequestError(413, f"{place}{title} has {found}, expected at most {limit:,}")

    def _check_length(self, document: WaitingDocument, place: str) -> None:
        title = f"{place}document {document.encoded.document['title']!r}"
        if document.num_tokens > self.budget.max_tokens:
            limit = f"{self.budget.max_tokens:,}"
            raise RequestError(413, f"{title} has {document.num_tokens:,} tokens, expected at most {limit}")
