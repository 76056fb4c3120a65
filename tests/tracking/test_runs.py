"""Names, keys and links."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.tracking.runs import (
    LOCAL_SERVER,
    NAME_WIDTH,
    SweepFacts,
    brief,
    entity_key,
    labels,
    log10_values,
    params,
    run_name,
    store_uri,
    ui_command,
    ui_link,
    view_state,
)

FACTS = SweepFacts("s", "p", parameters=("optimizer_config.lr", "net_config.layers", "net_config.act"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0341, ".034"),
        (-0.5, "-.5"),
        (0.00012, ".00012"),
        (3.2e-5, "3.2e-5"),
        (1e6, "1e6"),
        (250.0, "250"),
        (1.5, "1.5"),
        (0, "0"),
        (float("nan"), "nan"),
        (True, "T"),
        (None, "-"),
        ("torch.nn.ReLU", "ReLU"),
    ],
)
def test_a_value_in_a_name_is_a_few_characters(value: Any, text: str) -> None:
    assert brief(value) == text


@given(st.floats(1e-6, 1e6), st.integers(1, 10_000), st.text(max_size=30))
def test_a_runs_name_begins_with_the_trial_and_fits_what_the_ui_shows(
    lr: float, layers: int, act: str
) -> None:
    config = {"optimizer_config.lr": lr, "net_config.layers": layers, "net_config.act": act}
    name = run_name("00017", config, FACTS)
    assert name.startswith("00017")
    assert len(name) <= NAME_WIDTH


@given(st.lists(st.text("abc.", min_size=1, max_size=6), unique=True, max_size=8))
def test_no_two_parameters_share_a_label(keys: list[str]) -> None:
    assert len(set(labels(keys).values())) == len(keys)


@given(st.text(max_size=300))
def test_every_name_becomes_a_key_that_mlflow_takes(mlflow_imported: Any, name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name  # what the server asks

    key = entity_key(name)
    _validate_metric_name(key)
    _validate_param_name(key)
    assert 0 < len(key) <= 250


def test_log_scaled_parameters_have_their_log10_beside_them() -> None:
    """The compare page's axes are linear."""
    facts = SweepFacts("s", "p", log_scaled=("a.lr", "b.lr", "c.eps"))
    values = log10_values({"a.lr": 0.01, "b.lr": 0.1, "c.eps": 1e-8, "d.x": 5}, facts)
    assert values == {"log10_a.lr": -2.0, "log10_b.lr": -1.0, "log10_eps": -8.0}


def test_params_keep_words_and_numbers_and_write_structures_as_json() -> None:
    config = {"a": "relu", "b": 0.1, "c": [1, 2], "d": None, "e": True}
    assert params(config, FACTS) == {"a": "relu", "b": "0.1", "c": "[1, 2]", "d": "null", "e": "true"}


@pytest.mark.parametrize(
    ("configured", "environ", "uri"),
    [
        ("http://a", {"MLFLOW_TRACKING_URI": "http://b"}, "http://a"),  # the sweep file says so
        (None, {"MLFLOW_TRACKING_URI": "http://b"}, "http://b"),
        (None, {}, "sqlite:////here/mlflow.db"),  # what a bare `mlflow ui` here shows
    ],
)
def test_the_store_is_the_files_then_the_environments_then_the_local_one(
    configured: str | None, environ: dict[str, str], uri: str
) -> None:
    assert store_uri(configured, environ, Path("/here")) == uri


def test_the_link_opens_the_studys_trials_ranked_with_charts() -> None:
    facts = SweepFacts("digits", "p", metric="acc", direction="maximize", objective="best")
    assert ui_link("http://head:5000/", "7", facts) == (
        "http://head:5000/#/experiments/7/runs?workflowType=machine_learning"
        "&searchFilter=tags.kind%20%3D%20%27trial%27%20and%20tags.study%20%3D%20%27digits%27"
        "&orderByKey=metrics.%60best_acc%60&orderByAsc=false&compareRunsMode=CHART"
    )


def test_the_view_has_metric_parameters_state_and_reason_and_is_ranked() -> None:
    facts = SweepFacts(
        "digits",
        "p",
        metric="acc",
        direction="maximize",
        others={"flops": 1},
        parameters=("optimizer_config.lr",),
    )
    state = json.loads(view_state(facts))
    assert state["selectedColumns"] == [
        "metrics.`last_acc`",
        "metrics.`flops`",
        "params.`optimizer_config.lr`",
        "tags.`state`",
        "tags.`stop_reason`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`last_acc`", False)
    assert ui_link("http://head:5000/", "7", facts, "raysweep12") == (
        "http://head:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=raysweep12"
    )


def test_a_local_store_is_shown_by_the_command_that_is_printed() -> None:
    assert ui_link("sqlite:////here/mlflow.db", "1", FACTS).startswith(LOCAL_SERVER)
    assert ui_command("sqlite:////here/mlflow.db", Path("/here")) == "mlflow ui"
    assert ui_command("http://head:5000", Path("/here")) == ""
