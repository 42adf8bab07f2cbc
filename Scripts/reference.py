#!/usr/bin/env python3
"""Scores posts with UHAN in PyTorch float64, independently of the Swift code.

    Scripts/reference.py --model BUNDLE --posts posts.jsonl > reference.jsonl
    Scripts/reference.py --model BUNDLE --posts posts.jsonl --compare uhan.jsonl

Reads the same model bundle as `uhan score` and prints one JSON line per post, in order:

    {"pid": "...", "uid": "...", "score": 3.2, "flags": ["no_image", ...],
     "words": [["rain", 0.7], ...],          known words in order with their attention
     "image_attention": [[14 floats] x 14],  rows from the top; null without an image
     "modality": {"text": 0.4, "image": 0.6},  0 for what is absent
     "features_norm": 51.2}                  L2 norm of the 196 x 512 features; null likewise

or {"pid": "...", "uid": "...", "error": "..."} where the image cannot be read. A post without an
`image` is scored without one.

With --compare nothing is printed but the comparison with what `uhan score` printed for the same
posts. Tolerances: scores 1e-4 * max(1, |score|); word, image and modality attention 1e-4 each; pid,
uid and words exactly. Exit status 1 past them.

--compare-features also compares features (relative L2 distance at most 2e-5) with a file such as
--features-out writes: safetensors, one float32 tensor (regions, channels) per pid.

An image takes 5 to 10 seconds on two cores; --limit N takes the first N posts alone, and
--features-in FILE takes features from an earlier run's --features-out (of the same backbone and
images) instead of computing them.

Needs Scripts/requirements.txt.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

SCORE_TOLERANCE = 1e-4
ATTENTION_TOLERANCE = 1e-4
FEATURES_TOLERANCE = 2e-5

WORD = re.compile(r"\b\w\w+\b")


# --- The bundle ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bundle:
    config: dict[str, Any]
    backbone: dict[str, Tensor]  # float64
    head: dict[str, Tensor]  # float64
    vocabulary: dict[str, int]
    users: dict[str, int]
    user_vectors: Tensor  # (N, d) float64
    unknown_user: Tensor  # (d) float64

    @staticmethod
    def load(folder: Path) -> "Bundle":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if config.get("format") != "uhan-bundle" or config.get("format_version") != 1:
            raise SystemExit(f"{folder}/config.json is not a uhan-bundle of version 1")

        def file(name: str, sha256: str) -> Path:
            path = folder / name
            with path.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found != sha256:
                raise SystemExit(f"{path}: SHA-256 is {found}, config.json says {sha256}")
            return path

        def tensors(part: dict[str, Any]) -> dict[str, Tensor]:
            loaded = load_file(file(part["file"], part["sha256"]))
            for name, tensor in loaded.items():
                if tensor.dtype != torch.float32:
                    raise SystemExit(f"{part['file']}: {name} is {tensor.dtype}, not float32")
            return {name: tensor.double() for name, tensor in loaded.items()}

        def lines(name: str, sha256: str, count: int) -> dict[str, int]:
            content = file(name, sha256).read_bytes().decode("utf-8")
            entries = content.removesuffix("\n").split("\n") if content else []
            if len(entries) != count or len(set(entries)) != count:
                raise SystemExit(f"{name}: {len(entries)} lines, config.json says {count}")
            return {entry: row for row, entry in enumerate(entries)}

        vocabulary, users = config["vocabulary"], config["users"]
        user_tensors = tensors(users)
        return Bundle(
            config=config,
            backbone=tensors(config["backbone"]),
            head=tensors(config["head"]),
            vocabulary=lines(vocabulary["file"], vocabulary["sha256"], vocabulary["count"]),
            users=lines(users["ids"], users["ids_sha256"], users["count"]),
            user_vectors=user_tensors["user"],
            unknown_user=user_tensors["unknown"],
        )

    @property
    def side(self) -> int:
        return self.config["image"]["side"]

    @property
    def grid(self) -> int:
        """Regions along one side of the image: five poolings halve it five times."""
        return self.side // 32

    def user(self, uid: str) -> Tensor:
        row = self.users.get(uid)
        return self.unknown_user if row is None else self.user_vectors[row]

    def known_words(self, text: str) -> list[str]:
        """The first words of `text` that the model knows."""
        known = [word for word in WORD.findall(text.lower()) if word in self.vocabulary]
        return known[: self.config["maximum_words"]]


# --- The image ----------------------------------------------------------------------------------

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
EXIF_ORIENTATION = 0x0112


def pixels_of(path: Path, side: int) -> np.ndarray:
    """A JPEG as uint8 RGB of (side, side, 3): stretched, not cropped."""
    with Image.open(path, formats=["JPEG"]) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION)
        # Lets libjpeg decode at 1/8, 1/4 or 1/2: the smallest that still covers side x side.
        image.draft("RGB", (side, side))
        # Two calls fix the order of the passes, columns last: in one call it is Pillow's choice.
        rgb = image.convert("RGB").resize((side, image.height), Image.Resampling.BILINEAR)
        resized = rgb.resize((side, side), Image.Resampling.BILINEAR)
    if orientation in TRANSPOSE:
        resized = resized.transpose(TRANSPOSE[orientation])
    return np.asarray(resized)


def normalized(pixels: np.ndarray, normalization: str) -> Tensor:
    """uint8 RGB (side, side, 3) -> what the backbone's weights were trained on, (3, side, side)."""
    rgb = torch.from_numpy(pixels.astype(np.float64))
    match normalization:
        case "torchvision":
            mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
            deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
            values = (rgb / 255 - mean) / deviation
        case "caffe":
            mean = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64)
            values = rgb.flip(-1) - mean
        case "raw":
            values = rgb
        case _:
            raise SystemExit(f"unknown normalization {normalization!r}")
    return values.permute(2, 0, 1)


