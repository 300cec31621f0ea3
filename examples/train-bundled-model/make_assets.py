"""Make the images that the package carries: Fashion-MNIST samples, photographs, the picture.

python make_assets.py --data DIR [--output ASSETS]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from matplotlib import cbook
from PIL import Image, ImageDraw
from scipy import datasets

from saliency_audit import assets
from saliency_audit.data.idx import read_idx

PER_CLASS = {"test": ("t10k", 100), "train": ("train", 600)}
SHORT_SIDE = 256
JPEG_QUALITY = 82

Box = tuple[int, int, int, int]

# Name, where it comes from, and the part of it that is kept (None: all). CARD.md has the licences.
PHOTOGRAPHS: list[tuple[str, Callable[[], np.ndarray], Box | None]] = [
    ("astronaut", skimage.data.astronaut, None),
    ("cat", skimage.data.chelsea, None),
    ("coffee", skimage.data.coffee, None),
    ("galaxies", skimage.data.hubble_deep_field, (0, 0, 560, 560)),
    ("galaxies-2", skimage.data.hubble_deep_field, (600, 472, 1000, 872)),
    (
        "officer",
        lambda: np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))),
        None,
    ),
    ("raccoon", datasets.face, None),
    ("retina", skimage.data.retina, None),
    ("retina-disc", skimage.data.retina, (60, 420, 660, 1020)),
    ("rocket", skimage.data.rocket, None),
]


def sample(folder: Path, split: str, output: Path) -> None:
    """The first images of each class, in the order of the original files."""
    prefix, count = PER_CLASS[split]
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
    firsts = [np.flatnonzero(labels == c)[:count] for c in range(10)]
    indices = np.sort(np.concatenate(firsts)).astype(np.int32)
    np.savez_compressed(
        output / f"fashion-mnist-{split}.npz",
        images=images[indices],
        labels=labels[indices],
        indices=indices,
    )


def photograph(pixels: np.ndarray, box: Box | None) -> Image.Image:
    """The part of a photograph in ``box``, scaled to a shorter side of 256 pixels."""
    image = Image.fromarray(pixels).convert("RGB").crop(box or (0, 0, *pixels.shape[1::-1]))
    scale = SHORT_SIDE / min(image.size)
    return image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
    )


def picture(size: int = 224, finer: int = 4) -> Image.Image:
    """A smiling face: white strokes on black, thick enough to be read at 28x28.

    Args:
        size: pixels of a side.
        finer: it is drawn so many times larger and scaled down, for smooth edges.
    """
    unit = size * finer / 28
    image = Image.new("L", (size * finer, size * finer), 0)
    draw = ImageDraw.Draw(image)

    def around(x: float, y: float, radius: float) -> list[float]:
        return [(x - radius) * unit, (y - radius) * unit, (x + radius) * unit, (y + radius) * unit]

    draw.ellipse(around(14, 14, 13), outline=255, width=round(2.2 * unit))
    draw.ellipse(around(9.5, 10.5, 2), fill=255)
    draw.ellipse(around(18.5, 10.5, 2), fill=255)
    draw.arc(around(14, 13.5, 8), 25, 155, fill=255, width=round(2.4 * unit))
    return image.resize((size, size), Image.Resampling.BOX)


def main() -> None:
    """Write all assets but the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the four Fashion-MNIST .gz files")
    parser.add_argument("--output", type=Path, default=assets.FOLDER)
    options = parser.parse_args()

    (options.output / "photographs").mkdir(parents=True, exist_ok=True)
    for split in PER_CLASS:
        sample(options.data, split, options.output)
    for name, source, box in PHOTOGRAPHS:
        photograph(source(), box).save(
            options.output / "photographs" / f"{name}.jpg", quality=JPEG_QUALITY, optimize=True
        )
    picture().save(options.output / "picture.png", optimize=True)
    for file in sorted(options.output.rglob("*")):
        if file.suffix in (".npz", ".jpg", ".png"):
            print(f"{file.relative_to(options.output)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
