#!/usr/bin/env python3
"""Writes the golden data of the network: what Scripts/reference.py makes of small seeded bundles,
and one convolution at each layer shape of VGG16.

    Scripts/golden-model.py              # writes Tests/Golden/model/ (10 to 30 seconds)

Tests/Golden/model/README.md, written by this script too, says what is in the files. Everything is
computed in float64 and stored rounded to float32 (scores and sampled values in full).

The weights are not those of a real model: each layer is scaled until its outputs are spread, so
that a wrong gate, a transposed matrix or a forgotten factor shows, and attention is far from
uniform.

Needs Scripts/requirements.txt.
"""

import hashlib
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from reference import Bundle, Trace, features_of, hidden_states, normalized, run_head, text_of
from safetensors.torch import save_file
from torch import Tensor

FOLDER = Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "model"

SIDE = 96
BLOCKS = [[4, 4], [8, 8], [8, 8, 8], [16, 16, 16], [16, 16, 16]]
DIMENSION = 16
DENSE = [32, 24]
MAXIMUM_WORDS = 50

# (folder, normalization, LSTM gate, backbone file)
BUNDLES = [
    ("bundle-torchvision", "torchvision", "logistic", "backbone.safetensors"),
    ("bundle-caffe", "caffe", "hard_sigmoid", "backbone.safetensors"),
    ("bundle-raw", "raw", "logistic", "../shared/backbone-raw.safetensors"),
]

WORDS = (
    "beach berlin bird blackandwhite bw café city cloud dog flower food garden girl green light "
    "macro mountain nature night park people portrait rain red_bus river sky snow straße sunset "
    "street tree water 中国"
).split()
USERS = ["10029@N01", "25893@N22", "33412@N05", "feline_dacat", "ürsula"]


class SplitMix64:
    """The numbers of SplitMix64(seed), in order, as float32 in [-0.5, 0.5)."""

    GAMMA = 0x9E3779B97F4A7C15

    def __init__(self, seed: int) -> None:
        self.state = seed

    def integers(self, count: int) -> np.ndarray:
        """The next `count` outputs, uint64."""
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(self.state) + steps * np.uint64(self.GAMMA)  # wraps around, as it should
        self.state = (self.state + count * self.GAMMA) % 2**64
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, *shape: int) -> Tensor:
        """output >> 40 is a 24-bit integer; over 2^24, minus 0.5: exact in float32."""
        values = (self.integers(math.prod(shape)) >> np.uint64(40)).astype(np.float64)
        return torch.from_numpy(values / 2**24 - 0.5).view(shape)


def spread(weights: Tensor, outputs: Tensor, deviation: float) -> Tensor:
    """`weights` scaled so that `outputs`, linear in them, have the given standard deviation."""
    return (weights * (deviation / outputs.std())).float().double()


# --- Reduced whole networks ---------------------------------------------------------------------


def pictures() -> dict[str, np.ndarray]:
    """uint8 RGB (SIDE, SIDE, 3)."""
    random = SplitMix64(100)
    drawn = {}
    for name in ("blocks", "noise"):
        edge = 24 if name == "blocks" else 6
        cells = SIDE // edge
        coarse = (random.integers(cells * cells * 3) % 200).reshape(cells, cells, 3)
        fine = (random.integers(SIDE * SIDE * 3) % 56).reshape(SIDE, SIDE, 3)
        drawn[name] = (coarse.repeat(edge, 0).repeat(edge, 1) + fine).astype(np.uint8)
    drawn["grey"] = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return drawn


