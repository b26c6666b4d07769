"""The clients of `huggingface_hub`, as they are, and the Hub of the tests."""

import hashlib
import random
import signal
import urllib.error
import urllib.request

import pytest

from tests.hub_card import validate_card
from tests.hub_client import Client, ClientError
from tests.hub_repository import Repository, StoredFile, is_ignored
from tests.hub_server import TOKEN, Fault, Hub


MEBIBYTE = 2**20
WEIGHTS = random.Random(0).randbytes(50_000)
LONG_TEXT = b"0123456789abcdef" * (12 * MEBIBYTE // 16)
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "config.json": b'{"size": 3}',
    "model.safetensors": WEIGHTS,
    "long.txt": LONG_TEXT,
    "code/empty.py": b"",
}
LARGE_FILES = ["model.safetensors", "long.txt"]
UPLOAD = """
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo("org/model", exist_ok=True)
    api.upload_folder(repo_id="org/model", folder_path="files")
"""
DOWNLOAD = """
    from huggingface_hub import hf_hub_download

    hf_hub_download("org/model", {!r})
"""


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def new_client(hub, tmp_path):
    """Makes clients, each with an empty cache."""

    def make(**environment):
        return Client(hub, tmp_path / f"client-{len(list(tmp_path.iterdir()))}", **environment)

    return make


@pytest.fixture
def client(new_client):
    return new_client()


def write_files(client, files):
    for name, content in files.items():
        path = client.work / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def upload(client, files):
    write_files(client, files)
    client.run(UPLOAD)


@pytest.fixture
def pushed(hub):
    """The Hub with the files in "org/model"."""
    repository = hub.repositories["models", "org/model"] = Repository("org/model")
    files = {path: StoredFile(content, is_lfs=path in LARGE_FILES) for path, content in FILES.items()}
    hub.large_files |= {files[path].sha256: FILES[path] for path in LARGE_FILES}
    repository.push("main", "files", files, [])
    return hub


def contents(hub, name="org/model", kind="models"):
    files = hub.repository(name, kind).commit().files
    return {path: file.content for path, file in files.items() if path != ".gitattributes"}


def requests(hub, method, path):
    return [seen for seen in hub.requests if seen.method == method and path in seen.path]


# Pushing and loading


def test_a_folder_is_pushed_in_one_commit(client, hub):
    upload(client, FILES)
    assert contents(hub) == FILES
    assert len(hub.repository("org/model").commits) == 2
    assert len(requests(hub, "PUT", "/lfs-objects/")) == 2
    stored = hub.repository("org/model").commit().files
    assert [path for path in FILES if stored[path].is_lfs] == LARGE_FILES


def test_a_file_that_has_not_changed_is_not_sent_again(client, hub):
    upload(client, FILES)
    hub.requests.clear()
    upload(client, {"config.json": b"{}"})
    assert contents(hub) == FILES | {"config.json": b"{}"}
    assert not requests(hub, "PUT", "")


def test_a_repository_is_described(client, pushed):
    described = client.run(
        """
        from huggingface_hub import HfApi, HfFileSystem

        api, files = HfApi(), HfFileSystem()
        info = api.model_info("org/model")
        answer({
            "user": api.whoami()["name"],
            "sha": info.sha,
            "license": info.card_data.license,
            "files": sorted(sibling.rfilename for sibling in info.siblings),
            "listed": sorted(api.list_repo_files("org/model")),
            "branches": [branch.name for branch in api.list_repo_refs("org/model").branches],
            "sizes": {e.path: e.size for e in api.list_repo_tree("org/model", expand=True) if hasattr(e, "size")},
            "paths": [e.path for e in api.get_paths_info("org/model", ["code", "config.json", "no.json"])],
            "exists": [api.file_exists("org/model", name) for name in ("config.json", "no.json")],
            "repositories": [api.repo_exists(name) for name in ("org/model", "org/no")],
            "found": files.glob("org/model/**/*.py"),
            "part": files.cat_file("org/model/model.safetensors", start=3, end=9).hex(),
        })
        """
    )
    names = sorted([".gitattributes", *FILES])
    assert described["sizes"].pop(".gitattributes") > 0
    assert described == {
        "user": "user",
        "sha": pushed.repository("org/model").branches["main"],
        "license": "mit",
        "files": names,
        "listed": names,
        "branches": ["main"],
        "sizes": {path: len(content) for path, content in FILES.items() if "/" not in path},
        "paths": ["code", "config.json"],
        "exists": [True, False],
        "repositories": [True, False],
        "found": ["org/model/code/empty.py"],
        "part": WEIGHTS[3:9].hex(),
    }


