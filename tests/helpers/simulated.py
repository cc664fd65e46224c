"""Functions that play the nodes of a simulated network."""

import time
from functools import partial

import numpy as np

from psmpi.links.envelope import outbox, seal
from psmpi.links.transport import local
from psmpi.links.transport.simulation import Network


def message(nbytes=16, round_=0):
    buffer = outbox(nbytes - 16)
    buffer[16:] = np.arange(round_, round_ + nbytes - 16) % 251
    return seal(buffer, nbytes - 16, round_, 1, 2)


def simulate(*roles, network=None, **options):
    """Run one function per node on simulated clocks; return results and transports."""
    network = network or Network()
    options = {"measured": False} | options
    scheduler, transports = local.connect(len(roles), network=network, **options)
    calls = [partial(role, t) for role, t in zip(roles, transports, strict=True)]
    results = scheduler.run(calls)
    return results, transports


def sender(*moments, to=0, nbytes=16):
    """Send a message at each moment, the n-th of round n."""

    def role(transport):
        for n, moment in enumerate(moments):
            transport.spend(moment - transport.now())
            transport.send(to, message(nbytes, n))

    return role


def taker(count, nodes):
    """Take messages of any of ``nodes``; return who was served when."""

    def role(transport):
        served = []
        for _ in range(count):
            node, _ = transport.recv_any(nodes)
            served.append((node, transport.now()))
            transport.release()
        return served

    return role


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
