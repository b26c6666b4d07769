"""Clients of the test Hub: processes, each with its own cache and working folder."""

import hashlib
import json
import subprocess
import sys
import textwrap


# Before every script: keeps the output of libraries out of that of the script.
ANSWER = """
import json
import pathlib


def answer(value):
    pathlib.Path("answer.json").write_text(json.dumps(value), encoding="utf-8")
"""


class ClientError(Exception):
    """The stderr of a client that ended with an error."""


class Client:
    """Runs Python code, each time in a new process, with an empty cache at first."""

    def __init__(self, hub, folder, **environment):
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir(parents=True)
        self.work.mkdir()
        self.environment = hub.environment(self.home, **environment)

    def start(self, script):
        return subprocess.Popen(
            [sys.executable, "-c", ANSWER + textwrap.dedent(script)],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script):
        """What the code gives to `answer`, or `None`."""
        process, answer = self.start(script), self.work / "answer.json"
        try:
            _, stderr = process.communicate(timeout=300)
        finally:
            process.kill()
        if process.returncode:
            raise ClientError(stderr)
        return json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None

    def cached_files(self):
        """The bytes of every file that a revision in the cache shows, by its name."""
        snapshots = self.home.glob("hub/*/snapshots/*")
        return {
            file.relative_to(snapshot).as_posix(): file.read_bytes()
            for snapshot in snapshots
            for file in snapshot.rglob("*")
            if file.is_file()
        }

    def damaged_files(self):
        """The files of the cache that are not what their name, a hash, says."""
        blobs = [blob for blob in self.home.glob("hub/*/blobs/*") if blob.suffix != ".incomplete"]
        return [blob for blob in blobs if blob.name not in content_hashes(blob.read_bytes())]


def content_hashes(content):
    """The names that a content has on the Hub: its sha256 as a large file, and its name in git as any other."""
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
