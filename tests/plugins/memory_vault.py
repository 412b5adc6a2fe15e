"""A vault in memory, without links and descriptors; whoever breaks a vault's rules hears of it."""

from __future__ import annotations

import errno
import threading

import numpy as np

from tessera.parameters.vault import OWNER
from tessera.paths import joined


class MemoryVault:
    """Files by name, as bytes. What is not committed is gone with who wrote it.

    Attributes:
        content: of every file, by name.
    """

    has_descriptors = False
    free_bytes = 1 << 40

    def __init__(self):
        self.content: dict[str, bytes] = {}
        self._folders = {""}
        self._lock = threading.Lock()

    def folders(self, folder=""):
        start = f"{_checked(folder)}/" if folder else ""
        below = {name.removeprefix(start) for name in self._folders if name.startswith(start)}
        return sorted({name.partition("/")[0] for name in below} - {""})

    def files(self, folder):
        start = f"{_checked(folder)}/"
        below = [name.removeprefix(start) for name in self.content if name.startswith(start)]
        return sorted(name for name in below if "/" not in name)

    def make_folder(self, folder):
        parts = _checked(folder).split("/")
        self._folders |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}

    def remove_folder(self, folder):
        start = f"{_checked(folder)}/"
        with self._lock:
            self._folders = {n for n in self._folders if not f"{n}/".startswith(start)}
            self.content = {n: c for n, c in self.content.items() if not n.startswith(start)}

    def read(self, name):
        if _checked(name) not in self.content:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return self.content[name]

    def replace(self, name, *content):
        folder = _checked(name).rpartition("/")[0]
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
        with self._lock:
            self.content[name] = b"".join(content)

    def create(self, name):
        return MemoryNewFile(self, _checked(name))

    def link(self, source, name):
        raise OSError(errno.EOPNOTSUPP, "no links", source)

    def open(self, name):
        return MemoryFile(self.read(name))

    def descriptor(self, name):
        raise OSError(errno.EOPNOTSUPP, "no descriptors", name)

    def rename(self, name, other):
        _checked(other)
        self.replace(other, self.read(name))
        self.remove(name)

    def remove(self, name):
        with self._lock:
            self.content.pop(_checked(name), None)


class MemoryNewFile:
    """What is written; `commit` shows it."""

    def __init__(self, vault, name):
        self._vault = vault
        self._name = name
        self._content = bytearray()
        self._unsynced = False
        self._lock = threading.Lock()

    def write_at(self, data, position):
        with self._lock:
            self._unsynced = True
            self._content += bytes(max(0, position + data.size - len(self._content)))
            self._content[position : position + data.size] = data.tobytes()

    def sync(self):
        self._unsynced = False

    def commit(self):
        assert not self._unsynced, "it might not be whole"
        self._vault.make_folder(self._name.rpartition("/")[0])
        self._vault.replace(self._name, bytes(self._content))

    def discard(self):
        self._content.clear()


class MemoryFile:
    """The bytes that a file had when it was opened."""

    def __init__(self, content):
        self._content = np.frombuffer(content, np.uint8)
        self.size = len(content)

    def read_into(self, buffer, position):
        part = self._content[position : position + buffer.size]
        buffer[: part.size] = part
        return part.size

    def close(self):
        del self._content


def _checked(name):
    return name if name == OWNER else joined(*name.split("/"))
