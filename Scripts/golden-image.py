#!/usr/bin/env python3
"""Makes Tests/Golden/image: small JPEGs of every kind, and the pixels they must decode to.

    python3 -m venv .venv && .venv/bin/pip install -r Scripts/requirements.txt
    .venv/bin/python Scripts/golden-image.py

Of those requirements it needs pillow and numpy. Pillow 11.3 and 13.0 write the same bytes.

Pillow decodes with DCT scaling (draft), converts to RGB, resizes and turns by the EXIF
orientation. It resizes in two calls, width first: within one call Pillow 13 chooses the order of
the passes by the picture's shape, earlier versions always took the width first.

Each NAME.jpg has NAME.rgb beside it: side x side interleaved RGB bytes. manifest.json lists them.
The pictures are drawn here from a formula, so nothing is downloaded and nobody's photo is used.
"""

import io
import json
import pathlib
import struct

import numpy
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "image"


def scene(width, height, channels=3):
    """Gradients, waves, hard edges and a little noise, uint8 of height x width x channels."""
    y, x = numpy.mgrid[0:height, 0:width]
    u, v = (x + 0.5) / width, (y + 0.5) / height
    planes = []
    for channel in range(channels):
        wave = numpy.sin(2 * numpy.pi * (u * (2 + channel) + v * (3 - channel) + channel / 3))
        plane = 128 + 70 * wave + 50 * (u - v) * (-1) ** channel
        plane = numpy.where((u - 0.65) ** 2 + (v - 0.4) ** 2 < 0.03, 230 - 90 * channel, plane)
        plane = numpy.where((u < 0.25) & (v > 0.7), 20 + 80 * channel, plane)
        planes.append(plane)
    noise = numpy.random.default_rng(7).integers(-6, 7, (height, width, channels))
    return numpy.clip(numpy.stack(planes, axis=-1) + noise, 0, 255).astype(numpy.uint8)


def picture(width, height):
    return Image.fromarray(scene(width, height))


def jpeg(image, quality=85, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def segments(data):
    """Yields (offset, marker, size of the whole segment) up to the start of the scan."""
    position = 2
    while data[position + 1] != 0xDA:
        size = 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
        yield position, data[position + 1], size
        position += size


def adobe_segment(data):
    return next((offset, size) for offset, marker, size in segments(data) if marker == 0xEE)


def without_adobe_marker(data):
    offset, size = adobe_segment(data)
    return data[:offset] + data[offset + size :]


def with_adobe_transform(data, transform):
    offset, _ = adobe_segment(data)
    changed = bytearray(data)
    changed[offset + 15] = transform
    return bytes(changed)


def ycck(width, height):
    """Pillow writes no YCCK: give it Y, Cb, Cr, K as if they were inks, then say what they are."""
    light = Image.fromarray(scene(width, height)).convert("YCbCr")
    black = 255 - scene(width, height, 4)[..., 3] // 3
    planes = numpy.dstack([numpy.asarray(light), black])
    # Pillow inverts what it writes as CMYK.
    return with_adobe_transform(jpeg(Image.fromarray(255 - planes, "CMYK")), 2)


def exif_orientation(value, order):
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, value, 0)
    directory = struct.pack(order + "H", 1) + entry + struct.pack(order + "I", 0)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + magic + struct.pack(order + "I", 8) + directory


def samples():
    """Yields (name, JPEG bytes, side)."""
    yield "420-odd-size", jpeg(picture(61, 47), subsampling="4:2:0"), 32
    yield "422", jpeg(picture(75, 50), subsampling="4:2:2"), 32
    yield "444", jpeg(picture(40, 44), subsampling="4:4:4"), 32
    yield "grey", jpeg(picture(50, 33).convert("L")), 32
    yield "rgb-components", jpeg(picture(45, 39), keep_rgb=True), 32
    yield "progressive-tall", jpeg(picture(70, 130), progressive=True), 32
    yield "progressive-grey", jpeg(picture(66, 40).convert("L"), progressive=True), 32
    yield "restart-markers", jpeg(picture(64, 48), restart_marker_blocks=2), 32

    inks = Image.fromarray(scene(44, 36, 4), "CMYK")
    yield "cmyk", jpeg(inks), 32
    yield "cmyk-without-adobe-marker", without_adobe_marker(jpeg(inks)), 32
    yield "cmyk-scaled", jpeg(Image.fromarray(scene(140, 133, 4), "CMYK"), 70), 32
    yield "ycck", ycck(52, 41), 32

    yield "one-pixel", jpeg(picture(1, 1)), 32
    yield "enlarged", jpeg(picture(7, 5)), 32
    yield "thin", jpeg(picture(300, 3)), 32
    yield "same-size", jpeg(picture(32, 32)), 32
    yield "half-scale", jpeg(picture(67, 97)), 32
    yield "quarter-scale", jpeg(picture(129, 255), 70), 32
    yield "eighth-scale", jpeg(picture(301, 279), 60), 32
    yield "eighth-scale-progressive", jpeg(picture(256, 260), 60, progressive=True), 32
    yield "larger-side", jpeg(picture(200, 150), 70), 64

    for value in range(1, 9):
        order = "<" if value % 2 else ">"
        exif = exif_orientation(value, order)
        yield f"orientation-{value}", jpeg(picture(56, 38), exif=exif), 32


def expected(data, side):
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft("RGB", (side, side))
    orientation = image.getexif().get(0x0112, 1)
    image = image.convert("RGB")
    image = image.resize((side, image.height), Image.Resampling.BILINEAR)
    image = image.resize((side, side), Image.Resampling.BILINEAR)
    image.getexif()[0x0112] = orientation
    return ImageOps.exif_transpose(image).tobytes()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    entries = []
    for name, data, side in samples():
        pixels = expected(data, side)
        assert len(pixels) == side * side * 3
        (FOLDER / f"{name}.jpg").write_bytes(data)
        (FOLDER / f"{name}.rgb").write_bytes(pixels)
        entries.append({"name": name, "side": side})
    (FOLDER / "manifest.json").write_text(json.dumps(entries, indent=1) + "\n")
    total = sum(file.stat().st_size for file in FOLDER.iterdir())
    print(f"{len(entries)} pictures, {total / 1024:.0f} KiB in {FOLDER}")


if __name__ == "__main__":
    main()
