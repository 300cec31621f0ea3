"""Any form of a model in any format: it runs as it is, or one line says why not and what helps."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from saliency_audit.errors import InputError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, input_gradient, last_spatial_layer, load, nature

SHAPE = (3, 16, 16)
FORMATS = ("state dict", "exported", "torchscript")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.relu = nn.ReLU()
        self.hidden = nn.Linear(8 * 16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.second(self.relu(self.first(images))))
        pooled = nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)
        # The same ReLU a third time, on what is no map any more.
        return self.head(self.relu(self.hidden(pooled)))


class OneAtATime(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.view(1, *SHAPE))


class FixedSize(nn.Module):
    def __init__(self, height: int = 16, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * height * width, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.first(images).relu().flatten(1))


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.LazyConv2d(8, 3, padding=1)
        self.head = nn.LazyLinear(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.first(images).relu().flatten(1))


class Partly(nn.Module):
    """Compiled in parts: one by torch.compile, one in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.compile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), backend="eager")
        self.head = nn.Linear(8, 4)
        self.head.compile(backend="eager")

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))


def half() -> nn.Module:
    return Net().half()


def bfloat16() -> nn.Module:
    return Net().bfloat16()


def double() -> nn.Module:
    return Net().double()


def compiled() -> nn.Module:
    return torch.compile(Net(), backend="eager")


def weight_norm() -> nn.Module:
    network = Net()
    network.first = parametrizations.weight_norm(network.first)
    return network


def old_weight_norm() -> nn.Module:
    network = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.first = torch.nn.utils.weight_norm(network.first)
    return network


def depthwise() -> nn.Module:
    network = Net()
    network.first = nn.Conv2d(3, 9, 3, padding=1, groups=3)
    network.second = nn.Conv2d(9, 8, 3, padding=1, stride=2)
    return network


FORMS = {
    "half": half,
    "bfloat16": bfloat16,
    "double": double,
    "one image at a time": OneAtATime,
    "fixed size": FixedSize,
    "lazy": Lazy,
    "compiled": compiled,
    "compiled in parts": Partly,
    "weight norm": weight_norm,
    "old weight norm": old_weight_norm,
    "depthwise": depthwise,
    "shared relu": Net,
}
REFUSED = {
    ("one image at a time", "state dict"): "write len(images) there",
    ("one image at a time", "exported"): "takes one image at a time",
    ("one image at a time", "torchscript"): "trace or script it again, images being a batch of 2",
}
"""What does not run, and what the line says. Everything else gives the logits of PyTorch."""


def written(form: str, format: str, folder: Path) -> tuple[nn.Module, Path, str | None]:
    """A network with its file."""
    network = FORMS[form]().eval()
    dtype = next((p.dtype for p in network.parameters() if p.dtype != torch.float32), None)
    dtype = dtype if form in ("half", "bfloat16", "double") else torch.float32
    count = 1 if form == "one image at a time" else 2
    images = torch.rand(count, *SHAPE, dtype=dtype)
    if form == "lazy":
        network(images)
    plain = network
    if format != "state dict" and "compiled" in form:
        # Neither captures compiled code; whoever exports gives the module inside.
        from saliency_audit.models.architectures import uncompiled

        plain = uncompiled(FORMS[form]().eval())
    path = folder / "model"
    if format == "state dict":
        torch.save(network.state_dict(), path)
        return network, path, f"{__name__}:{FORMS[form].__name__}"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if format == "exported":
            shapes = None if count == 1 else ({0: torch.export.Dim("batch")},)
            torch.export.save(torch.export.export(plain, (images,), dynamic_shapes=shapes), path)
        else:
            torch.jit.trace(plain, images, check_trace=False).save(path)
    return plain, path, None


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_in_each_format(form, format, tmp_path):
    network, path, arch = written(form, format, tmp_path)
    images = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    channels = 3 if format == "torchscript" and form == "depthwise" else None
    size = None if format == "exported" else 16

    def loaded() -> Classifier:
        model = load(str(path), arch=arch, size=size, channels=channels, mean=0.5, std=0.25)
        model.check(images)
        return model

    if words := REFUSED.get((form, format)):
        with pytest.raises(InputError) as caught:
            loaded()
        assert words in str(caught.value)
        assert "--size" not in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    model = loaded()
    assert model.input_shape == SHAPE
    own = next(network.parameters()).dtype
    with torch.no_grad():
        seen = model(images)
        wide = images.to(torch.promote_types(images.dtype, own))
        expected = network(((wide - 0.5) / 0.25).to(own))
    assert seen.dtype == (torch.float64 if form == "double" else torch.float32)
    assert torch.equal(seen, expected.to(seen.dtype)) or torch.allclose(
        seen, expected.to(seen.dtype), atol=1e-6 if own in (torch.float32, torch.float64) else 2e-2
    )
    told = nature(model, images)
    assert not told.refused("net")
    gradient = input_gradient(model, images, torch.zeros(4, dtype=torch.long))
    assert gradient.dtype == torch.float32
    assert bool(gradient.any())


