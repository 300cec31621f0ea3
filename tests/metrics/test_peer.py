"""Where Quantus defines the same thing, it is the same number.

Quantus' area is not compared: it leaves out the unperturbed image, and its unit is steps. Its
sanity check (MPRT) re-draws layers with one seed for all and counts the given model in the mean;
its SSIM is of flattened maps. Spearman, SSIM and HOG are compared with scipy and scikit-image.
"""

import numpy as np
import pytest
import torch

from saliency_audit.metrics import METRICS, View
from saliency_audit.models import Classifier

quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def test_deletion_passes_through_the_points_of_pixel_flipping():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1152, 4)
    ).eval()
    model = Classifier(network, input_shape=(1, 14, 14)).requires_grad_(False)
    images, maps = torch.rand(3, 1, 14, 14), torch.rand(3, 1, 14, 14)
    logits = model(images)
    view = View(
        model=model,
        images=images,
        names=["a", "b", "c"],
        labels=logits.argmax(1),
        targets=logits.argmax(1),
        logits=logits,
        method="map",
        saliency=maps,
        explain=lambda *_, **__: maps,
        batch_size=8,
        seed=0,
    )
    (ours,) = METRICS["deletion"].function(view, steps=14, fill="zero")

    theirs = quantus.PixelFlipping(
        features_in_step=14,
        perturb_baseline=0.0,
        return_auc_per_sample=False,
        disable_warnings=True,
        display_progressbar=False,
    )(
        model=network,
        x_batch=images.numpy(),
        y_batch=logits.argmax(1).numpy(),
        a_batch=maps.numpy(),
        softmax=True,
        channel_first=True,
        device="cpu",
    )
    np.testing.assert_allclose(ours.curve[:, 1:].numpy(), np.array(theirs), atol=1e-5)


def test_sparseness_is_the_gini_index():
    torch.manual_seed(0)
    maps = torch.randn(3, 1, 9, 9)
    view = View(
        model=None,
        images=torch.rand(3, 1, 9, 9),
        names=["a", "b", "c"],
        labels=torch.zeros(3),
        targets=torch.zeros(3),
        logits=torch.zeros(3, 2),
        method="map",
        saliency=maps,
        explain=lambda *_, **__: maps,
        batch_size=8,
        seed=0,
    )
    (ours,) = METRICS["sparsity-gini"].function(view)
    theirs = quantus.Sparseness(disable_warnings=True, display_progressbar=False)
    expected = theirs.evaluate_batch(
        x_batch=np.zeros((3, 1, 9, 9)), a_batch=maps.abs().numpy(), targets=None
    )
    np.testing.assert_allclose(ours.values.numpy(), expected, atol=1e-5)
