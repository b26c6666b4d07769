"""The LitServe service: reads requests, batches their documents, answers and refuses."""

import argparse
import json
import logging
import queue
import signal
from dataclasses import dataclass, field
from typing import Annotated, Any

import litserve
from batching import Budget, WaitingDocument, take_batch
from checkpoint import Checkpoint, RequestError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from litserve.loops import LitLoop
from litserve.utils import LitAPIStatus, LoopResponseType, PickleableHTTPException
from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema, model_validator


logger = logging.getLogger(__name__)

PATH = "/predict"
# The deepest document, with a span of a mention, has 8 levels. Python cannot send some hundreds to another process.
MAX_DEPTH = 64
EXAMPLE = {
    "inputs": {
        "text": "Ines Carvalho started Brightwater.",
        "entities": [{"type": "PER", "mentions": [[0, 13]]}, {"type": "ORG", "mentions": [[22, 33]]}],
    },
    "parameters": {"threshold": 0.5, "top_k": 20},
}
ONE_INPUT: list[dict[str, Any]] = [
    {"type": "string", "description": "A text. The mention model of the checkpoint finds the entities."},
    {"type": "object", "description": "A text with its entities, or a document in DocRED's form."},
]
ERRORS = {
    400: "The body is not JSON.",
    413: "The body, a document or their number is too large.",
    422: "A field is malformed. The message names it.",
    429: "Too many requests are waiting. Try again after `Retry-After` seconds.",
}


class ExtractionParameters(BaseModel):
    """Parameters of the pipeline, for the documentation: the handler of the checkpoint checks them."""

    threshold: float = Field(0.5, description="Score above which a triple is returned.")
    top_k: int | None = Field(None, description="Largest number of triples of a document.")
    explain: bool = Field(False, description="Whether to say why each triple was predicted.")
    evidence: str | None = Field(None, description="'model', 'rule' or 'none'.")


