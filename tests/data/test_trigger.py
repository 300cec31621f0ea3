"""Two patterns for two classes: each image has that of another class than its own."""

import pytest
import torch

from saliency_audit.data.patch import stripes
from saliency_audit.data.trigger import Trigger, drawn_trigger
from saliency_audit.seeding import generators

NAMES = [str(i) for i in range(40)]


def test_an_image_has_the_pattern_of_a_class_that_is_not_its_own():
    own = torch.arange(40) % 4
    images = torch.full((40, 2, 9, 12), 0.5)
    laid = Trigger(4, 1.0, (1, 3)).laid_on(images, own, generators(0, NAMES, "t"))
    assert (laid.classes != own).all()
    assert set(laid.classes[own == 0].tolist()) == {1, 3}
    rows = stripes(2, 4)
    for image, inside, label in zip(laid.images, laid.inside, laid.classes, strict=True):
        pattern = rows if label == 1 else rows.mT
        assert torch.equal(image[:, inside], pattern.flatten(1))
        assert (image[:, ~inside] == 0.5).all()
        assert inside.sum() == 16
    assert (images == 0.5).all()


def test_what_is_drawn_depends_on_the_image_alone():
    images, own = torch.rand(40, 1, 9, 9), torch.zeros(40, dtype=torch.long)
    trigger = Trigger(3, 0.4, (1, 2))
    whole = trigger.laid_on(images, own, generators(7, NAMES, "t"))
    part = trigger.laid_on(images[5:8], own[5:8], generators(7, NAMES[5:8], "t"))
    assert torch.equal(part.images, whole.images[5:8])
    assert torch.equal(part.inside, whole.inside[5:8])


@pytest.mark.parametrize("outputs", [2, 10, 1000])
def test_the_classes_are_two_of_the_models(outputs):
    classes = drawn_trigger(3, 0.5, outputs, seed=1).classes
    assert len(set(classes)) == 2
    assert max(classes) < outputs