def backbone_weights(random: SplitMix64, images: list[Tensor]) -> dict[str, Tensor]:
    """Each channel's outputs on `images` get mean 0.2 and deviation 1 before the ReLU."""
    weights: dict[str, Tensor] = {}
    x = torch.stack(images)
    index = 0
    for block in BLOCKS:
        for channels in block:
            weight = random.uniform(channels, x.shape[1], 3, 3)
            raw = F.conv2d(x, weight, padding=1).transpose(0, 1).flatten(1)
            weight = (weight / raw.std(1)[:, None, None, None]).float().double()
            bias = 0.2 + random.uniform(channels) - raw.mean(1) / raw.std(1)
            weights[f"features.{index}.weight"] = weight
            weights[f"features.{index}.bias"] = bias.float().double()
            x = F.relu(F.conv2d(x, weight, weights[f"features.{index}.bias"], padding=1))
            index += 2
        x = F.max_pool2d(x, 2, 2)
        index += 1
    return weights


def head_weights(random: SplitMix64, channels: int) -> dict[str, Tensor]:
    d = DIMENSION

    def matrix(rows: int, columns: int) -> Tensor:
        return random.uniform(rows, columns) * math.sqrt(12 / rows)

    weights = {
        "word": 3 * random.uniform(len(WORDS), d),
        "lstm.W": 1.5 * matrix(d, 4 * d),
        "lstm.U": 1.5 * matrix(d, 4 * d),
        "lstm.b": random.uniform(4 * d),
        "W_img": matrix(channels, d),
        "W_r": matrix(d, d),
    }
    for name in ("text", "image"):
        weights |= {f"{name}.{part}": 2 * matrix(d, d) for part in "ABC"}
        weights[f"{name}.h"] = random.uniform(d)
    weights |= {f"inter.W_{name}": 2 * matrix(d, d) for name in ("text", "image", "u")}
    weights["inter.w"] = 2 * random.uniform(d)
    for layer, (rows, columns) in enumerate([(d, DENSE[0]), tuple(DENSE), (DENSE[1], 1)], start=1):
        weights[f"dense{layer}.W"] = 1.4 * matrix(rows, columns)
        weights[f"dense{layer}.b"] = random.uniform(columns)
    weights["dense3.b"] += 3
    return {name: tensor.float().double() for name, tensor in weights.items()}


