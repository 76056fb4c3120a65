"""Whether other nodes have the storage that the driver has. Light: a worker waits for this to be imported."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysweep.cluster.errors import ClusterError
from raysweep.formatting import one_line

PROBE_S = 60.0


@contextmanager
def storage_shared_by_nodes(place: str) -> Iterator[None]:
    """While the block is at other work, see that a folder or URI is the same on another node, and writable.

    With no other node up (they may come later) there is nothing to see.

    Raises:
        CannotWrite: if the storage refuses the driver.
        ClusterError: at the end of the block, if the other node has another storage or may not write to it.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        yield
        return
    name = f".probe-{uuid.uuid4().hex}"
    drop = _put(place, name)
    look: Any = ray.remote(num_cpus=0, max_retries=0)(_touch)
    there = NodeAffinitySchedulingStrategy(others[0], soft=False)
    answer = look.options(scheduling_strategy=there).remote(place, name)
    try:
        yield
        host, trouble = ray.get(answer, timeout=PROBE_S)
    except ray.exceptions.GetTimeoutError:
        host, trouble = others[0][:8], f"no answer within {PROBE_S:g} s"
    except ray.exceptions.RayError as error:
        host, trouble = others[0][:8], one_line(error)[-300:]
    finally:
        drop()
    if trouble:
        raise ClusterError(
            f"storage: {place}: {trouble} on node {host}; studies and checkpoints need a place that all "
            "nodes share: set `storage:` in the sweep file, or RAYSWEEP_STORAGE where Ray is started"
        )


def _put(place: str, name: str) -> Callable[[], None]:
    """Write a file, as the driver; what takes it away again."""
    if "://" not in place:
        file = Path(place) / name
        file.write_text("written by the driver", encoding="utf-8")
        return file.unlink
    from raysweep.study.storage.object_store import ObjectStore, wrap_storage_errors

    depot = ObjectStore(place)
    with wrap_storage_errors(place):
        depot.put(name, b"written by the driver")
    return lambda: depot.delete(name)


def _touch(place: str, name: str) -> tuple[str, str]:
    """On a worker: whether the driver's file is there and another can be written beside it."""
    host, mine = socket.gethostname(), f"{name}-worker"
    lacks = "what the driver wrote is not there"
    try:
        if "://" not in place:
            if not (Path(place) / name).is_file():
                return host, lacks
            (Path(place) / mine).write_text("written by a worker", encoding="utf-8")
            (Path(place) / mine).unlink()
        else:
            from raysweep.study.storage.object_store import ObjectStore

            depot = ObjectStore(place)
            if depot.get(name) is None:
                return host, lacks
            depot.put(mine, b"written by a worker")
            depot.delete(mine)
    except Exception as error:  # whatever a storage's library raises is the answer
        return host, f"cannot be written ({one_line(error, 300)})"
    return host, ""
