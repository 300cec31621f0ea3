"""Maps made elsewhere, and a user's own function, as saliency methods."""

import random
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import nn

from saliency_audit.commands.evaluate.foreign import folders, maps_from_files
from saliency_audit.commands.explain import explain
from saliency_audit.commands.foreign_function import maps_from_callable
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods.gradient import gradient
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators

NAMES = ["a.png", "b.png", "c.png", "d.png"]


@pytest.fixture
def maps(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(12, 16)).astype(np.float32) for name in "abc"}
    arrays["c"][3, 4] = np.nan
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder, arrays


def test_maps_from_files_are_a_method(cnn, images, targets, maps):
    folder, arrays = maps
    data = from_tensors(images, names=NAMES)
    ((name, place),) = folders([str(folder)]).items()
    method, notes, problems = maps_from_files(place, data)
    assert name == "maps:mine"
    assert (method.recorded, method.signed, method.stochastic) == (True, True, False)
    assert set(problems) == {"c.png", "d.png"}
    assert "2 of 4 images have no map" in notes[0]
    order = [2, 1, 0, 3]
    result = explain(
        name,
        cnn,
        images.double(),
        targets,
        names=[NAMES[i] for i in order],
        scalar="logit",
        seed=0,
        batch_size=1,
        options={"samples": 3},
        methods={name: method},
    )
    assert result.dtype == torch.float64
    assert result.shape == (4, 1, 12, 16)
    assert result.isnan().all((1, 2, 3)).tolist() == [True, False, False, True]
    assert np.array_equal(result[1, 0].numpy(), arrays["b"])
    assert np.array_equal(result[2, 0].numpy(), arrays["a"])


def test_names_of_maps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folders(["lime=a/b", "a/b", "c/d"]) == {
        "lime": Path("a/b"), "maps:b": Path("a/b"), "maps:d": Path("c/d"),
    }  # fmt: skip
    Path("x=y").mkdir()
    assert folders(["x=y"]) == {"maps:x=y": Path("x=y")}
    for written, said in (
        (
            ["gradcam=a"],
            "gradcam is a saliency method here; give another name, such as my-gradcam=a",
        ),
        (
            ["a/maps", "b/maps"],
            "maps:maps is a/maps already; give it a name of its own, NAME=b/maps",
        ),
        (["one=a", "one=b"], "one is a already"),
        (["a;b=c"], "a name has no comma, semicolon"),
    ):
        with pytest.raises(InputError, match=said):
            folders(written)


def test_maps_that_change_during_the_run(cnn, images, targets, maps):
    folder, _ = maps
    method, _, _ = maps_from_files(folder, from_tensors(images, names=NAMES))
    (folder / "a.npy").unlink()
    with pytest.raises(UnsupportedError, match=r"was changed: a.npy: No such file"):
        method.function(cnn, images[:1], targets[:1], names=["a.png"])
    with pytest.raises(UnsupportedError, match="cannot be made again"):
        method.function(cnn, images[:1], targets[:1], names=["b.png"], graph=True)


