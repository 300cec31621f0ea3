"""What training code leaves around the weights is taken off, said, and never taken for them."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from saliency_audit.assets import bundled_model
from saliency_audit.errors import InputError
from saliency_audit.models import load
from tests.models.test_load import Toy

ARCH = "tests.models.test_load:Toy"
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture
def toy():
    torch.manual_seed(0)
    return Toy().eval()


def named(network, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}


def logits_of(model):
    images = torch.rand(2, *model.input_shape, generator=torch.Generator().manual_seed(1))
    with model.audited(), torch.no_grad():
        return model(images)


def same(model, network):
    images = torch.rand(2, *model.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.equal(logits_of(model), network((images - model.mean) / model.std))


@pytest.mark.parametrize(
    ("prefixes", "more"),
    [
        (["model."], {"criterion.weight": torch.ones(5)}),
        ([""], {"criterion.weight": torch.ones(5), "loss.margin": torch.ones(())}),
        (
            ["module.model.", "module.attacker.model."],
            {
                "module.normalizer.new_mean": torch.ones(3, 1, 1),
                "module.attacker.normalize.new_std": torch.ones(3, 1, 1),
            },
        ),
        (["backbone.net."], {"projector.0.weight": torch.ones(2, 2)}),
    ],
)
def test_prefixes_and_extra_entries_are_taken_off_and_named(prefixes, more, toy, tmp_path):
    state = {key: value for prefix in prefixes for key, value in named(toy, prefix).items()}
    torch.save({"state_dict": state | more}, tmp_path / "toy.pt")

    model = load(str(tmp_path / "toy.pt"), arch=ARCH, size=16, mean=0.5, std=0.25)

    assert same(model, toy)
    (left_out,) = [note for note in model.notes if note.startswith("left out of toy.pt")]
    assert sum(name in left_out for name in (*more, "and ")) >= 1


def test_entries_of_the_networks_own_modules_show_another_network(toy, tmp_path):
    torch.save(named(toy, "") | {"body.7.weight": torch.ones(4)}, tmp_path / "toy.pt")

    with pytest.raises(InputError, match=r"does not fit .*: unexpected body.7.weight"):
        load(str(tmp_path / "toy.pt"), arch=ARCH, size=16)
    # Every name and shape of a ResNet-18 stands in a ResNet-34.
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "r.pt")
    with pytest.raises(InputError, match=r"does not fit --arch torchvision:resnet18: unexpected"):
        load(str(tmp_path / "r.pt"), arch="torchvision:resnet18")


def test_a_lightning_checkpoint_of_torchvisions_is_recognised_without_arch(tmp_path):
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=7)
    state = named(network, "model.") | {"criterion.weight": torch.ones(7)}
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")

    model = load(str(tmp_path / "x.ckpt"))

    assert logits_of(model).shape == (2, 7)
    assert "recognised as torchvision:shufflenet_v2_x0_5 by its keys and shapes" in model.notes
    assert "left out of x.ckpt, as no part of the network: criterion.weight" in model.notes


@pytest.mark.parametrize("inside", [True, False])
def test_an_ema_copy_is_named_and_taken_when_asked_for(inside, toy, tmp_path):
    averaged = Toy().eval()
    held = (
        {"state_dict": named(toy, "model.") | named(averaged, "model_ema.module.")}
        if inside
        else {"state_dict": toy.state_dict(), "state_dict_ema": averaged.state_dict()}
    )
    torch.save(held, tmp_path / "toy.pt")
    how = {"arch": ARCH, "size": 16, "mean": 0.5, "std": 0.25}

    model = load(str(tmp_path / "toy.pt"), **how)
    copy = load(str(tmp_path / "toy.pt"), weights="ema", **how)

    where = "model_ema.module.body.0.weight" if inside else "state_dict_ema"
    assert same(model, toy)
    assert (
        f"toy.pt has an EMA copy of the weights, too ('{where}'): --weights ema takes it"
        in model.notes
    )
    assert same(copy, averaged)
    assert "these are the EMA copy of the weights in toy.pt" in copy.notes


def test_ema_where_there_is_none_is_refused(toy, tmp_path):
    torch.save(toy.state_dict(), tmp_path / "toy.pt")

    with pytest.raises(InputError, match="has no EMA copy of its weights; leave it"):
        load(str(tmp_path / "toy.pt"), arch=ARCH, weights="ema")
    with pytest.raises(InputError, match="bundled:fashion-mnist is none: leave it"):
        load(None, weights="ema")


class OwnEma(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.ema = nn.Linear(4, 3)

    def forward(self, x):
        return self.ema(self.body(x).mean((2, 3)))


def test_a_module_that_is_called_ema_is_no_copy(tmp_path):
    network = OwnEma().eval()
    torch.save(network.state_dict(), tmp_path / "own.pt")

    model = load(str(tmp_path / "own.pt"), arch="tests.models.test_checkpoints:OwnEma", size=16)

    assert same(model, network)
    assert not any("EMA" in note for note in model.notes)


@pytest.mark.parametrize(
    ("arch", "side", "colours"),
    [
        ("torchvision:mobilenet_v3_small", 224, IMAGENET),
        pytest.param(
            *("torchvision:inception_v3", 299, ([0.5] * 3, [0.5] * 3)), marks=pytest.mark.slow
        ),
        ("timm:mobilenetv3_small_050", 224, IMAGENET),
        ("timm:levit_128s", 224, IMAGENET),
        ("timm:vit_tiny_patch16_224", 224, ([0.5] * 3, [0.5] * 3)),
    ],
)
def test_arch_brings_size_mean_and_std_which_options_override(arch, side, colours, tmp_path):
    library, name = arch.split(":")
    build = timm.create_model if library == "timm" else torchvision.models.get_model
    options = {"init_weights": False} if name == "inception_v3" else {}
    network = build(name, **options)
    torch.save(network.state_dict(), tmp_path / "weights.pt")

    model = load(str(tmp_path / "weights.pt"), arch=arch)

    assert model.input_shape == (3, side, side)
    torch.testing.assert_close(model.mean.flatten().tolist(), list(colours[0]))
    torch.testing.assert_close(model.std.flatten().tolist(), list(colours[1]))
    (said,) = [note for note in model.notes if "published weights" in note]
    assert said.startswith(f"size {side},{side}, mean {colours[0][0]:g},")
    assert f"of {arch}: give others" in said
    assert not any("assumed" in note for note in model.notes)
    other = load(str(tmp_path / "weights.pt"), arch=arch, mean=0.1, std=0.2)
    assert other.mean.flatten().tolist() == pytest.approx([0.1] * 3)
    assert other.std.flatten().tolist() == pytest.approx([0.2] * 3)
    (said,) = [note for note in other.notes if "published weights" in note]
    assert said.startswith(f"size {side},{side}, names of the classes, as of")


@pytest.mark.parametrize(
    "name",
    [
        *("levit_128s", "deit_tiny_distilled_patch16_224", "mobilenetv3_small_050"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("resnet18", "vgg11", "convnext_atto", "hrnet_w18_small", "efficientformer_l1"),
                *("xcit_nano_12_p16_224", "crossvit_tiny_240"),
            )
        ),
    ],
)
def test_the_number_of_classes_is_read_off_every_kind_of_head(name, tmp_path):
    network = timm.create_model(name, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "seven.pt")

    model = load(str(tmp_path / "seven.pt"), arch=f"timm:{name}")

    assert logits_of(model).shape == (2, 7)
    for key, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[key]), key


def test_heads_that_disagree_are_refused(tmp_path):
    state = timm.create_model("levit_128s", num_classes=7).state_dict()
    other = timm.create_model("levit_128s", num_classes=6).state_dict()
    state |= {name: other[name] for name in other if name.startswith("head_dist.linear")}
    torch.save(state, tmp_path / "odd.pt")

    with pytest.raises(InputError, match="does not fit --arch timm:levit_128s"):
        load(str(tmp_path / "odd.pt"), arch="timm:levit_128s")


def test_weights_of_the_bundled_architecture_are_recognised(tmp_path):
    weights = {name: value * 2 for name, value in bundled_model().state_dict().items()}
    save_file(weights, tmp_path / "mine.safetensors")
    model = load(str(tmp_path / "mine.safetensors"))
    assert model.name == "mine.safetensors"
    assert model.input_shape == (1, 28, 28)
    assert any("recognised as bundled:fashion-mnist" in note for note in model.notes)
    assert not any("assumed" in note for note in model.notes)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, weights[name])
