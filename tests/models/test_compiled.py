"""Forward passes by compiled code: the network's own numbers, and the network where it must be."""

import os
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, compile_scores, input_gradient, load, reload, save
from saliency_audit.models.channels_last import lay_out_channels_last
from saliency_audit.outputs import MULTI_LABEL
from tests.conftest import plain_cnn


@pytest.fixture
def traced(monkeypatch):
    """``torch.compile`` without the C++ compiler, which takes long; one entry a compiling."""
    compilings = []

    def backend(graph, example):
        compilings.append(example)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend=backend))
    yield compilings
    torch._dynamo.reset()


def by_network(model, images):
    with torch.no_grad():
        return model(images)


def test_batches_of_any_size_are_compiled_for_once(cnn, images, traced):
    with cnn.audited():
        compile_scores(cnn, batch_size=4)
        many = images.repeat(3, 1, 1, 1)
        for count in (4, 3, 2, 4, 1, 9):
            torch.testing.assert_close(cnn.scores(many[:count]), by_network(cnn, many[:count]))
    assert len(traced) == 1


def test_few_and_many_go_through_the_network(cnn, images, traced):
    called = []
    with cnn.audited():
        compile_scores(cnn, batch_size=8)
        cnn.network.register_forward_hook(lambda *run: called.append(len(run[2])))
        for count in (3, 4, 9):
            cnn.scores(images.repeat(3, 1, 1, 1)[:count])
    assert called == [3, 9]


def test_passes_are_counted_without_what_fills_a_batch(cnn, images, traced):
    with cnn.audited():
        compile_scores(cnn, batch_size=4)
        before = cnn.passes
        assert not cnn.scores(images[:3].requires_grad_()).requires_grad
    assert cnn.passes - before == 3


def test_weights_may_change_in_place(cnn, images, traced):
    with cnn.audited():
        compile_scores(cnn, batch_size=4)
        before = cnn.scores(images)
        for parameter in cnn.network.parameters():
            parameter.mul_(1.1)
        after = cnn.scores(images)
        torch.testing.assert_close(after, by_network(cnn, images))
    assert not torch.allclose(before, after)


def test_exported_programs(cnn, images, traced, tmp_path):
    path = tmp_path / "model.pt2"
    save(cnn.network, path, format="exported", input_shape=cnn.input_shape)
    model = reload(path, cnn)
    with model.audited():
        compile_scores(model, batch_size=4)
        for weight in model.network.parameters():
            weight.mul_(1.1)
        for count in (4, 3, 1):
            found = model.scores(images[:count])
            torch.testing.assert_close(found, by_network(model, images[:count]))
    assert len(traced) == 1


def test_images_laid_out_otherwise_are_not_compiled_for(cnn, images, traced):
    with cnn.audited():
        compile_scores(cnn, batch_size=4)
        last = images.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(cnn.scores(last), by_network(cnn, images))
        torch.testing.assert_close(cnn.scores(images.flip(3)), by_network(cnn, images.flip(3)))
    assert len(traced) == 1


