"""A study in MLflow: names, keys, params, and the link to its page. Nothing here imports mlflow.

The experiment is the project, the parent run the sweep; each trial has one child run.
"""

from __future__ import annotations

import itertools
import json
import math
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from raysweep.config.sweep import Direction, sign_of
from raysweep.formatting import short_keys
from raysweep.tracking.address import URI, absolute, sqlite_uri, without_login

NAME_WIDTH = 18  # characters of a run's name that the UI shows (measured, MLflow 3.17)
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000  # characters; mlflow/utils/validation.py
SYSTEM = ("epoch_s", "peak_memory_mb", "gpu_utilisation")
"""Measurements of the machine: MLflow shows metrics that begin with `system/` apart from the model's."""
VIEW_COLUMNS = 40  # number of parameters, since an experiment's tag is limited to 5000 characters
LOCAL_SERVER = "http://127.0.0.1:5000"  # the default address of `mlflow ui`


@dataclass(frozen=True, slots=True)
class ParentRun:
    """The parent run of a staged sweep, at the beginning of a stage.

    Attributes:
        study: name of the staged study.
        study_id: its identity, the same for all stages.
        born: when it began, unix seconds.
        settings: its params.
        sweep_yaml: an artifact of it.
        tags: on its stages so far.
    """

    study: str
    study_id: str
    born: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    sweep_yaml: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """The facts about a sweep that tracking needs.

    Attributes:
        study: name of the study.
        experiment: MLflow's experiment, which is the project.
        metric: the sweep's metric.
        direction: minimize or maximize that metric.
        objective: whether a trial's score is its `last` or its `best` value; the runs are ranked by it.
        parent: of a stage, the parent of its own run.
        others: further metrics of the sweep: +1 if lower is better, -1 if higher.
        parameters: flat keys of the search space, in the file's order.
        log_scaled: those of them that are searched on a logarithmic scale.
        settings: of the sweep (sampler, trial scheduler, trials ...), the params of its run.
        sweep_yaml: the sweep file as the user wrote it, an artifact of the sweep's run.
        data: the data function, or a table's path; "" for a loop with data of its own.
    """

    study: str
    experiment: str
    metric: str = "val_loss"
    direction: Direction = "minimize"
    objective: Literal["last", "best"] = "last"
    parameters: tuple[str, ...] = ()
    log_scaled: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    sweep_yaml: str = ""
    others: Mapping[str, int] = field(default_factory=dict)
    parent: ParentRun | None = None
    data: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> SweepFacts:
        """The inverse of `dataclasses.asdict`."""
        parent = fields.get("parent")
        return cls(**{**fields, "parent": None if parent is None else ParentRun(**parent)})

    @property
    def sign(self) -> int:
        """+1 or -1: metric = sign * loss."""
        return sign_of(self.direction)

    @property
    def ranking(self) -> str:
        """The metric by which the trials' runs are ranked."""
        return entity_key(f"{self.objective}_{self.metric}")


@dataclass(frozen=True, slots=True)
class InputData:
    """The data of a run, as an MLflow dataset.

    Attributes:
        name: at most 500 characters.
        digest: of the contents, at most 36 characters.
        source_type: MLflow's name of the kind of source.
        source: JSON with the source.
    """

    name: str
    digest: str
    source_type: str
    source: str


def input_data(data: str, fingerprint: str) -> InputData | None:
    """The data of a sweep, identified by the hash of its rows; None if unknown.

    >>> input_data("trainables.data.load_digits", "f00d").name
    'load_digits'
    """
    if not data or not fingerprint:
        return None
    is_path = Path(data).is_absolute()
    name = Path(data).name if is_path else data.rsplit(".", 1)[-1]
    source = {"uri": data} if is_path else {"tags": {"mlflow.source.name": data}}
    return InputData(name[:500], fingerprint[:36], "local" if is_path else "code", json.dumps(source))


