"""A map that is zero everywhere comes with its reason, in every command that shows maps."""

import pytest
import torch

from saliency_audit import audits
from saliency_audit.commands.check.audit import check
from saliency_audit.data import from_tensors
from saliency_audit.models import Classifier
from tests.methods.test_gradcam import PartlyNegative

WHY = "its weights cancel in layer second, which has no positive evidence for the class"


@pytest.mark.parametrize("audit", [audits.evaluate, audits.fool, audits.attack, check])
def test_the_reason_is_told_once_with_the_layer_that_has_some(audit):
    network = PartlyNegative().eval()
    network.head.weight.data[0] = 9.0  # x - 2 < 0, so class 1, of weight 1, is predicted
    model = Classifier(network, input_shape=(1, 8, 8))
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    data = from_tensors((images * 255).round() / 255, torch.ones(3, dtype=torch.long))
    asked = {
        check: {"saliency": ["gradcam"]},
        audits.evaluate: {"metrics": ["deletion"], "saliency": ["gradcam"]},
        audits.fool: {"tricks": ["logit-shift"], "saliency": ["gradcam"], "scalars": ["logit"]},
        audits.attack: {"attacks": ["pgd"], "measure": ["gradcam"], "search": {"steps": 1}},
    }
    told = []
    list(audit(model, data, **asked[audit], tell=told.append))

    assert [line for line in told if "zero everywhere" in line] == [
        f"gradcam is zero everywhere on 00000 (3 of the first 3 images): {WHY}; "
        "the next before it that has some: --layer first"
    ]
