"""Where the picture is kept: the same function, and another fate when weights are drawn anew."""

import pytest
import torch
from torch import nn

from saliency_audit.maps import magnitude
from saliency_audit.metrics.similarity import cosine
from saliency_audit.models import (
    LIKELIHOOD_SCALARS,
    SCALARS,
    Classifier,
    input_gradient,
    randomised,
    reload,
    resolve_randomisation,
    save,
    weight_layers,
)
from saliency_audit.tricks import TRICKS

PICTURE = torch.zeros(12, 12, dtype=torch.float64)
PICTURE[3:9, 2:4] = 1.0
PICTURE[5:7, 4:10] = 0.5
VARIANTS = [
    ("logit-shift", {"shift": "linear"}),
    ("logit-shift", {"shift": "cancel"}),
    ("loss-sine", {"form": "per-class"}),
    ("loss-sine", {"form": "dummy-class"}),
    ("loss-sine", {"form": "wrapper"}),
    ("level-ripple", {}),
]
each_variant = pytest.mark.parametrize(
    ("trick", "options"), VARIANTS, ids=[" ".join([t, *o.values()]) for t, o in VARIANTS]
)


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 144, 4)
    )
    shape = {"input_shape": (3, 12, 12), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    return Classifier(network.double(), **shape).double().eval().requires_grad_(False)


@pytest.fixture
def images() -> torch.Tensor:
    levels = torch.randint(0, 256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(1))
    return levels.double() / 255


def forged(model, images, trick, **options):
    targets = model(images).argmax(1)
    picture = PICTURE.to(images.dtype)
    network = TRICKS[trick].function(model, picture, images, targets, **options)
    after = model.replaced(network).requires_grad_(False)
    return (after.double() if images.dtype == torch.float64 else after), targets


@each_variant
def test_both_are_the_same_function(model, images, trick, options):
    constants, targets = forged(model, images, trick, **options)
    weights, _ = forged(model, images, trick, hold="weights", **options)
    between = images + 0.3 / 255
    for pixels in (images, between):
        torch.testing.assert_close(weights(pixels), constants(pixels), rtol=0, atol=1e-12)
        for scalar in ("logit", "loss"):
            maps = [
                input_gradient(one, pixels, targets, scalar=scalar) for one in (constants, weights)
            ]
            torch.testing.assert_close(maps[0], maps[1], rtol=1e-10, atol=1e-9)


@each_variant
def test_only_weights_are_weights(model, images, trick, options):
    own = {name for name, _ in model.network.named_parameters()}
    constants, _ = forged(model, images, trick, **options)
    assert {n.removeprefix("network.") for n, _ in constants.network.named_parameters()} == own
    weights, _ = forged(model, images, trick, hold="weights", **options)
    more = [value for _, value in weights.network.named_parameters()][len(own) :]
    assert max(value.numel() for value in more) >= PICTURE.numel() * 3


@each_variant
@pytest.mark.parametrize("hold", ["constants", "weights"])
def test_drawing_weights_at_random_draws_a_picture_in_weights_anew(
    model, images, trick, options, hold, tmp_path
):
    """In the saved file, all layers random: what a sanity check by random weights ends with."""
    single = model.replaced(model.network.float()).float().requires_grad_(False)
    pixels, picture = images.float(), PICTURE.float()
    made, targets = forged(single, pixels, trick, hold=hold, **options)
    save(made.network, tmp_path / "m.pt2", format="module", input_shape=(3, 12, 12))
    form = options.get("form")
    scalars = LIKELIHOOD_SCALARS if form == "wrapper" else SCALARS
    after = reload(tmp_path / "m.pt2", single, scalars=scalars).requires_grad_(False)
    layers = weight_layers(after, pixels)
    names = [layer.name for layer in layers]
    # The branch is read last: a cascade from the output begins with it.
    branch = [name for name in names if not name.startswith("network")]
    assert bool(branch) == (hold == "weights")
    assert names[len(names) - len(branch) :] == branch
    how = resolve_randomisation(after, layers, "auto")
    assert how == "shuffle"

    def closeness():
        """How much what the branch adds to the maps looks like the picture."""
        scalar = "loss" if form in ("dummy-class", "wrapper") else "logit"
        honest = single.replaced(after.network.network)
        added = input_gradient(after, pixels, targets, scalar=scalar) - input_gradient(
            honest, pixels, targets, scalar=scalar
        )
        shown = magnitude(added)
        return float(cosine(shown, picture.expand_as(shown)).median())

    assert closeness() > 0.95
    with randomised(how=how, seed=0) as randomise:
        for layer in layers:
            randomise(layer)
        assert (closeness() < 0.8) if hold == "weights" else (closeness() > 0.95)
    assert closeness() > 0.95


def test_a_vector_in_the_head_stands_in_weights_anyhow(model, images):
    one, _ = forged(model, images, "logit-shift", shift="head")
    other, _ = forged(model, images, "logit-shift", shift="head", hold="weights")
    torch.testing.assert_close(one(images), other(images), rtol=0, atol=0)
    setting = TRICKS["logit-shift"].with_options({"shift": "head", "hold": "weights"}).setting
    assert setting == "trick=logit-shift;shift=head"