def features_of(bundle: Bundle, image: Tensor) -> Tensor:
    """VGG16 without its top: (3, side, side) -> F, (regions, channels), regions row by row."""
    x = image.unsqueeze(0)
    index = 0  # torchvision numbers convolutions, ReLUs and poolings in one sequence
    for block in bundle.config["backbone"]["blocks"]:
        for _ in block:
            weight = bundle.backbone[f"features.{index}.weight"]
            bias = bundle.backbone[f"features.{index}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            index += 2
        x = F.max_pool2d(x, kernel_size=2, stride=2)
        index += 1
    return x[0].flatten(1).T.contiguous()


# --- The head -----------------------------------------------------------------------------------


@dataclass
class Trace:
    """What the head computes, step by step; None for want of text or image."""

    X: Tensor | None = None  # (T, d) word embeddings
    H: Tensor | None = None  # (T, d) hidden states
    t0: Tensor | None = None  # (d)
    V: Tensor | None = None  # (L, d)
    v0: Tensor | None = None  # (d)
    e_text: Tensor | None = None  # (T) before the softmax
    alpha: Tensor | None = None  # (T)
    t1: Tensor | None = None  # (d)
    e_image: Tensor | None = None  # (L) before the softmax
    beta: Tensor | None = None  # (L)
    v1: Tensor | None = None  # (d)
    gamma: Tensor = field(init=False)  # (2) text, image; 0 for what is absent
    o: Tensor = field(init=False)  # (d)
    z: Tensor = field(init=False)  # (d)
    dense1: Tensor = field(init=False)  # after the ReLU
    dense2: Tensor = field(init=False)  # after the ReLU
    score: Tensor = field(init=False)  # ()


def old_keras_hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


def hidden_states(bundle: Bundle, X: Tensor) -> Tensor:
    gate: Callable[[Tensor], Tensor]
    match bundle.config["lstm_gate"]:
        case "logistic":
            gate = torch.sigmoid
        case "hard_sigmoid":
            gate = old_keras_hard_sigmoid
        case other:
            raise SystemExit(f"unknown lstm_gate {other!r}")
    W, U, b = (bundle.head[f"lstm.{name}"] for name in "WUb")
    d = X.shape[1]
    h = torch.zeros(d, dtype=X.dtype)
    c = torch.zeros(d, dtype=X.dtype)
    states = []
    for x in X:
        i, f, g, o = (x @ W + h @ U + b).split(d)
        c = gate(f) * c + gate(i) * torch.tanh(g)
        h = gate(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


def attention_scores(
    bundle: Bundle, name: str, rows: Tensor, other: Tensor | None, u: Tensor
) -> Tensor:
    """e: one number per row. The factor of an absent guide is left out."""
    A, B, C, h = (bundle.head[f"{name}.{part}"] for part in "ABCh")
    product = torch.tanh(rows @ A) * torch.tanh(u @ C)
    if other is not None:
        product = product * torch.tanh(other @ B)
    return product @ h


def run_head(bundle: Bundle, ids: list[int], features: Tensor | None, u: Tensor) -> Trace:
    weights = bundle.head
    trace = Trace()
    if ids:
        trace.X = weights["word"][ids]
        trace.H = hidden_states(bundle, trace.X)
        trace.t0 = trace.H.mean(0)
    if features is not None:
        trace.V = torch.tanh(features @ weights["W_img"])
        trace.v0 = trace.V.mean(0)

    if trace.H is not None:
        trace.e_text = attention_scores(bundle, "text", trace.H, trace.v0, u)
        trace.alpha = torch.softmax(trace.e_text, 0)
        trace.t1 = trace.alpha @ trace.H
    if trace.V is not None:
        trace.e_image = attention_scores(bundle, "image", trace.V, trace.t0, u)
        trace.beta = torch.softmax(trace.e_image, 0)
        trace.v1 = trace.beta @ trace.V

    trace.o = torch.zeros_like(u)
    trace.gamma = torch.zeros(2, dtype=u.dtype)
    present = [
        (place, x, weights[f"inter.W_{name}"])
        for place, name, x in ((0, "text", trace.t1), (1, "image", trace.v1))
        if x is not None
    ]
    if present:
        user = torch.tanh(u @ weights["inter.W_u"])
        c = torch.stack([(torch.tanh(x @ W) * user) @ weights["inter.w"] for _, x, W in present])
        for share, (place, x, _) in zip(torch.softmax(c, 0), present, strict=True):
            trace.gamma[place] = share
            trace.o = trace.o + share * x

    trace.z = trace.o + u @ weights["W_r"]
    trace.dense1 = F.relu(trace.z @ weights["dense1.W"] + weights["dense1.b"])
    trace.dense2 = F.relu(trace.dense1 @ weights["dense2.W"] + weights["dense2.b"])
    trace.score = (trace.dense2 @ weights["dense3.W"] + weights["dense3.b"])[0]
    return trace


# --- Posts --------------------------------------------------------------------------------------


def text_of(post: dict[str, Any]) -> str:
    text = (post.get("title") or "") + " " + (post.get("alltags") or "")
    if post.get("description"):
        text += " " + post["description"]
    return text


def score_post(
    bundle: Bundle, post: dict[str, Any], images: Path, known_features: dict[str, Tensor]
) -> tuple[dict[str, Any], Tensor | None]:
    """The line for one post, and its features."""
    pid, uid = str(post["pid"]), str(post["uid"])
    line: dict[str, Any] = {"pid": pid, "uid": uid}
    features = None
    if pid in known_features:
        features = known_features[pid].double()
    elif post.get("image"):
        try:
            pixels = pixels_of(images / post["image"], bundle.side)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return line | {"error": str(error)}, None
        image = normalized(pixels, bundle.config["image"]["normalization"])
        features = features_of(bundle, image)

    words = bundle.known_words(text_of(post))
    ids = [bundle.vocabulary[word] for word in words]
    trace = run_head(bundle, ids, features, bundle.user(uid))
    word_attention = [] if trace.alpha is None else trace.alpha.tolist()
    flags = {
        "no_text": not words,
        "no_image": features is None,
        "unknown_user": uid not in bundle.users,
        "untrained": not all(bundle.config[part]["trained"] for part in ("backbone", "head")),
    }
    grid = bundle.grid
    line |= {
        "score": trace.score.item(),
        "flags": [flag for flag, is_set in flags.items() if is_set],
        "words": list(zip(words, word_attention, strict=True)),
        "image_attention": None if trace.beta is None else trace.beta.view(grid, grid).tolist(),
        "modality": dict(zip(("text", "image"), trace.gamma.tolist(), strict=True)),
        "features_norm": None if features is None else features.norm().item(),
    }
    return line, features


def origin_of_features(bundle: Bundle) -> dict[str, str]:
    """What features depend on besides the images; kept with them."""
    return {
        "backbone_sha256": bundle.config["backbone"]["sha256"],
        "image": json.dumps(bundle.config["image"], sort_keys=True),
    }


def load_features(path: Path, bundle: Bundle) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        if file.metadata() != origin_of_features(bundle):
            raise SystemExit(f"{path} was made with another backbone or image setting")
    return load_file(path)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


# --- Comparison ---------------------------------------------------------------------------------


class Comparison:
    """Gathers how far `uhan score` is from the reference, in units of the tolerance."""

    def __init__(self) -> None:
        self.worst: dict[str, tuple[float, float, str]] = {}  # what -> share, difference, pid
        self.mismatches: list[str] = []

    def add(self, expected: dict[str, Any], found: dict[str, Any] | None) -> None:
        pid = expected["pid"]
        if found is None:
            self.mismatches.append(f"{pid}: no line")
            return
        for key in ("pid", "uid"):
            if str(found.get(key)) != expected[key]:
                self.mismatches.append(f"{pid}: {key} is {found.get(key)!r}")
                return
        found_has_score = found.get("score") is not None
        if "error" in expected or not found_has_score:
            if "error" not in expected or found_has_score:
                self.mismatches.append(
                    f"{pid}: {found.get('error', 'a score')}; "
                    f"the reference has {expected.get('error', 'a score')}"
                )
            return

        score = expected["score"]
        self.number(pid, "score", score, found["score"], SCORE_TOLERANCE * max(1, abs(score)))

        words = [word for word, _ in expected["words"]]
        found_words = [word for word, _ in found["words"] or []]
        if words != found_words:
            self.mismatches.append(f"{pid}: words {found_words}, the reference has {words}")
        else:
            for (_, weight), (_, found_weight) in zip(
                expected["words"], found["words"], strict=True
            ):
                self.number(pid, "word attention", weight, found_weight, ATTENTION_TOLERANCE)

        image = np.array(expected["image_attention"] or [[]])
        found_image = np.array(found["image_attention"] or [[]])
        if image.shape != found_image.shape:
            self.mismatches.append(f"{pid}: image attention is {found_image.shape}")
        else:
            for weight, found_weight in zip(image.flat, found_image.flat, strict=True):
                self.number(pid, "image attention", weight, found_weight, ATTENTION_TOLERANCE)

        for name, weight in expected["modality"].items():
            found_weight = found["modality"].get(name) or 0
            self.number(pid, "modality attention", weight, found_weight, ATTENTION_TOLERANCE)

    def add_features(self, pid: str, features: Tensor, found: Tensor | None) -> None:
        if found is None or found.shape != features.shape:
            self.mismatches.append(f"{pid}: no features of shape {tuple(features.shape)}")
            return
        distance = ((found.double() - features).norm() / features.norm()).item()
        self.number(pid, "features (relative L2)", 0, distance, FEATURES_TOLERANCE)

    def number(self, pid: str, what: str, expected: float, found: float, tolerance: float) -> None:
        difference = abs(found - expected)
        share = difference / tolerance if np.isfinite(difference) else float("inf")
        if share >= self.worst.get(what, (-1.0,))[0]:
            self.worst[what] = (share, difference, pid)

    def report(self) -> bool:
        """Prints the worst of each kind; whether all is within tolerance."""
        for what, (share, difference, pid) in self.worst.items():
            print(f"{what}: at most {difference:.3g} apart, {share:.2%} of the tolerance ({pid})")
        for mismatch in self.mismatches:
            print(mismatch)
        passed = not self.mismatches and all(share <= 1 for share, _, _ in self.worst.values())
        print("within tolerance" if passed else "NOT within tolerance")
        return passed


# --- Command line -------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--posts", type=Path, required=True, help="posts.jsonl")
    parser.add_argument("--images", type=Path, help="where images lie (default: beside the posts)")
    parser.add_argument("--limit", type=int, help="take the first N posts alone")
    parser.add_argument("--features-in", type=Path, help="take features from an earlier run")
    parser.add_argument("--features-out", type=Path, help="keep the features as safetensors")
    parser.add_argument("--compare", type=Path, help="what `uhan score` printed")
    parser.add_argument("--compare-features", type=Path, help="features computed by uhan")
    arguments = parser.parse_args()

    bundle = Bundle.load(arguments.model)
    posts = list(json_lines(arguments.posts))[: arguments.limit]
    images = arguments.images or arguments.posts.parent
    known_features = load_features(arguments.features_in, bundle) if arguments.features_in else {}
    kept_features: dict[str, Tensor] = {}

    comparing = arguments.compare is not None or arguments.compare_features is not None
    comparison = Comparison()
    found_lines = list(json_lines(arguments.compare)) if arguments.compare else []
    found_features = load_file(arguments.compare_features) if arguments.compare_features else {}

    for index, post in enumerate(posts):
        started = time.monotonic()
        with torch.inference_mode():
            line, features = score_post(bundle, post, images, known_features)
        seconds = time.monotonic() - started
        pid = line["pid"]
        outcome = line.get("error") or f"{line['score']:.4f}"
        print(f"{index + 1}/{len(posts)} {pid}: {outcome}, {seconds:.1f} s", file=sys.stderr)

        if features is not None and arguments.features_out:
            kept_features[pid] = features.float()
        if arguments.compare:
            comparison.add(line, found_lines[index] if index < len(found_lines) else None)
        if features is not None and arguments.compare_features:
            comparison.add_features(pid, features, found_features.get(pid))
        if not comparing:
            print(json.dumps(line), flush=True)

    if arguments.features_out:
        save_file(kept_features, arguments.features_out, origin_of_features(bundle))
    if not comparing:
        return 0
    if arguments.compare and arguments.limit is None and len(found_lines) > len(posts):
        comparison.mismatches.append(f"{len(found_lines) - len(posts)} lines too many")
    return 0 if comparison.report() else 1


if __name__ == "__main__":
    sys.exit(main())
