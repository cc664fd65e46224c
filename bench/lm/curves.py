"""Losses by steps: what a method learns, whatever the wire.

psmpi's methods run in one process, PyTorch's as processes of this machine, which
changes nothing about their losses. Finished runs are kept and not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cluster
from training import Setting

import psmpi

Curve = list[list[float]]  # (steps, loss)


@dataclass(frozen=True)
class Method:
    """A method of node.py, or with ``options`` an algorithm of psmpi.

    ``wire_steps`` is how many steps are enough to measure its seconds a step.
    """

    name: str
    method: str
    options: Mapping[str, Any] | None = None
    lrs: tuple[float, ...] = (1e-3,)
    wire_steps: int = 45
    alone: bool = False  # on one node

    def curve(self, setting: Setting, runs: Path) -> Curve:
        """Return a run's losses, from ``runs`` or from training now."""
        path = runs / f"{self.method}-lr{setting.lr:g}-seed{setting.seed}.json"
        if path.exists():
            found = json.loads(path.read_text())
            if found["setting"] != asdict(setting):
                raise SystemExit(f"{path}: of another setting; take another directory")
        else:
            runs.mkdir(parents=True, exist_ok=True)
            train = _of_gloo if self.options is None else _of_psmpi
            found = {"setting": asdict(setting), "curve": train(self, setting)}
            path.write_text(json.dumps(found))
            print(path.stem, f"{found['curve'][-1][1]:.4f}", flush=True)
        return found["curve"]


def _of_gloo(method: Method, setting: Setting) -> Curve:
    measured = cluster.here(method.method, setting)
    return [[steps, loss] for steps, _, loss in measured.curve()]


def _of_psmpi(method: Method, setting: Setting) -> Curve:
    from problem import Letters

    options = dict(method.options or {})
    steps = options.get("local_steps", 1)
    try:
        result = psmpi.run(
            method.method,
            problem=Letters(setting),
            local=True,
            workers=setting.nodes,
            lr=setting.lr,
            batch=setting.batch,
            rounds=setting.steps // steps,
            evaluate_every=setting.look // steps,
            seed=setting.seed,
            optimum=False,
            **options,
        )
    except psmpi.PsmpiError as error:  # it diverged
        print(method.name, setting.lr, error, flush=True)
        return [[setting.steps, float("inf")]]
    return [[row["round"] * steps, row["loss"]] for row in result.rows if row["round"]]
