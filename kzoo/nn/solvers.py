"""Solvers: a linear classifier of scikit-learn as the last layer of a network, in place of gradient steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kzoo.core.lazy import keras, lazy_import, metrics, model_selection, np, special
from kzoo.core.numbers import percent
from kzoo.core.registry import lookup

linear_model = lazy_import("sklearn.linear_model")
optimize = lazy_import("scipy.optimize")
preprocessing = lazy_import("sklearn.preprocessing")
sparse = lazy_import("scipy.sparse")
svm = lazy_import("sklearn.svm")
threadpoolctl = lazy_import("threadpoolctl")

RIDGE_PENALTIES = tuple(10 ** (-3 + 6 * step / 9) for step in range(10))  # those of MiniRocket's authors
COSTS = (0.1, 1.0, 10.0, 100.0)  # of an error relative to the squared weights (C), for features of norm 1
FOLDS = 5
SAMPLE = 3000  # training examples at most that are used in cross-validation
CHUNK = 256  # examples whose features are computed at a time
SPARSE = 0.1  # features with a smaller fraction of non-zero values are kept as a sparse matrix


class Solver(NamedTuple):
    """A way to find the weights of a linear layer.

    Attributes:
        classifier: scikit-learn's, for a penalty or a cost.
        choices: the penalties or costs to compare, for training features and labels.
        each_alike: divide every feature by its standard deviation; else all by one number that makes their mean norm 1.
    """

    classifier: Callable[[float], object]
    choices: Callable[[np.ndarray, np.ndarray], Sequence[float]]
    each_alike: bool = False


def least_left_out(features: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """Return the penalty of ten with the lowest leave-one-out error, which ridge regression has in closed form."""
    return (linear_model.RidgeClassifierCV(alphas=RIDGE_PENALTIES).fit(features, labels).alpha_,)


SOLVERS = {
    "ridge": Solver(lambda penalty: linear_model.RidgeClassifier(alpha=penalty), least_left_out, each_alike=True),
    "svm": Solver(lambda cost: svm.LinearSVC(C=cost, dual="auto", max_iter=10_000, random_state=0), lambda *_: COSTS),
    "logistic": Solver(lambda cost: linear_model.LogisticRegression(C=cost, max_iter=1000), lambda *_: COSTS),
}


def solve_head(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    name: str = "ridge",
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Set the weights of the last layer to those of a linear classifier on the outputs of the layer before.

    "ridge" is a ridge regression of the classes, in closed form; the penalty is the one of ten with the least
    leave-one-out error. "svm" is a linear support vector machine with squared hinge loss, each class against the
    rest, "logistic" a multinomial logistic regression; the cost of an error is the one of four with the best accuracy
    on left-out fifths of the training examples, or of 3,000 of them. The scores are then multiplied by one number that
    makes their softmax fit the labels of such left-out examples best (temperature scaling, Guo et al., 2017,
    https://arxiv.org/abs/1706.04599), so that probabilities are calibrated.

    Args:
        model: ends in a linear layer.
        inputs: training inputs, prepared.
        labels: class indices, (n,); every class occurs.
        name: a key of `SOLVERS`.
        report: called with each line of progress.

    Raises:
        ValueError: for an unknown solver, if the last layer is not a linear one, or a class does not occur.
    """
    solver = lookup("solver", name, SOLVERS)
    head = linear_head(model, name)
    check_labels(labels, head.units, name)
    features = features_of(keras.Model(model.input, head.input), inputs)
    report(f"solving the last layer ({name}): {len(labels):,} examples of {features.shape[1]:,} features")
    head.set_weights(solution(solver, features, labels, report))


def solution(solver: Solver, features, labels: np.ndarray, report: Callable[[str], None]) -> list[np.ndarray]:
    """Return the kernel (features, classes) and the bias of a linear layer."""
    scaler = preprocessing.StandardScaler(with_mean=False).fit(features)
    scale = scaler.scale_ if solver.each_alike else np.sqrt(scaler.var_.sum()) or 1.0
    features = divided(features, scale)
    choice, factor = chosen(solver, features, labels, report)
    solved = solver.classifier(choice).fit(features, labels)
    kernel, bias = np.atleast_2d(solved.coef_).T, np.atleast_1d(solved.intercept_)
    kernel = kernel / np.reshape(scale, (-1, 1))
    if len(solved.classes_) == 2:  # one score, for the second class against the first
        kernel, bias = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    return [factor * kernel, factor * bias]