def save(tensors: dict[str, Tensor], path: Path) -> str:
    """Writes float32 safetensors; returns their SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)  # safetensors writes 0600
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_lines(lines: list[str], path: Path) -> str:
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_bundle(name: str, normalization: str, gate: str, backbone_file: str, seed: int) -> Bundle:
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    random = SplitMix64(seed)
    images = [normalized(picture, normalization) for picture in pictures().values()]
    backbone = backbone_weights(random, images[:2])
    head = head_weights(random, BLOCKS[-1][-1])
    users = 3 * random.uniform(len(USERS), DIMENSION)
    unknown = 3 * random.uniform(DIMENSION)

    # Scale what depends on the images and the other layers by looking at a post.
    config: dict[str, Any] = {"lstm_gate": gate, "backbone": {"blocks": BLOCKS}}
    draft = Bundle(config, backbone, head, {}, {}, users.double(), unknown.double())
    features = [features_of(draft, image) for image in images]
    head["W_img"] = spread(head["W_img"], torch.cat(features[:2]) @ head["W_img"], 1.0)
    for modality in ("text", "image"):
        trace = run_head(draft, list(range(len(WORDS))), features[0], users[0])
        scores = trace.e_text if modality == "text" else trace.e_image
        head[f"{modality}.h"] = spread(head[f"{modality}.h"], scores, 1.5)

    config = {
        "format": "uhan-bundle",
        "format_version": 1,
        "name": name,
        "dimension": DIMENSION,
        "dense": DENSE,
        "maximum_words": MAXIMUM_WORDS,
        "lstm_gate": gate,
        "image": {"side": SIDE, "normalization": normalization},
        "backbone": {
            "architecture": "vgg16",
            "blocks": BLOCKS,
            "file": backbone_file,
            "sha256": save(backbone, folder / backbone_file),
            "trained": False,
            "origin": f"Scripts/golden-model.py, seed {seed}",
        },
        "head": {
            "file": "head.safetensors",
            "sha256": save(head, folder / "head.safetensors"),
            "trained": False,
        },
        "vocabulary": {
            "file": "vocabulary.txt",
            "sha256": save_lines(WORDS, folder / "vocabulary.txt"),
            "count": len(WORDS),
        },
        "users": {
            "file": "users.safetensors",
            "ids": "users.txt",
            "sha256": save({"user": users, "unknown": unknown}, folder / "users.safetensors"),
            "ids_sha256": save_lines(USERS, folder / "users.txt"),
            "count": len(USERS),
        },
        "target": {"minimum_days": 1.0, "smearing": None},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return Bundle.load(folder)


def posts() -> list[dict[str, Any]]:
    sixty = [WORDS[index] for index in (SplitMix64(200).integers(60) % len(WORDS)).tolist()]
    usual = {
        "title": "Rain in BERLIN, near the Straße",
        "alltags": "bw blackandwhite city unknownword street light berlin",
        "uid": USERS[1],
        "image": "blocks",
    }
    other = {
        "title": "Sunset over the river: a Red_Bus!",
        "alltags": "water sky cloud",
        "description": "The dog in the park, 中国 café",
        "uid": USERS[4],
        "image": "noise",
    }
    empty = {"title": "", "alltags": ""}
    return [
        {"name": "usual"} | usual,
        {"name": "other post, other user, description"} | other,
        {"name": "usual with the other image"} | usual | {"image": "noise"},
        {"name": "grey image"} | usual | {"image": "grey"},
        {"name": "empty text"} | usual | empty,
        {"name": "no known word"} | usual | {"title": "entirely", "alltags": "unheard of"},
        {"name": "one word"} | other | empty | {"alltags": "snow", "description": ""},
        {"name": "50 words"} | usual | {"title": "", "alltags": " ".join(sixty[:50])},
        {"name": "60 words"} | usual | {"title": "", "alltags": " ".join(sixty)},
        {"name": "no image"} | usual | {"image": None},
        {"name": "neither text nor image"} | usual | empty | {"image": None},
        {"name": "unknown user"} | usual | {"uid": "99999@N99"},
        {"name": "unknown user with neither"} | empty | {"uid": "99999@N99", "image": None},
    ]


def write_cases() -> None:
    images = pictures()
    (FOLDER / "images").mkdir(parents=True, exist_ok=True)
    for name, picture in images.items():
        (FOLDER / "images" / f"{name}.rgb").write_bytes(picture.tobytes())

    cases: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    worst_in_float32 = 0.0
    for seed, (folder, normalization, gate, backbone_file) in enumerate(BUNDLES, start=1):
        bundle = write_bundle(folder, normalization, gate, backbone_file, seed)
        single = in_float32(bundle)
        check_lstm(bundle)
        for post in posts():
            words = bundle.known_words(text_of(post))
            ids = [bundle.vocabulary[word] for word in words]

            features = single_features = None
            if post["image"]:
                image = normalized(images[post["image"]], normalization)
                features = features_of(bundle, image)
                single_features = features_of(single, image.float())
            trace = run_head(bundle, ids, features, bundle.user(post["uid"]))
            single_trace = run_head(single, ids, single_features, single.user(post["uid"]))

            steps: dict[str, Tensor | None] = {
                field.name: getattr(trace, field.name) for field in fields(Trace)
            }
            steps["F"] = features
            number = len(cases)
            for step, value in steps.items():
                if value is not None and step not in ("X", "score"):
                    tensors[f"{number}/{step}"] = value
            cases.append(
                {"number": number, "bundle": folder}
                | post
                | {"words": words, "ids": ids, "score": trace.score.item()}
            )

            difference = abs(single_trace.score - trace.score).item()
            worst_in_float32 = max(worst_in_float32, difference)
            print(
                f"{folder:20} {post['name']:36} score {trace.score.item():8.4f}"
                + f" alpha {peak(trace.alpha)} beta {peak(trace.beta)}"
                + f" gamma {trace.gamma.tolist()[0]:.2f}"
            )
    save(tensors, FOLDER / "cases.safetensors")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (FOLDER / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"scores in float32 are at most {worst_in_float32:.1e} off")


def peak(attention: Tensor | None) -> str:
    return "-" * 9 if attention is None else f"{attention.max().item():.2f}/{len(attention):<4}"


def in_float32(bundle: Bundle) -> Bundle:
    return replace(
        bundle,
        backbone={name: tensor.float() for name, tensor in bundle.backbone.items()},
        head={name: tensor.float() for name, tensor in bundle.head.items()},
        user_vectors=bundle.user_vectors.float(),
        unknown_user=bundle.unknown_user.float(),
    )


def check_lstm(bundle: Bundle) -> None:
    """With the logistic gate the LSTM is PyTorch's own: the gates' order is i, f, g, o too."""
    if bundle.config["lstm_gate"] != "logistic":
        return
    X = bundle.head["word"]
    lstm = torch.nn.LSTM(DIMENSION, DIMENSION, dtype=torch.float64)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(bundle.head["lstm.W"].T)
        lstm.weight_hh_l0.copy_(bundle.head["lstm.U"].T)
        lstm.bias_ih_l0.copy_(bundle.head["lstm.b"])
        lstm.bias_hh_l0.zero_()
        torch.testing.assert_close(hidden_states(bundle, X), lstm(X)[0], rtol=0, atol=1e-12)


# --- One convolution at each layer shape of VGG16 -----------------------------------------------

VGG16_LAYERS = [
    ("conv1_1", 448, 3, 64),
    ("conv1_2", 448, 64, 64),
    ("conv2_1", 224, 64, 128),
    ("conv2_2", 224, 128, 128),
    ("conv3_1", 112, 128, 256),
    ("conv3_2", 112, 256, 256),
    ("conv3_3", 112, 256, 256),
    ("conv4_1", 56, 256, 512),
    ("conv4_2", 56, 512, 512),
    ("conv4_3", 56, 512, 512),
    ("conv5_1", 28, 512, 512),
    ("conv5_2", 28, 512, 512),
    ("conv5_3", 28, 512, 512),
]
SAMPLES = 64
ZERO_SAMPLES_AT_MOST = 16
BIAS_SHIFT = 3


def sampled_places(side: int, channels: int, random: SplitMix64) -> list[tuple[int, int, int]]:
    """(y, x, channel): first the corners and the middles of the edges, then anywhere."""
    edge = [0, side // 2, side - 1]
    places = [(y, x) for y in edge for x in edge]
    ends = np.array([side, side, channels], np.uint64)
    drawn = (random.integers(3 * 2000).reshape(-1, 3) % ends).tolist()
    return [
        (*places[number], channel) if number < len(places) else (y, x, channel)
        for number, (y, x, channel) in enumerate(drawn)
    ]


def write_vgg16_layers() -> None:
    layers = []
    for seed, (name, side, inputs, outputs) in enumerate(VGG16_LAYERS, start=1):
        random = SplitMix64(seed)
        weight_shift = round(math.log2(math.sqrt(9 * inputs)))
        image = random.uniform(side, side, inputs)
        weight = random.uniform(outputs, inputs, 3, 3) / 2**weight_shift
        bias = random.uniform(outputs) / 2**BIAS_SHIFT
        result = F.relu(F.conv2d(image.permute(2, 0, 1)[None], weight, bias, padding=1))[0]

        samples: list[list[float]] = []
        zeros = 0
        for y, x, channel in sampled_places(side, outputs, SplitMix64(1000 + seed)):
            value = result[channel, y, x].item()
            if value == 0:
                zeros += 1
                if zeros > ZERO_SAMPLES_AT_MOST:
                    continue
            samples.append([y, x, channel, value])
            if len(samples) == SAMPLES:
                break
        layers.append(
            {
                "name": name,
                "seed": seed,
                "side": side,
                "input_channels": inputs,
                "output_channels": outputs,
                "weight_shift": weight_shift,
                "bias_shift": BIAS_SHIFT,
                "first_input": image.flatten()[:3].tolist(),
                "first_weight": weight.flatten()[:3].tolist(),
                "first_bias": bias[:3].tolist(),
                "l2_norm": result.norm().item(),
                "samples": samples,
            }
        )
        print(f"{name}: L2 norm {result.norm().item():.6f}, {(result > 0).double().mean():.0%} > 0")
    lines = ",\n".join(json.dumps(layer) for layer in layers)
    (FOLDER / "vgg16-layers.json").write_text(f"[\n{lines}\n]\n")


# --- What is in the files -----------------------------------------------------------------------

README = f"""# Golden data of the network

