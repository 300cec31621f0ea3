"""The networks of this reproduction, as ``--arch networks:SmallResNet`` and ``networks:resnet18``.

They have ReLU; the tool puts softplus in its place, as P0 has it in every block.
"""

from torch import Tensor, nn
from torchvision.models import resnet18 as torchvision_resnet18


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(n, outputs, h / stride, w / stride)``."""
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(images)))))
        return self.relu2(inner + self.shortcut(images))


class SmallResNet(nn.Sequential):
    """Eight layers of 16, 32 and 64 channels; the first convolution takes steps of two."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            Block(16, 16, 1),
            Block(16, 32, 2),
            Block(32, 64, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, num_classes),
        )


def resnet18(num_classes: int = 10) -> nn.Module:
    """ResNet-18 with the usual stem for 32x32 images: one 3x3 convolution, no pooling."""
    network = torchvision_resnet18(num_classes=num_classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network
