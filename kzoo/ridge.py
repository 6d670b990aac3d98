"""Training without gradients: a ridge regression in closed form for the last layer, on features as they are."""

from __future__ import annotations

from kzoo.lazy import lazy_import

keras = lazy_import("keras")
np = lazy_import("numpy")
linear_model = lazy_import("sklearn.linear_model")
model_selection = lazy_import("sklearn.model_selection")
optimize = lazy_import("scipy.optimize")
metrics = lazy_import("sklearn.metrics")
special = lazy_import("scipy.special")

PENALTIES = tuple(10 ** (-3 + 6 * step / 9) for step in range(10))  # those of MiniRocket's authors
FOLDS = 5


def solve_head(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Set the weights of the last layer to those of a ridge classifier on what the layer before gives.

    Features are divided by their deviation. The penalty is the one of ten with the least leave-one-out error. The
    scores are then multiplied by one number that makes their softmax fit the labels of left-out folds best
    (temperature scaling, Guo et al., 2017), so that probabilities mean something.

    Args:
        model: ends in a linear layer.
        inputs: training inputs, prepared.
        labels: class numbers, (n,); every class occurs.

    Raises:
        ValueError: if the last layer is not a linear one.
    """
    head = model.layers[-1]
    if not isinstance(head, keras.layers.Dense) or head.activation is not keras.activations.linear:
        raise ValueError(f"optimizer 'ridge' solves a last linear layer; {model.name} ends in {head.name}")
    features = keras.Model(model.input, head.input).predict(inputs, verbose=0).astype("float64")
    scale = features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    ridge = linear_model.RidgeClassifierCV(alphas=PENALTIES).fit(features / scale, labels)
    sharpness = calibration(linear_model.RidgeClassifier(alpha=ridge.alpha_), features / scale, labels)
    kernel, bias = np.atleast_2d(ridge.coef_).T / scale[:, None], np.atleast_1d(ridge.intercept_)
    if len(ridge.classes_) == 2:  # one score, for the second class against the first
        kernel, bias = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    head.set_weights([sharpness * kernel, sharpness * bias])


def calibration(ridge, features: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor by which the scores of left-out examples become the most likely logits; 1 if none can be."""
    folds = min(FOLDS, np.bincount(labels)[np.unique(labels)].min())
    if folds < 2:
        return 1.0
    splitter = model_selection.StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = model_selection.cross_val_predict(ridge, features, labels, cv=splitter, method="decision_function")
    scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def loss(logarithm: float) -> float:
        return metrics.log_loss(labels, special.softmax(np.exp(logarithm) * scores, axis=1))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 5), method="bounded").x))