def test_a_snapshot_has_the_bytes_that_were_pushed(client, pushed):
    client.run('from huggingface_hub import snapshot_download\nsnapshot_download("org/model")')
    loaded = client.cached_files()
    assert {path: hashlib.sha256(loaded[path]).digest() for path in FILES} == {
        path: hashlib.sha256(content).digest() for path, content in FILES.items()
    }
    assert not client.damaged_files()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_in_the_cache_is_not_sent_again(client, pushed, name):
    client.run(DOWNLOAD.format(name))
    assert client.cached_files() == {name: FILES[name]}
    assert len(requests(pushed, "GET", name)) == 1
    client.run(DOWNLOAD.format(name))
    assert len(requests(pushed, "HEAD", name)) == 2
    assert len(requests(pushed, "GET", name)) == 1


def test_a_commit_is_not_changed_by_those_after_it(client, pushed):
    old = pushed.repository("org/model").branches["main"]
    upload(client, {"config.json": b"{}"})
    sizes = client.run(
        f"""
        import os
        from huggingface_hub import hf_hub_download

        paths = [hf_hub_download("org/model", "config.json", revision=name) for name in ("{old}", "main")]
        answer([os.path.getsize(path) for path in paths])
        """
    )
    assert sizes == [len(FILES["config.json"]), 2]


def test_files_and_folders_are_deleted(client, pushed):
    client.run(
        """
        from huggingface_hub import HfApi

        HfApi().delete_file("config.json", "org/model")
        HfApi().delete_folder("code", "org/model")
        """
    )
    assert set(contents(pushed)) == set(FILES) - {"config.json", "code/empty.py"}


def test_a_dataset_is_not_the_model_of_its_name(client, pushed):
    loaded = client.run(
        """
        import pathlib
        from huggingface_hub import HfApi, hf_hub_download

        api, names = HfApi(), {"repo_id": "org/model", "repo_type": "dataset"}
        api.create_repo(**names)
        api.upload_file(path_or_fileobj=b"PAR1" * 9, path_in_repo="data/train.parquet", **names)
        path = hf_hub_download(filename="data/train.parquet", **names)
        answer([api.dataset_info("org/model").sha, pathlib.Path(path).read_text()])
        """
    )
    assert loaded == [pushed.repository("org/model", "datasets").branches["main"], "PAR1" * 9]
    assert contents(pushed, kind="datasets") == {"data/train.parquet": b"PAR1" * 9}
    assert contents(pushed) == FILES


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ('hf_hub_download("org/model", "no.json")', "EntryNotFoundError"),
        ('hf_hub_download("org/no", "config.json")', "RepositoryNotFoundError"),
        ('hf_hub_download("org/model", "config.json", revision="no")', "RevisionNotFoundError"),
        ('HfApi().model_info("org/model", revision="no")', "RevisionNotFoundError"),
        ('HfApi().dataset_info("org/model")', "RepositoryNotFoundError"),
        ('HfApi().create_repo("org/model")', "409"),
        ('HfApi().upload_file(path_or_fileobj=b"", path_in_repo="a", repo_id="org/no")', "RepositoryNotFoundError"),
    ],
)
def test_what_does_not_exist_is_told(client, pushed, call, error):
    with pytest.raises(ClientError, match=error):
        client.run(f"from huggingface_hub import HfApi, hf_hub_download\n{call}")
    assert contents(pushed) == FILES


def test_a_commit_on_an_older_parent_is_refused(client, pushed):
    old = pushed.repository("org/model").branches["main"]
    upload(client, {"config.json": b"{}"})
    with pytest.raises(ClientError, match="412"):
        client.run(
            f"""
            from huggingface_hub import HfApi

            api, parent = HfApi(), "{old}"
            api.upload_file(path_or_fileobj=b"3", path_in_repo="a", repo_id="org/model", parent_commit=parent)
            """
        )
    assert "a" not in contents(pushed)


# Files that are left out


