#!/usr/bin/env python3
"""Every layer of the backbone against PyTorch in float64, at full size.

    uhan bench backbone --weights W.safetensors --input I.safetensors [--tensor image] \\
        --layers --output OURS.safetensors
    Scripts/check-backbone.py W.safetensors I.safetensors OURS.safetensors [--tensor image]

W has torchvision's names (a model folder's backbone.safetensors does), I the normalised picture as
(1, 3, 448, 448). Prints each layer's relative L2 error; exit code 1 where one exceeds 2e-5.
Takes about half a minute. Needs torch and safetensors (Scripts/requirements.txt).
"""
import argparse
import sys

import torch
from safetensors.torch import load_file

LIMIT = 2e-5
POOLED = {2, 7, 14, 21, 28}  # torchvision's numbers of the convolutions that a pool follows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("input")
    parser.add_argument("ours")
    parser.add_argument("--tensor", default="image")
    arguments = parser.parse_args()

    weights, ours = load_file(arguments.weights), load_file(arguments.ours)
    x = load_file(arguments.input)[arguments.tensor].double()
    worst = 0.0

    def compare(name, expected):
        nonlocal worst
        found = ours[name].double()
        error = float((found - expected).norm() / expected.norm())
        worst = max(worst, error)
        print(f"{name:>10}  {error:.2e}")

    for layer in sorted(int(name.split(".")[1]) for name in weights if name.endswith("weight")):
        weight, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
        x = torch.relu(torch.nn.functional.conv2d(x, weight.double(), bias.double(), padding=1))
        if layer in POOLED:
            x = torch.nn.functional.max_pool2d(x, 2)
        if f"layer.{layer}" in ours:
            compare(f"layer.{layer}", x[0].permute(1, 2, 0))
    compare("features", x[0].permute(1, 2, 0).reshape(-1, x.shape[1]))
    return worst > LIMIT


if __name__ == "__main__":
    sys.exit(main())
