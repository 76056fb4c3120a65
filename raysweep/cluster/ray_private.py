"""Everything here uses private parts of Ray; tests/cluster/test_ray_private.py checks it with Ray 2.60.0."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from ray._private import parameter, ray_constants, services, utils
from ray.experimental import internal_kv
from ray.job_config import JobConfig


@contextmanager
def minimal_ray() -> Iterator[None]:
    """Make `ray.init` start only the processes that a Ray on one machine needs, each as small as can be.

    Without an autoscaler and a log monitor, as `ray start` can, and without the dashboard's process, which
    without a dashboard only reports usage: each costs half a second of CPU or more, and `ray.init` waits for
    the last. It has no option for them, but reads `RayParams`, and goes on if a dashboard has not started.
    And with the agent of `pip install ray`, which has neither web server nor metrics: Ray starts it if the
    packages for these are missing.
    """
    before = parameter.RayParams, utils.get_dashboard_dependency_error, services.start_api_server
    parameter.RayParams = partial(before[0], no_monitor=True, include_log_monitor=False)
    utils.get_dashboard_dependency_error = lambda: ImportError("not wanted on one machine")
    services.start_api_server = lambda *args, **kwargs: (None, None)
    try:
        yield
    finally:
        parameter.RayParams, utils.get_dashboard_dependency_error, services.start_api_server = before


@contextmanager
def trials_in_started_processes() -> Iterator[None]:
    """Make Tune run its trials in the processes that an embedded Ray starts as soon as it is up.

    Tune sets environment variables for its actors, for which Ray starts other processes, once its agent for
    environments is up. On one machine every process inherits these variables from the driver.
    """
    from ray.tune.execution import class_cache  # takes a second, while the processes start

    names = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = names


def bootstrap_address(address: str) -> tuple[str, int]:
    """Host and port of a Ray's head, from an address as `ray.init` takes it.

    Raises:
        ConnectionError: if "auto" finds no Ray on this machine, or several.
        ValueError: if it is not an address.
    """
    host, port = services.extract_ip_port(services.canonicalize_bootstrap_address_or_die(address))
    return host, port


class _NoFolders(list[str]):
    def extend(self, _folders: Any) -> None:
        """Ignore them."""


def keep_search_path() -> JobConfig:
    """A job config whose workers keep Python's own search path.

    Ray puts the driver's working directory first in its workers' `sys.path`, where a user's own
    `types.py`, `queue.py` or `optuna.py` would hide the module that Ray or torch needs.
    """
    config = JobConfig()
    config._py_driver_sys_path = _NoFolders()
    return config


@contextmanager
def keep_sigterm() -> Iterator[None]:
    """Restore the SIGTERM handler after `ray.init`, which installs its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


class AutoscalerReport(NamedTuple):
    """What Ray's autoscaler reports about nodes that are not up.

    Attributes:
        pending: nodes that it is starting.
        failures: a line for each node, or kind of node, that failed to start.
    """

    pending: int
    failures: tuple[str, ...]


def autoscaler_report() -> AutoscalerReport | None:
    """Its newest report; None unless a first-generation autoscaler runs, the only one that reports."""
    status = internal_kv._internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS.encode())
    report = json.loads(status).get("autoscaler_report") if status else None
    return None if report is None else parse_report(report)


def parse_report(report: Mapping[str, Any]) -> AutoscalerReport:
    """Ray's `AutoscalerSummary`, as JSON.

    >>> parse_report({"pending_launches": {"gpu": 2}, "failed_nodes": [["10.0.0.7", "gpu"]]})
    AutoscalerReport(pending=2, failures=('gpu 10.0.0.7 failed',))
    """
    pending = len(report.get("pending_nodes") or ()) + sum((report.get("pending_launches") or {}).values())
    failures = [f"{kind} {address} failed" for address, kind in report.get("failed_nodes") or ()]
    kinds = (report.get("node_availability_summary") or {}).get("node_availabilities") or {}
    for kind, availability in kinds.items():
        if why := availability.get("unavailable_node_information"):
            failures.append(f"{kind}: {why['description']}")
    return AutoscalerReport(pending, tuple(failures))
