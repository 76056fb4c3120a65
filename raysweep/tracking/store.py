"""One study's runs in one MLflow store. The only file that imports mlflow, and only when it connects.

Importing mlflow takes about two seconds, a new SQLite store two more; both happen in the tracking process.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from raysweep.study.storage.secrets import hide_passwords
from raysweep.tracking.address import SERVER, log_in, unreachable_database
from raysweep.tracking.projection import PARENT, RunUpdate
from raysweep.tracking.runs import InputData

BATCH_METRICS, BATCH_PARAMS = 800, 100  # MLflow's limits per call: 1000 metrics, 100 params, 1000 together
PAGE = 1000  # runs per page of a search
# MLflow's error codes for permanent errors; others (500, 503, a lost connection, a token refused) may pass.
FINAL = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
)
NO_SERVER = "answers, but not as an MLflow server does"
HEALTH_TIMEOUT_S = 60.0  # as below: a server that takes half a minute for a call is slow, not dead
# For this process, unless the user has set them. No retries in the client: it would repeat a `create_run`
# whose answer was lost, and so create a second run; we look it up by tag instead. A minute for one call
# allows a very slow server, for which the sweep does not wait.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would disturb the live view
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Unreachable(Exception):
    """The store does not answer now; another try may succeed."""


class Refused(Exception):
    """The store will never accept this, such as an update of a deleted run, or an invalid value."""


class Store:
    """The runs of one study.

    Args:
        uri: MLflow's tracking URI.
        study_id: tag by which the study's runs are found.

    Raises:
        Unreachable: by every method.
        Refused: by every method but the constructor.
    """

    def __init__(self, uri: str, study_id: str) -> None:
        uri = log_in(uri, os.environ)
        if uri.startswith(SERVER):
            check_health(uri)
        elif trouble := unreachable_database(uri):  # mlflow would try ten times, two minutes long
            raise Unreachable(trouble)
        self._uri = uri
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.study_id = study_id
        self._load()
        self._client = self.call(self._tracking.MlflowClient, uri)

    def _load(self) -> None:
        try:
            self._tracking = importlib.import_module("mlflow.tracking")
            self._entities = importlib.import_module("mlflow.entities")
            self._refusal: type[Exception] = importlib.import_module("mlflow.exceptions").MlflowException
            self._database: type[Exception] = importlib.import_module("sqlalchemy.exc").SQLAlchemyError
        except ImportError as error:
            raise Unreachable(f"mlflow cannot be imported: {error}") from error
        for name in ("mlflow.store.db.utils", "alembic"):
            # They would log new stores, and tracebacks of locked ones, into the live view.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call MLflow, turning its many exceptions into our two."""
        try:
            return function(*args, **kwargs)
        except self._refusal as error:
            if getattr(error, "error_code", "") in FINAL:
                raise Refused(one_line(error)) from error
            raise Unreachable(one_line(error)) from error
        except (OSError, ValueError, self._database) as error:  # ValueError: the answer is not JSON
            raise Unreachable(one_line(error)) from error
        except ImportError as error:  # the store's driver: psycopg2, boto3
            raise Refused(one_line(error)) from error

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, which is created if there is none."""
        experiment = self.call(self._client.get_experiment_by_name, name)
        if experiment is None:
            try:
                return self._checked_id(self.call(self._client.create_experiment, name))
            except Refused:  # another sweep has just created it
                experiment = self.call(self._client.get_experiment_by_name, name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self.call(self._client.restore_experiment, experiment.experiment_id)
        return self._checked_id(experiment.experiment_id)

    def share_view(self, experiment_id: str, key: str, state: str) -> None:
        """Store a view of an experiment's runs under a key, by which a link can open it."""
        tag = f"mlflow.sharedViewState.{key}"
        self.call(self._client.set_experiment_tag, experiment_id, tag, state)

    def _checked_id(self, id_: object) -> str:
        """An id from MLflow, which is missing if a proxy answers everything with an empty page."""
        if not id_:
            raise Unreachable(f"{hide_passwords(self._uri)} {NO_SERVER}: no id")
        return str(id_)

    def check_run(self, run_id: str) -> None:
        """Check that the store has a run, and that it is MLflow that answers.

        Raises:
            Unreachable: if not.
        """
        run = self.call(self._client.get_run, run_id)
        if run.info.run_id != run_id:
            raise Unreachable(f"{hide_passwords(self._uri)} {NO_SERVER}: no run {run_id}")

    def find(self, experiment_id: str, study_id: str = "") -> dict[str, str]:
        """Run ids by trial id (PARENT for the sweep) of all runs of the study, or of another one.

        Of two runs of one trial (the answer to a `create_run` was lost, and it was repeated) the
        one that was written to is kept; the other is deleted.
        """
        runs: dict[str, Any] = {}
        for run in list(self._search(experiment_id, f"tags.study_id = '{study_id or self.study_id}'")):
            trial = run.data.tags.get("trial", PARENT)
            twins = sorted((run, runs.get(trial, run)), key=lambda twin: len(twin.data.params), reverse=True)
            runs[trial] = twins[0]
            if twins[0] is not twins[1] and not twins[1].data.metrics and not twins[1].data.params:
                self.call(self._client.delete_run, twins[1].info.run_id)
        return {trial: str(run.info.run_id) for trial, run in runs.items()}

    def _search(self, experiment_id: str, query: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.call(
                self._client.search_runs,
                [experiment_id],
                filter_string=query,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def has_run(self, run_id: str) -> bool:
        """Whether a run exists and was not deleted."""
        try:
            run = self.call(self._client.get_run, run_id)
        except Refused:
            return False
        return bool(run.info.lifecycle_stage == "active")

    def create(self, experiment_id: str, change: RunUpdate, identity: Mapping[str, str], parent: str) -> str:
        """Create the run of an update, with all its tags; returns its run id."""
        nested = {"mlflow.parentRunId": parent} if parent else {}
        run = self.call(
            self._client.create_run,
            experiment_id,
            start_time=change.born_ms,
            tags={**change.tags, **identity, **nested},
            run_name=change.name,
        )
        return self._checked_id(run.info.run_id)

    def write(self, run_id: str, change: RunUpdate, *, is_new: bool) -> None:
        """Write an update to its run; if a part is refused, the rest is still written.

        Args:
            run_id: of the run.
            change: to write.
            is_new: whether the run was just created, with its tags.

        Raises:
            Refused: if a part was refused, after the rest was written.
        """
        refused = []
        for step in self._steps(run_id, change, is_new):
            try:
                step()
            except Refused as error:
                refused.append(str(error))
        if refused:
            raise Refused("; ".join(refused))

    def log_scores(self, run_id: str, scores: Mapping[str, float]) -> None:
        """Log final numbers to a run, at step 0, so that the UI draws bars."""
        now = round(time.time() * 1000)
        metrics = [self._entities.Metric(key, value, now, 0) for key, value in scores.items()]
        self.call(self._client.log_batch, run_id, metrics=metrics)

    def register(self, run_id: str, packed: Path, name: str, tags: Mapping[str, str]) -> str:
        """Log a packed model to a run, and register it as a version of a model; returns the version."""
        self.call(self._client.log_artifacts, run_id, str(packed), "model")
        with contextlib.suppress(Refused):  # it exists already
            self.call(self._client.create_registered_model, name)
        source = f"runs:/{run_id}/model"
        version = self.call(self._client.create_model_version, name, source, run_id, tags=dict(tags))
        return str(version.version)

    def _steps(self, run_id: str, change: RunUpdate, is_new: bool) -> Iterator[Callable[[], None]]:
        # Files first: if the store has gone away, a later step raises, and all is sent again.
        for file, text in change.texts.items():
            yield partial(self._text, run_id, file, text)
        entities = self._entities
        metrics = [entities.Metric(*point) for point in change.metrics]
        params = [entities.Param(*item) for item in change.params.items()]
        tags = [] if is_new else [entities.RunTag(*item) for item in change.tags.items()]
        if change.data is not None:
            yield partial(self.call, self._client.log_inputs, run_id, [self._input(change.data)])
        if params and not is_new:  # sent again: if a user has changed one, MLflow refuses the whole batch
            yield partial(self.call, self._client.log_batch, run_id, params=params)
            params = []
        while metrics or params or tags:
            batch = metrics[:BATCH_METRICS], params[:BATCH_PARAMS], tags[:BATCH_PARAMS]
            metrics, params, tags = metrics[BATCH_METRICS:], params[BATCH_PARAMS:], tags[BATCH_PARAMS:]
            yield partial(self.call, self._client.log_batch, run_id, *batch)
        if change.status == "RUNNING" and not is_new:
            yield partial(self.call, self._client.update_run, run_id, "RUNNING")
        elif change.status in ("FINISHED", "FAILED"):
            yield partial(self.call, self._client.set_terminated, run_id, change.status, change.at_ms)

    def _input(self, data: InputData) -> Any:
        entities = self._entities
        dataset = entities.Dataset(data.name, data.digest, data.source_type, data.source)
        return entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", "training")])

    def _text(self, run_id: str, file: str, text: str) -> None:
        """Write an artifact; all errors are `Refused`, since files must not delay the numbers."""
        try:
            self._client.log_text(run_id, text, file)
        except (OSError, ImportError, self._refusal, self._database) as error:
            raise Refused(f"artifact {file}: {one_line(error)}") from error

    def log_file(self, run_id: str, file: Path, folder: str) -> None:
        """Log a file as an artifact of a run."""
        try:
            self._client.log_artifact(run_id, str(file), folder)
        except (OSError, ImportError, self._refusal, self._database) as error:
            raise Refused(f"artifact {file.name}: {one_line(error)}") from error


def check_health(uri: str, timeout_s: float = HEALTH_TIMEOUT_S) -> None:
    """Check that a server answers, before mlflow is imported and waits for it.

    Args:
        uri: of the server.
        timeout_s: how long it may take to answer.

    Raises:
        Unreachable: if there is no answer, or an error.
    """
    uri = log_in(uri, os.environ)
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=timeout_s) as answer:
            if not answer.read(1):
                raise Unreachable(f"{uri} {NO_SERVER}: an empty page")
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise Unreachable(f"{uri} answers {error.code}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{uri} does not answer ({reason})") from error


def one_line(error: Exception) -> str:
    """The first line of an exception's message, without passwords."""
    return hide_passwords(str(error).strip().split("\n", 1)[0]) or type(error).__name__
