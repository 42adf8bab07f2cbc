#!/usr/bin/env python3
"""Writes the golden data of training: what PyTorch's autograd and Adam make of tiny networks.

    Scripts/golden-training.py           # writes Tests/Golden/training/ (about 5 seconds)

Written from the equations (Sources/Model/MODEL.md); it shares no code with the package. The files,
all tensors in them float32 (Tests/Golden/training/README.md, written by this script too, gives
shapes and rules):

posts.json              the posts: words, user, image, target
cases.json              one batch through one system each: scores and loss
runs.json               several steps of Adam each: batches, losses, gradient norms
features.safetensors    F
weights*.safetensors    word lstm.W lstm.U lstm.b W_img W_r text.{A,B,C,h} image.{A,B,C,h}
                        inter.{W_text,W_image,W_u,w} dense{1,2,3}.{W,b} user unknown
gradients.safetensors   CASE/PARAMETER
steps.safetensors       CASE/{alpha,beta,gamma,user_gradient}
dropout.safetensors     X V u
trained.safetensors     RUN/PARAMETER

Everything is computed in float64, on one thread, and stored rounded to float32 (scores, losses and
norms in full); a second run on the same machine writes the same bytes. The weights are exact in
float32. Each is scaled until its outputs are spread, so that a wrong gate, a transposed matrix or a
forgotten factor shows, nothing saturates and attention is far from uniform.

The script checks itself: scores and attention against Scripts/reference.py, gradients against
central differences, the users' gradients against the scores' own, and that no ReLU and no hard
sigmoid is so near its corner that float32 could fall on the other side.

Needs Scripts/requirements.txt.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from reference import Bundle, run_head
from safetensors.torch import save_file
from torch import Tensor

FOLDER = Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "training"

DIMENSION = 20
CHANNELS = 24
REGIONS = 9
DENSE = (28, 36)
VOCABULARY = 30
USERS = 6
PENALTY = 1e-4

# The batch of every case: posts[0:7].
BATCH = range(7)
NEVER_USED_WORD, NEVER_USED_USER = 11, 1
FIRST_BATCH_ONLY_WORD, FIRST_BATCH_ONLY_USER = 25, 4

DROPOUT = {"X": 0.3, "V": 0.25, "u": 0.2}
UNKNOWN_USERS = (2, 3, 6)  # of the batch; 2 has the same user as 0, 3 has neither text nor image

LEARNING_RATE = 1e-3
CLIPPED_STEPS = 3
CLIP_NORM = 30.0

# No argument of a ReLU or a hard sigmoid may be closer to where its slope jumps; the seeds below
# are chosen so that none is.
CORNER_MARGIN = 2e-4

Weights = dict[str, Tensor]


# --- What is trained ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention:
    """UHAN and its ablations: what is False is left out."""

    gate: str = "logistic"
    reads_text: bool = True
    reads_image: bool = True
    intra: bool = True
    inter: bool = True
    user_in_attention: bool = True
    user_in_prediction: bool = True
    weights: str = "weights"


@dataclass(frozen=True)
class Fusion:
    """DMF."""

    user: bool
    weights: str
    gate: str = "logistic"
    reads_text: bool = True


System = Attention | Fusion

SYSTEMS: dict[str, System] = {
    "uhan": Attention(),
    "uhan-image": Attention(reads_text=False),
    "uhan-text": Attention(reads_image=False),
    "uhan-no-intra": Attention(intra=False),
    "uhan-no-inter": Attention(inter=False),
    "uhan-no-user-attention": Attention(user_in_attention=False),
    "uhan-no-user-term": Attention(user_in_prediction=False),
    "dualatt": Attention(user_in_attention=False, user_in_prediction=False),
    "dmf": Fusion(user=False, weights="weights-dmf"),
    "dmf-user": Fusion(user=True, weights="weights-dmf-user"),
}


@dataclass(frozen=True)
class Post:
    words: list[int]
    user: int
    features: Tensor | None  # (L, channels)
    target: float


@dataclass(frozen=True)
class Factors:
    """What a post's inputs are multiplied with: 0 for what is dropped, 1 / (1 - p) for the rest."""

    X: Tensor | None = None  # (T, d)
    V: Tensor | None = None  # (L, d)
    u: Tensor | None = None  # (d)


@dataclass
class Trace:
    score: Tensor
    u: Tensor
    corner: float  # the smallest distance of an argument from where a slope jumps
    alpha: Tensor | None = None  # (T)
    beta: Tensor | None = None  # (L)
    gamma: Tensor | None = None  # (2)


