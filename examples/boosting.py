"""scikit-learn by rounds: an epoch of gradient boosting is ten more trees, so poor trials end after a few.

The state is the model itself: a trial that was paused goes on with the trees it has.
"""

from collections.abc import Iterator
from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

TREES = 10  # an epoch


def train(config: dict[str, Any], state: GradientBoostingClassifier | None = None) -> Iterator[Any]:
    """Grow the model; each epoch yields its metrics and the model."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    model = state or GradientBoostingClassifier(n_estimators=0, warm_start=True, random_state=0, **config)
    while True:
        model.n_estimators += TREES
        model.fit(x_train, y_train)
        chance = model.predict_proba(x_val)[:, 1]
        yield {"log_loss": log_loss(y_val, chance), "roc_auc": roc_auc_score(y_val, chance)}, model