def test_outputs_in_structures_and_of_one_number(images, traced):
    class Wrapped(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.inside = plain_cnn(nn.ReLU, classes=classes)

        def forward(self, images):
            return {"aux": images.mean(), "logits": self.inside(images)}

    for classes in (1, 5):
        model = Classifier(Wrapped(classes).eval(), input_shape=(3, 12, 16))
        with model.audited():
            model.check(images)
            compile_scores(model, batch_size=4)
            torch.testing.assert_close(model.scores(images[:3]), by_network(model, images[:3]))


def test_what_cannot_be_compiled_is_refused(cnn, images, traced):
    class Branches(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5] * (2 if images.mean() > 0.1 else 3)

    sigmoids = plain_cnn(nn.ReLU).append(nn.Sigmoid())
    shape = {"input_shape": (3, 12, 16), "name": "net"}
    probabilities = Classifier(sigmoids, outputs=MULTI_LABEL, **shape)
    probabilities.check(images)
    smooth = Classifier(plain_cnn(nn.ReLU), activation=("softplus", 3.0), **shape)
    script = Classifier(torch.jit.trace(cnn.network, images), format="torchscript", **shape)
    for model, words in (
        (Classifier(plain_cnn(nn.ReLU), precision="bf16", **shape), "half precision, which net"),
        (script, "is not for TorchScript, which net is"),
        (probabilities, "the probabilities that net returns"),
        (smooth, "activations that are replaced, as those of net"),
        (Classifier(Branches(), **shape), "net cannot be compiled here ("),
    ):
        with pytest.raises(UnsupportedError) as caught, model.audited():
            compile_scores(model, batch_size=4)
        assert words in str(caught.value)
        assert str(caught.value).startswith("--compile")
        assert str(caught.value).endswith("; leave it")
        assert "\n" not in str(caught.value)
        assert model.compiled is None


def test_code_that_gives_other_logits_is_refused(cnn, monkeypatch):
    def wrong(network, **how):
        return lambda inputs: 1.001 * network(inputs)

    monkeypatch.setattr("torch.compile", wrong)
    with pytest.raises(UnsupportedError, match=r"gives other logits of model, by 0\.001 of"):
        compile_scores(cnn, batch_size=4)
    assert cnn.compiled is None


def test_a_run_gives_the_numbers_of_one_without(run, traced):
    command = ["evaluate", "--saliency", "gradient", "--saliency", "gradcam", "--saliency", "lrp"]
    command += ["--metric", "deletion", "--metric", "infidelity", "--max-samples", "5"]
    tables = []
    for folder, layout in (("usual", []), ("compiled", ["--compile"])):
        ran = run(*command, *layout, "--batch-size", "8", "--output-dir", folder)
        assert ran.code == 0
        tables.append(pd.read_csv(Path(folder) / "results.csv"))
    assert len(traced) == 1
    assert "compiling bundled:fashion-mnist for 8 images at a time" in " ".join(ran.err.split())
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-6)
    again = run(*command, "--batch-size", "8", "--compile", "--resume", "--output-dir", "usual")
    assert again.code == 2
    assert "compile" in again.err


def test_metrics_that_it_does_nothing_for_are_refused(run):
    refused = run(
        "evaluate",
        "--metric",
        "sparsity-gini",
        "--metric",
        "stability",
        "--compile",
        "--other",
        "x.pt2",
    )
    assert refused.code == 2
    line = refused.err
    assert "--compile is for metrics that look at changed images without a gradient (" in line
    assert line.rstrip().endswith("), not sparsity-gini, stability; leave it")


@pytest.mark.slow
def test_compiled_code_gives_the_same_numbers(run):
    """The compiler itself, on the bundled network, in both layouts."""
    torch._dynamo.reset()
    images = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for layout in (False, True):
        model = load(None, channels_last=layout)
        targets = torch.arange(7)
        with model.audited():
            gradient = input_gradient(model, images, targets)
            compile_scores(model, batch_size=8)
            compiled, usual = model.scores(images), by_network(model, images)
            assert torch.equal(gradient, input_gradient(model, images, targets))
        assert not torch.equal(compiled, usual)
        torch.testing.assert_close(compiled, usual, rtol=1e-5, atol=1e-4)
    torch._dynamo.reset()


@pytest.mark.slow
def test_without_a_compiler_one_line_says_so(run, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    ran = run("evaluate", "--metric", "deletion", "--max-samples", "2", "--compile")
    assert ran.code == 2
    assert "--compile needs a C++ compiler and finds none" in ran.err
    assert not os.path.exists("saliency-audit-report")
    torch._dynamo.reset()


@pytest.mark.usefixtures("traced")
def test_both_layouts_go_together(cnn, images):
    usual = by_network(cnn, images)
    lay_out_channels_last(cnn)
    with cnn.audited():
        compile_scores(cnn, batch_size=4)
        torch.testing.assert_close(cnn.scores(images), usual)
