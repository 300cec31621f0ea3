"""PGD against the closed form on linear models, and what it may not do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency_audit.ascent import attack_loss
from saliency_audit.attacks.pgd import pgd
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from tests.conftest import Linear


def binary(weight, bias=0.0):
    """Logits (w.x + bias, 0)."""
    both = torch.stack([weight, torch.zeros_like(weight)])
    return Classifier(Linear(both, torch.tensor([bias, 0.0])), input_shape=tuple(weight.shape))


def run(model, images, seeds=None, **options):
    count = len(images)
    return pgd(
        model, None, None, images, torch.zeros(count, dtype=torch.long),
        generators=seeds or generators(0, [str(i) for i in range(count)], "pgd"),
        **{"eps": 8 / 255, "steps": 20, **options},
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["xent", "cw"])
def test_a_linear_model_is_left_along_its_weight(norm, loss):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 6, 6, generator=generator)
    images = torch.full((1, 1, 6, 6), 128 / 255)
    eps = 16 / 255 if norm == "linf" else 0.6
    step = weight.sign() * eps if norm == "linf" else weight * eps / weight.norm()
    # The class changes only at the optimum's neighbourhood.
    edge = float((weight * (images[0] - 0.97 * step)).sum())
    model = binary(weight, -edge)
    assert int(model(images).argmax(1)) == 0
    found = run(model, images, eps=eps, norm=norm, loss=loss, from_random=False, steps=40)
    assert int(model(found).argmax(1)) == 1
    tolerance = 1e-6 if norm == "linf" else 1.01 / 255
    torch.testing.assert_close(found, images - step, rtol=0, atol=tolerance)


def test_out_of_reach_gives_the_image_back():
    model = binary(torch.ones(1, 4, 4), bias=100.0)
    images = torch.full((2, 1, 4, 4), 100 / 255)
    assert torch.equal(run(model, images), images)
    assert torch.equal(run(model, images, eps=0.0), images)


def test_cw_masks_the_true_class_even_where_all_logits_are_negative():
    logits = torch.tensor([[-5.0, -2.0, -9.0], [-1.0, -4.0, -3.0]])
    loss = attack_loss(logits, torch.tensor([1, 0]), loss="cw")
    assert loss.tolist() == [-3.0, -2.0]


def test_cross_entropy_is_that_of_the_class_to_leave():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 1])
    expected = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(attack_loss(logits, classes), expected)


@settings(max_examples=20, deadline=None)
@given(
    eps=st.sampled_from([0.0, 1 / 255, 0.03, 0.2, 1.0]),
    norm=st.sampled_from(["linf", "l2"]),
    seed=st.integers(0, 1000),
    restarts=st.integers(1, 2),
)
def test_budget_range_and_grid_hold(eps, norm, seed, restarts):
    generator = torch.Generator().manual_seed(seed)
    model = binary(torch.randn(3, 4, 4, generator=generator))
    images = torch.randint(256, (3, 3, 4, 4), generator=generator).float() / 255
    found = run(model, images, eps=eps, norm=norm, restarts=restarts, steps=5)
    change = (found - images).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (size <= eps + 1e-6).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found * 255).round() - found * 255).abs().max() < 1e-3
    moved = change.abs().amax(1) > 0
    changed = model(found).argmax(1) != model(images).argmax(1)
    assert torch.equal(moved, changed)


def test_restarts_find_at_least_as_much(cnn, images):
    images = (images * 255).round() / 255
    cnn.eval().requires_grad_(False)
    classes = cnn(images).argmax(1)

    def left(restarts):
        found = run(cnn, images, eps=2 / 255, steps=3, restarts=restarts)
        return int((cnn(found).argmax(1) != classes).sum())

    assert left(4) >= left(1)


def test_wrong_options_are_named():
    model, images = binary(torch.ones(1, 2, 2)), torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="needs a budget"):
        run(model, images, eps=None)
    with pytest.raises(InputError, match="hinge"):
        run(model, images, loss="hinge")
    with pytest.raises(InputError, match="adam"):
        run(model, images, rule="adam")
