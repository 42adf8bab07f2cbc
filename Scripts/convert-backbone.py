#!/usr/bin/env python3
"""Converts VGG16 weights to the safetensors file that `uhan model import-backbone` reads.

    Scripts/convert-backbone.py vgg16-397923af.pth backbone.safetensors
    Scripts/convert-backbone.py vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 out.safetensors
    Scripts/convert-backbone.py --self-test

Reads
  - torchvision's state dict, `.pth` (loaded with weights_only=True: it cannot run code);
  - Keras' `.h5`, with or without its top, saved as weights or as a whole model (`model_weights/`),
    TensorFlow's dimension order, kernels named `..._W_1:0` or `.../kernel:0`.
A classifier is dropped. The file written has torchvision's names, `features.N.weight`
(out, in, 3, 3) and `features.N.bias` (out), float32. A torchvision or timm `.safetensors` needs no
conversion.

Prints which image normalization the weights were trained with; the bundle's config.json must say
the same: "torchvision" for torchvision's, "caffe" for Keras' ImageNet weights.

Needs Scripts/requirements.txt.
"""

import argparse
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.numpy import load_file, save_file

BLOCKS = [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]]

Weights = dict[str, np.ndarray]


def layers() -> list[tuple[str, str, int, int]]:
    """(torchvision's name, Keras' name, input channels, output channels) of the 13 convolutions."""
    found = []
    index, inputs = 0, 3
    for block, widths in enumerate(BLOCKS, start=1):
        for number, outputs in enumerate(widths, start=1):
            found.append((f"features.{index}", f"block{block}_conv{number}", inputs, outputs))
            index, inputs = index + 2, outputs
        index += 1
    return found


def from_torchvision(path: Path) -> Weights:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        sys.exit(f"{path} holds more than tensors; save its state dict instead. ({error})")
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        sys.exit(f"{path} is not a state dict (names with tensors)")
    if any(not torch.isfinite(value.float()).all() for value in state.values()):
        sys.exit(
            f"{path} has values that are not finite. Of torchvision's two files for VGG16 take "
            "IMAGENET1K_V1 (vgg16-397923af.pth): the other's features expect another normalization."
        )
    weights: Weights = {}
    for name, _, _, _ in layers():
        for part in ("weight", "bias"):
            key = f"{name}.{part}"
            if key not in state:
                sys.exit(f"{path} has no {key}; it has {some(state)}. Is it a VGG16 (without _bn)?")
            weights[key] = state[key].float().numpy()
    return weights


def from_keras(path: Path) -> Weights:
    weights: Weights = {}
    with h5py.File(path) as file:
        root = file["model_weights"] if "model_weights" in file else file
        for name, keras_name, inputs, outputs in layers():
            if keras_name not in root:
                sys.exit(
                    f"{path} has no layer {keras_name}; it has {some(root)}. Is it Keras' VGG16?"
                )
            kernels, biases = datasets(root[keras_name])
            if len(kernels) != 1 or len(biases) != 1:
                sys.exit(f"{path}: {keras_name} does not hold one kernel and one bias")
            if kernels[0].shape == (outputs, inputs, 3, 3):
                sys.exit(
                    f"{path} has Theano's dimension order, whose kernels are also flipped. "
                    "Take the file with tf_dim_ordering in its name."
                )
            weights[f"{name}.weight"] = kernels[0].transpose(3, 2, 0, 1)
            weights[f"{name}.bias"] = biases[0]
    return weights


