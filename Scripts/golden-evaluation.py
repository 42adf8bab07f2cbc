#!/usr/bin/env python3
"""Writes the golden data of the baselines and metrics: what scikit-learn, SciPy and NumPy make of it.

    .venv/bin/pip install -r Scripts/requirements.txt
    .venv/bin/python Scripts/golden-evaluation.py       # writes Tests/Golden/evaluation/

tfidf.json     texts to fit on and to transform, the vocabulary, scikit-learn's TfidfVectorizer
svr.json       a small regression problem; scikit-learn's LinearSVR at its optimum for both losses:
               weights with the bias last, objective, predictions
color.json     a picture of 12 x 10 pixels and its colour statistics by NumPy, SciPy and colorsys
metrics.json   targets, predictions with ties, users; MSE, MAE and Spearman, overall and per user;
               percentiles of a sample
"""

import colorsys
import json
from pathlib import Path

import numpy as np
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.svm import LinearSVR

FOLDER = Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "evaluation"


def write(name: str, value: object) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


def tfidf() -> None:
    training = [
        "red boat on the water, red sky",
        "a boat at night",
        "night sky over Berlin Berlin berlin",
        "water",
        "",
    ]
    other = ["red red boat", "night water unknown words", "nothing known", "berlin sky boat water night red the"]
    vocabulary = ["boat", "night", "water", "sky", "berlin", "red", "the", "over"]
    vectorizer = TfidfVectorizer(vocabulary=vocabulary, token_pattern=r"\b\w\w+\b").fit(training)
    write("tfidf.json", {
        "vocabulary": vocabulary,
        "training": training,
        "texts": other,
        "idf": vectorizer.idf_.tolist(),
        "rows": vectorizer.transform(other).toarray().tolist(),
    })  # fmt: skip


def svr() -> None:
    random = np.random.default_rng(4)
    rows = random.normal(size=(60, 6)) * (random.random((60, 6)) < 0.7)
    targets = rows @ random.normal(size=6) + 0.7 + 0.4 * random.standard_t(3, size=60)
    others = random.normal(size=(10, 6))
    cases = []
    for loss, power in (("squared", 2), ("absolute", 1)):
        for c, epsilon in ((0.05, 0.1), (1.0, 0.0), (1.0, 0.5)):
            model = LinearSVR(
                loss={"squared": "squared_epsilon_insensitive", "absolute": "epsilon_insensitive"}[loss],
                C=c, epsilon=epsilon, dual=loss == "absolute", tol=1e-9, max_iter=2_000_000,
                intercept_scaling=1.0, random_state=0,
            ).fit(rows, targets)  # fmt: skip
            weights = np.append(model.coef_, model.intercept_)
            errors = np.abs(targets - model.predict(rows)) - epsilon
            objective = 0.5 * weights @ weights + c * np.sum(np.maximum(errors, 0) ** power)
            cases.append({
                "loss": loss, "c": c, "epsilon": epsilon, "weights": weights.tolist(),
                "objective": float(objective), "predictions": model.predict(others).tolist(),
            })  # fmt: skip
    write("svr.json", {
        "rows": rows.tolist(), "targets": targets.tolist(), "others": others.tolist(),
        "cases": cases,
    })  # fmt: skip


def color() -> None:
    random = np.random.default_rng(7)
    height, width = 10, 12
    pixels = random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    pixels[:3, :5] = [200, 40, 40]  # a plain patch
    pixels[5, :] = 128  # grey: no hue
    rgb = pixels.astype(np.float64) / 255
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in rgb.reshape(-1, 3)])
    values: list[float] = []
    for channel in np.concatenate([rgb.reshape(-1, 3), hsv], axis=1).T:
        values += [channel.mean(), channel.std(), scipy.stats.skew(channel)]
    boxes = (pixels.reshape(-1, 3) // 64).astype(int) @ [16, 4, 1]
    values += (np.bincount(boxes, minlength=64) / (height * width)).tolist()
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    values.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    values += [luma.mean(), luma.std()]
    laplacian = (
        luma[1:-1, :-2] + luma[1:-1, 2:] + luma[:-2, 1:-1] + luma[2:, 1:-1] - 4 * luma[1:-1, 1:-1]
    )
    values.append(laplacian.var())
    write("color.json", {
        "width": width, "height": height, "rgb": pixels.reshape(-1).tolist(),
        "values": [float(value) for value in values],
    })  # fmt: skip


def metrics() -> None:
    random = np.random.default_rng(11)
    users = np.repeat([f"u{index}" for index in range(12)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 30, 5])
    order = random.permutation(len(users))
    users = users[order]
    targets = np.round(random.normal(3, 2, size=len(users)), 1).astype(np.float32)  # with ties
    predictions = np.round(0.6 * targets + random.normal(1, 1, size=len(users)), 1).astype(np.float32)
    predictions[users == "u11"] = 2.5  # constant: this user has no rank correlation
    errors = predictions.astype(np.float64) - targets.astype(np.float64)
    names = sorted(set(users.tolist()))
    correlations = [
        scipy.stats.spearmanr(predictions[users == name], targets[users == name]).statistic
        for name in names
        if (users == name).sum() >= 5 and name != "u11"
    ]
    doubles = targets.astype(np.float64), predictions.astype(np.float64)
    sample = random.normal(size=137)
    write("metrics.json", {
        "users": users.tolist(),
        "targets": targets.astype(np.float64).tolist(),
        "predictions": predictions.astype(np.float64).tolist(),
        "mse": mean_squared_error(*doubles),
        "mae": mean_absolute_error(*doubles),
        "spearman": float(scipy.stats.spearmanr(*doubles).statistic),
        "macro_mse": float(np.mean([np.mean(errors[users == name] ** 2) for name in names])),
        "macro_mae": float(np.mean([np.mean(np.abs(errors[users == name])) for name in names])),
        "macro_spearman": float(np.mean(correlations)),
        "spearman_users": len(correlations),
        "sample": sample.tolist(),
        "percentiles": np.percentile(sample, [2.5, 97.5]).tolist(),
    })  # fmt: skip


if __name__ == "__main__":
    tfidf()
    svr()
    color()
    metrics()
    print(f"written to {FOLDER}")
