import pytest
import torch
from torch import nn

from saliency_audit.catalogue.masking import Course
from saliency_audit.data import from_tensors
from saliency_audit.errors import AuditError, UnsupportedError
from saliency_audit.maps import top_pixels
from saliency_audit.methods.rt_sal import rt_sal
from saliency_audit.models import Classifier
from saliency_audit.outputs import OUTPUTS
from saliency_audit.seeding import generators
from saliency_audit.training.masker import (
    in_place_of,
    mask_loss,
    masked,
    total_variation,
    train_masker,
)

SIDE, PATCH = 24, 6
AREA = {"area": 8.0, "area_power": 0.3}


def planted_network():
    """Two classes: stripes across or stripes down. A detector of each, pooled, decides alone."""
    detect = nn.Conv2d(1, 4, 3, padding=1, padding_mode="replicate")
    across = torch.tensor([[0.0, -0.5, 0.0], [0.0, 1.0, 0.0], [0.0, -0.5, 0.0]])
    detect.weight.data = 5 * torch.stack([across, -across, across.T, -across.T])[:, None]
    detect.bias.data.fill_(-1.5)
    head = nn.Linear(4, 2)
    head.weight.data = 40 * torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    head.bias.data.zero_()
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(detect, nn.ReLU(), nn.AvgPool2d(2), *pool, head).eval()


def planted_images(count, seed=0):
    """Grey images with a striped patch anywhere, their classes and where the patch is."""
    draw = torch.Generator().manual_seed(seed)
    images = 0.5 + 0.03 * torch.randn(count, 1, SIDE, SIDE, generator=draw)
    labels = torch.arange(count) % 2
    inside = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    stripes = 0.4 * (-1.0) ** torch.arange(PATCH)[:, None].expand(PATCH, PATCH)
    for i, label in enumerate(labels.tolist()):
        row, column = torch.randint(SIDE - PATCH, (2,), generator=draw).tolist()
        place = slice(row, row + PATCH), slice(column, column + PATCH)
        images[i, 0][place] += stripes.T if label else stripes
        inside[i][place] = True
    return images.clamp(0, 1), labels, inside


@pytest.fixture
def planted():
    return Classifier(planted_network(), input_shape=(1, SIDE, SIDE), name="planted")


COURSE = Course(
    width=8,
    selector_steps=150,
    selector_batch=32,
    selector_falls=120,
    decoder_steps=80,
    decoder_batch=16,
    decoder_falls=60,
    **AREA,
    lr=1e-2,
)


def test_masks_hold_the_pixels_that_decide(planted):
    images, labels, _ = planted_images(128)
    before = {name: value.clone() for name, value in planted.state_dict().items()}
    done = []

    taught = train_masker(
        planted,
        from_tensors(images, labels),
        course=COURSE,
        seed=0,
        batch_size=64,
        advance=lambda made, total: done.append((made, total)),
    )

    assert done[0] == (1, COURSE.selector_steps + COURSE.decoder_steps)
    assert done[-1] == (len(done), len(done))
    assert all(torch.equal(before[name], value) for name, value in planted.state_dict().items())
    assert all(weight.requires_grad for weight in planted.parameters())
    assert taught.inside > 0.9 > 0.6 > taught.outside
    assert taught.tells > 0.9
    planted.masker = taught.masker
    others, classes, inside = planted_images(32, seed=1)
    mask = rt_sal(planted, others, classes)[:, 0]
    assert mask[inside].mean() > 3 * mask[~inside].mean()
    top = top_pixels(mask.double(), PATCH**2, seed=0)
    # By chance 36 of 576 pixels.
    assert (top & inside).sum((1, 2)).double().mean() / PATCH**2 > 0.6
    # Asked for the class that is not there, it holds little.
    assert rt_sal(planted, others, 1 - classes).mean() < mask.mean() / 2


def test_the_same_seed_gives_the_same_weights_whatever_the_batch_of_the_classifier(planted):
    images, labels, _ = planted_images(24)
    course = Course(
        width=4,
        selector_steps=2,
        selector_batch=8,
        selector_falls=1,
        decoder_steps=2,
        decoder_batch=8,
        decoder_falls=1,
        area=4.0,
        area_power=1.0,
    )

    def weights(seed, batch_size):
        made = train_masker(
            planted,
            from_tensors(images, labels),
            course=course,
            seed=seed,
            batch_size=batch_size,
        )
        return made.masker.network.state_dict()

    first, again, parts, other = weights(0, 8), weights(0, 8), weights(0, 3), weights(1, 8)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in first:
        torch.testing.assert_close(first[name], parts[name], rtol=1e-3, atol=1e-4)
    assert not torch.equal(first["leave.weight"], other["leave.weight"])


