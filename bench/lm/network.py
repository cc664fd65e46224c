"""Hosts with slow links on one machine: network namespaces behind a bridge.

Every host is a namespace with one interface, eth0; ``tc tbf`` holds both directions of
its link to a rate. Processes on a host run on one core, that of the host. Needs root
and the programs ``ip`` and ``tc``. No delay is added: what there is, is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "psmpi-br"
NET = "10.77.0."
PORT = 29400
BURST, WAIT = "64kb", "20ms"  # of tbf; longer queues only hide that a link is full
PROBE = 8_000_000  # bytes of the ping-pong that checks a link


@dataclass(frozen=True)
class Network:
    """``hosts`` hosts with links of ``rate``, which ``tc`` reads, like 100mbit."""

    hosts: int
    rate: str

    def name(self, host: int) -> str:
        return f"psmpi-{host}"

    def address(self, host: int) -> str:
        return f"{NET}{host + 1}"

    def core(self, host: int) -> int:
        """Return the core that everything on the host runs on."""
        cores = sorted(os.sched_getaffinity(0))
        return cores[host % len(cores)]

    def command(self, host: int, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs ``argv`` on the host."""
        pinned = ["taskset", "-c", str(self.core(host)), *argv]
        return ["ip", "netns", "exec", self.name(host), *pinned]

    def traffic(self, host: int) -> tuple[int, int]:
        """Return the bytes that the host's link has carried so far: out, in."""
        line = ["ip", "-n", self.name(host), "-s", "-j", "link", "show", "eth0"]
        (link,) = json.loads(subprocess.check_output(line))
        return link["stats64"]["tx"]["bytes"], link["stats64"]["rx"]["bytes"]

    @contextlib.contextmanager
    def up(self) -> Iterator[Network]:
        """Make the hosts, and take them away at the end."""
        self._down()
        try:
            _ip("link", "add", BRIDGE, "type", "bridge")
            _ip("addr", "add", f"{NET}254/24", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
            for host in range(self.hosts):
                self._add(host)
            yield self
        finally:
            self._down()

    def _add(self, host: int) -> None:
        name, outer = self.name(host), f"psmpi-v{host}"
        _ip("netns", "add", name)
        peer = ("peer", "name", "eth0", "netns", name)
        _ip("link", "add", outer, "type", "veth", *peer)
        _ip("link", "set", outer, "master", BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        shaped = ["root", "tbf", "rate", self.rate, "burst", BURST, "latency", WAIT]
        tc = ["tc", "qdisc", "add", "dev"]
        _do(["ip", "netns", "exec", name, *tc, "eth0", *shaped])
        _do([*tc, outer, *shaped])

    def _down(self) -> None:
        """Take away what is there, also of a run that was killed."""
        for link in _listed(
            "/sys/class/net"
        ):  # at once; with its host it takes a while
            _ip("link", "del", link)
        for host in _listed("/run/netns"):
            _ip("netns", "del", host)

    def check(self) -> dict[str, float]:
        """Measure the link between the hosts 0 and 1: Mbit/s each way, microseconds."""
        here = str(Path(__file__).resolve())
        serve = self.command(1, [sys.executable, here, "serve"])
        call = self.command(0, [sys.executable, here, "call", self.address(1)])
        with subprocess.Popen(serve) as server:
            answer = subprocess.check_output(call)
            server.wait()
        return json.loads(answer)


def _listed(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).glob("psmpi-*"))


def _ip(*words: str) -> None:
    _do(["ip", *words])


def _do(line: list[str]) -> None:
    subprocess.run(line, check=True)


def _serve() -> None:
    """Answer the calls of one measurement: read so many bytes, or send them."""
    with socket.create_server(("", PORT)) as listener:
        connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while order := connection.recv(1):
            if order == b"r":
                _read(connection, PROBE)
                connection.sendall(b".")
            elif order == b"s":
                connection.sendall(bytes(PROBE))
            else:
                connection.sendall(b".")


def _call(address: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection((address, PORT))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    data = bytes(PROBE)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trips, out, back = [], [], []
        for _ in range(200):
            begin = time.perf_counter()
            connection.sendall(b".")
            connection.recv(1)
            trips.append(time.perf_counter() - begin)
        for _ in range(3):
            begin = time.perf_counter()
            connection.sendall(b"r" + data)
            connection.recv(1)
            out.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            connection.sendall(b"s")
            _read(connection, PROBE)
            back.append(time.perf_counter() - begin)
    rates = [8e-6 * PROBE / sorted(times)[1] for times in (out, back)]
    trip = 1e6 * sorted(trips)[len(trips) // 2]
    print(json.dumps({"out": rates[0], "back": rates[1], "round_trip_us": trip}))


def _read(connection: socket.socket, size: int) -> None:
    buffer = memoryview(bytearray(1 << 20))
    while size:
        size -= connection.recv_into(buffer[: min(size, len(buffer))])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve()
    else:
        _call(sys.argv[2])
