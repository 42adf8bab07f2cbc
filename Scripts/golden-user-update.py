#!/usr/bin/env python3
"""Writes the golden data of the user update: what NumPy in float64 makes of it.

    .venv/bin/pip install -r Scripts/requirements.txt
    .venv/bin/python Scripts/golden-user-update.py       # writes Tests/Golden/user-update/

cases.json     for each case the rule, posts of a small model (score = x . u + tanh(z . u)), their labels
               (null: not a number), and what becomes of the update: reason, vector, losses

The rule is written out again here, from the formulas; no case lies near a decision.
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "user-update"

RULE = {
    "huberDelta": 2.0, "priorPull": 0.5, "steps": 8, "learningRate": 0.05, "beta1": 0.9, "beta2": 0.999,
    "epsilon": 0.1, "maximumStep": 1.0, "maximumUnprovenStep": 0.5, "maximumDistanceFromPrior": 4.0,
    "minimumPostsToHoldOut": 4, "postsPerHeldOut": 8, "halvings": 2,
}  # fmt: skip


def margin(left: float, right: float) -> bool:
    assert abs(left - right) > 1e-3 * max(1, abs(left)), f"{left} and {right}: too near to a decision"
    return left < right


def update(rule, current, prior, evidence, x, z, labels):
    usable = [i for i, label in enumerate(labels) if label is not None]
    y = np.clip(np.array([0 if label is None else label for label in labels], dtype=np.float64), -20, 45)
    n = len(usable)
    held_count = 0 if n < rule["minimumPostsToHoldOut"] else max(1, n // rule["postsPerHeldOut"])
    train, held = usable[: n - held_count], usable[n - held_count :]
    pull = rule["priorPull"] * (1 + evidence)
    delta = rule["huberDelta"]

    def scores(u):
        return x @ u + np.tanh(z @ u)

    def loss(u, posts):
        size = np.abs(scores(u) - y)[posts]
        return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum()

    def objective(u):
        return loss(u, train) + pull * ((u - prior) ** 2).sum()

    def gradient(u):
        slope = np.clip(scores(u) - y, -delta, delta)[train]
        jacobian = (x + (1 - np.tanh(z @ u) ** 2)[:, None] * z)[train]
        return slope @ jacobian + 2 * pull * (u - prior)

    u, m, v = current.copy(), np.zeros_like(current), np.zeros_like(current)
    for t in range(1, rule["steps"] + 1):
        g = gradient(u)
        m = rule["beta1"] * m + (1 - rule["beta1"]) * g
        v = rule["beta2"] * v + (1 - rule["beta2"]) * g**2
        mean, square = m / (1 - rule["beta1"] ** t), v / (1 - rule["beta2"] ** t)
        u = u - rule["learningRate"] * mean / (np.sqrt(square) + rule["epsilon"])

    far = np.linalg.norm(u - prior)
    if far > rule["maximumDistanceFromPrior"]:
        u = prior + (u - prior) * rule["maximumDistanceFromPrior"] / far
    step = u - current
    bound = rule["maximumStep"] if held else rule["maximumUnprovenStep"]
    length = np.linalg.norm(step)
    if length > bound:
        step = step * bound / length

    result = {"reason": "no_step", "vector": None}
    for attempt in range(rule["halvings"] + 1):
        u = current + step / 2**attempt
        result["attempts"] = attempt + 1
        result["stepNorm"] = float(np.linalg.norm(u - current))
        result["training"] = {"posts": len(train), "before": loss(current, train), "after": loss(u, train)}
        result["heldOut"] = {"posts": len(held), "before": loss(current, held), "after": loss(u, held)}
        if not margin(objective(u), objective(current)):
            continue
        if not held or margin(loss(u, held), loss(current, held)):
            result["reason"], result["vector"] = "accepted", u.tolist()
            break
        result["reason"] = "held_out_worse"
    return result


def case(name, seed, posts, *, rule=None, evidence=0.0, near=0.3, change=None, scale=0.5):
    random = np.random.default_rng(seed)
    d = 8
    as_float32 = lambda values: np.asarray(values, dtype=np.float32).astype(np.float64)  # noqa: E731
    prior = as_float32(random.uniform(-0.3, 0.3, d))
    current = as_float32(prior + near * random.normal(size=d))
    x = as_float32(np.c_[np.ones(posts), scale * random.normal(size=(posts, d - 1))])
    z = as_float32(scale * random.normal(size=(posts, d)))
    truth = prior + 0.8 * random.normal(size=d)
    labels = as_float32(x @ truth + np.tanh(z @ truth) + 0.7 * random.normal(size=posts)).tolist()
    if change:
        labels = change(labels, x, z, current)
    rule = RULE | (rule or {})
    expected = update(rule, current, prior, evidence, x, z, labels)
    return {
        "name": name, "rule": rule, "current": current.tolist(), "prior": prior.tolist(), "evidence": evidence,
        "x": x.tolist(), "z": z.tolist(), "labels": labels, "expected": expected,
    }  # fmt: skip


def last_opposed(labels, x, z, current):
    """The posts that are held out say the opposite of the others."""
    scores = x @ current + np.tanh(z @ current)
    return [float(np.float32(s + (3 if i < len(labels) - 2 else -3))) for i, s in enumerate(scores)]


def poisoned(labels, x, z, current):
    return [1e9, -1e9, None] + labels[3:]


def first(name, wanted, posts, **settings):
    """The case of the first seed that shows what is wanted, away from any decision."""
    for seed in range(1, 1000):
        try:
            made = case(name, seed, posts, **settings)
        except AssertionError:
            continue
        if wanted(made["expected"]):
            return made
    raise SystemExit(f"no seed shows: {name}")


def reason(name, attempts=None):
    return lambda expected: expected["reason"] == name and expected["attempts"] in (attempts or expected["attempts"],)


def main():
    accepted = reason("accepted", 1)
    cases = [
        first("the first label", accepted, 1, near=0.0),
        first("three labels, all of which teach", accepted, 3),
        first("a user whom the bundle knows", accepted, 3, evidence=8.0, near=0.1),
        first("a full window", accepted, 32, rule={"steps": 4}),
        first("the step is too long", lambda e: accepted(e) and abs(e["stepNorm"] - 0.4) < 1e-9, 12,
              rule={"learningRate": 0.2, "maximumStep": 0.4}),
        first("the step is too long, and nothing is held out",
              lambda e: accepted(e) and abs(e["stepNorm"] - 0.2) < 1e-9, 2,
              rule={"learningRate": 0.2, "maximumUnprovenStep": 0.2}),
        first("too far from the prior", accepted, 20, near=0.0,
              rule={"maximumDistanceFromPrior": 0.25}),
        first("half the step is enough", reason("accepted", 2), 9, rule={"learningRate": 0.2}),
        first("a quarter of the step is enough", reason("accepted", 3), 9, rule={"learningRate": 0.3}),
        first("the held-out posts get worse", reason("held_out_worse"), 16, near=0.0, change=last_opposed),
        first("poisoned labels", accepted, 10, change=poisoned),
        first("Adam overshoots, and so does a quarter", reason("no_step"), 3,
              rule={"learningRate": 5.0, "maximumUnprovenStep": 100.0, "maximumDistanceFromPrior": 100.0}),
    ]  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    for made in cases:
        expected = made["expected"]
        print(f"{made['name']}: {expected['reason']} after {expected['attempts']}, step {expected['stepNorm']:.3f}")


if __name__ == "__main__":
    main()