# --- Forward ------------------------------------------------------------------------------------


def times(x: Tensor, factors: Tensor | None) -> Tensor:
    return x if factors is None else x * factors.to(x.dtype)


def lstm(weights: Weights, X: Tensor, gate: str) -> tuple[Tensor, float]:
    """(T, d) -> all hidden states (T, d), and the corner distance."""
    distance = math.inf
    h = torch.zeros(DIMENSION, dtype=X.dtype)
    c = torch.zeros(DIMENSION, dtype=X.dtype)
    states = []
    for x in X:
        gates = x @ weights["lstm.W"] + h @ weights["lstm.U"] + weights["lstm.b"]
        raw_i, raw_f, raw_g, raw_o = gates.chunk(4)
        raw = torch.stack((raw_i, raw_f, raw_o))
        if gate == "hard_sigmoid":
            i, f, o = torch.clamp(0.2 * raw + 0.5, 0, 1)
            distance = min(distance, (raw.detach().abs() - 2.5).abs().min().item())
        else:
            i, f, o = torch.sigmoid(raw)
        c = f * c + i * torch.tanh(raw_g)
        h = o * torch.tanh(c)
        states.append(h)
    return torch.stack(states), distance


def predict(weights: Weights, z: Tensor) -> tuple[Tensor, float]:
    """The three dense layers -> the score, and the corner distance."""
    first = z @ weights["dense1.W"] + weights["dense1.b"]
    second = F.relu(first) @ weights["dense2.W"] + weights["dense2.b"]
    third = F.relu(second) @ weights["dense3.W"] + weights["dense3.b"]
    return third[0], torch.cat((first, second)).detach().abs().min().item()


def attend(
    weights: Weights, name: str, rows: Tensor, other: Tensor | None, u: Tensor | None
) -> Tensor:
    """alpha or beta: the softmax over `rows`, guided by `other` and `u` where there are such."""
    product = torch.tanh(rows @ weights[f"{name}.A"])
    if other is not None:
        product = product * torch.tanh(other @ weights[f"{name}.B"])
    if u is not None:
        product = product * torch.tanh(u @ weights[f"{name}.C"])
    return torch.softmax(product @ weights[f"{name}.h"], 0)


def forward_attention(
    system: Attention, weights: Weights, post: Post, u: Tensor, factors: Factors
) -> Trace:
    guide = u if system.user_in_attention else None
    corner = math.inf
    H = V = t0 = v0 = alpha = beta = None
    if system.reads_text and post.words:
        X = times(weights["word"][post.words], factors.X)
        H, corner = lstm(weights, X, system.gate)
        t0 = H.mean(0)
    if system.reads_image and post.features is not None:
        V = times(torch.tanh(post.features.to(u.dtype) @ weights["W_img"]), factors.V)
        v0 = V.mean(0)

    attended: list[tuple[str, Tensor]] = []
    if H is not None:
        uniform = torch.full((len(H),), 1 / len(H), dtype=u.dtype)
        alpha = attend(weights, "text", H, v0, guide) if system.intra else uniform
        attended.append(("text", alpha @ H))
    if V is not None:
        uniform = torch.full((len(V),), 1 / len(V), dtype=u.dtype)
        beta = attend(weights, "image", V, t0, guide) if system.intra else uniform
        attended.append(("image", beta @ V))

    shares = torch.ones(len(attended), dtype=u.dtype)
    if system.inter and attended:
        c = []
        for name, x in attended:
            product = torch.tanh(x @ weights[f"inter.W_{name}"])
            if guide is not None:
                product = product * torch.tanh(guide @ weights["inter.W_u"])
            c.append(product @ weights["inter.w"])
        shares = torch.softmax(torch.stack(c), 0)

    z = torch.zeros(DIMENSION, dtype=u.dtype)
    gamma = torch.zeros(2, dtype=u.dtype)
    for share, (name, x) in zip(shares, attended, strict=True):
        z = z + share * x
        gamma[("text", "image").index(name)] = share.detach()
    if system.user_in_prediction:
        z = z + u @ weights["W_r"]
    score, dense_corner = predict(weights, z)
    return Trace(score, u, min(corner, dense_corner), alpha, beta, gamma)


def forward_fusion(system: Fusion, weights: Weights, post: Post, u: Tensor) -> Trace:
    image = torch.zeros(CHANNELS, dtype=u.dtype)
    text = torch.zeros(DIMENSION, dtype=u.dtype)
    if post.features is not None:
        image = post.features.to(u.dtype).mean(0)
    if post.words:
        text = lstm(weights, weights["word"][post.words], system.gate)[0][-1]
    score, corner = predict(weights, torch.cat((image, text, u) if system.user else (image, text)))
    return Trace(score, u, corner)


