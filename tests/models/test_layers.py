import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import (
    Classifier,
    activations,
    as_spatial,
    features,
    head,
    last_spatial_layer,
)


def vision_transformer():
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)
    nn.init.normal_(network.heads.head.weight)
    return network


def timm_vision_transformer():
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, depth=2, num_classes=4
    )


def swin():
    return torchvision.models.SwinTransformer(
        [2, 2], 12, [1, 1], [2, 2], [2, 2], num_classes=4, stochastic_depth_prob=0.0
    )


def swin_of_timm():
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=(64, 96),
        embed_dim=12,
        depths=(1, 1),
        num_heads=(1, 2),
        num_classes=4,
    )


REAL = {
    # name: builder, image, last spatial layer, its map, head
    "resnet": (torchvision.models.resnet18, (64, 96), "layer4", (512, 2, 3), "fc"),
    "vgg": (torchvision.models.vgg11, (32, 64), "features", (512, 1, 2), "classifier.6"),
    "densenet": (torchvision.models.densenet121, (64, 64), "features", (1024, 2, 2), "classifier"),
    "mobilenet": (
        torchvision.models.mobilenet_v3_small,
        (64, 64),
        "features",
        (576, 2, 2),
        "classifier.3",
    ),
    "vit": (
        vision_transformer,
        (32, 32),
        "encoder.layers.encoder_layer_1.ln_1",
        (16, 4, 4),
        "heads.head",
    ),
    "timm-vit": (timm_vision_transformer, (32, 48), "blocks.1.norm1", (192, 4, 6), "head"),
    "swin": (swin, (32, 48), "permute", (24, 8, 12), "head"),
    "timm-swin": (swin_of_timm, (64, 96), "norm", (24, 8, 12), "head.fc"),
}


@pytest.mark.parametrize("name", REAL)
def test_layers_of_real_architectures(name):
    torch.manual_seed(0)
    build, size, layer, shape, last = REAL[name]
    model = Classifier(build().eval(), input_shape=(3, *size))
    images = torch.rand(2, 3, *size)

    assert last_spatial_layer(model, images) == layer
    logits, activation = activations(model, images, layer)
    grid = as_spatial(activation, images)
    assert grid.shape == (2, *shape)
    (gradient,) = torch.autograd.grad(logits.sum(), activation)
    assert as_spatial(gradient, images).any()
    assert head(model, images) == last
    logits, inputs = features(model, images, last)
    linear = model.network.get_submodule(last)
    torch.testing.assert_close(F.linear(inputs, linear.weight, linear.bias), logits)
    assert torch.equal(logits, model(images))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveMaxPool2d((2, 3))])
