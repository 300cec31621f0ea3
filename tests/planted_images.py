"""Small images whose class stands in known pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CLASSES = 8, 3


def write_planted(folder, each, seed):
    """Noise, and one bright pixel of the first row, whose column is the class."""
    rng = np.random.default_rng(seed)
    for label in range(CLASSES):
        (Path(folder) / str(label)).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(90, 160, (SIDE, SIDE)).astype(np.uint8)
            pixels[0, :CLASSES] = 40
            pixels[0, label] = 215
            Image.fromarray(pixels).save(Path(folder) / str(label) / f"{i}.png")
