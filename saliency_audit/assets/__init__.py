"""The bundled model, its images, photographs and the picture to forge, with their card."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.torch import load_file
from torch import nn

from saliency_audit.assets.fashion_mnist_cnn import FashionMnistCnn as FashionMnistCnn

FOLDER = Path(__file__).parent
FASHION_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]


def bundled_model() -> nn.Module:
    """The Fashion-MNIST classifier of CARD.md, in eval: 1x28x28 in [0, 1] to 10 logits."""
    model = FashionMnistCnn()
    model.load_state_dict(load_file(FOLDER / "fashion-mnist-cnn.safetensors"))
    return model.eval()


def bundled_images(
    split: Literal["test", "train"],
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]], list[str]]:
    """Fashion-MNIST images: 1,000 of the test set, or 6,000 of the training set.

    Returns:
        Images ``(n, 28, 28)``, labels ``(n,)``, and names that give each image's place in the
        original files.
    """
    with np.load(FOLDER / f"fashion-mnist-{split}.npz", allow_pickle=False) as arrays:
        names = [f"{split}/{index:05d}" for index in arrays["indices"].tolist()]
        return arrays["images"], arrays["labels"].astype(np.int64), names


def photographs() -> list[Path]:
    """Colour photographs in the public domain, about 256 pixels on the shorter side."""
    return sorted((FOLDER / "photographs").glob("*.jpg"))


def picture_path() -> Path:
    """The picture that models are made to show: 224x224, white on black, 8-bit grey."""
    return FOLDER / "picture.png"


def default_policy(*, without: Collection[str] = ()) -> str:
    """What `saliency-audit gate` asks of a model without a policy of one's own, with reasons.

    Args:
        without: metrics whose checks are left out, with the lines that give the reasons.
    """
    text = (FOLDER / "policy.toml").read_text("utf-8")
    left_out = [f'metric = "{name}"' for name in without]
    parts = text.split("\n\n")
    return "\n\n".join(part for part in parts if not set(left_out) & set(part.split("\n")))
