"""Repositories of the test Hub: files, immutable commits, branches, large and ignored files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import cached_property

from tests.hub_card import front_matter, validate_card


# The Hub creates every repository with these patterns in .gitattributes.
LFS_PATTERNS = """
    *.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot
    *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst
    *tfevents*
""".split()
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
LARGEST_REGULAR_FILE = 10 * 1024 * 1024


class HubError(Exception):
    """What the Hub refuses: the status, the message, and the code by which the client picks its exception."""

    def __init__(self, status, message, code=None):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class StoredFile:
    content: bytes
    is_lfs: bool = False

    @cached_property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self):
        """The pointer that git stores for a large file."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @cached_property
    def oid(self):
        """The name of the blob in git."""
        blob = self.pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0%s" % (len(blob), blob)).hexdigest()


@dataclass(frozen=True)
class Commit:
    sha: str
    title: str
    files: Mapping[str, StoredFile]
    date: str = field(default_factory=lambda: f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z")


def git_pattern_matches(pattern, path):
    """Returns whether a git pattern without `**` matches a path or a folder above it."""
    segments, parts = pattern.strip("/").split("/"), path.split("/")
    if pattern.endswith("/"):
        parts = parts[:-1]
    if "/" not in pattern.rstrip("/"):
        return any(fnmatchcase(part, segments[0]) for part in parts)
    return len(parts) >= len(segments) and all(map(fnmatchcase, parts, segments))


def is_ignored(path, gitignore):
    """Returns whether a .gitignore ignores a path. The last matching pattern decides."""
    ignored = False
    for line in map(str.strip, gitignore.splitlines()):
        if line and not line.startswith("#") and git_pattern_matches(line.removeprefix("!"), path):
            ignored = not line.startswith("!")
    return ignored


class Repository:
    """The commits of one repository. A commit is never changed: it is the files of a revision."""

    def __init__(self, name):
        self.name = name
        self.commits = {}
        self.branches = {}
        self._add_commit("main", "initial commit", {".gitattributes": StoredFile(GITATTRIBUTES)})

    def commit(self, revision="main"):
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def file(self, revision, path):
        files = self.commit(revision).files
        if path not in files:
            raise HubError(404, f"{path} does not exist on {revision!r}", "EntryNotFound")
        return files[path]

    def is_lfs(self, revision, path, size, sample):
        """Whether the file is large, binary, or matches a pattern in .gitattributes."""
        attributes = self.file(revision, ".gitattributes").content.decode().splitlines()
        patterns = [line.split()[0] for line in attributes if "filter=lfs" in line]
        by_name = any(git_pattern_matches(pattern, path) for pattern in patterns)
        return by_name or size > LARGEST_REGULAR_FILE or b"\0" in sample

    def gitignore(self, revision):
        found = self.commit(revision).files.get(".gitignore")
        return found.content.decode() if found else ""

    def card(self, revision):
        """The metadata of README.md."""
        found = self.commit(revision).files.get("README.md")
        return front_matter(found.content.decode()) if found else {}

    def entries(self, revision, folder="", recursive=False):
        """What a folder holds, in the form of the Hub's listings; with the folders below it where recursive."""
        commit, prefix = self.commit(revision), f"{folder}/" if folder else ""
        below = [path.removeprefix(prefix) for path in commit.files if path.startswith(prefix)]
        if folder and not below:
            raise HubError(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        names = {
            "/".join(parts[:depth])
            for parts in (path.split("/") for path in below)
            for depth in range(1, (len(parts) if recursive else 1) + 1)
        }
        return [self._entry(commit, prefix + name) for name in sorted(names)]

    def paths_info(self, revision, paths):
        """Returns the entries of the paths that exist."""
        commit = self.commit(revision)
        folders = {path[:i] for path in commit.files for i, letter in enumerate(path) if letter == "/"}
        return [self._entry(commit, path) for path in paths if path in commit.files or path in folders]

    def _entry(self, commit, path):
        file = commit.files.get(path)
        last_commit = {"id": commit.sha, "title": commit.title, "date": commit.date}
        if file is None:
            oid = hashlib.sha1(path.encode()).hexdigest()
            return {"type": "directory", "path": path, "oid": oid, "size": 0, "lastCommit": last_commit}
        size = len(file.content)
        entry = {"type": "file", "path": path, "oid": file.oid, "size": size, "lastCommit": last_commit}
        if file.is_lfs:
            entry["lfs"] = {"oid": file.sha256, "size": size, "pointerSize": len(file.pointer)}
        return entry

    def push(self, branch, title, added, deleted, parent=None):
        """Makes a commit of files that are added and of paths that are deleted, or refuses it as a whole."""
        if branch not in self.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        if parent is not None and parent != self.branches[branch]:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(self.commit(branch).files)
        for path in deleted:
            below = [name for name in files if name == path or name.startswith(f"{path.rstrip('/')}/")]
            if not below:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for name in below:
                del files[name]
        for path, file in added.items():
            if not file.is_lfs and len(file.content) > LARGEST_REGULAR_FILE:
                raise HubError(400, f"Your push was rejected because it contains files larger than 10 MiB: {path}")
        if "README.md" in added and (errors := validate_card(added["README.md"].content.decode())[0]):
            raise HubError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
        return self._add_commit(branch, title, files | added)

    def _add_commit(self, branch, title, files):
        identity = [self.name, len(self.commits), title, *((path, file.oid) for path, file in files.items())]
        commit = Commit(hashlib.sha1(repr(identity).encode()).hexdigest(), title, files)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit
