"""How a server makes one vector of the workers' frames: sum, clipping, who has sent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from psmpi.base import Frame, ServerStar, Vector
from psmpi.kernels.reduce import norm2
from psmpi.kernels.vector import add_nonzeros, mean_of_senders
from psmpi.parts.absence import scale_to_present
from psmpi.parts.downlink import add_up
from psmpi.parts.memory import expected


class Aggregate:
    """Sums the workers' frames, or takes each entry's mean over who has sent it.

    Only workers that are present count. ``mean``: the caller divides a sum by the
    number of all workers, so that it is scaled to give the mean over the present ones.

    ``senders``: an entry is divided by the number of workers in whose frames it is not
    zero. To know these, every frame is decoded into a vector of its own, so that a
    worker costs the server a pass of O(d) instead of O(k).

    ``clip``: a frame whose vector is longer than the median of all workers' norms is
    scaled down to that norm. All frames are kept until all norms are known, and a norm
    costs another O(d).
    """

    def __init__(
        self, x: Vector, *, senders: bool, clip: bool, mean: bool = False
    ) -> None:
        self.senders, self.clip, self.mean = senders, clip, mean
        self._part = np.zeros_like(x) if senders or clip else None
        self._count = np.zeros(x.size if senders else 0, np.uint16)

    def gather(self, link: ServerStar, out: Vector) -> bool:
        """Receive a frame of each worker; set ``out`` to what they make together.

        Returns whether anybody is present.
        """
        if self._part is None:
            return add_up(link, out, mean=self.mean)
        weighted: Iterable[tuple[Frame, float]]
        if not self.clip:
            weighted = ((expected(frame), 1.0) for frame in link.gather())
        else:
            frames = [expected(frame).copy() for frame in link.gather()]
            weights = clipped([self._norm(link, frame) for frame in frames])
            weighted = zip(frames, weights, strict=True)
        out[:] = 0
        self._count[:] = 0
        for frame, weight in weighted:
            if self.senders:
                link.up.decode_add(frame, self._part, weight)
                add_nonzeros(out, self._count, self._part)  # and part <- 0
            else:
                link.up.decode_add(frame, out, weight)
        if self.senders:
            mean_of_senders(out, self._count)
        elif self.mean:
            scale_to_present(link, out, link.workers)
        return bool(link.present)

    def _norm(self, link: ServerStar, frame: Frame) -> float:
        """Return the norm of a frame's vector; leaves the scratch vector at zero."""
        assert self._part is not None
        link.up.decode(frame, self._part.size, self._part)
        norm = norm2(self._part)
        self._part[:] = 0
        return norm


def clipped(norms: list[float]) -> list[float]:
    """Return the factor of each vector that brings it down to the median norm.

    >>> clipped([1.0, 2.0, 8.0])
    [1.0, 1.0, 0.25]
    """
    limit = float(np.median(norms))
    return [1.0 if norm <= limit else limit / norm for norm in norms]
