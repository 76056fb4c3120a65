"""What the embedded Ray leans on inside Ray 2.60.0 is still there."""

import inspect
import socket

import pytest
import ray
from ray._private import node, parameter, worker

from raysweep.cluster import ray_private
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.jobs import Jobs
from raysweep.cluster.ray_private import bootstrap_address, without_monitors


def test_ray_init_asks_ray_params_what_to_start():
    assert "ray._private.parameter.RayParams(" in inspect.getsource(worker.init)
    assert "if not self._ray_params.no_monitor:" in inspect.getsource(node.Node.start_head_processes)
    assert "if self._ray_params.include_log_monitor:" in inspect.getsource(node.Node.start_ray_processes)


def test_no_monitor_is_asked_for_in_there_and_only_in_there():
    with without_monitors():
        asked = ray._private.parameter.RayParams()
    assert (asked.no_monitor, asked.include_log_monitor) == (True, False)
    assert parameter.RayParams().no_monitor is False


def test_an_address_is_read_as_ray_reads_it():
    assert bootstrap_address("192.0.2.1:6379") == ("192.0.2.1", 6379)
    assert "canonicalize_bootstrap_address(address" in inspect.getsource(worker.init)


def test_a_head_that_accepts_and_says_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_private, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"^nothing answers at http://127.0.0.1:{port} \(.*timed out"):
            Jobs(f"http://127.0.0.1:{port}", None)
