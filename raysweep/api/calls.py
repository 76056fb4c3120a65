"""What several calls of the API share: settings, where they run, showing or hiding output."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from raysweep.cluster.attach import ray_of_this_process
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.target import Target, resolve_target


def overrides(settings: Mapping[str, Any] | None) -> list[str]:
    """Settings by dotted key, in the form of `--set`.

    >>> overrides({"run.epochs": 3, "baseline": False, "run.scheduler": None})
    ['run.epochs=3', 'baseline=false', 'run.scheduler=null']
    """
    return [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]


def target_of(address: str | None) -> Target:
    """Where a call of the API runs.

    Raises:
        ClusterError: if that is a cluster that only takes jobs.
    """
    here = None if address else ray_of_this_process()
    target = here or resolve_target(local=False, address=address, cluster=None)
    if target.far:
        raise ClusterError(
            f"{target.where}: takes only jobs, but a call from Python runs in this process; "
            "submit a sweep file with `launch.py run`, or use `address='local'` to run here"
        )
    return target


@contextlib.contextmanager
def shown(progress: bool) -> Iterator[None]:
    """Show what is printed on standard output if `progress`, else drop it."""
    with contextlib.nullcontext() if progress else contextlib.redirect_stdout(io.StringIO()):
        yield