FUNCTIONS = '''
    import random
    from dataclasses import dataclass

    import numpy as np
    import torch

    import helpers

    @dataclass
    class Settings:
        power: int = 1

    def gradients(model, inputs, targets):
        inputs = inputs.requires_grad_()
        logits = model(inputs)
        picked = logits.gather(1, targets.unsqueeze(1)).sum()
        return torch.autograd.grad(picked, inputs)[0]

    def quantus_style(model, inputs, targets, **kwargs) -> np.ndarray:
        """As in Quantus' own tutorials."""
        device = kwargs.get("device")
        assert isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray)
        model.to(device)
        model.eval()
        inputs = torch.Tensor(inputs).to(device)
        targets = torch.as_tensor(targets).long().to(device)
        return gradients(model, inputs, targets).cpu().numpy()

    def with_tensor(inputs, targets, model, device="nowhere"):
        x = torch.tensor(inputs).to(device)
        y = torch.tensor(targets).to(device)
        return gradients(model, x, y)

    def on_tensors(net, x, y):
        return gradients(net, x, y).requires_grad_()

    def by_keywords(**kwargs):
        return quantus_style(**kwargs)

    class Object:
        def __call__(self, model, inputs, targets):
            return quantus_style(model, inputs, targets, device="cpu")

    instance = Object()

    def captum(model, inputs, targets):
        from captum.attr import Saliency
        return Saliency(model).attribute(inputs.requires_grad_(), target=targets, abs=False)

    def summed(model, inputs, targets, device):
        return quantus_style(model, inputs, targets, device=device).sum(1)

    def one_channel(model, inputs, targets, device):
        return summed(model, inputs, targets, device)[:, None].astype(">f8")

    def with_nan(model, inputs, targets):
        maps = inputs.copy()
        maps[0, 0, 0, 0] = np.nan
        return maps

    def late(model, inputs, targets):
        import later
        return later.double(inputs)

    def noisy(model, inputs, targets):
        shape = inputs.shape[2:]
        noise = torch.rand(shape).numpy() + np.random.rand(*shape) + random.random()
        return np.stack([noise] * len(inputs))

    def seen(model, inputs, targets):
        assert not model.training and torch.is_grad_enabled()
        assert not any(p.requires_grad for p in model.parameters())
        assert targets.dtype == np.int64
        return np.full((len(inputs), *inputs.shape[2:]), len(inputs))

    def fails(model, inputs, targets):
        raise ValueError("no such\\n layer")

    def wrong_type(model, inputs, targets):
        return inputs + "text"

    def interrupts(model, inputs, targets):
        raise torch.OutOfMemoryError("full")

    def returns_list(model, inputs, targets):
        return [1, 2]

    def returns_complex(model, inputs, targets):
        return inputs * 1j

    def returns_small(model, inputs, targets):
        return inputs[:, :, ::2, ::2]

    def returns_last(model, inputs, targets):
        return inputs.transpose(0, 2, 3, 1)

    def returns_one(model, inputs, targets):
        return inputs[:1]

    number = 3
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "helpers.py").write_text("")
    (tmp_path / "later.py").write_text("def double(x):\n    return 2 * x\n")
    path = tmp_path / "mine.py"
    path.write_text(dedent(FUNCTIONS))
    yield path
    for name in ("helpers", "later", "mine"):
        sys.modules.pop(name, None)


def run(method, model, images, targets, *, seed=0, batch_size=None, names=NAMES):
    with model.audited(), torch.no_grad():
        return method.function(
            model,
            images,
            targets,
            generators=generators(seed, names, "mine"),
            batch_size=batch_size,
        )


@pytest.mark.parametrize(
    "function",
    [
        "quantus_style",
        "with_tensor",
        "on_tensors",
        "by_keywords",
        "instance",
        "captum",
    ],
)
@pytest.mark.parametrize("batch_size", [None, 3])
def test_functions_of_every_style_see_the_network_and_its_inputs(
    cnn, images, targets, file, function, batch_size
):
    name, method = maps_from_callable(f"{file}:{function}")
    assert name == f"explain:{function}"
    assert (method.recorded, method.stochastic, method.differentiable) == (False, True, False)
    before = cnn.passes
    result = run(method, cnn, images, targets, batch_size=batch_size)
    assert cnn.passes == before + 4
    # The gradient in the network's own inputs is that in the pixels, times the deviation.
    expected = gradient(cnn, images, targets) * cnn.std
    assert not result.requires_grad
    torch.testing.assert_close(result, expected)


def test_results_of_one_channel(cnn, images, targets, file):
    _, whole = maps_from_callable(f"{file}:quantus_style")
    expected = run(whole, cnn, images, targets).sum(1, keepdim=True)
    for function in ("summed", "one_channel"):
        _, method = maps_from_callable(f"{file}:{function}")
        result = run(method, cnn, images, targets)
        assert result.dtype == images.dtype
        torch.testing.assert_close(result, expected)


def test_nan_stays_and_later_imports_work(cnn, images, targets, file):
    _, method = maps_from_callable(f"{file}:with_nan")
    result = run(method, cnn, images, targets)
    assert result.isnan().sum() == 1
    inputs = (images - cnn.mean) / cnn.std
    assert torch.equal(result[1:], inputs[1:])
    _, method = maps_from_callable(f"{file}:late")
    assert torch.equal(run(method, cnn, images, targets), 2 * inputs)
    assert str(file.parent) not in sys.path


def test_state_and_sizes_of_parts(cnn, images, targets, file):
    _, method = maps_from_callable(f"{file}:seen")
    result = run(method, cnn, images, targets, batch_size=3)
    assert result[:, 0, 0, 0].tolist() == [3, 3, 3, 1]
    assert all(parameter.requires_grad for parameter in cnn.parameters())


def test_global_random_numbers_are_the_runs_and_given_back(cnn, images, targets, file):
    _, method = maps_from_callable(f"{file}:noisy")
    torch.manual_seed(5)
    random.seed(5)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    first = run(method, cnn, images, targets)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
    torch.manual_seed(6)
    assert torch.equal(run(method, cnn, images, targets), first)
    assert not torch.equal(run(method, cnn, images, targets, seed=1), first)


def test_modules_of_the_working_folder(cnn, images, targets, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    name, method = maps_from_callable("mine:quantus_style")
    assert name == "explain:quantus_style"
    assert run(method, cnn, images, targets).shape == images.shape


@pytest.mark.parametrize("scripted", [True, False])
def test_other_formats(images, targets, file, scripted):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 16, 5)).eval()
    frozen = (
        torch.jit.script(network)
        if scripted
        else torch.export.export(network, (images,)).module(check_guards=False)
    )
    model = Classifier(frozen, input_shape=(3, 12, 16))
    _, method = maps_from_callable(f"{file}:on_tensors")
    expected = network[1].weight[targets].view(4, 3, 12, 16)
    result = method.function(model, images, targets, generators=generators(0, NAMES, "mine"))
    torch.testing.assert_close(result, expected.detach())
    # TorchScript has no hooks to count with.
    assert model.passes == (0 if scripted else 4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", r"mine.py:fails failed with ValueError: no such layer$"),
        ("wrong_type", r"failed on NumPy arrays with .*, and on tensors with TypeError"),
        ("returns_list", "returns list; return an array or tensor of numbers"),
        ("returns_complex", "returns complex64; return an array or tensor"),
        ("returns_small", r"returns shape \(4, 3, 6, 8\) for images of \(4, 3, 12, 16\); return"),
        ("returns_last", r"\(4, 12, 16, 3\) .* return \(4, 3, 12, 16\), \(4, 1, 12, 16\) or \(4, "),
        ("returns_one", r"returns shape \(1, 3, 12, 16\)"),
    ],
)
def test_failing_functions(cnn, images, targets, file, function, message):
    _, method = maps_from_callable(f"{file}:{function}")
    with pytest.raises(UnsupportedError, match=message) as caught:
        run(method, cnn, images, targets)
    assert "\n" not in str(caught.value)


def test_memory_is_the_callers_to_handle(cnn, images, targets, file):
    _, method = maps_from_callable(f"{file}:interrupts")
    with pytest.raises(torch.OutOfMemoryError):
        run(method, cnn, images, targets)
    with pytest.raises(UnsupportedError, match="cannot be differentiated"):
        method.function(cnn, images, targets, generators=[], graph=True)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("quantus_style", "--explain is 'quantus_style'; give package.module:function or file.py"),
        ("mine.py:", "--explain is 'mine.py:'"),
        ("no.such.module:f", "import no.such.module failed with ModuleNotFoundError"),
        ("FOLDER/no.py:f", "there is no file"),
        ("FOLDER/broken.py:f", r"broken.py failed with SyntaxError"),
        ("FOLDER/mine.py:quantus", "has no function 'quantus'; nearest: quantus_style"),
        ("FOLDER/mine.py:number", "has no function 'number'"),
    ],
)
def test_what_is_no_function(file, place, message):
    (file.parent / "broken.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=message) as caught:
        maps_from_callable(place.replace("FOLDER", str(file.parent)))
    assert "\n" not in str(caught.value)