@pytest.mark.parametrize("form", ["half", "bfloat16", "double", "shared relu", "lazy", "compiled"])
def test_every_method_runs_or_says_why_not(form, tmp_path):
    network, path, arch = written(form, "state dict", tmp_path)
    model = load(str(path), arch=arch, size=16, mean=0.5, std=0.25)
    images, targets = torch.rand(2, *SHAPE), torch.tensor([0, 1])
    model.check(images)
    plain = Classifier(FORMS[form]() if form == "lazy" else Net(), input_shape=SHAPE)
    if form == "lazy":
        plain.network(torch.zeros(2, *SHAPE))
        plain.network.load_state_dict(network.state_dict())
    like = plain.replaced(plain.network, mean=0.5, std=0.25).eval()
    for name in ("gradient", "gradcam", "fullgrad", "deeplift", "lrp", "guided-backprop"):
        function = METHODS[name].function
        with model.audited(), like.audited():
            try:
                expected = function(like, images, targets)
            except InputError:
                with pytest.raises(InputError):
                    function(model, images, targets)
                continue
            saliency = function(model, images, targets)
        loose = 0.1 if form in ("half", "bfloat16") else 1e-4
        assert saliency.dtype == images.dtype
        apart = float((saliency - expected).norm() / expected.norm().clamp_min(1e-12))
        assert apart < loose, (name, apart)


def test_a_layer_is_read_at_the_run_that_is_a_map():
    model = Classifier(Net(), input_shape=SHAPE).eval()
    images, targets = torch.rand(2, *SHAPE), torch.tensor([0, 1])
    assert last_spatial_layer(model, images) == "relu#2"
    seen = METHODS["gradcam"].function(model, images, targets)

    class Apart(Net):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.ReLU(), nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            maps = self.two(self.second(self.one(self.first(images))))
            pooled = nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)
            return self.head(self.relu(self.hidden(pooled)))

    apart = Classifier(Apart(), input_shape=SHAPE).eval()
    assert last_spatial_layer(apart, images) == "two"
    assert torch.equal(seen, METHODS["gradcam"].function(apart, images, targets))
    first = METHODS["gradcam"].function(model, images, targets, layer="relu#1")
    assert torch.equal(first, METHODS["gradcam"].function(apart, images, targets, layer="one"))
    with pytest.raises(InputError, match="runs 3 times, not 4"):
        METHODS["gradcam"].function(model, images, targets, layer="relu#4")


@pytest.mark.parametrize("size", [(16, 32), [16, 32]])
def test_height_and_width(size, tmp_path):
    torch.save(FixedSize(16, 32).state_dict(), tmp_path / "w.pt")
    model = load(str(tmp_path / "w.pt"), arch=f"{__name__}:rectangular", size=size, mean=0, std=1)
    assert model.check(torch.rand(2, 3, 16, 32)) == 4


def rectangular() -> nn.Module:
    return FixedSize(16, 32)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 24, 24), "give --size 16"),
        ((1, 16, 16), "takes 3 channels, not 1: give --channels 3"),
        ((1, 28, 28), "but of 16x16: give --size 16 --channels 3"),
    ],
)
def test_the_line_gives_what_does_work(shape, words):
    model = Classifier(FixedSize(), input_shape=shape, name="net")
    with pytest.raises(InputError) as caught:
        model.check(torch.full((2, *shape), 0.5))
    assert words in str(caught.value)


def test_what_helps_nothing_is_not_advised():
    model = Classifier(rectangular(), input_shape=SHAPE, name="net")
    with pytest.raises(InputError, match="give --size HEIGHT,WIDTH if its images are not square"):
        model.check(torch.rand(2, *SHAPE))