def store_uri(configured: str | None, environ: Mapping[str, str], folder: Path) -> str:
    """The store of the sweep file, else of MLFLOW_TRACKING_URI, else that of a bare `mlflow ui` in `folder`.

    The result is absolute and has no user and password, see `raysweep.tracking.address`.

    >>> store_uri(None, {}, Path("/home/me/project"))
    'sqlite:////home/me/project/mlflow.db'
    """
    uri = configured or environ.get(URI) or sqlite_uri(folder / "mlflow.db")
    return absolute(without_login(uri), folder)


def ui_command(uri: str, folder: Path) -> str:
    """The command that shows a local store from `folder`; "" for a server, which needs none.

    >>> ui_command("sqlite:////home/me/project/mlflow.db", Path("/home/me/project"))
    'mlflow ui'
    >>> ui_command("sqlite:////data/runs.db", Path("/home/me/project"))
    'mlflow ui --backend-store-uri sqlite:////data/runs.db'
    """
    if uri.startswith(("http://", "https://")):
        return ""
    default = store_uri(None, {}, folder)
    return "mlflow ui" if uri == default else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def ui_link(uri: str, experiment_id: str, facts: SweepFacts, view: str = "") -> str:
    """The link to the sweep's trials, ranked.

    The experiment's own page opens with the trials folded under the parent and without their parameters.

    Args:
        uri: of the store.
        experiment_id: of the runs.
        facts: about the sweep.
        view: key of the view that is stored in the experiment (`view_state`); without one the link itself
            has the filter and the order, but not the columns.
    """
    base = uri.rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_SERVER
    view_fields = {"viewStateShareKey": view} if view else _ranking(facts) | {"compareRunsMode": "CHART"}
    fields = {"workflowType": "machine_learning"} | view_fields
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in fields.items())
    return f"{base}/#/experiments/{experiment_id}/runs?{query}"


def view_key(study_id: str) -> str:
    """The key under which an experiment stores the view of one study's trials."""
    return f"raysweep{study_id[:8]}"


def view_state(facts: SweepFacts) -> str:
    """A view of MLflow's runs table (3.17): the trials, ranked, with metric, parameters, state and reason.

    The result is JSON, the value of the experiment's tag `mlflow.sharedViewState.<view_key>`.
    """
    metrics = [facts.ranking, *map(metric_key, facts.others)]
    columns = [f"metrics.`{name}`" for name in metrics]
    columns += [f"params.`{entity_key(key)}`" for key in facts.parameters[:VIEW_COLUMNS]]
    columns += ["tags.`state`", "tags.`stop_reason`"]
    ranking = _ranking(facts)
    state = {
        "searchFilter": ranking["searchFilter"],
        "orderByKey": ranking["orderByKey"],
        "orderByAsc": ranking["orderByAsc"] == "true",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": False,
        "autoRefreshEnabled": True,
        "groupBy": None,
    }
    return json.dumps(state)


def _ranking(facts: SweepFacts) -> dict[str, str]:
    return {
        "searchFilter": f"tags.kind = 'trial' and tags.study = '{facts.study}'",
        "orderByKey": f"metrics.`{facts.ranking}`",
        "orderByAsc": "true" if facts.direction == "minimize" else "false",
    }