def test_gitignore_is_respected(client, hub):
    upload(client, {"a.txt": b"1", "a.log": b"2", "checkpoint-1/model.safetensors": WEIGHTS, ".gitignore": b"*.log\n"})
    assert set(contents(hub)) == {"a.txt", "checkpoint-1/model.safetensors", ".gitignore"}


def test_gitignore_in_the_repository_is_respected(new_client, hub):
    upload(new_client(), {".gitignore": b"checkpoint-*/\n"})
    upload(new_client(), {"checkpoint-1/model.safetensors": WEIGHTS, "a.log": b"2"})
    assert set(contents(hub)) == {"a.log", ".gitignore"}
    assert not requests(hub, "PUT", "")


@pytest.mark.parametrize(
    ("gitignore", "ignored", "kept"),
    [
        ("*.log", ["a.log", "b/a.log"], ["a.log.txt"]),
        ("checkpoint-*/", ["checkpoint-1/a", "b/checkpoint-1/a/c"], ["checkpoint-1"]),
        ("/a", ["a", "a/b"], ["b/a"]),
        ("a/*.txt", ["a/1.txt"], ["a/b/1.txt", "1.txt"]),
        ("# all\n\n*\n!a", ["b"], ["a"]),
    ],
)
def test_patterns_of_gitignore(gitignore, ignored, kept):
    assert all(is_ignored(path, gitignore) for path in ignored)
    assert not any(is_ignored(path, gitignore) for path in kept)


# Cards

RESULT = "{task: {type: a}, dataset: {type: b, name: c}, metrics: [{type: f1, value: 1.5}]}"


@pytest.mark.parametrize(
    "metadata",
    [
        "license: apache-2.0",
        "language: en",
        "language: [en, deu, multilingual]",
        "datasets: [org/corpus, squad]",
        "base_model: org/encoder",
        "tags: [a]",
        f"model-index: [{{name: m, results: [{RESULT}]}}]",
    ],
)
def test_good_metadata(metadata):
    assert validate_card(f"---\n{metadata}\n---\n# Title\n") == ([], [])


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("license: free", '"license" with value "free"'),
        ("license: other", '"license_name" is required'),
        ("language: English", '"language" with value "English"'),
        ("datasets: [a corpus]", '"datasets" with value "a corpus"'),
        ("base_model: /tmp/encoder", '"base_model" with value "/tmp/encoder"'),
        ("metrics: [1]", '"metrics" with value "1"'),
        ("tags: a", '"tags" must be an array'),
        ("tags: [1]", '"tags[0]" must be a string'),
        ("pipeline_tag: [a]", '"pipeline_tag" must be a string'),
        ("model-index: {}", '"model-index" must be an array'),
        ("model-index: [{name: m}]", '"model-index[0].results" is required'),
        (
            "model-index: [{name: m, results: [{task: {}, metrics: []}]}]",
            '"model-index[0].results[0].task.type" is required',
        ),
        (
            f"model-index: [{{name: m, results: [{RESULT.replace(', value: 1.5', '')}]}}]",
            '"model-index[0].results[0].metrics[0].value" is required',
        ),
        ("a: [", "bad YAML"),
        ("text", "the front matter is not a mapping"),
    ],
)
def test_bad_metadata(metadata, error):
    errors, _ = validate_card(f"---\n{metadata}\n---\n")
    assert len(errors) == 1
    assert error in errors[0]


def test_a_bad_card_is_refused_before_anything_is_sent(client, hub):
    with pytest.raises(ClientError, match="Invalid metadata in README.md(.|\n)*free"):
        upload(client, FILES | {"README.md": b"---\nlicense: free\n---\n"})
    assert contents(hub) == {}
    assert not requests(hub, "PUT", "")


def test_a_card_that_is_only_unusual_is_a_warning(client, hub):
    write_files(client, {"README.md": b"---\npipeline_tag: unusual\n---\n"})
    with pytest.raises(ClientError, match="not in the official list"):
        client.run("import warnings\nwarnings.simplefilter('error')\n" + UPLOAD.replace("\n    ", "\n"))
    client.run(UPLOAD)
    assert set(contents(hub)) == {"README.md"}


# What a client could not get past the Hub


