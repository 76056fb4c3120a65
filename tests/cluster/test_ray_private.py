"""The private parts of Ray 2.60.0 that the embedded Ray uses still exist."""

from __future__ import annotations

import inspect
import json
import socket
from dataclasses import asdict

import pytest
import ray
from ray._private import node, parameter, services, utils, worker
from ray.autoscaler._private.autoscaler import AutoscalerSummary
from ray.autoscaler._private.node_provider_availability_tracker import (
    NodeAvailabilityRecord,
    NodeAvailabilitySummary,
    UnavailableNodeInformation,
)
from ray.tune.execution import class_cache

from raysweep.cluster import job_client
from raysweep.cluster.embedded import QUIET
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.jobs import Jobs
from raysweep.cluster.ray_private import (
    bootstrap_address,
    minimal_ray,
    parse_report,
    trials_in_started_processes,
)


def test_ray_init_asks_ray_params_what_to_start() -> None:
    assert "ray._private.parameter.RayParams(" in inspect.getsource(worker.init)
    assert "if not self._ray_params.no_monitor:" in inspect.getsource(node.Node.start_head_processes)
    assert "if self._ray_params.include_log_monitor:" in inspect.getsource(node.Node.start_ray_processes)


def test_no_monitor_starts_in_the_block_only() -> None:
    with minimal_ray():
        asked = ray._private.parameter.RayParams()
    assert (asked.no_monitor, asked.include_log_monitor) == (True, False)
    assert parameter.RayParams().no_monitor is False


def test_ray_init_goes_on_without_the_process_of_a_dashboard() -> None:
    starts = inspect.getsource(node.Node.start_api_server)
    assert "self._webui_url, process_info = ray._private.services.start_api_server(" in starts
    assert "if process_info is not None:" in starts
    usual = services.start_api_server
    with minimal_ray():
        assert services.start_api_server(False, False) == (None, None)
    assert services.start_api_server is usual


def test_ray_init_asks_whether_the_packages_of_the_agent_are_there() -> None:
    starts = inspect.getsource(services.start_raylet)
    assert "ray._private.utils.get_dashboard_dependency_error()" in starts
    with minimal_ray():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
    assert utils.get_dashboard_dependency_error() is None


def test_tune_reads_the_variables_of_its_actors_in_its_cache_of_classes() -> None:
    get = inspect.getsource(class_cache._ActorClassCache.get)
    assert "env_vars = DEFAULT_ENV_VARS.copy()" in get
    assert "for env_var_to_propagate in ENV_VARS_TO_PROPAGATE:" in get
    usual = class_cache.DEFAULT_ENV_VARS
    with trials_in_started_processes():
        assert not class_cache.DEFAULT_ENV_VARS
        assert not class_cache.ENV_VARS_TO_PROPAGATE
    assert class_cache.DEFAULT_ENV_VARS is usual
    assert usual.items() <= QUIET.items()


def test_an_address_is_read_as_ray_reads_it() -> None:
    assert bootstrap_address("192.0.2.1:6379") == ("192.0.2.1", 6379)
    assert "canonicalize_bootstrap_address(address" in inspect.getsource(worker.init)


def test_a_head_that_accepts_and_says_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_client, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"^nothing answers at http://127.0.0.1:{port} \(.*timed out"):
            Jobs(f"http://127.0.0.1:{port}", None)


def test_an_autoscalers_summary_has_what_is_read_of_it() -> None:
    availability = NodeAvailabilityRecord("gpu", False, 0.0, UnavailableNodeInformation("Quota", "no quota"))
    summary = AutoscalerSummary(
        active_nodes={},
        idle_nodes={},
        pending_nodes=[("10.0.0.5", "gpu", "setting-up")],
        pending_launches={"gpu": 2},
        failed_nodes=[("10.0.0.7", "gpu")],
        node_availability_summary=NodeAvailabilitySummary({"gpu": availability}),
    )
    report = parse_report(json.loads(json.dumps(asdict(summary))))
    assert report == (3, ("gpu 10.0.0.7 failed", "gpu: no quota"))