def forward(
    system: System,
    weights: Weights,
    posts: Sequence[Post],
    factors: Sequence[Factors] | None = None,
    unknown_users: Sequence[int] = (),
) -> list[Trace]:
    """One trace a post; `unknown_users` are the places of posts whose user is replaced."""
    traces = []
    for place, post in enumerate(posts):
        given = factors[place] if factors else Factors()
        if "user" not in weights:
            u = torch.zeros(DIMENSION, dtype=weights["word"].dtype)  # nobody reads it
        else:
            u = weights["unknown"] if place in unknown_users else weights["user"][post.user]
        u = times(u, given.u)
        if isinstance(system, Fusion):
            traces.append(forward_fusion(system, weights, post, u))
        else:
            traces.append(forward_attention(system, weights, post, u, given))
    return traces


def loss_of(
    system: System, weights: Weights, posts: Sequence[Post], traces: Sequence[Trace]
) -> tuple[Tensor, Tensor]:
    """The mean squared error, and the L2 penalty; the loss is their sum."""
    errors = [(trace.score - post.target) ** 2 for trace, post in zip(traces, posts, strict=True)]
    squares = [weights[f"dense{layer}.b"].square().sum() for layer in (1, 2, 3)]
    if system.reads_text:
        words = sorted({word for post in posts for word in post.words})
        squares.append(weights["word"][words].square().sum())
    return torch.stack(errors).mean(), PENALTY * torch.stack(squares).sum()


# --- Weights and posts --------------------------------------------------------------------------


def exact_in_float32(tensors: Weights) -> Weights:
    return {name: tensor.float().double() for name, tensor in tensors.items()}


class Random:
    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def uniform(self, *shape: int) -> Tensor:
        """In [-0.5, 0.5)."""
        return torch.from_numpy(self.generator.random(shape) - 0.5)

    def matrix(self, rows: int, columns: int) -> Tensor:
        """Keeps the variance of what it is multiplied with."""
        return self.uniform(rows, columns) * math.sqrt(12 / rows)

    def dense(self, inputs: int) -> Weights:
        layers: Weights = {}
        widths = (inputs, *DENSE, 1)
        for layer, (rows, columns) in enumerate(pairwise(widths), start=1):
            layers[f"dense{layer}.W"] = 1.6 * self.matrix(rows, columns)
            layers[f"dense{layer}.b"] = self.uniform(columns)
        layers["dense3.b"] += 3
        return layers

    def text(self) -> Weights:
        d = DIMENSION
        return {
            "word": 3 * self.uniform(VOCABULARY, d),
            "lstm.W": 1.5 * self.matrix(d, 4 * d),
            "lstm.U": 1.5 * self.matrix(d, 4 * d),
            "lstm.b": self.uniform(4 * d),
        }

    def users(self) -> Weights:
        return {"user": 3 * self.uniform(USERS, DIMENSION), "unknown": 3 * self.uniform(DIMENSION)}


def attention_weights(posts: Sequence[Post]) -> Weights:
    d = DIMENSION
    random = Random(700)
    weights = random.text()
    weights |= {"W_img": random.matrix(CHANNELS, d), "W_r": random.matrix(d, d)}
    for name in ("text", "image"):
        weights |= {f"{name}.{part}": 2 * random.matrix(d, d) for part in "ABC"}
        weights[f"{name}.h"] = random.uniform(d)
    weights |= {f"inter.W_{name}": 1.5 * random.matrix(d, d) for name in ("text", "image", "u")}
    weights["inter.w"] = random.uniform(d)
    weights |= random.dense(d) | random.users()

    # Scale what depends on the features and the other layers by looking at the posts.
    F_all = torch.cat([post.features for post in posts if post.features is not None])
    weights["W_img"] *= 0.8 / (F_all @ weights["W_img"]).std()
    for name, step in (("text.h", "alpha"), ("image.h", "beta"), ("inter.w", "gamma")):
        logs = []
        for trace in forward(SYSTEMS["uhan"], weights, posts):
            shares = getattr(trace, step)
            if shares is not None and len(shares) > 1 and shares.min() > 0:
                logs.append(shares.log() - shares.log().mean())
        weights[name] *= 0.9 / torch.cat(logs).std()
    return exact_in_float32(weights)


def fusion_weights(user: bool) -> Weights:
    random = Random(1003 if user else 402)
    weights = random.text() | random.dense(CHANNELS + DIMENSION + (DIMENSION if user else 0))
    return exact_in_float32(weights | (random.users() if user else {}))


