"""Every broadcast brings messages of every size to all ranks, and counts its bytes.

The transports run on communicators of the first 1, 2, ... ranks of the job.
"""

import numpy as np

from psmpi.links.envelope import NBYTES, new_buffer, seal
from psmpi.links.mpi_job import MpiJob

SEGMENTS = (16, 64, 4096)
MAX = 21_000


def message(nbytes, seed):
    buffer = new_buffer(nbytes)
    buffer[NBYTES:] = np.random.default_rng(seed).integers(0, 256, nbytes)
    return seal(buffer, nbytes, seed, 1, 2)


def sizes(segment):
    """Frame lengths: the smallest, those around a segment's end, and a long one."""
    around = [segment - NBYTES + d for d in (-1, 0, 1)]
    several = [5 * segment - NBYTES + d for d in (-1, 0, 1)]
    return [n for n in (0, 1, 15, 16, 17, *around, *several, MAX - NBYTES) if n >= 0]


def check(transport, segment):
    expected = 0
    for seed, nbytes in enumerate(sizes(segment)):
        sent = message(nbytes, seed)
        got = transport.bcast(sent if transport.node == 0 else None)
        assert np.array_equal(got, sent), (segment, nbytes)
        transport.release()
        expected += sent.size
    return expected, len(sizes(segment))


def check_all(mpi_job):
    for broadcast in ("tree", "linear", "mpi"):
        for segment in SEGMENTS:
            transport = mpi_job.transport(
                64, MAX, broadcast=broadcast, segment=segment, tree_segment=segment
            )
            nbytes, messages = check(transport, segment)
            extra = 8 * messages if broadcast == "mpi" else 0
            expected = nbytes + extra if mpi_job.rank else 0
            assert transport.received_bytes == expected
            counts = mpi_job.allgather((transport.sent_bytes, transport.sent_messages))
            sent, number = np.sum(counts, axis=0)
            assert sent == (nbytes + extra) * (mpi_job.size - 1)
            assert number == messages * (mpi_job.size - 1)
            if broadcast != "tree":
                assert all(count == (0, 0) for count in counts[1:])
            transport.close()


mpi_job = MpiJob()
world, rank, size = mpi_job._comm, mpi_job.rank, mpi_job.size
for ranks in range(1, size + 1):
    mpi_job._comm = world.Split(rank < ranks, rank)
    mpi_job.rank, mpi_job.size = mpi_job._comm.Get_rank(), mpi_job._comm.Get_size()
    if rank < ranks:
        check_all(mpi_job)
    mpi_job._comm, mpi_job.rank, mpi_job.size = world, rank, size
    mpi_job.barrier()
    if rank == 0:
        print(f"all broadcasts agree on {ranks} ranks")
mpi_job.leave()
