"""A small Ray for the tests of schedulers."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def two_slots() -> Iterator[None]:
    """Ray with two CPUs, for all tests of a file."""
    import ray  # the pure rules' tests do without

    patch = pytest.MonkeyPatch()
    patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    patch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "2")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    patch.undo()
