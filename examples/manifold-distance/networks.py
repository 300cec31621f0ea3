"""The networks of figure_1.py: P3's for Fashion-MNIST (A.1), and a small one for --quick."""

from torch import nn


def p3_cnn() -> nn.Module:
    """Two convolutions of 64 and 32 filters, 1,024 units: 28 x 28 grey to 10 logits."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(64, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 1024),
        nn.ReLU(),
        nn.Linear(1024, 10),
    )


def small_cnn() -> nn.Module:
    """A twentieth of its multiplications: 16 and 32 filters, each pooled, 128 units."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
