"""A loop of one's own that implements the star alone runs every star algorithm."""

import threading
from collections import deque

import numpy as np
import pytest

from psmpi.base import LinkError, ServerStar, Stopped, WorkerStar
from psmpi.links.server import ServerEnd
from psmpi.links.transport import local
from psmpi.links.worker import WorkerEnd
from psmpi.runs import config, setup
from tests.helpers.algorithm_table import ASYNCHRONOUS, QUADRATIC, SYNCHRONOUS, go

LIMIT = 30.0  # seconds
STOP = "stop"
ABSENT = "absent"
PEERS = ("dsgd", "d-psgd", "q-dsgd", "async-dsgd", "quantimed-dsgd")
SYNCHRONOUS_STARS = [row for row in SYNCHRONOUS if row[0] not in PEERS]
ASYNCHRONOUS_STARS = [row for row in ASYNCHRONOUS if row[0] not in PEERS]


class Mail:
    """Messages between threads, as (sender, receiver, content), in order of sending."""

    def __init__(self):
        self.messages = deque()
        self.changed = threading.Condition()

    def send(self, sender, receiver, content):
        if isinstance(content, np.ndarray):
            content = content.copy()
        with self.changed:
            self.messages.append((sender, receiver, content))
            self.changed.notify_all()

    def receive(self, senders, receiver):
        def first():
            matches = (m for m in self.messages if m[0] in senders and m[1] == receiver)
            return next(matches, None)

        with self.changed:
            message = self.changed.wait_for(first, LIMIT)
            assert message is not None, "nothing arrived"
            index = next(i for i, m in enumerate(self.messages) if m is message)
            del self.messages[index]
        return message[0], message[2]


class OwnWorker(WorkerStar):
    def __init__(self, mail, wire, plan, worker):
        self.mail, self.wire, self.plan = mail, wire, plan
        self.worker, self.workers = worker, plan.workers
        self.up, self.down = wire.up, wire.down

    def outgoing(self, codec):
        return codec

    def rounds(self, state, *, until_stopped=False):
        while until_stopped or state.round < self.plan.rounds:
            yield state.round
            state.round += 1
        self.pull()

    def pull(self):
        return self.pull_from("broadcast" if self.wire.tree else "server")

    def pull_shared(self):
        return self.pull_from("broadcast")

    def pull_from(self, sender):
        _, content = self.mail.receive([sender], self.worker)
        if isinstance(content, str):
            raise Stopped
        return content

    def push(self, frame):
        self.mail.send(self.worker, "server", frame)

    def absent(self):
        self.mail.send(self.worker, "server", ABSENT)


class OwnServer(ServerStar):
    def __init__(self, mail, wire, plan):
        self.mail, self.wire, self.plan = mail, wire, plan
        self.workers, self.up, self.down = plan.workers, wire.up, wire.down

    def outgoing(self, codec):
        return codec

    def rounds(self, state):
        while state.round < self.plan.rounds:
            yield state.round
            state.round += 1

    def bcast(self, frame):
        for worker in range(self.workers):
            self.mail.send("broadcast", worker, frame)

    def send(self, worker, frame):
        self.mail.send("server", worker, frame)

    def gather(self, workers=None):
        self.present = ()
        for worker in range(self.workers) if workers is None else workers:
            frame = self.mail.receive([worker], "server")[1]
            if isinstance(frame, str):
                continue
            self.present += (worker,)
            yield frame

    def recv(self, workers=None):
        senders = range(self.workers) if workers is None else workers
        worker, frame = self.mail.receive(senders, "server")
        return worker, None if isinstance(frame, str) else frame

    def discard(self, worker):
        self.mail.receive([worker], "server")


def run_on_own_links(name, options):
    """Run an algorithm with the options of ``go`` and return the server's model."""
    defaults = {"data": QUADRATIC, "workers": 3, "rounds": 60, "seed": 3}
    prepared = setup.prepare(config.configure(name, **defaults | options))
    algorithm, plan, wire = prepared.algorithm, prepared.plan, prepared.wire
    mail, errors = Mail(), []
    server = OwnServer(mail, wire, plan)
    state = algorithm.server_state(server, prepared.problem, plan)

    def work(m):
        try:
            link, problem = OwnWorker(mail, wire, plan, m), setup.shard(prepared, m)
            own = algorithm.worker_state(link, problem, plan)
            algorithm.worker(link, problem, plan, own)
        except Stopped:
            pass
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(m,)) for m in range(plan.workers)]
    for thread in threads:
        thread.start()
    rounds = sum(1 for _ in algorithm.server(server, plan, state))
    for worker in range(plan.workers):
        mail.send("broadcast" if wire.tree else "server", worker, STOP)
    for thread in threads:
        thread.join(LIMIT)
    assert not errors
    assert rounds == plan.rounds
    return state.x


@pytest.mark.parametrize(
    ("name", "options"),
    [row[:2] for row in SYNCHRONOUS_STARS],
    ids=[row[0] for row in SYNCHRONOUS_STARS],
)
def test_a_synchronous_run_is_the_same_on_own_links(name, options):
    x = run_on_own_links(name, options)
    assert x.tobytes() == go(name, **options).x.tobytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [row[:2] for row in ASYNCHRONOUS_STARS],
    ids=[row[0] for row in ASYNCHRONOUS_STARS],
)
def test_an_asynchronous_run_ends_on_own_links(name, options):
    assert np.isfinite(run_on_own_links(name, options)).all()


@pytest.mark.parametrize("end", [WorkerEnd, ServerEnd])
def test_psmpi_s_ends_implement_all_of_their_protocols(end):
    assert not end.__abstractmethods__


def test_an_own_end_that_misses_a_method_is_rejected():
    class Incomplete(WorkerStar):
        def pull(self):
            return None

    with pytest.raises(TypeError, match="push"):
        Incomplete()


def test_a_star_has_no_peers_to_observe():
    prepared = setup.prepare(config.configure("gd", data=QUADRATIC, workers=2))
    _, transports = local.connect(3)
    server = ServerEnd(transports[0], prepared.wire, prepared.plan)
    with pytest.raises(LinkError, match="peers: this algorithm's wire has none"):
        server.peers.observed()