def make_posts() -> list[Post]:
    random = Random(4)
    # words, user, whether there is an image
    drawn: list[tuple[list[int], int, bool]] = [
        ([3, 7, 12, 7, 5], 2, True),
        ([], 0, True),
        ([7, 19], 2, False),
        ([], 4, False),
        ([12, 1, 29, 9, 14, 22], 5, True),
        ([25], 0, True),
        ([5, 29, 17, 3], 3, True),
    ]
    words = [
        word for word in range(VOCABULARY) if word not in (NEVER_USED_WORD, FIRST_BATCH_ONLY_WORD)
    ]
    users = [u for u in range(USERS) if u not in (NEVER_USED_USER, FIRST_BATCH_ONLY_USER)]
    for number in range(21):
        count = int(random.generator.integers(0, 7))
        picked = random.generator.choice(words, count).tolist()
        drawn.append((picked, int(random.generator.choice(users)), number % 4 != 1))
    posts = []
    for picked, user, has_image in drawn:
        # Like the backbone's last layer: nothing is negative, much is 0.
        features = F.relu(4 * random.uniform(REGIONS, CHANNELS) + 0.4).float().double()
        target = round(4.5 + 7 * random.uniform(1).item(), 2)
        posts.append(Post(picked, user, features if has_image else None, target))
    return posts


def make_batches(posts: Sequence[Post]) -> list[list[int]]:
    """Ten: the cases' batch; three epochs of the other posts, in new orders, in batches of seven;
    but the fifth is the posts without an image, and the last has three posts."""
    generator = np.random.default_rng(5)
    others = np.arange(len(BATCH), len(posts))
    epochs = np.concatenate([generator.permutation(others) for _ in range(3)])
    batches = [list(BATCH), *epochs.reshape(9, 7).tolist()]
    batches[4] = [number for number in others.tolist() if posts[number].features is None]
    batches[9] = batches[9][:3]
    return batches


def make_masks(posts: Sequence[Post]) -> Weights:
    """1 for what is kept, 0 for what is dropped; the rows of all posts one after the other."""
    generator = np.random.default_rng(6)
    images = sum(post.features is not None for post in posts)
    shapes = {
        "X": (sum(len(post.words) for post in posts), DIMENSION),
        "V": (images, REGIONS, DIMENSION),
        "u": (len(posts), DIMENSION),
    }
    return {
        name: torch.from_numpy((generator.random(shape) >= DROPOUT[name]).astype(np.float64))
        for name, shape in shapes.items()
    }


def factors_of(masks: Weights, posts: Sequence[Post]) -> list[Factors]:
    scaled = {name: mask / (1 - DROPOUT[name]) for name, mask in masks.items()}
    factors = []
    word = image = 0
    for place, post in enumerate(posts):
        has_image = post.features is not None
        factors.append(
            Factors(
                X=scaled["X"][word : word + len(post.words)],
                V=scaled["V"][image] if has_image else None,
                u=scaled["u"][place],
            )
        )
        word += len(post.words)
        image += has_image
    return factors


# --- Cases --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    name: str
    system: str
    drops: bool = False
    unknown_users: tuple[int, ...] = ()
    gate: str = "logistic"

    @property
    def network(self) -> System:
        return replace(SYSTEMS[self.system], gate=self.gate)


CASES = [
    *(Case(name, name) for name in SYSTEMS),
    Case("uhan-hard-sigmoid", "uhan", gate="hard_sigmoid"),
    Case("uhan-dropout", "uhan", drops=True),
    Case("uhan-unknown-users", "uhan", unknown_users=UNKNOWN_USERS),
    Case("uhan-dropout-unknown-users", "uhan", drops=True, unknown_users=UNKNOWN_USERS),
]


@dataclass
class Outcome:
    traces: list[Trace]
    error: Tensor
    penalty: Tensor
    gradients: Weights  # of every parameter; zeros where it is not used


def differentiate(
    case: Case, weights: Weights, posts: Sequence[Post], masks: Weights, dtype: torch.dtype
) -> Outcome:
    parameters = {
        name: tensor.to(dtype, copy=True).requires_grad_() for name, tensor in weights.items()
    }
    system = case.network
    factors = factors_of(masks, posts) if case.drops else None
    traces = forward(system, parameters, posts, factors, case.unknown_users)
    error, penalty = loss_of(system, parameters, posts, traces)
    found = torch.autograd.grad(
        error + penalty,
        list(parameters.values()),
        retain_graph=True,
        materialize_grads=True,
        allow_unused=True,
    )
    return Outcome(traces, error, penalty, dict(zip(parameters, found, strict=True)))