Written by `Scripts/golden-model.py`; the numbers come from `Scripts/reference.py`, which computes in
PyTorch float64 and shares no code with the package. Do not edit: change the script and run it again.

| file | holds |
|---|---|
| bundle-torchvision, bundle-caffe, bundle-raw | seeded model bundles, one for each normalisation; `bundle-caffe` has the hard sigmoid, the others the logistic gate; `bundle-raw` names a backbone outside its folder |
| shared | that backbone |
| images/NAME.rgb | {SIDE} x {SIDE} pixels, three bytes R, G, B each, row by row: no decoder is involved |
| cases.json | the posts and what the words and the score are |
| cases.safetensors | every step between them, float32 |
| vgg16-layers.json | one convolution at each layer shape of VGG16 |

The bundles are reduced in size: side {SIDE} ({SIDE // 32} x {SIDE // 32} regions), blocks `{BLOCKS}`,
d = {DIMENSION}, dense {DENSE}, {len(WORDS)} words, {len(USERS)} users, at most {MAXIMUM_WORDS} words a post.

## cases.json

`number`, `bundle` (its folder), `name`, `title`, `alltags`, `description` (absent in most), `uid`, `image`
(null, or a file in images without its `.rgb`); then the outcome: `words` and `ids` (known words, cut), `score`
(all digits of the float64).

## cases.safetensors

A tensor's name is the case's `number`, a slash and the step: `0/alpha`. T words, L = {(SIDE // 32) ** 2} regions (row by
row), d = {DIMENSION}. A step that a case does not have, for want of text or image, is not there.

| step | shape | is |
|---|---|---|
| F | L, {BLOCKS[-1][-1]} | output of the last pooling |
| H | T, d | hidden states of the LSTM |
| t0, v0 | d | means over the rows of H, of V |
| V | L, d | tanh(F W_img) |
| e_text, e_image | T; L | attention before the softmax |
| alpha, beta | T; L | after it |
| t1, v1 | d | attended text, image |
| gamma | 2 | text's and image's share; 0 for what is absent |
| o | d | their sum, zero with neither |
| z | d | o + u W_r |
| dense1, dense2 | {DENSE[0]}; {DENSE[1]} | after the ReLU |

## vgg16-layers.json

For each of the 13 layers a 3x3 convolution (stride 1, zero padding 1), bias and ReLU. All inputs come from one
`SplitMix64(seed: seed)`, a value being

    Float(Int64(next() >> 40)) / 16777216 - 0.5          // exact in float32

drawn in this order: the image, (y, x, channel) with the channel fastest; the weights, (out, in, ky, kx) with kx
fastest, each divided by 2^`weight_shift`; the biases, each divided by 2^`bias_shift`.
(`weight_shift` = round(log2(sqrt(9 * input_channels))).) `first_input`, `first_weight` and `first_bias` are the
first three of each. `samples` are [y, x, output channel, value], corners and edges among them; `l2_norm` is the
square root of the sum of squares over the whole output.
"""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        write_cases()
        write_vgg16_layers()
    (FOLDER / "README.md").write_text(README)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {FOLDER}")


if __name__ == "__main__":
    main()
