"""The architecture of the bundled model: small, plain, and friendly to every saliency method."""

from torch import Tensor, nn


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    # Each ReLU is its own module and not in-place, so hooks and DeepLIFT-like rules can rely on it.
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class FashionMnistCnn(nn.Module):
    """Five 3x3 convolutions, global average pooling, one linear layer: 28x28 grey to 10 logits.

    The last spatial map is 128 x 7 x 7. Images are expected in [0, 1], not normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(1, 32),
            nn.MaxPool2d(2),
            *_block(32, 64),
            *_block(64, 64),
            nn.MaxPool2d(2),
            *_block(64, 96),
            *_block(96, 128),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, 10)`` of images ``(n, 1, 28, 28)``."""
        logits: Tensor = self.head(self.pool(self.features(images)))
        return logits