def largest_relative_difference(found: Weights, expected: Weights) -> float:
    """Over all tensors: the largest difference, over the largest magnitude of that tensor."""
    return max(
        ((found[name].double() - tensor).abs().max() / tensor.abs().max()).item()
        for name, tensor in expected.items()
        if tensor.abs().max() > 0
    )


def write_cases(posts: Sequence[Post], weights: dict[str, Weights], masks: Weights) -> None:
    batch = [posts[number] for number in BATCH]
    lines: list[dict[str, Any]] = []
    gradients: Weights = {}
    steps: Weights = {}
    for case in CASES:
        system = case.network
        start = weights[system.weights]
        outcome = differentiate(case, start, batch, masks, torch.float64)
        single = differentiate(case, start, batch, masks, torch.float32)
        check_differences(case, start, batch, masks, outcome)
        corner = min(trace.corner for trace in outcome.traces)
        assert corner > CORNER_MARGIN, f"{case.name}: {corner:.1e} from a corner"

        gradients |= {
            f"{case.name}/{name}": gradient
            for name, gradient in outcome.gradients.items()
            if gradient.any()
        }
        if isinstance(system, Attention):
            for step, join in (("alpha", torch.cat), ("beta", torch.stack), ("gamma", torch.stack)):
                rows = [getattr(trace, step) for trace in outcome.traces]
                rows = [row.detach() for row in rows if row is not None]
                if rows:
                    steps[f"{case.name}/{step}"] = join(rows)
        user_gradient = user_gradient_of(outcome.traces)
        if user_gradient.any() and not case.drops:
            check_users(case, batch, outcome, user_gradient)
            steps[f"{case.name}/user_gradient"] = user_gradient

        scores = [trace.score.item() for trace in outcome.traces]
        lines.append(
            {
                "name": case.name,
                "system": case.system,
                "lstm_gate": system.gate,
                "weights": f"{system.weights}.safetensors",
                "posts": list(BATCH),
                "dropout": DROPOUT if case.drops else None,
                "unknown_users": list(case.unknown_users),
                "scores": scores,
                "squared_error": outcome.error.item(),
                "penalty": outcome.penalty.item(),
                "loss": (outcome.error + outcome.penalty).item(),
                "gradients": [name for name, g in outcome.gradients.items() if g.any()],
            }
        )
        off = max(
            abs(trace.score.item() - score)
            for trace, score in zip(single.traces, scores, strict=True)
        )
        gradients_off = largest_relative_difference(single.gradients, outcome.gradients)
        print(
            f"{case.name:27} loss {lines[-1]['loss']:8.4f}, {corner:.1e} from a corner,"
            f" float32 is {off:.0e} off in scores, {gradients_off:.0e} in gradients"
        )
    losses = [line["loss"] for line in lines]
    closest = min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i])
    assert closest > 1e-3, f"two cases' losses are {closest:.1e} apart: they would pass as one"
    save_json(lines, "cases.json")
    save(gradients, "gradients.safetensors")
    save(steps, "steps.safetensors")


def user_gradient_of(traces: Sequence[Trace]) -> Tensor:
    """d score / d u of each post, (posts, d)."""
    rows = []
    for trace in traces:
        row = None
        if trace.u.requires_grad:
            (row,) = torch.autograd.grad(trace.score, trace.u, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros(DIMENSION, dtype=torch.float64) if row is None else row)
    return torch.stack(rows)


# --- Checks -------------------------------------------------------------------------------------


def check_users(case: Case, batch: Sequence[Post], outcome: Outcome, found: Tensor) -> None:
    """The loss's gradient by the users is the sum of the scores' own."""
    user = torch.zeros(USERS, DIMENSION, dtype=torch.float64)
    unknown = torch.zeros(DIMENSION, dtype=torch.float64)
    for place, (post, trace) in enumerate(zip(batch, outcome.traces, strict=True)):
        row = unknown if place in case.unknown_users else user[post.user]
        row += 2 * (trace.score.detach() - post.target) / len(batch) * found[place]
    torch.testing.assert_close(outcome.gradients["user"], user, rtol=0, atol=1e-12)
    torch.testing.assert_close(outcome.gradients["unknown"], unknown, rtol=0, atol=1e-12)


