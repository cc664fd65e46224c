"""Checks of point-to-point messages: points.py CHECK ..., the functions below."""

import os
import re
import sys
import time

import numpy as np
import pytest

from psmpi.base import LinkError
from psmpi.links.envelope import ENVELOPE, NBYTES, new_buffer, seal
from psmpi.links.mpi_job import MpiJob

mpi_job = MpiJob()
SERVER = mpi_job.rank == 0
WORKERS = range(1, mpi_job.size)


def message(nbytes, seed=0):
    buffer = new_buffer(nbytes)
    buffer[NBYTES:] = np.arange(seed, seed + nbytes) % 251
    return seal(buffer, nbytes, seed, 1, 2)


def segments():
    """Send messages up, then down, with lengths around the ends of segments."""
    for segment in (16, 17, 100):
        transport = mpi_job.transport(2000, 3000, segment=segment)
        for nbytes in (0, 1, segment - 16, segment - 15, 5 * segment, 1984):
            if SERVER:
                for worker in reversed(WORKERS):
                    got = transport.recv(worker)
                    assert np.array_equal(got, message(nbytes, worker))
                    transport.send(worker, message(nbytes + 7, worker))
                transport.release()
            else:
                transport.send(0, message(nbytes, mpi_job.rank))
                got = transport.recv(0)
                assert np.array_equal(got, message(nbytes + 7, mpi_job.rank))
                transport.release()
        sums = mpi_job.allgather((transport.sent_bytes, transport.received_bytes))
        assert np.diff(np.sum(sums, axis=0)) == 0
        transport.close()


def fairness():
    """A worker that sends without a pause does not delay the others' messages."""
    transport = mpi_job.transport(100, 100)
    if not SERVER:
        for _ in range(10):
            transport.send(0, message(10))
    mpi_job.barrier()
    if SERVER:
        time.sleep(0.2)
        order = []
        for _ in range(10 * len(WORKERS)):
            order.append(transport.recv_any(WORKERS)[0])
            transport.release()
        for start in range(0, len(order), len(WORKERS)):
            assert set(order[start : start + len(WORKERS)]) == set(WORKERS), order
    transport.close()


def loans():
    """A received message does not change until it is released."""
    transport = mpi_job.transport(100, 100)
    if SERVER:
        lent = [transport.recv(worker) for worker in WORKERS]
        for worker in WORKERS:
            transport.send(worker, message(0))  # they send again
        time.sleep(0.2)
        for worker, got in zip(WORKERS, lent, strict=True):
            assert np.array_equal(got, message(50, worker))
        with refused("was not released"):
            transport.recv(1)
        with refused("all their messages are lent"):
            transport.recv_any(WORKERS)
        transport.release()
        for worker in WORKERS:
            assert np.array_equal(transport.recv(worker), message(60, worker))
    else:
        transport.send(0, message(50, mpi_job.rank))
        transport.recv(0)
        transport.send(0, message(60, mpi_job.rank))
    mpi_job.barrier()
    transport.close()


def sequence():
    """Transports follow each other; posted receives of one do not affect the next."""
    for number in range(20):
        transport = mpi_job.transport(100 + number, 100)
        if SERVER:
            assert transport.recv_any(WORKERS)[1].size == NBYTES + number
            for _ in WORKERS[1:]:
                transport.recv_any(WORKERS)
        else:
            transport.send(0, message(number))
        transport.close()


def refused(text):
    return pytest.raises(LinkError, match=re.escape(text))


def too_long():
    transport = mpi_job.transport(100, 200, segment=64)
    if not SERVER:
        with refused("101 bytes is longer"):
            transport.send(0, message(85))
        transport.send(0, message(84))
    else:
        with refused("201 bytes is longer"):
            transport.send(1, message(185))
        assert all(transport.recv(worker).size == 100 for worker in WORKERS)
    transport.close()


def wrong_lengths():
    """The envelope states another length than the message has."""
    for stated, text in (
        (1000, "1016 bytes were announced, the limit is 200"),
        (40, "66 bytes came, 56 were announced"),
        (60, "66 bytes came, 76 were announced"),
    ):
        transport = mpi_job.transport(200, 200)
        if SERVER:
            with refused(text):
                transport.recv(1)
        elif mpi_job.rank == 1:
            wrong = message(50)
            ENVELOPE.pack_into(wrong.data, 0, 0, 1, 2, 0, stated, 0)
            transport.send(0, wrong)
        mpi_job.barrier()
        transport.close()


def disagreement():
    with refused("wants"):
        mpi_job.transport(100 + mpi_job.rank, 200)
    with refused("wants"):
        mpi_job.transport(100, 200, segment=100 + mpi_job.rank)


def timeout():
    transport = mpi_job.transport(100, 100, timeout=0.3)
    if SERVER:
        start = time.monotonic()
        with refused("worker 0: nothing happened for 0.3 s"):
            transport.recv(1)
        with refused("nothing happened"):
            transport.recv_any(WORKERS)
        assert time.monotonic() - start < 2
    mpi_job.barrier()
    transport.close()