def send(hub, method, url, body=b"", token=TOKEN):
    request = urllib.request.Request(url, data=body, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_large_files_are_checked(pushed):
    absent = hashlib.sha256(b"absent").hexdigest()
    address = f"{pushed.storage}/{absent}"
    assert send(pushed, "PUT", address, b"something else", token=None) == 400
    assert send(pushed, "PUT", address, b"absent") == 400
    commit = b'{"key": "header", "value": {"summary": "s"}}\n{"key": "lfsFile", "value": {"path": "a", "oid": "%s"}}'
    address = f"{pushed.endpoint}/api/models/org/model/commit/main"
    assert send(pushed, "POST", address, commit % absent.encode()) == 400
    verify = b'{"oid": "%s", "size": %d}'
    oid = hashlib.sha256(WEIGHTS).hexdigest().encode()
    assert send(pushed, "POST", f"{pushed.endpoint}/lfs-verify", verify % (oid, len(WEIGHTS))) == 200
    assert send(pushed, "POST", f"{pushed.endpoint}/lfs-verify", verify % (oid, 1)) == 422
    assert contents(pushed) == FILES


def test_nothing_is_written_without_the_token(pushed):
    address = f"{pushed.endpoint}/api/models/org/model/commit/main"
    assert send(pushed, "POST", address, b'{"key": "header", "value": {"summary": "s"}}', token="hf_other") == 401
    assert contents(pushed) == FILES


# Faults


@pytest.mark.parametrize(("name", "length"), [("model.safetensors", 1000), ("config.json", 4)])
def test_a_download_that_breaks_off_is_tried_again(client, pushed, name, length):
    pushed.faults.append(Fault("GET", name, truncate_after=length))
    client.run(DOWNLOAD.format(name))
    assert client.cached_files() == {name: FILES[name]}
    assert not client.damaged_files()
    assert len(requests(pushed, "GET", name)) == 2


def test_a_long_download_goes_on_where_it_broke_off(client, pushed):
    pushed.faults.append(Fault("GET", "long.txt", truncate_after=11 * MEBIBYTE))
    client.run(DOWNLOAD.format("long.txt"))
    assert client.cached_files() == {"long.txt": LONG_TEXT}
    assert [seen.status for seen in requests(pushed, "GET", "long.txt")] == [200, 206]


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"times": 6, "truncate_after": 1000}])
def test_a_download_that_fails_leaves_nothing(client, pushed, fault):
    pushed.faults.append(Fault("GET", "model.safetensors", **fault))
    with pytest.raises(ClientError) as failed:
        client.run(DOWNLOAD.format("model.safetensors"))
    error = f"HfHubHTTPError: Server error '{fault['status']}" if "status" in fault else "peer closed connection"
    assert error in str(failed.value)
    assert client.cached_files() == {}
    assert not client.damaged_files()
    client.run(DOWNLOAD.format("model.safetensors"))
    assert client.cached_files() == {"model.safetensors": WEIGHTS}


def test_a_client_that_is_killed_leaves_nothing_that_is_taken_for_the_file(client, pushed):
    pushed.faults.append(Fault("GET", "long.txt", pause_after=11 * MEBIBYTE))
    process = client.start(DOWNLOAD.format("long.txt"))
    assert pushed.paused.wait(timeout=60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert client.cached_files() == {}
    assert not client.damaged_files()
    client.run(DOWNLOAD.format("long.txt"))
    assert client.cached_files() == {"long.txt": LONG_TEXT}
    assert not client.damaged_files()


@pytest.mark.parametrize("status", [500, 503])
def test_a_commit_that_fails_changes_nothing(client, pushed, status):
    pushed.faults.append(Fault("POST", "/commit/", status=status))
    files = {"model.safetensors": WEIGHTS[::-1], "config.json": b"{}"}
    with pytest.raises(ClientError, match=f"HfHubHTTPError: Server error '{status}"):
        upload(client, files)
    assert contents(pushed) == FILES
    upload(client, files)
    assert contents(pushed) == FILES | files
    assert len(requests(pushed, "PUT", "/lfs-objects/")) == 1


def test_a_large_file_that_fails_is_sent_again(client, hub):
    hub.faults.append(Fault("PUT", "/lfs-objects/", status=503))
    upload(client, FILES)
    assert contents(hub) == FILES
    assert sorted(seen.status for seen in requests(hub, "PUT", "")) == [200, 200, 503]