def check_differences(
    case: Case, weights: Weights, batch: Sequence[Post], masks: Weights, outcome: Outcome
) -> None:
    """Each parameter along one random direction: (L(w + step) - L(w - step)) / 2 step."""
    system = case.network
    factors = factors_of(masks, batch) if case.drops else None
    random = Random(7)
    step = 1e-6

    def loss(name: str, moved: Tensor) -> float:
        changed = weights | {name: moved}
        traces = forward(system, changed, batch, factors, case.unknown_users)
        return torch.stack(loss_of(system, changed, batch, traces)).sum().item()

    with torch.no_grad():
        for name, tensor in weights.items():
            direction = random.uniform(*tensor.shape)
            expected = (outcome.gradients[name] * direction).sum().item()
            above = loss(name, tensor + step * direction)
            below = loss(name, tensor - step * direction)
            found = (above - below) / (2 * step)
            close = math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-6)
            assert close, f"{case.name}, {name}: difference {found}, gradient {expected}"


def check_reference(posts: Sequence[Post], weights: Weights) -> None:
    """Scores and attention are those of Scripts/reference.py."""
    for case in CASES:
        system = case.network
        if case.name not in ("uhan", "uhan-hard-sigmoid", "uhan-image", "uhan-text"):
            continue
        assert isinstance(system, Attention)
        bundle = Bundle(
            config={"lstm_gate": system.gate},
            backbone={},
            head=weights,
            vocabulary={},
            users={},
            user_vectors=weights["user"],
            unknown_user=weights["unknown"],
        )
        for post, trace in zip(posts, forward(system, weights, posts), strict=True):
            words = post.words if system.reads_text else []
            features = post.features if system.reads_image else None
            expected = run_head(bundle, words, features, weights["user"][post.user])
            for step in ("alpha", "beta", "gamma", "score"):
                found, wanted = getattr(trace, step), getattr(expected, step)
                assert (found is None) == (wanted is None), f"{case.name}: {step}"
                if found is not None:
                    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


# --- Runs ---------------------------------------------------------------------------------------


@dataclass
class Run:
    losses: list[float]  # of each batch, before its step
    norms: list[float]  # of all gradients together, before its step and before clipping
    trained: Weights
    corner: float


def train(
    system: System,
    weights: Weights,
    posts: Sequence[Post],
    batches: Sequence[Sequence[int]],
    clip_norm: float | None,
    dtype: torch.dtype,
) -> Run:
    parameters = {
        name: tensor.to(dtype, copy=True).requires_grad_() for name, tensor in weights.items()
    }
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)  # what a batch does not use has gradient 0
    adam = torch.optim.Adam(parameters.values(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)
    run = Run([], [], {}, math.inf)
    for numbers in batches:
        batch = [posts[number] for number in numbers]
        adam.zero_grad(set_to_none=False)
        traces = forward(system, parameters, batch)
        loss = torch.stack(loss_of(system, parameters, batch, traces)).sum()
        loss.backward()
        limit = math.inf if clip_norm is None else clip_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), limit)
        adam.step()
        run.losses.append(loss.item())
        run.norms.append(norm.item())
        run.corner = min(run.corner, *(trace.corner for trace in traces))
    run.trained = {name: parameter.detach() for name, parameter in parameters.items()}
    return run


def write_runs(posts: Sequence[Post], weights: dict[str, Weights]) -> None:
    batches = make_batches(posts)
    lines: list[dict[str, Any]] = []
    trained: Weights = {}
    for name, system_name, steps, clip_norm in (
        ("uhan", "uhan", len(batches), None),
        ("dmf", "dmf", len(batches), None),
        ("uhan-clipped", "uhan", CLIPPED_STEPS, CLIP_NORM),
    ):
        system = SYSTEMS[system_name]
        start = weights[system.weights]
        run, single = (
            train(system, start, posts, batches[:steps], clip_norm, dtype)
            for dtype in (torch.float64, torch.float32)
        )
        assert run.corner > CORNER_MARGIN, f"{name}: {run.corner:.1e} from a corner"
        if clip_norm is not None:
            free = train(system, start, posts, batches[:steps], None, torch.float64)
            apart = largest_relative_difference(free.trained, run.trained)
            assert min(run.norms) < clip_norm < max(run.norms), f"{name}: norms {run.norms}"
            assert apart > 1e-4, f"{name}: clipping changes the weights by {apart:.1e} alone"
        trained |= {f"{name}/{parameter}": tensor for parameter, tensor in run.trained.items()}
        lines.append(
            {
                "name": name,
                "system": system_name,
                "lstm_gate": system.gate,
                "weights": f"{system.weights}.safetensors",
                "learning_rate": LEARNING_RATE,
                "clip_norm": clip_norm,
                "batches": batches[:steps],
                "losses": run.losses,
                "losses_in_float32": single.losses,
                "gradient_norms": run.norms,
            }
        )
        off = max(
            (single.trained[parameter].double() - tensor).abs().max().item()
            for parameter, tensor in run.trained.items()
        )
        losses_off = max(abs(a - b) for a, b in zip(run.losses, single.losses, strict=True))
        print(
            f"{name:13} losses {run.losses[0]:.3f} ... {run.losses[-1]:.3f}, gradient norms"
            f" {min(run.norms):.1f} to {max(run.norms):.1f}, {run.corner:.1e} from a corner,"
            f" float32 is {losses_off:.0e} off in losses, {off:.0e} in weights"
        )
    save_json(lines, "runs.json")
    save(trained, "trained.safetensors")


