"""Random weights: every weight, in the right order, and every bit as it was afterwards."""

import warnings

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import (
    Classifier,
    load,
    randomised,
    resolve_randomisation,
    save,
    weight_layers,
)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        down = nn.Sequential(nn.Conv2d(8, 16, 1, 2), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 4)
        self.conv1 = nn.Conv2d(3, 8, 3, 2)
        self.bn1 = nn.BatchNorm2d(8)
        self.block = BasicBlock(8, 16, 2, down)

    def forward(self, images):
        return self.fc(self.block(self.bn1(self.conv1(images)).relu()).mean((2, 3)))


def resnet():
    network = Residual()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return network


def transformer():
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)
    nn.init.normal_(network.heads.head.weight)
    return network


class Aside(nn.Module):
    """Uses its layers in another order than it defines them, one of them never, one twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.never = nn.Linear(5, 5)
        self.first = nn.Linear(12, 6)
        self.twice = nn.Linear(6, 6, bias=False)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.twice.weight
        self.scale = nn.Parameter(torch.linspace(1, 2, 6))

    def forward(self, images):
        x = self.first(images.flatten(1)).relu() * self.scale
        return self.last(self.tied(self.twice(self.twice(x))))


BUILDERS = {"resnet": resnet, "transformer": transformer}
SHAPE = (3, 32, 32)


def classifier(name, form, tmp_path):
    torch.manual_seed(0)
    network = BUILDERS[name]().eval()
    if form != "module":
        path = tmp_path / ("model.pt2" if form == "exported" else "model.pt")
        save(network, path, format=form, input_shape=SHAPE)
        return load(str(path), size=32).requires_grad_(False)
    return Classifier(network, input_shape=SHAPE).requires_grad_(False)


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return [name for name in a if torch.equal(a[name], b[name])]


def inputs(n=2):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


every_form = pytest.mark.parametrize("form", ["module", "exported", "torchscript"])
every_network = pytest.mark.parametrize("name", BUILDERS)


@every_form
@every_network
def test_every_weight_belongs_to_one_layer_in_the_order_of_use(name, form, tmp_path):
    model = classifier(name, form, tmp_path)
    layers = weight_layers(model, inputs())
    owned = [weight.data_ptr() for layer in layers for weight in layer.weights.values()]
    assert sorted(owned) == sorted(p.data_ptr() for p in model.parameters())
    assert all(layer.used for layer in layers)
    names = [layer.name for layer in layers]
    if name == "resnet":
        assert names[:2] == ["conv1", "bn1"]
        assert names[-1] == "fc"
        assert names.index("block.conv2") < names.index("block.downsample.0")
    else:
        block = "encoder.layers.encoder_layer_0."
        assert names[:4] == ["conv_proj", "class_token", "encoder", block + "ln_1"]
        assert names[4:6] == [block + "self_attention", block + "self_attention.out_proj"]
        assert names[-2:] == ["encoder.ln", "heads.head"]
    assert len(names) == len(set(names))


def test_order_is_that_of_use_and_shared_or_unused_weights_are_owned_once():
    network = Aside()
    model = Classifier(network, input_shape=(3, 2, 2))
    layers = weight_layers(model, torch.rand(1, 3, 2, 2))
    assert [(layer.name, layer.used) for layer in layers] == [
        ("never", False),
        ("first", True),
        ("scale", True),
        ("twice", True),
        ("tied", True),
        ("last", True),
    ]
    assert list(layers[4].weights) == ["bias"]

    before = bits(model)
    with randomised(how="shuffle", seed=0) as randomise:
        randomise(layers[3])
        once = bits(model)
        expected = {"network.twice.weight", "network.tied.weight"}
        assert set(before) - set(same(before, once)) == expected
        assert torch.equal(network.tied.weight, network.twice.weight)


@every_form
@every_network
def test_a_shuffle_permutes_every_weight_and_is_undone_to_the_bit(name, form, tmp_path):
    model = classifier(name, form, tmp_path)
    images, before = inputs(), bits(model)
    logits = model(images)
    state = torch.get_rng_state()
    layers = weight_layers(model, images)
    with randomised(how="shuffle", seed=0) as randomise:
        for layer in reversed(layers):
            randomise(layer)
        during = bits(model)
        assert not torch.allclose(model(images), logits)
    unchanged = same(before, during)
    for key, _ in model.named_parameters():
        assert torch.equal(before[key].flatten().sort().values, during[key].flatten().sort().values)
        constant = before[key].unique().numel() == 1
        assert (key in unchanged) == constant, key
    buffers = {key for key, _ in model.named_buffers()} & set(before)
    assert buffers <= set(unchanged)
    assert len(same(before, bits(model))) == len(before)
    assert torch.equal(model(images), logits)
    assert torch.equal(torch.get_rng_state(), state)


def test_reinitialisation_is_the_layers_own_and_resets_running_statistics():
    torch.manual_seed(0)
    model = Classifier(resnet().eval(), input_shape=SHAPE).requires_grad_(False)
    images, before, state = inputs(), bits(model), torch.get_rng_state()
    layers = weight_layers(model, images)
    assert resolve_randomisation(model, layers, "auto") == "reinit"
    with randomised(how="reinit", seed=0) as randomise:
        for layer in layers:
            randomise(layer)
        norm = model.network.bn1
        assert (norm.running_mean == 0).all()
        assert (norm.running_var == 1).all()
        assert (norm.weight == 1).all()
        bound = 1 / 16**0.5  # of nn.Linear
        assert model.network.fc.weight.abs().max() <= bound
        assert float(model.network.fc.weight.std()) == pytest.approx(bound / 3**0.5, rel=0.2)
        during = bits(model)
        assert not any(p.requires_grad for p in model.parameters())
    left = set(same(before, during))
    # Biases of normalisations were zero and are drawn as zero; counters were never used.
    assert all(key.endswith(("bias", "num_batches_tracked")) for key in left)
    assert "network.fc.bias" not in left
    assert len(same(before, bits(model))) == len(before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("how", ["reinit", "shuffle"])
def test_draws_differ_by_seed_draw_and_layer_and_by_nothing_else(how):
    def drawn(order, seed=0, draw=0):
        network = nn.Sequential(nn.Flatten(), *(nn.Linear(12, 12) for _ in range(3)))
        for layer in network[1:]:
            layer.weight.data.copy_(torch.arange(144.0).view(12, 12))
        model = Classifier(network, input_shape=(3, 2, 2)).requires_grad_(False)
        layers = weight_layers(model, torch.rand(1, 3, 2, 2))
        with randomised(how=how, seed=seed, draw=draw) as randomise:
            for i in order:
                randomise(layers[i])
            return [layer.weight.clone() for layer in network[1:]]

    first = drawn([0, 1, 2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    for ours, again in zip(first, drawn([2, 0, 1]), strict=True):
        assert torch.equal(ours, again)
    assert torch.equal(drawn([1])[1], first[1])
    assert not torch.equal(drawn([0], seed=1)[0], first[0])
    assert not torch.equal(drawn([0], draw=1)[0], first[0])


def test_weights_come_back_after_an_error():
    torch.manual_seed(0)
    model = Classifier(resnet().eval(), input_shape=SHAPE).requires_grad_(False)
    before = bits(model)
    layers = weight_layers(model, inputs())

    def fail(how):
        with randomised(how=how, seed=0) as randomise:
            for layer in layers:
                randomise(layer)
            raise RuntimeError("out of memory")

    for how in ("shuffle", "reinit"):
        with pytest.raises(RuntimeError, match="out of memory"):
            fail(how)
        assert len(same(before, bits(model))) == len(before)


def test_what_has_no_initialisation_of_its_own_is_named(tmp_path):
    torch.manual_seed(0)
    model = Classifier(transformer().eval(), input_shape=SHAPE).requires_grad_(False)
    layers = weight_layers(model, inputs())
    assert resolve_randomisation(model, layers, "auto") == "shuffle"
    with pytest.raises(UnsupportedError, match=r"'class_token'.*--randomise shuffle works"):
        resolve_randomisation(model, layers, "reinit")
    attention = next(layer for layer in layers if layer.name.endswith("self_attention"))
    assert list(attention.weights) == ["in_proj_weight", "in_proj_bias"]
    assert resolve_randomisation(model, [attention], "reinit") == "reinit"

    saved = classifier("resnet", "exported", tmp_path)
    layers = weight_layers(saved, inputs())
    assert resolve_randomisation(saved, layers, "auto") == "shuffle"
    with pytest.raises(UnsupportedError, match="--randomise shuffle works"):
        resolve_randomisation(saved, layers, "reinit")
    with pytest.raises(InputError, match="give auto, reinit or shuffle"):
        resolve_randomisation(saved, layers, "zero")


class Forgetful(nn.Linear):
    def __init__(self, *args):
        super().__init__(*args)
        self.gain = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return super().forward(x.flatten(1)) * self.gain


def test_an_initialisation_that_leaves_a_weight_alone_is_none():
    model = Classifier(Forgetful(12, 3), input_shape=(3, 2, 2))
    layers = weight_layers(model, torch.rand(1, 3, 2, 2))
    with pytest.raises(UnsupportedError, match="leaves gain alone"):
        resolve_randomisation(model, layers, "reinit")


def test_a_program_without_weights_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
        frozen = torch.jit.freeze(torch.jit.script(network))
    model = Classifier(frozen, input_shape=(3, 2, 2), format="torchscript")
    with pytest.raises(UnsupportedError, match="no weights"):
        weight_layers(model, torch.rand(1, 3, 2, 2))