def test_the_loss_is_its_formula(planted):
    images, labels, _ = planted_images(3)
    masks = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    real = torch.tensor([True, False, True])

    def draws():
        return generators(0, "abc", "test")

    terms = mask_loss(planted, images, labels, real, masks, draws(), **AREA, batch_size=2)

    expected = dict.fromkeys(terms, 0.0)
    for i, one in enumerate(draws()):
        image, mask = images[i : i + 1], masks[i : i + 1]
        noise = torch.randn(1, SIDE, SIDE, generator=one)
        instead = in_place_of(image, [one])
        noisy = image + 0.015 * noise
        p = [
            float(planted(m * noisy + (1 - m) * instead).softmax(1)[0, labels[i]].detach())
            for m in (mask, 1 - mask)
        ]
        inside, outside = p if real[i] else reversed(p)
        expected["preserve"] -= torch.tensor(inside).log().item() / 3
        expected["destroy"] += 5 * outside**0.3 / 3
        expected["area"] += 8 * float(((mask + 0.0005) ** 0.3).mean()) / 3
        m = mask[0, 0]
        pairs = sum(
            float((m[r + 1, c] - m[r, c]) ** 2) for r in range(SIDE - 1) for c in range(SIDE)
        )
        pairs += sum(
            float((m[r, c + 1] - m[r, c]) ** 2) for r in range(SIDE) for c in range(SIDE - 1)
        )
        expected["smooth"] += 10 * pairs / SIDE**2 / 3
    for name, value in terms.items():
        assert float(value.detach()) == pytest.approx(expected[name], rel=1e-4), name


def test_total_variation_by_hand():
    mask = torch.tensor([[0.0, 1.0, 1.0], [0.5, 1.0, 0.0]])
    # Down .25, 0, 1; across 1, 0, .25, 1.
    assert float(total_variation(mask[None, None])) == pytest.approx(3.5 / 6)
    assert float(total_variation(torch.ones(1, 1, 4, 4))) == 0


def test_slopes_are_finite_where_the_mask_and_the_probability_are_0():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).eval()
    network[1].weight.data = torch.tensor([[300.0] * 16, [-300.0] * 16])
    model = Classifier(network, input_shape=(1, 4, 4))
    masks = torch.zeros(2, 1, 4, 4, requires_grad=True)
    images, labels = torch.ones(2, 1, 4, 4), torch.tensor([1, 1])

    terms = mask_loss(
        model,
        images,
        labels,
        torch.tensor([True, False]),
        masks,
        generators(0, "ab", "test"),
        **AREA,
    )
    sum(terms.values()).backward()

    assert all(value.isfinite() for value in terms.values())
    assert masks.grad.isfinite().all()


def test_what_stands_in_place_is_the_blurred_image_or_a_colour_by_a_coin():
    images = torch.zeros(64, 1, 28, 28)
    images[..., 14:] = 1.0
    instead = in_place_of(images, generators(0, [str(i) for i in range(64)], "test"))

    blurred = instead[..., 0].abs().amax((1, 2)) < 1e-6
    assert 16 < int(blurred.sum()) < 48
    # A step under a Gaussian of 1.375 pixels, half a pixel beyond it.
    half = 0.5 * (1 + torch.erf(torch.tensor(0.5 / 1.375 / 2**0.5)))
    torch.testing.assert_close(instead[blurred][..., 14].mean(), half, rtol=0.05, atol=0)
    plain = instead[~blurred].flatten(1)
    assert (plain.mean(1) - 0.5).abs().max() < 0.18
    assert float(plain.std(1).mean()) == pytest.approx(0.055, rel=0.05)


def test_a_mask_of_ones_leaves_the_image_and_one_of_zeros_what_stands_in_its_place():
    images, instead = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(masked(images, ones, instead), images)
    assert torch.equal(masked(images, 0 * ones, instead), instead)


def test_what_cannot_be_trained_says_so(planted):
    images, labels, _ = planted_images(8)
    data = from_tensors(images, labels)
    with pytest.raises(UnsupportedError, match="learns from one class for each image"):
        train_masker(
            planted.replaced(planted.network, outputs=OUTPUTS["multi-label"]),
            data,
            course=COURSE,
            seed=0,
            batch_size=8,
        )
    planted.network[-1].weight.data.fill_(torch.nan)
    with pytest.raises(AuditError, match="not finite at step"):
        train_masker(planted, data, course=COURSE, seed=0, batch_size=8)
