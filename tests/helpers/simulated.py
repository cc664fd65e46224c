"""Functions that act as the nodes of a simulated network."""

import time
from functools import partial

import numpy as np

from psmpi.links.envelope import new_buffer, seal
from psmpi.links.transport import local
from psmpi.links.transport.simulation import SimulatedNetwork


def message(nbytes=16, round_=0):
    buffer = new_buffer(nbytes - 16)
    buffer[16:] = np.arange(round_, round_ + nbytes - 16) % 251
    return seal(buffer, nbytes - 16, round_, 1, 2)


def simulate(*roles, network=None, **options):
    """Run one function per node on simulated clocks; return results and transports."""
    network = network or SimulatedNetwork()
    options = {"measured": False} | options
    scheduler, transports = local.connect(len(roles), network=network, **options)
    calls = [partial(role, t) for role, t in zip(roles, transports, strict=True)]
    results = scheduler.run(calls)
    return results, transports


def sender(*moments, to=0, nbytes=16):
    """Return a role that sends a message at each moment, the n-th of round n."""

    def role(transport):
        for n, moment in enumerate(moments):
            transport.spend(moment - transport.now())
            transport.send(to, message(nbytes, n))

    return role


def receiver(count, nodes):
    """Return a role that receives from any of ``nodes`` and lists (node, time)."""

    def role(transport):
        served = []
        for _ in range(count):
            node, _ = transport.recv_any(nodes)
            served.append((node, transport.now()))
            transport.release()
        return served

    return role


def burn(seconds):
    """Use CPU time for so many seconds."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
