"""Distances of adversarial examples to a plane: by hand, and what is beside them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from saliency_audit.attacks import ATTACKS
from saliency_audit.budget import lengths
from saliency_audit.errors import InputError
from saliency_audit.metrics.manifold_distance import manifold_distance
from saliency_audit.models import Classifier
from saliency_audit.models.manifold import Manifold, ManifoldDesign, Subspace
from saliency_audit.seeding import generators
from tests.metrics.test_contract import view_of

SHAPE = (1, 8, 8)


class Recorded:
    """Attacks, and the images that they made."""

    def __init__(self):
        self.made = {"pgd": [], "random": []}
        self.asked = []

    def __call__(self, model, images, *, names, attack="pgd", **options):
        self.asked.append(options)
        made = ATTACKS[attack].function(
            model, None, None, images, None, generators=generators(0, names, attack), **options
        )
        self.made[attack].append(made)
        return made


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    return Classifier(network, input_shape=SHAPE, name="linear").requires_grad_(False).eval()


@pytest.fixture
def images():
    draw = torch.Generator().manual_seed(1)
    return torch.randint(60, 200, (4, *SHAPE), generator=draw).float() / 255


def plane():
    draw = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(64, 5, generator=draw))[0].T.contiguous()
    return Manifold(ManifoldDesign("pca", SHAPE, 5), Subspace(torch.zeros(64), basis))


def measured(model, images, recorded, **options):
    view = view_of(model, images, batch_size=2)
    view = replace(view, attack=recorded, beside={"manifold": plane()})
    return {one.check or "attacked": one for one in manifold_distance(view, **options)}


def normal_part(images):
    x = (2 * images - 1).flatten(1)
    basis = plane().network.basis
    return (x - x @ basis.T @ basis).norm(dim=1)


def test_each_is_the_part_normal_to_the_plane(model, images):
    recorded = Recorded()
    found = measured(model, images, recorded, eps=2.0, attack_steps=10)
    examples, noisy = (torch.cat(recorded.made[name]) for name in ("pgd", "random"))
    assert (model(examples).argmax(1) != model(images).argmax(1)).all()
    torch.testing.assert_close(found["attacked"].values, normal_part(examples))
    torch.testing.assert_close(found["manifold-distance-clean"].values, normal_part(images))
    torch.testing.assert_close(found["manifold-distance-noise"].values, normal_part(noisy))
    # The control is as long as the attack: as long as 8 bits allow.
    torch.testing.assert_close(
        lengths(noisy - images), lengths(examples - images), rtol=0.01, atol=0
    )
    assert found["attacked"].setting == "eps=2;norm=l2;attack-steps=10;manifold=pca"


def test_p3s_attack_is_asked_for(model, images):
    recorded = Recorded()
    measured(model, images, recorded)
    asked = recorded.asked[0]
    # P3: ball of 12, 40 steps of 2, in [-1, 1]
    assert (asked["eps"], asked["steps"], asked["step_size"]) == (6.0, 40, pytest.approx(1.0))
    assert (asked["norm"], asked["from_random"]) == ("l2", False)


def test_what_kept_its_class_is_undefined_and_clean_ones_stay(model, images):
    found = measured(model, images, Recorded(), eps=1 / 255, attack_steps=2)
    kept = found["attacked"].values.isnan()
    assert kept.any()
    assert torch.equal(found["manifold-distance-noise"].values.isnan(), kept)
    assert found["manifold-distance-clean"].values.isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"), [({"eps": 0.0}, "eps is 0"), ({"attack_steps": 0}, "is 0")]
)
def test_what_means_nothing_is_refused(model, images, options, said):
    with pytest.raises(InputError, match=said):
        measured(model, images, Recorded(), **options)
