"""A share of images makes way for others; labels change places."""

import torch

from saliency_audit.data import from_tensors
from saliency_audit.data.dataset import permuted, subset, swapped


def data(n, value):
    return from_tensors(torch.full((n, 1, 4, 4), value), labels=torch.arange(n) % 3)


def test_a_share_makes_way():
    ours, others = data(20, 0.25), data(8, 0.75)
    found = swapped(ours, others, 0.2, seed=1)
    values = [float(found[i].image.mean()) for i in range(len(found))]
    assert len(found) == 20
    assert values.count(0.25) == 16
    assert values.count(0.75) == 4
    assert len(set(found.names)) == 20
    assert found.fingerprint != ours.fingerprint
    assert found.fingerprint == swapped(ours, others, 0.2, seed=1).fingerprint


def test_of_a_subset_the_right_images_are_read():
    images = torch.arange(10).view(10, 1, 1, 1).expand(10, 1, 4, 4) / 255
    whole = from_tensors(images.contiguous(), labels=torch.arange(10))
    found = swapped(subset(whole, 6, 0), subset(whole, 4, 3), 0.5, seed=0)
    for i in range(len(found)):
        sample = found[i]
        assert round(float(sample.image.mean()) * 255) == sample.label


def test_labels_change_places():
    ours = data(30, 0.5)
    found = permuted(ours, seed=2)
    assert sorted(found.labels) == sorted(ours.labels)
    assert (found.labels != ours.labels).any()
    assert (found.labels == permuted(ours, seed=2).labels).all()
