"""
A Hub on the loopback, for clients as they are: it answers what `huggingface_hub`, `transformers` and `datasets` ask.

A client reads the address of the Hub when it is imported, so it runs in a process of its own, in `Hub.environment`:

    with Hub() as hub:
        subprocess.run([sys.executable, "-c", script], env=hub.environment(home))

Large files go through LFS as over HTTP: the environment turns Xet off, whose client cannot fall back to LFS. They lie
on a second host name, as on the Hub, where a client must not send its token.
"""

import base64
import hashlib
import json
import os
import re
import threading
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_card import validate_card
from tests.hub_repository import HubError, Repository, StoredFile, is_ignored


TOKEN = "hf_a_token_of_the_tests"
USER, ORGANIZATION = "user", "org"
ROUTES = []
REPOSITORY = r"(?P<name>[^/]+(?:/[^/]+)?)"
API = rf"/api/(?P<kind>models|datasets)/{REPOSITORY}"
GIT = rf"/(?P<kind>datasets(?=/))?/?{REPOSITORY}"
REVISION = r"(?P<revision>[^/]+)"


@dataclass
class Fault:
    """
    What goes wrong with the next `times` requests of a method to a path, a regular expression: an error `status`, a
    body that ends after `truncate_after` bytes, or one that stops after `pause_after` bytes until the client is gone.
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    truncate_after: int | None = None
    pause_after: int | None = None


class Seen(NamedTuple):
    """A request and the status of its answer."""

    method: str
    path: str
    status: int


@dataclass
class Request:
    method: str
    query: dict
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """The answer to a request: bytes, or a value to send as JSON."""

    content: object = b""
    status: int = 200
    headers: dict = field(default_factory=dict)

    def body(self):
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


def error_reply(error):
    headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
    return Reply({"error": error.message}, error.status, headers)


def route(methods, pattern):
    """Registers a function for requests by method and path pattern. The groups are its arguments."""

    def register(function):
        ROUTES.append((methods.split(), re.compile(pattern), function))
        return function

    return register


class Hub:
    """The state and the server of the test Hub. Its repositories end with it."""

    def __init__(self):
        self.repositories = {}
        self.large_files = {}
        self.requests = []
        self.faults = []
        self.paused = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}/lfs-objects"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home, **changes):
        """Returns the environment of a client with its cache in `home`, without this process's Hub settings."""
        foreign = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DATASETS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
        return kept | {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            **changes,
        }

    def repository(self, name, kind="models"):
        if (kind, name) not in self.repositories:
            raise HubError(404, "Repository not found", "RepoNotFound")
        return self.repositories[kind, name]

    def answer(self, request, path):
        for methods, pattern, function in ROUTES:
            found = pattern.fullmatch(path)
            if found and request.method in methods:
                groups = {name: value and unquote(value) for name, value in found.groupdict().items()}
                return function(self, request, **groups)
        raise HubError(501, f"This Hub does not know {request.method} {path}")

    def take_fault(self, method, path):
        """Returns the fault of a request, if any. A fault ends after its number of times."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """Passes requests to the Hub and sends its answers, cut or delayed by faults."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self):
        hub, url = self.server.hub, urlsplit(self.path)
        request = Request(self.command, parse_qs(url.query), self.headers, self._read_body())
        fault = hub.take_fault(request.method, url.path)
        try:
            if fault and fault.status:
                raise HubError(fault.status, "A fault of the tests")
            reply = hub.answer(request, url.path)
        except HubError as error:
            reply = error_reply(error)
        except Exception:
            reply = error_reply(HubError(500, "An error of the tests' Hub"))
            traceback.print_exc()
        if reply.status == 200 and request.method == "GET" and "Range" in request.headers:
            reply = range_reply(reply, request.headers["Range"])
        hub.requests.append(Seen(request.method, unquote(url.path), reply.status))
        self._send(reply, fault)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply, fault):
        body = reply.body()
        self.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": len(body)} | reply.headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.truncate_after is not None:
            self.close_connection = True
            body = body[: fault.truncate_after]
        if fault and fault.pause_after is not None:
            self.close_connection = True
            self.wfile.write(body[: fault.pause_after])
            self.server.hub.paused.set()
            self.connection.recv(1)
        else:
            self.wfile.write(body)

    def handle(self):
        """Ignores clients that were killed."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_):
        """`Hub.requests` is the log."""


def range_reply(reply, value):
    """Returns the part of the body that the `Range` header asks for."""
    body = reply.body()
    first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", value).groups()
    start = int(first) if first else max(len(body) - int(last), 0)
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= len(body):
        return Reply(b"", 416, {"Content-Range": f"bytes */{len(body)}"})
    return Reply(body[start:stop], 206, reply.headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"})


def check_token(request):
    if request.headers["Authorization"] != f"Bearer {TOKEN}":
        raise HubError(401, "Invalid credentials in Authorization header")


# Accounts and repositories


@route("GET", "/api/whoami-v2")
def who_am_i(hub, request):
    check_token(request)
    return Reply({"type": "user", "name": USER, "fullname": USER, "orgs": [{"type": "org", "name": ORGANIZATION}]})


@route("POST", "/api/repos/create")
def create_repository(hub, request):
    check_token(request)
    fields = request.json()
    kind, name = f"{fields.get('type') or 'model'}s", f"{fields.get('organization') or USER}/{fields['name']}"
    url = f"{hub.endpoint}/{'datasets/' if kind == 'datasets' else ''}{name}"
    with hub.lock:
        if (kind, name) in hub.repositories:
            return Reply({"error": f"You already created this {kind[:-1]} repo", "url": url}, 409)
        hub.repositories[kind, name] = Repository(name)
    return Reply({"url": url, "name": name})


@route("POST", "/api/validate-yaml")
def validate_yaml(hub, request):
    errors, warnings = ([{"message": text} for text in texts] for texts in validate_card(request.json()["content"]))
    return Reply({"errors": errors, "warnings": warnings}, 400 if errors else 200)


@route("GET", API)
@route("GET", rf"{API}/revision/{REVISION}")
def repository_info(hub, request, kind, name, revision="main"):
    repository = hub.repository(name, kind)
    commit, card = repository.commit(revision), repository.card(revision)
    known = {key: card[key] for key in ("pipeline_tag", "library_name", "model-index") if key in card}
    fields = {
        "id": name,
        "author": name.split("/")[0],
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": commit.date,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags", []),
        "siblings": [{"rfilename": path} for path in commit.files],
    }
    return Reply(fields | known | ({"cardData": card} if card else {}))


@route("GET", f"{API}/refs")
def refs(hub, request, kind, name):
    branches = [
        {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha}
        for branch, sha in hub.repository(name, kind).branches.items()
    ]
    return Reply({"branches": branches, "tags": [], "converts": []})


@route("GET", rf"{API}/tree/{REVISION}(?:/(?P<folder>.+))?")
def tree(hub, request, kind, name, revision, folder):
    recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    return Reply(hub.repository(name, kind).entries(revision, folder or "", recursive))


@route("POST", rf"{API}/paths-info/{REVISION}")
def paths_info(hub, request, kind, name, revision):
    paths = parse_qs(request.body.decode()).get("paths", [])
    return Reply(hub.repository(name, kind).paths_info(revision, paths))


# Uploads


@route("POST", rf"{API}/preupload/{REVISION}")
def preupload(hub, request, kind, name, revision):
    """Answers how to upload each file, whether it is ignored, and its current blob."""
    check_token(request)
    repository, payload = hub.repository(name, kind), request.json()
    gitignore = payload.get("gitIgnore", repository.gitignore(revision))
    files = []
    for file in payload["files"]:
        path, present = file["path"], repository.commit(revision).files.get(file["path"])
        is_lfs = repository.is_lfs(revision, path, file["size"], base64.b64decode(file["sample"]))
        oid = (present.sha256 if present.is_lfs else present.oid) if present else None
        mode = "lfs" if is_lfs else "regular"
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": is_ignored(path, gitignore), "oid": oid})
    return Reply({"files": files})


@route("POST", rf"{GIT}\.git/info/lfs/objects/batch")
def lfs_batch(hub, request, kind, name):
    """Answers where to upload each large file that the repository does not have."""
    check_token(request)
    hub.repository(name, kind or "models")
    objects = []
    for asked in request.json()["objects"]:
        verify = f"{hub.endpoint}/lfs-verify"
        actions = {"upload": {"href": f"{hub.storage}/{asked['oid']}"}, "verify": {"href": verify}}
        objects.append(asked if asked["oid"] in hub.large_files else asked | {"actions": actions})
    return Reply({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs-objects/(?P<oid>[0-9a-f]{64})")
def lfs_upload(hub, request, oid):
    check_storage_host(hub, request)
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, "The content does not match its sha256")
    hub.large_files[oid] = request.body
    return Reply()


@route("POST", "/lfs-verify")
def lfs_verify(hub, request):
    check_token(request)
    asked = request.json()
    if len(hub.large_files.get(asked["oid"], b"")) != asked["size"]:
        raise HubError(422, f"Not uploaded with this size: {asked['oid']}")
    return Reply({})


@route("POST", rf"{API}/commit/{REVISION}")
def commit(hub, request, kind, name, revision):
    check_token(request)
    repository, lines = hub.repository(name, kind), [json.loads(line) for line in request.body.splitlines()]
    operations = [(line["key"], line["value"]) for line in lines]
    header = next(value for key, value in operations if key == "header")
    added = {value["path"]: committed_file(hub, key, value) for key, value in operations if key in ("file", "lfsFile")}
    deleted = [value["path"] for key, value in operations if key in ("deletedFile", "deletedFolder")]
    with hub.lock:
        made = repository.push(revision, header["summary"], added, deleted, header.get("parentCommit"))
    return Reply({"success": True, "commitOid": made.sha, "commitUrl": f"{hub.endpoint}/{name}/commit/{made.sha}"})


def committed_file(hub, key, value):
    if key == "file":
        return StoredFile(base64.b64decode(value["content"]))
    if value["oid"] not in hub.large_files:
        path = value["path"]
        raise HubError(
            400, f"Your push was rejected because an LFS pointer pointed to a file that is not there: {path}"
        )
    return StoredFile(hub.large_files[value["oid"]], is_lfs=True)


# Downloads


@route("GET HEAD", rf"{GIT}/resolve/{REVISION}/(?P<path>.+)")
def resolve(hub, request, kind, name, revision, path):
    """Answers with a file, or with the address of a large one."""
    repository = hub.repository(name, kind or "models")
    commit = repository.commit(revision)
    try:
        file = repository.file(revision, path)
    except HubError as error:
        missing = error_reply(error)
        return Reply(missing.content, missing.status, missing.headers | {"X-Repo-Commit": commit.sha})
    headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    if not file.is_lfs:
        return Reply(file.content, 200, headers | {"Content-Type": "text/plain"})
    linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": len(file.content)}
    location = f"{hub.storage}/{file.sha256}/{quote(path)}"
    return Reply(b"", 302, headers | linked | {"Location": location})


@route("GET HEAD", "/lfs-objects/(?P<oid>[0-9a-f]{64})/.+")
def lfs_download(hub, request, oid):
    check_storage_host(hub, request)
    if oid not in hub.large_files:
        raise HubError(404, "NoSuchKey")
    headers = {"Content-Type": "application/octet-stream", "ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
    return Reply(hub.large_files[oid], 200, headers)


def check_storage_host(hub, request):
    """Rejects requests to the storage with a token, as S3 does for a signed address."""
    if request.headers["Authorization"]:
        raise HubError(400, "Only one auth mechanism allowed")
    if request.headers["Host"] != urlsplit(hub.storage).netloc:
        raise HubError(403, "This is the address of the Hub, not of its storage")
