"""The networks of P0's experiments, as ``--arch networks:small`` and so on; 3x32x32 images in.

They have ReLU; the tool puts softplus in its place, as P0 has it in every block.
"""

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions beside a way around them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.around: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.around = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` to ``(n, outputs, h / stride, w / stride)``."""
        y = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.norm2(self.conv2(y)) + self.around(x))


class ResNet(nn.Sequential):
    """A 3x3 stem without pooling, blocks, the mean over places and one dense layer."""

    def __init__(self, stem: tuple[int, int], blocks: list[tuple[int, int]], classes: int) -> None:
        width, stride = stem
        parts: list[nn.Module] = [
            nn.Conv2d(3, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for outputs, stride in blocks:
            parts.append(Block(width, outputs, stride))
            width = outputs
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def small(classes: int = 10) -> nn.Module:
    """Eight layers on a half and less of the image's side: for a CPU."""
    return ResNet((24, 2), [(24, 1), (48, 2), (96, 2)], classes)


def smaller(classes: int = 10) -> nn.Module:
    """The same with 16 to 64 channels, for a sweep on a CPU."""
    return ResNet((16, 2), [(16, 1), (32, 2), (64, 2)], classes)


def resnet18(classes: int = 10) -> nn.Module:
    """ResNet-18 as P0 has it for CIFAR."""
    widths = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]
    return ResNet((64, 1), widths, classes)


def judge(classes: int = 10, width: int = 32) -> nn.Module:
    """Another architecture, trained apart: plain convolutions, as P0's judge is a VGG."""
    parts: list[nn.Module] = []
    before = 3
    for outputs in (width, 2 * width, 4 * width):
        for inputs in (before, outputs):
            parts += [
                nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        parts.append(nn.MaxPool2d(2))
        before = outputs
    return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width * 16, classes))


def wide_judge(classes: int = 10) -> nn.Module:
    """The judge of the full experiment."""
    return judge(classes, 128)