class ExtractionRequest(BaseModel):
    """A document or a list of documents, as the pipeline takes them."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE], "additionalProperties": False})

    inputs: Annotated[Any, WithJsonSchema({"anyOf": [*ONE_INPUT, {"type": "array", "items": {"anyOf": ONE_INPUT}}]})]
    parameters: Annotated[Any, WithJsonSchema(ExtractionParameters.model_json_schema())] = None

    @model_validator(mode="before")
    @classmethod
    def check_depth(cls, value: Any) -> Any:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [
                inner
                for outer in level
                if isinstance(outer, (dict, list))
                for inner in (outer.values() if isinstance(outer, dict) else outer)
            ]
        if level:
            raise ValueError(f"the body has more than {MAX_DEPTH} levels of lists and objects")
        return value


class Triples(RootModel[list[dict[str, Any]] | list[list[dict[str, Any]]]]):
    """The triples of a document, or a list of them for a list of documents."""


@dataclass
class OpenRequest:
    """A request on its way: where its answer goes, and the triples of the documents that are done."""

    consumer: int
    is_list: bool
    num_documents: int
    triples: dict[int, list[dict[str, Any]]] = field(default_factory=dict)


class TripleAPI(litserve.LitAPI):
    """Extracts triples with a [`Checkpoint`], which is loaded in the worker process."""

    def __init__(self, name: str, budget: Budget, max_inputs: int):
        super().__init__(api_path=PATH, loop=DocumentLoop())
        self.name, self.budget, self.max_inputs = name, budget, max_inputs

    def setup(self, device: str) -> None:
        self.checkpoint = Checkpoint(self.name, self.budget, self.max_inputs)

    def decode_request(self, request: ExtractionRequest) -> dict[str, Any]:
        return request.model_dump()

    def encode_response(self, output: Any) -> Triples:
        return Response(json.dumps(output, ensure_ascii=False), media_type="application/json")


class DocumentLoop(LitLoop):
    """
    Batches the documents of all requests within a budget.

    LitServe's own loop batches requests by number, and a malformed one fails all of its batch. This one answers it at
    once, and splits large requests. A batch starts as soon as the last one is done.
    """

    def __call__(self, lit_api: TripleAPI, device: str, worker_id: int, request_queue: Any, transport: Any, *_: Any):
        self._api, self._transport = lit_api, transport
        self._open: dict[str, OpenRequest] = {}
        self._waiting: list[WaitingDocument] = []
        # On Ctrl+C the server waits for the answers to open requests, then ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while self._receive(request_queue):
            self._predict(take_batch(self._waiting, lit_api.budget))

    def _receive(self, request_queue: Any) -> bool:
        """Reads the requests that have arrived, and waits for one if there is nothing to do."""
        while True:
            try:
                consumer, uid, _, request = request_queue.get(block=not self._waiting)
            except queue.Empty:
                return True
            if uid is None:  # the server ends
                return False
            self._read(consumer, uid, request)

    def _read(self, consumer: int, uid: str, request: ExtractionRequest) -> None:
        try:
            decoded = self._api.decode_request(request)
            documents = self._api.checkpoint.read(uid, decoded)
        except RequestError as error:
            self._fail(consumer, uid, error.status, error.detail)
        except Exception:
            logger.exception("A request could not be read")
            self._fail(consumer, uid, 500, "Internal server error")
        else:
            self._open[uid] = OpenRequest(consumer, isinstance(decoded["inputs"], list), len(documents))
            self._waiting += documents
            self._answer_if_done(uid)  # an empty list of documents

    def _predict(self, batch: list[WaitingDocument]) -> None:
        batch = [document for document in batch if document.request in self._open]
        if not batch:
            return
        try:
            found = self._api.checkpoint.predict(batch)
        except Exception:
            logger.exception("A batch of %s documents failed", len(batch))
            for uid in {document.request for document in batch}:
                self._fail(self._open.pop(uid).consumer, uid, 500, "Internal server error")
            return
        for document, triples in zip(batch, found):
            self._open[document.request].triples[document.index] = triples
        for uid in {document.request for document in batch}:
            self._answer_if_done(uid)

    def _answer_if_done(self, uid: str) -> None:
        request = self._open[uid]
        if len(request.triples) < request.num_documents:
            return
        del self._open[uid]
        triples = [request.triples[index] for index in range(request.num_documents)]
        answer = self._api.encode_response(triples if request.is_list else triples[0])
        self.put_response(self._transport, request.consumer, uid, answer, LitAPIStatus.OK, LoopResponseType.REGULAR)

    def _fail(self, consumer: int, uid: str, status: int, detail: str) -> None:
        error = PickleableHTTPException(status, detail)
        self.put_response(self._transport, consumer, uid, error, LitAPIStatus.ERROR, LoopResponseType.REGULAR)


class RequestLimit:
    """
    Refuses requests with 429 while too many are being answered.

    Args:
        app (`Callable`): The ASGI application.
        max_requests (`int`): Largest number of requests at once.
    """

    def __init__(self, app: Any, max_requests: int):
        self.app, self.max_requests, self.num_requests = app, max_requests, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        if self.num_requests >= self.max_requests:
            detail = f"{self.max_requests} requests are waiting: try again later"
            await JSONResponse({"detail": detail}, 429, {"Retry-After": "1"})(scope, receive, send)
            return
        self.num_requests += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.num_requests -= 1


async def describe_invalid_body(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answers a body that is not a request with one line."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": f"the body is not JSON: {first['ctx']['error']}"}, 400)
    if first["type"] == "value_error":
        return JSONResponse({"detail": str(first["ctx"]["error"])}, 422)
    if first["loc"] == ("body", "inputs"):
        return JSONResponse({"detail": f"'inputs' is missing, expected a request such as {json.dumps(EXAMPLE)}"}, 422)
    expected = f"expected a JSON object with 'Content-Type: application/json', such as {json.dumps(EXAMPLE)}"
    return JSONResponse({"detail": f"the body is no JSON object: {expected}"}, 422)


def document_errors(app: FastAPI) -> None:
    """Adds the errors of the service to its OpenAPI page."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    for route in app.routes:
        if getattr(route, "path", None) == PATH:
            for status, description in ERRORS.items():
                content = {"application/json": {"schema": schema}}
                route.responses[status] = {"description": description, "content": content}


def make_server(args: argparse.Namespace) -> litserve.LitServer:
    """Makes the server of the command line."""
    budget = Budget(args.max_batch_size, args.max_tokens, args.max_pairs)
    server = litserve.LitServer(
        TripleAPI(args.checkpoint, budget, args.max_inputs),
        devices=1,
        timeout=False,  # the queue is bounded, and so is the time in it
        max_payload_size=args.max_body,
        middlewares=[(RequestLimit, {"max_requests": args.max_requests})],
        model_metadata={"checkpoint": args.checkpoint},
    )
    server.app.add_exception_handler(RequestValidationError, describe_invalid_body)
    server.app.title = "DocRE-II"
    document_errors(server.app)
    return server
