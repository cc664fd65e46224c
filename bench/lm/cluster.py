"""Runs the nodes of a measurement on emulated hosts, and says what else ran here."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from network import BRIDGE, Network
from training import Setting

HERE = Path(__file__).resolve().parent
LIMIT = 280.0  # seconds after which a run is ended
QUIET = 0.03  # share of the cores that other programs may have


@dataclass(frozen=True)
class Measured:
    """What the nodes wrote down, and the bytes out of and into each host's link.

    ``foreign`` is the share of all cores' time that went to other programs.
    """

    nodes: list[dict[str, Any]]
    traffic: list[tuple[int, int]]
    foreign: float

    @property
    def steps(self) -> int:
        return min(len(node["times"]) for node in self.nodes)

    def seconds_a_step(self, begin: float = 0.0, end: float = 1.0) -> float:
        """Return the slowest node's seconds a step, of this part of its steps."""
        first, last = int(begin * self.steps), int(end * self.steps)
        spans = []
        for node in self.nodes:
            times = [0.0, *node["times"]]
            spans.append((times[last] - times[first]) / (last - first))
        return max(spans)

    def curve(self) -> list[list[float]]:
        """Return (steps, seconds, validation loss) of all copies, in their order."""
        return sorted(point for node in self.nodes for point in node["curve"])

    def bytes_on_links(self) -> float:
        """Return the bytes a step and node that all hosts together sent."""
        return sum(out for out, _ in self.traffic) / self.steps / len(self.nodes)

    def bytes_a_step(self) -> tuple[float, float]:
        """Return the bytes a step out of and into the link of the last host."""
        out, into = self.traffic[-1]
        return out / self.steps, into / self.steps


def here(method: str, setting: Setting) -> Measured:
    """Train by a method of node.py, as processes of this machine, for its losses."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29411"}
    address |= {"GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    with tempfile.TemporaryDirectory() as out:
        arguments = (out, json.dumps(asdict(setting)))
        nodes = range(setting.nodes)
        lines = [[*_python("node.py"), method, str(n), *arguments] for n in nodes]
        return _measured(None, setting, Path(out), lines, address)


def quietest(run: Callable[[], Measured], tries: int) -> Measured:
    """Repeat a run while other programs disturb it; return the least disturbed."""
    best = run()
    for _ in range(tries - 1):
        if best.foreign <= QUIET:
            break
        best = min(best, run(), key=lambda measured: measured.foreign)
    return best


def gloo(network: Network, method: str, setting: Setting) -> Measured:
    """Train on ``setting.nodes`` hosts by a method of node.py."""
    address = {"MASTER_ADDR": network.address(0), "MASTER_PORT": "29411"}
    address |= {"GLOO_SOCKET_IFNAME": "eth0", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    with tempfile.TemporaryDirectory() as out:
        arguments = (out, json.dumps(asdict(setting)))
        lines = [
            network.command(host, [*_python("node.py"), method, str(host), *arguments])
            for host in range(setting.nodes)
        ]
        return _measured(network, setting, Path(out), lines, address)


def psmpi(
    network: Network,
    algorithm: str,
    setting: Setting,
    options: Mapping[str, Any],
) -> Measured:
    """Train with psmpi over MPICH; the server is a further process on host 0.

    With ``local_steps`` among the options what AdamW has changed travels, else
    gradients.
    """
    slots = [1 + (node == 0) for node in range(setting.nodes)]
    hosts = [f"{network.name(node)}:{count}" for node, count in enumerate(slots)]
    with tempfile.TemporaryDirectory() as out:
        given = json.dumps(dict(options))
        line = [
            *(str(Path(sys.executable).with_name("mpiexec")), "-launcher", "ssh"),
            *("-launcher-exec", str(HERE / "enter.sh"), "-iface", BRIDGE),
            *("-hosts", ",".join(hosts), "-n", str(setting.nodes + 1)),
            *(*_python("psmpi_node.py"), algorithm),
            *(out, json.dumps(asdict(setting)), given),
        ]
        # MPICH would take shared memory between processes of one kernel.
        wire = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp"}
        wire |= {"FI_TCP_IFACE": "eth0"}
        return _measured(network, setting, Path(out), [line], wire)


def _measured(
    network: Network | None,
    setting: Setting,
    out: Path,
    lines: Sequence[Sequence[str]],
    variables: Mapping[str, str],
) -> Measured:
    """Run the command lines at the same time, and collect what they wrote.

    Without a network nothing is timed.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **threads, "PYTHONPATH": path, **variables}
    if network is not None:
        wait_for_quiet()
    before, foreign = _traffic(network), _Foreign()
    running = [
        subprocess.Popen(line, env=environment, start_new_session=True)
        for line in lines
    ]
    try:
        deadline = time.monotonic() + LIMIT
        for process in running:
            if process.wait(max(1.0, deadline - time.monotonic())):
                raise SystemExit(f"a node failed: {process.args}")
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
    share = foreign.share()
    after = _traffic(network)
    traffic = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True)]
    files = [out / f"node{node}.json" for node in range(setting.nodes)]
    return Measured([json.loads(f.read_text()) for f in files], traffic, share)


def _traffic(network: Network | None) -> list[tuple[int, int]]:
    return [network.traffic(host) for host in range(network.hosts if network else 0)]


def wait_for_quiet(most: float = 60.0) -> None:
    """Wait until other programs leave the cores alone, so many seconds at most."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        foreign = _Foreign()
        time.sleep(2.0)
        if foreign.share() <= QUIET:
            return


class _Foreign:
    """Finds out how much of the cores' time goes to programs that aren't ours."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._busy, self._own = self._read()

    def share(self) -> float:
        """Return the share of all cores' time since the start."""
        busy, own = self._read()
        spent = (busy - self._busy) - (own - self._own)
        cores = os.cpu_count() or 1
        return max(0.0, spent / (cores * (time.monotonic() - self._begin)))

    @staticmethod
    def _read() -> tuple[float, float]:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system = map(int, file.readline().split()[1:4])
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            own += usage.ru_utime + usage.ru_stime
        return (user + nice + system) / os.sysconf("SC_CLK_TCK"), own


def _python(script: str) -> list[str]:
    return [sys.executable, str(HERE / script)]
