"""JAX models in a loop of the caller's own: sessions over pytrees.

May import sessions, ``base`` and ``errors``. Needs JAX, which comes with the extra
``psmpi[jax]``.
"""

from __future__ import annotations

from psmpi.base import ConfigError

try:
    import jax as _jax
except ImportError as error:
    raise ConfigError(
        f"psmpi.jax: needs JAX, which can't be imported ({error}); "
        'pip install "psmpi[jax]", or pip install jax'
    ) from None

from psmpi.jax.session import TreeSession, session

__all__ = ["TreeSession", "session"]
del _jax