def exchanges(nbytes, peers_of):
    """Exchange frames among workers, far longer than MPI buffers."""
    peers = [] if SERVER else peers_of(mpi_job.rank)
    transport = mpi_job.transport(nbytes + NBYTES, 100, peers=peers)
    for k in range(6):
        if SERVER:
            break
        transport.release()
        transport.send_all(peers, message(nbytes, 10 * mpi_job.rank + k))
        for peer in peers:
            got = transport.recv(peer)
            assert np.array_equal(got, message(nbytes, 10 * peer + k)), (k, peer)
            transport.release()
    totals(transport)
    transport.close()


def totals(transport):
    sums = mpi_job.allgather((transport.sent_bytes, transport.received_bytes))
    assert np.diff(np.sum(sums, axis=0)) == 0, sums


def ring(rank):
    return sorted({(rank - 2) % len(WORKERS) + 1, rank % len(WORKERS) + 1})


def complete(rank):
    return [worker for worker in WORKERS if worker != rank]


def large_exchanges():
    for nbytes in (1 << 20, 4 << 20):
        exchanges(nbytes, ring)
        exchanges(nbytes, complete)


def superseding():
    """A peer that does not receive misses all but the first few, then the newest."""
    nbytes, last = 2 << 20, 40
    peers = [2] if mpi_job.rank == 1 else [1] if mpi_job.rank == 2 else []
    transport = mpi_job.transport(nbytes + NBYTES, 100, peers=peers)
    if mpi_job.rank == 1:
        lost = sum(transport.post(2, message(nbytes, k)) for k in range(last + 1))
        assert 0 < lost == transport.superseded
        transport.flush()
        assert not transport.drop(2)
        assert transport.sent_messages == last + 1 - lost
    rounds = []
    if mpi_job.rank == 2:
        time.sleep(0.5)
        while not rounds or rounds[-1] < last:
            got = transport.poll(1)
            if got is not None:
                (round_,) = ENVELOPE.unpack_from(got.data)[:1]
                assert np.array_equal(got, message(nbytes, round_))
                rounds.append(round_)
            transport.release()
        assert rounds == sorted(set(rounds))
        assert len(rounds) < last
    totals(transport)
    transport.close()


def dropping():
    """A dropped message is not sent, and the next one is."""
    nbytes = 2 << 20
    peers = [3 - mpi_job.rank] if mpi_job.rank in (1, 2) else []
    transport = mpi_job.transport(nbytes + NBYTES, 100, peers=peers)
    if peers:
        for k in range(5):
            transport.post(peers[0], message(nbytes, k))
        time.sleep(0.2)  # one has arrived, one is under way, one waits
        transport.drop(peers[0])
        transport.post(peers[0], message(0, 99))
        rounds = []
        while 99 not in rounds:  # both must receive before they flush
            got = transport.recv(peers[0])
            rounds.append(ENVELOPE.unpack_from(got.data)[0])
            transport.release()
        transport.flush()
        assert rounds == sorted(rounds)
        assert transport.superseded > 0
    totals(transport)
    transport.close()


def chain_of_waits():
    """In a chain of waits, only the rank that does not respond is named."""
    transport = mpi_job.transport(100, 100, timeout=1.0)
    if SERVER:
        for _ in range(2):
            with refused("worker 2: nothing happened for 1 s, and worker 2 gives no"):
                transport.recv(3)
        transport.send(1, message(10))
        transport.send(2, message(10))
    elif mpi_job.rank < 3:
        start = time.monotonic()
        transport.recv(0)  # longer than the timeout, since the server waits as well
        assert time.monotonic() - start > 1.5
    mpi_job.barrier()
    transport.close()


def huge():
    """More than 2 GiB in one message."""
    nbytes = (1 << 31) + 12345
    transport = mpi_job.transport(nbytes + NBYTES, 100)
    if SERVER:
        got = transport.recv(1)
        assert got.size == nbytes + NBYTES
        assert got[-1] == 7
        assert transport.received_bytes == got.size
    elif mpi_job.rank == 1:
        buffer = np.zeros(nbytes + NBYTES, np.uint8)
        buffer[-1] = 7
        ENVELOPE.pack_into(buffer.data, 0, 0, 1, 2, nbytes >> 32, nbytes % 2**32, 0)
        transport.send(0, buffer)
    mpi_job.barrier()
    transport.close()


def job_attributes():
    assert len(set(mpi_job.allgather(mpi_job.rank))) == mpi_job.size
    assert mpi_job.allgather("x" * mpi_job.rank) == [
        "x" * n for n in range(mpi_job.size)
    ]
    assert sum(mpi_job.allgather(mpi_job.first_on_node)) == len(set(mpi_job.hosts))
    assert mpi_job.library
    assert os.path.basename(__file__) == "points.py"


for check in sys.argv[1:]:
    globals()[check]()
    mpi_job.barrier()
    if SERVER:
        print(check, "holds")
mpi_job.leave()
