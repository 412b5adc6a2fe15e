"""The socket at which descriptors are handed over, and what its peers may do to it."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from lane_reading import opened

from tessera.parameters.descriptor_server import DescriptorServer
from tessera.weights import descriptors
from tessera.weights.handed_piece import HandedPiece


@pytest.fixture
def listening(tmp_path):
    """A socket whose tickets are good for a file, if they are all zeros."""
    path = tmp_path / "file"
    path.write_bytes(b"content")

    def answer(ticket, connection):
        if ticket == bytes(32):
            with path.open("rb") as file:
                descriptors.send(connection, [file.fileno()])
        return False

    server = DescriptorServer(tmp_path / "folder", answer, seconds=0.5, connections=4)
    yield server.start()
    server.stop()


@pytest.mark.waits
def test_the_socket_stands_idle_hasty_and_many_peers(listening):
    before = opened()
    idle = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for connection in idle:
        connection.connect(listening.path)
    time.sleep(0.1)
    with pytest.raises(OSError):
        descriptors.fetch(listening, bytes(32), 1)  # One too many.
    for connection in idle:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "idle ones are closed"
        connection.close()
    for _ in range(50):
        hasty = socket.socket(socket.AF_UNIX)
        hasty.connect(listening.path)
        hasty.send(bytes(random.randrange(40)))
        hasty.close()
    time.sleep(0.7)
    for _ in range(20):
        (descriptor,) = descriptors.fetch(listening, bytes(32), 1)
        assert os.pread(descriptor, 10, 0) == b"content"
        os.close(descriptor)
    with pytest.raises(OSError, match="1 of 2"):
        descriptors.fetch(listening, bytes(32), 2)
    time.sleep(0.1)
    # Fewer, where what an earlier test has left behind was collected meanwhile.
    assert opened() <= before


def test_a_ticket_may_come_in_parts(listening):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(listening.path)
        for _ in range(32):
            connection.send(b"\0")
            time.sleep(0.002)
        (descriptor,) = descriptors.receive(connection, 1)
        os.close(descriptor)


def test_what_is_no_file_to_read_is_not_taken(tmp_path):
    path = tmp_path / "file"
    for descriptor in (*os.pipe(), os.open(path, os.O_RDWR | os.O_CREAT)):
        with pytest.raises(OSError, match="no file to read"):
            HandedPiece(descriptor)
        os.close(descriptor)


def test_stopping_does_not_wait_for_anybody(tmp_path):
    server = DescriptorServer(tmp_path / "folder", lambda *_: False, seconds=60)
    address = server.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address.path)
        ended = threading.Thread(target=server.stop)
        ended.start()
        ended.join(5)
        assert not ended.is_alive()
        assert not Path(address.path).exists()
