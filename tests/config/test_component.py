"""Dotted paths and their keywords are checked by reading source, and nothing is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.config.component import Component, resolve, signature, signature_errors
from raysweep.config.lookup import MissingName, Modules, ResolvedName, UnknownName

FILES = Path(__file__).parent / "files"


@pytest.fixture(scope="module")
def modules() -> Modules:
    return Modules([str(FILES)])


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.MSELoss",  # by star import
        "torch.optim.lr_scheduler.OneCycleLR",
        "torch.nn.init.orthogonal_",
        "pytorch_optimizer.SPlus",  # by two star imports
        "pytorch_scheduler.ExpHyperbolicLRScheduler",
        "optuna.samplers.TPESampler",
        "sklearn.metrics.roc_auc_score",
        "schedulers.PBT",  # imported lazily, by the package's __getattr__
        "trainables.data.load_digits",  # imported there from another module
        "nets.Renamed",
    ],
)
def test_what_exists_is_found(path: str, modules: Modules) -> None:
    assert isinstance(modules.lookup(path), ResolvedName)


@pytest.mark.parametrize("path", ["torch.relu", "math.sqrt"])
def test_what_only_running_code_could_tell_is_no_error(path: str, modules: Modules) -> None:
    assert isinstance(modules.lookup(path), UnknownName)
    assert list(signature_errors(path, ["anything"], modules)) == []


@pytest.mark.parametrize("path", ["nowhere.Net", "nets.Nothing", "torch.nn.MSELos", "schedulers.PBTT"])
def test_what_clearly_does_not_exist_is_missing(path: str, modules: Modules) -> None:
    assert isinstance(modules.lookup(path), MissingName)


@pytest.mark.parametrize(
    ("path", "kwargs", "said"),
    [
        ("torch.optim.AdamW", ["lr", "weight_decay"], []),
        ("torch.optim.AdamW", ["weigth_decay"], ["unknown to AdamW; did you mean 'weight_decay'?"]),
        (
            "pytorch_optimizer.SPlus",
            ["epsilon"],
            ["unknown to SPlus; did you mean 'eps'?"],
        ),  # else dropped in silence
        ("torch.optim.lr_scheduler.StepLR", ["gamma"], ["StepLR needs 'step_size'; "]),
        ("torch.optim.lr_scheduler.StepLR", ["step_siz"], ["unknown to StepLR; did you mean 'step_size'?"]),
        ("schedulers.ASHA", ["reduction_facto"], ["unknown to ASHA; did you mean 'reduction_factor'?"]),
        ("torch.optim.AdamWW", [], ["'AdamWW' is not in torch.optim; did you mean 'torch.optim.AdamW'?"]),
        ("sg", [], ["'sg' is no dotted path; did you mean 'torch.optim.SGD'?"]),
        ("AdamW", [], ["'AdamW' is no dotted path; did you mean 'torch.optim.AdamW'?"]),
        ("nets.Inherits", ["width"], []),
        ("nets.Inherits", ["depht", "width"], ["unknown to Inherits; did you mean 'depth'?"]),
        ("nets.HandsOn", ["colour", "depth"], []),
        ("nets.HandsOn", ["colour", "depht"], ["unknown to HandsOn; did you mean 'depth'?"]),
        ("nets.Drops", ["width", "other"], ["unknown to Drops; known here: width"]),
        ("nets.Takes", ["width", "extra"], []),
        (
            "nets.Takes",
            ["widht", "extra"],
            [
                "Takes has no parameter of this name; "
                "it accepts any keyword, so this one is passed on; did you mean 'width'?"
            ],
        ),
        ("nets.Settings", ["rows", "noise"], []),
        ("nets.Settings", [], ["Settings needs 'rows'; "]),
        ("nets.load", ["row", "path"], ["unknown to load; did you mean 'rows'?"]),
    ],
)
def test_keywords_are_bound_against_the_signature(
    path: str, kwargs: list[str], said: list[str], modules: Modules
) -> None:
    first = 1 if "optim" in path else 0
    given = ("max_resource",)
    errors = signature_errors(path, kwargs, modules, given=given, first=first, home="torch.optim")
    assert [f"{misfit.what}; {misfit.fix}" for misfit in errors] == said


@pytest.mark.parametrize(
    ("path", "offered"),
    [("model.MLP", "trainables.mlp.MLP"), ("util.load_data", "trainables.data.load_synthetic")],
)
def test_the_templates_own_modules_are_pointed_to_ours(path: str, offered: str, modules: Modules) -> None:
    (misfit,) = signature_errors(path, [], modules)
    assert misfit.fix == f"{offered} offers the same here"


def test_a_users_own_module_of_that_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("class MLP:\n    def __init__(self, hparams, device): ...\n")
    assert list(signature_errors("model.MLP", ["hparams", "device"], Modules([str(tmp_path)]))) == []


def test_a_module_that_is_not_sound_python_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    (misfit,) = signature_errors("broken.f", [], Modules([str(tmp_path)]))
    assert misfit.what == "'broken.f' cannot be imported: broken.py:2 is not valid Python: invalid syntax"


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text("from gnir import *\nfrom gnir import x\n")
    (tmp_path / "gnir.py").write_text("from ring import *\nfrom ring import x\n")
    assert isinstance(Modules([str(tmp_path)]).lookup("ring.x"), MissingName | UnknownName)


def test_a_signature_read_is_the_signature_python_sees(modules: Modules) -> None:
    read = signature("schedulers.rule.Report", modules)
    assert read is not None
    assert read.names() == ["trial_id", "resource", "loss", "config"]
    assert [parameter.name for parameter in read.parameters if parameter.required] == [
        "trial_id",
        "resource",
        "loss",
    ]


def test_a_component_may_be_a_bare_name() -> None:
    assert Component.model_validate("a.B") == Component(name="a.B", kwargs={})


def test_resolving_imports() -> None:
    assert resolve("schedulers.rule.Report").__name__ == "Report"