# --- Files --------------------------------------------------------------------------------------


def save(tensors: Weights, name: str) -> None:
    path = FOLDER / name
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)  # safetensors writes 0600


def save_json(items: Sequence[dict[str, Any]], name: str) -> None:
    lines = ",\n".join(json.dumps(item) for item in items)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n")


def write_posts(posts: Sequence[Post]) -> None:
    lines: list[dict[str, Any]] = []
    features: list[Tensor] = []
    for number, post in enumerate(posts):
        image = None
        if post.features is not None:
            image = len(features)
            features.append(post.features)
        lines.append(
            {
                "number": number,
                "words": post.words,
                "user": post.user,
                "image": image,
                "target": post.target,
            }
        )
    save_json(lines, "posts.json")
    save({"F": torch.stack(features)}, "features.safetensors")


README = f"""# Golden data of training

Written by `Scripts/golden-training.py` with PyTorch's autograd and Adam, in float64; it shares no code with the
package. Do not edit: change the script and run it again.

| file | holds |
|---|---|
| posts.json | the posts |
| features.safetensors | `F`, (images, {REGIONS}, {CHANNELS}): regions (3 x 3, row by row) by channels |
| weights.safetensors | UHAN and its variants: where every case and run starts |
| weights-dmf.safetensors, weights-dmf-user.safetensors | the same for DMF without and with the user |
| cases.json | one batch through one system each: scores and loss |
| gradients.safetensors | `CASE/PARAMETER`: gradients of the cases' losses |
| steps.safetensors | `CASE/STEP`: attention, and the scores' gradients by the user's vector |
| dropout.safetensors | `X`, `V`, `u`: which inputs are kept (1) and dropped (0) |
| runs.json | several steps of Adam each: batches, losses, norms |
| trained.safetensors | `RUN/PARAMETER`: the weights after a run, all of them |

Tensors are float32 (rounded from float64; weights and features are exact); numbers in JSON are float64 in full.
d = {DIMENSION}, L = {REGIONS} regions, {CHANNELS} channels, dense {list(DENSE)}, {VOCABULARY} words, {USERS} users.

## posts.json

`number` (from 0), `words` (ids; may be empty, may repeat), `user` (row of `user`), `image` (row of `F`, or null), `target`.
Word {NEVER_USED_WORD} and user {NEVER_USED_USER} are in no post; word {FIRST_BATCH_ONLY_WORD} and user {FIRST_BATCH_ONLY_USER} only among the first seven posts, the batch of every case and
the first of every run. Of these, 0 and 2 have one user, as have 1 and 5; 1 is without words, 2 without an image, 3
without either.

## Weights

Names and shapes are a model bundle's (`Sources/Model/MODEL.md`), head and users in one file:

| tensor | shape |
|---|---|
| `word` | {VOCABULARY}, {DIMENSION} |
| `lstm.W`, `lstm.U`, `lstm.b` | {DIMENSION}, {4 * DIMENSION}; the same; {4 * DIMENSION} |
| `W_img`, `W_r` | {CHANNELS}, {DIMENSION}; {DIMENSION}, {DIMENSION} |
| `text.A`, `.B`, `.C`, `.h`; `image.A`, `.B`, `.C`, `.h` | {DIMENSION}, {DIMENSION}; `h`: {DIMENSION} |
| `inter.W_text`, `.W_image`, `.W_u`, `.w` | {DIMENSION}, {DIMENSION}; `w`: {DIMENSION} |
| `dense1.W`, `.b`, `dense2.W`, `.b`, `dense3.W`, `.b` | {DIMENSION}, {DENSE[0]}; {DENSE[0]}; {DENSE[0]}, {DENSE[1]}; {DENSE[1]}; {DENSE[1]}, 1; 1 |
| `user`, `unknown` | {USERS}, {DIMENSION}; {DIMENSION} |

DMF has `word`, `lstm.*` and `dense*` alone (`dense1.W`: {CHANNELS + DIMENSION}, {DENSE[0]}); with the user `user` and `unknown` besides
(`dense1.W`: {CHANNELS + 2 * DIMENSION}, {DENSE[0]}).

## The systems

| name | what it is |
|---|---|
| uhan | MODEL.md's equations |
| uhan-image, uhan-text | as if no post had words; as if none had an image |
| uhan-no-intra | t1 = t0, v1 = v0; `text.*` and `image.*` are not used |
| uhan-no-inter | o = t1 + v1, or the one that is there; `inter.*` is not used |
| uhan-no-user-attention | without the factors tanh(u C), tanh(u C'), tanh(u W_u); z = o + u W_r |
| uhan-no-user-term | z = o |
| dualatt | both of the last two: no user anywhere |
| dmf | z = (mean of F's rows, last row of H): {CHANNELS} + {DIMENSION} values, then the dense layers; zeros for what is absent |
| dmf-user | the same with u behind: z = (mean of F's rows, last row of H, u) |

A factor that is left out counts as 1. Without text and image o = 0. The LSTM's gate is the logistic one, but
`hard_sigmoid`, clip(0.2 x + 0.5, 0, 1), in the case uhan-hard-sigmoid.

    loss = mean over the batch of (score - target)^2
         + {PENALTY} (sum of squares of the rows of `word` of the distinct words in the batch
                   + sum of squares of dense1.b, dense2.b and dense3.b)

The rows are taken as they stand in `word`, each once, before any dropout.
`uhan-image` reads no words: no rows of `word` in its loss.

## cases.json

| key | is |
|---|---|
| `name`, `system`, `lstm_gate`, `weights` | the last a file |
| `posts` | the batch: numbers of posts |
| `dropout` | null, or the rates p of `X`, `V` and `u` |
| `unknown_users` | places in the batch (from 0) whose user is replaced by `unknown` |
| `scores` | one a post |
| `squared_error`, `penalty`, `loss` | the mean, the L2 term, their sum |
| `gradients` | the parameters that have a tensor in gradients.safetensors; that of all others is exactly zero |

Dropout: kept values are multiplied by 1 / (1 - p), dropped ones by 0.

| mask | shape | is for |
|---|---|---|
| `X` | words of the batch, {DIMENSION} | rows of `word` as read, before the LSTM: one row a word in reading order, posts one after the other |
| `V` | images of the batch, {REGIONS}, {DIMENSION} | tanh(F W_img); v0 and beta come from what is left |
| `u` | posts of the batch, {DIMENSION} | u, after its replacement by `unknown`, wherever u stands |

## steps.safetensors

| step | shape | is |
|---|---|---|
| alpha | words of the batch | text attention, one post after the other |
| beta | images of the batch, {REGIONS} | image attention |
| gamma | posts, 2 | the factors of t1 and v1 in o; 0 for what is absent, 1 for what is there without inter-attention |
| user_gradient | posts, {DIMENSION} | d score / d u |

DMF has no attention. Systems without a user have no `user_gradient`, nor have the cases with dropout.

## runs.json

`name`, `system`, `lstm_gate`, `weights`, `learning_rate`; `batches` (lists of post numbers, one a step), then one number a step: `losses`
(of the batch, before its step), `losses_in_float32` (the same run in float32), `gradient_norms` (Euclidean, over all
parameters, before clipping). One batch has no image at all, the last has three posts. Nothing is dropped or replaced.

Adam: betas 0.9 and 0.999, epsilon 1e-8, bias corrected, epsilon added to the square root of the corrected second
moment. It moves every row of every parameter at every step: one that a batch does not use has gradient 0 and goes on
by its momentum; one that no batch has used yet stays. With `clip_norm` (null for none) all gradients are first
multiplied by min(1, clip_norm / (norm + 1e-6)): some of that run's steps clip, some do not.
"""


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    posts = make_posts()
    weights = {
        "weights": attention_weights(posts),
        "weights-dmf": fusion_weights(user=False),
        "weights-dmf-user": fusion_weights(user=True),
    }
    masks = make_masks([posts[number] for number in BATCH])
    check_reference(posts, weights["weights"])
    write_posts(posts)
    for name, tensors in weights.items():
        save(tensors, f"{name}.safetensors")
    save(masks, "dropout.safetensors")
    write_cases(posts, weights, masks)
    write_runs(posts, weights)
    (FOLDER / "README.md").write_text(README)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {FOLDER}")


if __name__ == "__main__":
    main()