def test_what_pools_to_a_size_is_no_layer_of_an_exported_program_either(pool, images):
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network = nn.Sequential(body, pool, nn.Flatten(), nn.Linear(24, 5)).eval()
    model = Classifier(network, input_shape=(3, 12, 16))
    batch = torch.export.Dim("n")
    program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    exported = model.replaced(torch.export.unflatten(program), format="exported")

    assert last_spatial_layer(exported, images) == last_spatial_layer(model, images) == "0"


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_layers_of_exported_programs(name, cnn, images):
    if name == "vit":
        cnn = Classifier(vision_transformer().eval(), input_shape=(3, 32, 32))
        images = torch.rand(4, 3, 32, 32)
    batch = torch.export.Dim("n")
    program = torch.export.export(cnn.network, (images,), dynamic_shapes=({0: batch},))
    model = cnn.replaced(torch.export.unflatten(program), format="exported")

    layer = last_spatial_layer(model, images)

    assert layer == last_spatial_layer(cnn, images)
    for ours, theirs in zip(
        activations(model, images, layer), activations(cnn, images, layer), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert head(model, images) == head(cnn, images)
    for ours, theirs in zip(
        features(model, images, head(model, images)),
        features(cnn, images, head(cnn, images)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_activation_lies_between_images_and_logits(cnn, images):
    pixels = images.requires_grad_()

    for layer in ("0", "2", "5"):
        logits, activation = activations(cnn, pixels, layer)
        onward = torch.autograd.grad(logits.sum(), activation, retain_graph=True)[0]
        back = torch.autograd.grad(activation, pixels, onward, retain_graph=True)[0]
        whole = torch.autograd.grad(logits.sum(), pixels)[0]
        torch.testing.assert_close(back, whole)


def test_in_place_layers_do_not_change_an_activation(cnn, images):
    _, activation = activations(cnn, images, "1")

    normalised = (images - cnn.mean) / cnn.std
    torch.testing.assert_close(activation, cnn.network[:2](normalised))
    assert (activation < 0).any()


class Twice(nn.Module):
    """Its ReLU runs twice, its pair returns two tensors, its spare layer never runs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.spare = nn.Linear(1, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.conv(x))
        x, _ = self.pair(self.relu(x - 0.2))
        return self.fc(x.mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return 2 * x, None


def test_the_last_run_and_the_first_tensor_count():
    model = Classifier(Twice().eval(), input_shape=(3, 6, 6))
    images = torch.rand(2, 3, 6, 6)
    expected = (model.network.conv(images).relu() - 0.2).relu()

    torch.testing.assert_close(activations(model, images, "relu")[1], expected)
    torch.testing.assert_close(activations(model, images, "pair")[1], 2 * expected)
    assert last_spatial_layer(model, images) == "pair"
    with pytest.raises(InputError, match="'spare' of model does not run"):
        activations(model, images, "spare")


def test_no_hooks_are_left_even_on_error(cnn, images):
    for broken in (images, images[:, :1]):
        for look in (
            lambda x: activations(cnn, x, "2"),
            lambda x: features(cnn, x, "8"),
            lambda x: head(cnn, x),
            lambda x: last_spatial_layer(cnn, x),
        ):
            cnn.mean = cnn.mean[:, : broken.shape[1]]
            cnn.std = cnn.std[:, : broken.shape[1]]
            try:
                look(broken)
            except RuntimeError:
                assert broken is not images
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in cnn.modules())


def test_the_layer_asked_for_is_used_and_must_exist(cnn, images):
    cnn.layer = "2"
    assert last_spatial_layer(cnn, images) == "2"

    cnn.layer = "22"
    with pytest.raises(InputError, match=r"model has no layer '22'; nearest: 2"):
        last_spatial_layer(cnn, images)
    with pytest.raises(InputError, match="has no layer ''"):
        activations(cnn, images, "")


def test_the_last_spatial_layer_does_not_depend_on_the_images(cnn, images):
    for pixels in (images, torch.zeros_like(images), images.requires_grad_()):
        assert last_spatial_layer(cnn, pixels) == "5"
    assert cnn(images).grad_fn is not None


def test_torchscript_is_refused(cnn, images):
    model = cnn.replaced(torch.jit.trace(cnn.network, images), format="torchscript")

    for look in (
        lambda: activations(model, images, "2"),
        lambda: last_spatial_layer(model, images),
        lambda: head(model, images),
        lambda: features(model, images, "8"),
    ):
        with pytest.raises(UnsupportedError, match=r"give the state dict with --arch, or a \.pt2"):
            look()


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 5, (12, 16)), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(576, 5), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(576, 5), nn.Linear(5, 5), nn.LogSoftmax(1)),
    ],
)
def test_logits_of_no_linear_layer_have_no_head(network, images):
    with pytest.raises(UnsupportedError, match="not the output of one linear layer"):
        head(Classifier(network.eval(), input_shape=(3, 12, 16)), images)


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        ((1, 197, 8), (224, 224), (1, 8, 14, 14)),
        ((1, 198, 8), (224, 224), (1, 8, 14, 14)),  # a distillation token as well
        ((1, 196, 8), (224, 224), (1, 8, 14, 14)),  # no class token
        ((1, 201, 8), (224, 224), (1, 8, 14, 14)),  # four registers
        ((1, 25, 8), (32, 48), (1, 8, 4, 6)),
        ((1, 6, 10, 8), (48, 80), (1, 8, 6, 10)),  # channels last
        ((1, 8, 6, 10), (48, 80), (1, 8, 6, 10)),
        ((1, 8, 7, 7), (224, 224), (1, 8, 7, 7)),
    ],
)
def test_grids(shape, image, expected):
    assert as_spatial(torch.zeros(shape), torch.zeros(1, 3, *image)).shape == expected


def test_tokens_keep_their_places():
    grid = torch.arange(24.0).view(1, 1, 4, 6)
    tokens = torch.cat([torch.full((1, 1, 1), -1.0), grid.flatten(2).mT], 1)

    assert torch.equal(as_spatial(tokens, torch.zeros(1, 3, 32, 48)), grid)


@pytest.mark.parametrize("shape", [(1, 199, 8), (1, 8)])
def test_what_fits_no_grid_is_refused(shape):
    with pytest.raises(UnsupportedError, match="is no map of a 32x48 image"):
        as_spatial(torch.zeros(shape), torch.zeros(1, 3, 32, 48))
