"""Small disks and read-only folders: mounts that only the commands of a test see."""

import os
import subprocess
from pathlib import Path

import pytest


SMALL_DISK = 'mount -t tmpfs -o size=256m tmpfs "$0"'
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'


class PrivateMount:
    """
    A mount in a namespace of its own, for commands that enter it.

    Skips the test where the system does not let users make one.

    Args:
        folder (`Path`): Where to mount.
        mount (`str`): The shell command that mounts at `$0`.
    """

    def __init__(self, folder, mount):
        folder.mkdir(exist_ok=True)
        script = f"{mount} && echo mounted && exec sleep 3600"
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
        try:
            self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            pytest.skip("this system has no `unshare`, so that a test cannot mount")
        if self._holder.stdout.readline() != "mounted\n":
            pytest.skip(f"this system does not let a test mount: {self._holder.stderr.read().strip()}")
        # The folder as those see it who are not in the namespace.
        self.content = Path(f"/proc/{self._holder.pid}/root{folder}")

    def enter(self, command):
        """Makes a command of `subprocess.run` run where the mount is seen."""
        target = ["--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials"]
        return command | {"args": ["nsenter", *target, f"--wd={command['cwd']}", *command["args"]]}

    def fill(self, free):
        """Fills a small disk up to some bytes."""
        disk = os.statvfs(self.content)
        with (self.content / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - free)

    def make_space(self):
        (self.content / "filler").unlink()

    def close(self):
        self._holder.kill()
        self._holder.wait()
