"""Checks that other nodes see the driver's storage. Imports little: a worker waits for it."""

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
def storage_shared_by_nodes(storage: str) -> Iterator[None]:
    """While the block does other work, check that a folder or URI is the same on another node, and writable.

    Checks nothing if no other node is up (they may join later).

    Raises:
        CannotWrite: if the driver cannot write to the storage.
        ClusterError: at the end of the block, if the other node sees another storage or cannot write to it.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        yield
        return
    name = f".probe-{uuid.uuid4().hex}"
    remove = _write_probe(storage, name)
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_check_probe)
    other_node = NodeAffinitySchedulingStrategy(others[0], soft=False)
    answer = task.options(scheduling_strategy=other_node).remote(storage, name)
    try:
        yield
        host, trouble = ray.get(answer, timeout=PROBE_S)
    except ray.exceptions.GetTimeoutError:
        host, trouble = others[0][:8], f"no answer within {PROBE_S:g} s"
    except ray.exceptions.RayError as error:
        host, trouble = others[0][:8], one_line(error)[-300:]
    finally:
        remove()
    if trouble:
        raise ClusterError(
            f"storage: {storage}: {trouble} on node {host}; studies and checkpoints need storage that all "
            "nodes share: set `storage:` in the sweep file, or RAYSWEEP_STORAGE where Ray is started"
        )


def _write_probe(storage: str, name: str) -> Callable[[], None]:
    """Write a file, as the driver; returns a function that removes it."""
    if "://" not in storage:
        file = Path(storage) / name
        file.write_text("written by the driver", encoding="utf-8")
        return file.unlink
    from raysweep.study.storage.object_store import ObjectStore, wrap_storage_errors

    depot = ObjectStore(storage)
    with wrap_storage_errors(storage):
        depot.put(name, b"written by the driver")
    return lambda: depot.delete(name)


def _check_probe(storage: str, name: str) -> tuple[str, str]:
    """On a worker: this host, and why it cannot see the driver's file or write one beside it, or ""."""
    host, own = socket.gethostname(), f"{name}-worker"
    missing = "the driver's file is not there"
    try:
        if "://" not in storage:
            if not (Path(storage) / name).is_file():
                return host, missing
            (Path(storage) / own).write_text("written by a worker", encoding="utf-8")
            (Path(storage) / own).unlink()
        else:
            from raysweep.study.storage.object_store import ObjectStore

            depot = ObjectStore(storage)
            if depot.get(name) is None:
                return host, missing
            depot.put(own, b"written by a worker")
            depot.delete(own)
    except Exception as error:  # whatever the storage's library raises
        return host, f"cannot be written ({one_line(error, 300)})"
    return host, ""