def datasets(group: h5py.Group) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The arrays with four dimensions and those with one, however deep they lie."""
    kernels: list[np.ndarray] = []
    biases: list[np.ndarray] = []

    def visit(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            (kernels if item.ndim == 4 else biases).append(item[()])

    group.visititems(visit)
    return kernels, biases


def some(names: dict | h5py.Group) -> str:
    return ", ".join(list(names)[:6]) + (", ..." if len(names) > 6 else "")


def checked(weights: Weights, path: Path) -> Weights:
    for name, _, inputs, outputs in layers():
        for key, shape in (
            (f"{name}.weight", (outputs, inputs, 3, 3)),
            (f"{name}.bias", (outputs,)),
        ):
            if weights[key].shape != shape:
                sys.exit(f"{path}: {key} has shape {weights[key].shape}, VGG16's is {shape}")
            if not np.isfinite(weights[key]).all():
                sys.exit(f"{path}: {key} has values that are not finite")
    return {key: np.ascontiguousarray(value, np.float32) for key, value in weights.items()}


def convert(source: Path, target: Path) -> str:
    """Writes `target`; returns the normalization that the weights expect."""
    readers: dict[str, tuple[Callable[[Path], Weights], str]] = {
        ".pth": (from_torchvision, "torchvision"),
        ".pt": (from_torchvision, "torchvision"),
        ".h5": (from_keras, "caffe"),
        ".hdf5": (from_keras, "caffe"),
    }
    if source.suffix not in readers:
        sys.exit(f"{source}: only {', '.join(readers)} can be converted")
    read, normalization = readers[source.suffix]
    weights = checked(read(source), source)
    save_file(weights, target, metadata={"format": "pt", "origin": source.name})
    target.chmod(0o644)
    return normalization


# --- Self-test ----------------------------------------------------------------------------------


def self_test() -> None:
    """Converts files of every layout, made here from the same random weights, and compares."""
    random = np.random.default_rng(0)
    expected: Weights = {}
    for name, _, inputs, outputs in layers():
        expected[f"{name}.weight"] = random.random((outputs, inputs, 3, 3), np.float32) - 0.5
        expected[f"{name}.bias"] = random.random(outputs, np.float32) - 0.5

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "backbone.safetensors"

        def expect_conversion(source: Path, normalization: str) -> None:
            assert convert(source, target) == normalization
            found = load_file(target)
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[key], expected[key]) for key in expected)
            print(f"ok: {source.name}")

        def expect_refusal(source: Path, reason: str) -> None:
            try:
                convert(source, target)
            except SystemExit as refusal:
                assert reason in str(refusal), refusal
                print(f"ok: {source.name} is refused")
            else:
                raise AssertionError(f"{source.name} was converted")

        state = {key: torch.from_numpy(value) for key, value in expected.items()}
        classifier = {
            "classifier.6.weight": torch.ones(10, 4096),
            "classifier.6.bias": torch.ones(10),
        }
        source = Path(folder) / "full.pth"
        torch.save(state | classifier, source)
        expect_conversion(source, "torchvision")

        source = Path(folder) / "features-alone.pth"
        torch.save(state, source)
        expect_conversion(source, "torchvision")

        source = Path(folder) / "pickled-module.pth"
        torch.save(torch.nn.Linear(2, 2), source)
        expect_refusal(source, "more than tensors")

        source = Path(folder) / "caffe-features.pth"
        torch.save(state | {"classifier.6.bias": torch.full((10,), torch.nan)}, source)
        expect_refusal(source, "not finite")

        source = Path(folder) / "too-few-layers.pth"
        torch.save({key: value for key, value in state.items() if "28" not in key}, source)
        expect_refusal(source, "features.28.weight")

        source = Path(folder) / "other-shape.pth"
        torch.save(state | {"features.0.weight": torch.ones(64, 1, 3, 3)}, source)
        expect_refusal(source, "shape")

        for file_name, prefix, kernel, bias in (
            ("old-notop.h5", "", "{0}_W_1:0", "{0}_b_1:0"),
            ("new-notop.h5", "", "{0}/kernel:0", "{0}/bias:0"),
            ("whole-model.h5", "model_weights/", "{0}/kernel:0", "{0}/bias:0"),
        ):
            source = Path(folder) / file_name
            with h5py.File(source, "w") as file:
                for name, keras_name, _, _ in layers():
                    group = file.create_group(prefix + keras_name)
                    weight = expected[f"{name}.weight"].transpose(2, 3, 1, 0)
                    group[kernel.format(keras_name)] = weight
                    group[bias.format(keras_name)] = expected[f"{name}.bias"]
                file.create_group(prefix + "block1_pool")
                file[f"{prefix}fc1/fc1_W_1:0"] = np.ones((8, 8), np.float32)
            expect_conversion(source, "caffe")

        source = Path(folder) / "theano.h5"
        with h5py.File(source, "w") as file:
            for name, keras_name, _, _ in layers():
                file[f"{keras_name}/{keras_name}_W:0"] = expected[f"{name}.weight"]
                file[f"{keras_name}/{keras_name}_b:0"] = expected[f"{name}.bias"]
        expect_refusal(source, "Theano")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("target", type=Path, nargs="?", help="the safetensors file to write")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
    elif arguments.source is None or arguments.target is None:
        parser.error("a source and a target are needed")
    else:
        normalization = convert(arguments.source, arguments.target)
        print(f'{arguments.target} is written. Its image normalization is "{normalization}".')


if __name__ == "__main__":
    main()
