"""Data sets that need no download: a synthetic regression, and those that scikit-learn ships."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pandas as pd

from trainables.table import Table


def load_synthetic(rows: int = 13_334, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth curve of one variable with noise: y = sin(3x) + 0.5 cos(7x) + 0.3x + noise.

    x is uniform in [-2, 2]. The irreducible MSE is noise² (0.01), with which results can be compared.

    Args:
        rows: number of examples; with the default split 8,000 of 13,334 are trained on.
        noise: standard deviation of the Gaussian noise.
        seed: of the generator.

    Returns:
        x and y, each (rows, 1), float32.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (rows, 1))
    y = np.sin(3 * x) + 0.5 * np.cos(7 * x) + 0.3 * x + noise * rng.standard_normal((rows, 1))
    return x.astype(np.float32), y.astype(np.float32)


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits, 8 x 8 pixels: 1,797 rows of 64 numbers in [0, 1], 10 classes.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    x, y = _sklearn().load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def load_diabetes() -> Table:
    """Disease progression one year on, from ten measurements of 442 patients: a regression.

    Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, Annals of Statistics 32 (2004).
    """
    return _bunch(*_sklearn().load_diabetes(return_X_y=True, scaled=False))


def load_breast_cancer() -> Table:
    """Malignant or benign, from 30 measurements of 569 cell samples: two classes.

    Wolberg, Mangasarian, Street, Street, Breast Cancer Wisconsin (Diagnostic), UCI, 1993.
    """
    return _bunch(*_sklearn().load_breast_cancer(return_X_y=True))


def _sklearn() -> Any:
    """scikit-learn's data sets, imported when first asked for: no worker that is given data needs them.

    The import takes a second and 100 MB, in every process.
    """
    return importlib.import_module("sklearn.datasets")


def _bunch(x: np.ndarray, y: np.ndarray) -> Table:
    """A data set of scikit-learn as a table, which is standardised on the training split."""
    frame = pd.DataFrame(x, columns=[f"x{column}" for column in range(x.shape[1])])
    return Table(frame.assign(y=y), "y")