def linear_head(model: keras.Model, name: str) -> keras.layers.Dense:
    """Return the last layer.

    Raises:
        ValueError: if it is not a linear one.
    """
    head = model.layers[-1]
    if not isinstance(head, keras.layers.Dense) or head.activation is not keras.activations.linear:
        raise ValueError(f"solver {name!r} needs a linear last layer; {model.name} ends in {head.name}")
    return head


def check_labels(labels: np.ndarray, classes: int, name: str) -> None:
    """Raise a ValueError that names the first class without a training example."""
    missing = np.setdiff1d(np.arange(classes), labels)
    if missing.size:
        raise ValueError(
            f"solver {name!r} needs training examples of every class; class {missing[0]} of 0 to {classes - 1} has none"
        )


def features_of(body: keras.Model, inputs: np.ndarray):
    """Return the features of all inputs, (n, features); as a sparse matrix where nearly all are 0, as of words."""
    parts = []
    for start in range(0, len(inputs), CHUNK):
        part = body.predict_on_batch(inputs[start : start + CHUNK])
        few = sparse.issparse(parts[0]) if parts else np.count_nonzero(part) < SPARSE * part.size
        parts.append(sparse.csr_matrix(part) if few else part)
    return sparse.vstack(parts) if sparse.issparse(parts[0]) else np.concatenate(parts)


def divided(features, scale):
    """Divide dense or sparse features by one number, or each by its own, which is then done in double precision."""
    if sparse.issparse(features):
        return features.multiply(1 / scale).tocsr()
    return features / (scale if np.ndim(scale) else features.dtype.type(scale))


def chosen(solver: Solver, features, labels: np.ndarray, report: Callable[[str], None]) -> tuple[float, float]:
    """Return the penalty or cost of the highest cross-validated accuracy, and the inverse temperature of its scores."""
    choices = solver.choices(features, labels)
    indices = left_out_indices(labels)
    if len(np.unique(labels[indices])) < 2:
        return choices[len(choices) // 2], 1.0
    features, labels = features[indices], labels[indices]
    results = []
    for choice in choices:
        scores = left_out_scores(solver.classifier(choice), features, labels)
        right = (np.unique(labels)[scores.argmax(axis=1)] == labels).mean()
        report(f"  {choice:.3g}: accuracy {percent(right)} on {len(labels):,} left-out training examples")
        results.append((right, choice, scores))
    _, choice, scores = max(results, key=lambda result: result[0])  # of equals the strongest
    return choice, inverse_temperature(scores, labels)


def left_out_indices(labels: np.ndarray) -> np.ndarray:
    """Return the indices of the examples for cross-validation: `SAMPLE` at most, of classes that have two of them."""
    indices = sampled_indices(len(labels), SAMPLE)
    return indices[np.bincount(labels[indices])[labels[indices]] > 1]


def sampled_indices(count: int, most: int, seed: int = 0) -> np.ndarray:
    """Return the sorted indices of a random sample of at most `most` of `count` examples; of all if there are fewer.

    The first examples will not do: files are often sorted by class.
    """
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def left_out_scores(classifier, features, labels: np.ndarray) -> np.ndarray:
    """Return cross-validated scores (n, classes), each of a classifier that was not trained on the example."""
    folds = min(FOLDS, np.unique(labels, return_counts=True)[1].min())
    splitter = model_selection.StratifiedKFold(folds, shuffle=True, random_state=0)
    with threadpoolctl.threadpool_limits(1):  # of few examples, threads would wait for each other most of the time
        scores = model_selection.cross_val_predict(
            classifier, features, labels, cv=splitter, method="decision_function"
        )
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def inverse_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor that makes scores (n, classes) the most likely logits of labels (n,); every class occurs."""

    def loss(logarithm: float) -> float:
        return metrics.log_loss(labels, special.softmax(np.exp(logarithm) * scores, axis=1))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 5), method="bounded").x))
