"""What the parts of one link end share."""

from __future__ import annotations

from dataclasses import dataclass

from psmpi.base import Plan, Wire
from psmpi.links.metering import Meter
from psmpi.links.replay_log import ReplayLog
from psmpi.links.transport.base import Transport


@dataclass
class LinkContext:
    """The configuration of a link end, and the round that it is in."""

    transport: Transport
    wire: Wire
    plan: Plan
    meter: Meter
    replay_log: ReplayLog
    round: int = 0  # outgoing messages belong to this round


def link_context(
    transport: Transport, wire: Wire, plan: Plan, replay_log: ReplayLog | None
) -> LinkContext:
    """Return the context of a new link end; without a log, decisions are recorded."""
    meter = Meter(transport.now, transport.exclude_from_clock)
    log = ReplayLog() if replay_log is None else replay_log
    return LinkContext(transport, wire, plan, meter, log)