def run_link(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """The link to a run's page, or to one of its artifacts, relative to another page.

    Without `workflowType` MLflow 3 opens the page for language models.

    >>> run_link("1", "af12", "report/report.html")
    '#/experiments/1/runs/af12/artifacts/report/report.html?workflowType=machine_learning'
    """
    path = f"/artifacts/{artifact}" if artifact else ""
    return f"#/experiments/{experiment_id}/runs/{run_id}{path}?workflowType=machine_learning"


def metric_key(name: str) -> str:
    """The MLflow key of a metric; measurements of the machine are system metrics.

    >>> metric_key("val_loss"), metric_key("peak_memory_mb")
    ('val_loss', 'system/peak_memory_mb')
    """
    return f"system/{name}" if name in SYSTEM else entity_key(name)


def entity_key(name: str) -> str:
    """A name that MLflow accepts for a metric, param or tag: other characters become "_".

    >>> entity_key("acc@5"), entity_key("val/auc"), entity_key("../x")
    ('acc_5', 'val/auc', '_.._x')
    """
    key = re.sub(r"[^\w.\- :/]", "_", name)[:MAX_KEY] or "_"
    if posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        key = "_" + key.replace("/", "_")[: MAX_KEY - 1]  # it would be normalised to another path
    return key


def clip(text: str, limit: int) -> str:
    """The last `limit` characters of a text, since the last line of a traceback matters most.

    >>> clip("abcdef", 4)
    '…def'
    """
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def labels(keys: Iterable[str]) -> dict[str, str]:
    """Labels by flat key, short enough for a run's name: the shortest unused prefix of each.

    >>> labels(["optimizer_config.lr", "net_config.layers", "net_config.nodes", "net_config.norm"])
    {'optimizer_config.lr': 'lr', 'net_config.layers': 'l', 'net_config.nodes': 'n', 'net_config.norm': 'no'}
    """
    chosen: dict[str, str] = {}
    for key in keys:
        name = key.rsplit(".", 1)[-1]
        prefixes = (name[:n] for n in range(len(name) if len(name) <= 2 else 1, len(name) + 1))
        numbered = (f"{name}{n}" for n in itertools.count(2))
        used = set(chosen.values())
        chosen[key] = next(label for label in itertools.chain(prefixes, numbered) if label not in used)
    return chosen


def brief(value: Any) -> str:
    """A value as a text of about four characters.

    >>> [brief(value) for value in (0.0341, 3.2e-05, 250.0, 4, True, None, "torch.nn.ReLU")]
    ['.034', '3.2e-5', '250', '4', 'T', '-', 'ReLU']
    """
    if value is None or isinstance(value, bool):
        return {None: "-", True: "T", False: "F"}[value]
    if isinstance(value, int | float):
        if not math.isfinite(value) or value == 0:
            return f"{value:g}"
        if 100 <= abs(value) < 1e5:
            return f"{value:.0f}"
        plain = f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
        return plain.replace("0.", ".", 1) if abs(value) < 1 and "e" not in plain else plain
    return str(value).rsplit(".", 1)[-1][:5]


def run_name(trial: str, config: Mapping[str, Any], facts: SweepFacts) -> str:
    """The trial's number and as many parameters as the UI has room for.

    >>> facts = SweepFacts("s", "p", parameters=("optimizer_config.lr", "net_config.layers"))
    >>> run_name("00017", {"optimizer_config.lr": 0.0341, "net_config.layers": 4}, facts)
    '00017 lr=.034 l=4'
    """
    name = trial
    for key, label in labels(facts.parameters or config).items():
        if key in config:
            longer = f"{name} {label}={brief(config[key])}"
            name = longer if len(longer) <= NAME_WIDTH else name
    return name


def log10_keys(facts: SweepFacts) -> dict[str, str]:
    """By log-scaled flat key, the name of its log10 (the UI's axes are linear), short unless ambiguous."""
    return {key: f"log10_{name}" for key, name in short_keys(facts.log_scaled).items()}


def log10_values(config: Mapping[str, Any], facts: SweepFacts) -> dict[str, float]:
    """log10 of the log-scaled parameters of `config`.

    >>> facts = SweepFacts("s", "p", log_scaled=("optimizer_config.lr",))
    >>> log10_values({"optimizer_config.lr": 0.01}, facts)
    {'log10_lr': -2.0}
    """
    return {
        entity_key(name): math.log10(config[key])
        for key, name in log10_keys(facts).items()
        if isinstance(config.get(key), int | float) and config[key] > 0
    }


def params(config: Mapping[str, Any], facts: SweepFacts) -> dict[str, str]:
    """A trial's configuration as MLflow's params, which are strings."""
    values = {entity_key(key): param_text(value) for key, value in config.items()}
    return values | {key: f"{value:.6g}" for key, value in log10_values(config, facts).items()}


def param_text(value: Any) -> str:
    """A param's value: texts as they are, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 1] + "…"
