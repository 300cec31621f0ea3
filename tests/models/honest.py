"""Honest model files: networks that people train, in the forms that they save them in.

``NETWORKS`` and ``TOYS`` give networks with random weights by name, ``FORMS`` ways to write a
network to a file; ``unwritable`` says which torch itself cannot write or load, ``REFUSED`` which
files are refused although they are honest.
"""

import warnings
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils import _pytree

from tests.models import honest_toys


@dataclass(frozen=True)
class Honest:
    """A network that can be built and the side of the images it takes."""

    build: Callable[[], nn.Module]
    side: int = 64

    def network(self) -> nn.Module:
        """With the weights it always has, in eval mode."""
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = self.build().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
        return network

    def images(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.rand(2, 3, self.side, self.side, generator=generator)


def of_torchvision(name: str, **options: Any) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, **({"num_classes": 10} | options))


def of_timm(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=10, **options)


def quantizable(name: str, **options: Any) -> nn.Module:
    build = getattr(torchvision.models.quantization, name)
    return build(weights=None, quantize=False, num_classes=10, **options)


def small_vgg() -> nn.Module:
    network = of_torchvision("vgg11_bn")
    network.classifier[0] = nn.Linear(512 * 7 * 7, 32)
    network.classifier[3] = nn.Linear(32, 32)
    network.classifier[6] = nn.Linear(32, 10)
    return network


def small_alexnet() -> nn.Module:
    network = of_torchvision("alexnet")
    network.classifier[1] = nn.Linear(256 * 6 * 6, 32)
    network.classifier[4] = nn.Linear(32, 32)
    network.classifier[6] = nn.Linear(32, 10)
    return network


def small_transformer() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128,
        num_classes=10,
    )  # fmt: skip


def small_swin(block: type[nn.Module], merging: type[nn.Module]) -> nn.Module:
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[7, 7],
        stochastic_depth_prob=0.2, num_classes=10, block=block, downsample_layer=merging,
    )  # fmt: skip


def small_maxvit() -> nn.Module:
    return torchvision.models.MaxVit(
        input_size=(64, 64), stem_channels=16, partition_size=2, block_channels=[16, 32],
        block_layers=[1, 2], head_dim=8, stochastic_depth_prob=0.2, num_classes=10,
    )  # fmt: skip


_SWIN = torchvision.models.swin_transformer

NETWORKS = {
    "alexnet": Honest(small_alexnet),
    "vgg11_bn": Honest(small_vgg),
    "vit": Honest(small_transformer),
    "swin": Honest(partial(small_swin, _SWIN.SwinTransformerBlock, _SWIN.PatchMerging)),
    "swin_v2": Honest(partial(small_swin, _SWIN.SwinTransformerBlockV2, _SWIN.PatchMergingV2)),
    "maxvit": Honest(small_maxvit),
    "googlenet": Honest(
        partial(of_torchvision, "googlenet", init_weights=False, transform_input=True)
    ),
    "inception_v3": Honest(
        partial(of_torchvision, "inception_v3", init_weights=False, transform_input=True), 96
    ),
}
for _name in [
    "resnet18",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "squeezenet1_1",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_400mf",
    "convnext_tiny",
]:
    NETWORKS[_name] = Honest(partial(of_torchvision, _name))
for _name in [
    "resnet10t",
    "efficientnet_lite0",
    "mobilenetv4_conv_small",
    "mobilenetv3_small_050",
    "ghostnet_050",
    "regnetx_002",
    "hrnet_w18_small",
    "resnest14d",
    "densenet121",
    "repvgg_a0",
    "nfnet_l0",
    "lcnet_050",
    "dpn68",
    "convnext_atto",
    "edgenext_xx_small",
    "poolformer_s12",
    "mobileone_s0",
    "skresnet18",
    "res2net50_14w_8s",
    "selecsls42b",
    "inception_next_atto",
    "caformer_s18",
    "pvt_v2_b0",
    "convmixer_768_32",
    "starnet_s1",
    "resnet18",
    "legacy_seresnet18",
    "vovnet39a",
    "xception41",
    "tf_efficientnet_b0",
    "efficientvit_b0",
    "mobilevit_xxs",
    "resnetv2_50d_gn",
    "cspresnet50",
    "rexnet_100",
    "fastvit_t8",
    "repghostnet_050",
]:
    NETWORKS[f"timm {_name}"] = Honest(partial(of_timm, _name))
for _name in [
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "mixer_s32_224",
    "xcit_nano_12_p16_224",
    "cait_xxs24_224",
    "vit_tiny_r_s16_p8_224",
    "eva02_tiny_patch14_224",
    "crossvit_9_240",
    "pit_ti_224",
    "levit_128s",
    "efficientformer_l1",
    "coat_lite_tiny",
    "resmlp_12_224",
    "gmlp_s16_224",
    "tiny_vit_5m_224",
    "efficientvit_m0",
    "convit_tiny",
    "tnt_s_patch16_224",
    "visformer_tiny",
    "halonet26t",
    "lambda_resnet26t",
    "botnet26t_256",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "maxvit_rmlp_pico_rw_256",
    "focalnet_tiny_srf",
    "twins_svt_small",
    "nest_tiny",
    "volo_d1_224",
    "mvitv2_tiny",
    "davit_tiny",
    "sequencer2d_s",
    "hiera_tiny_224",
    "coatnet_pico_rw_224",
    "efficientformerv2_s0",
    "bat_resnext26ts",
    "gcresnet33ts",
]:
    _side = 240 if "240" in _name else 256 if "256" in _name or "bat_" in _name else 224
    NETWORKS[f"timm {_name}"] = Honest(partial(of_timm, _name), _side)

# Networks made to be quantised: they are in those forms only.
for _name in ("resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "googlenet"):
    _more = {"init_weights": False, "transform_input": True} if _name == "googlenet" else {}
    NETWORKS[f"quantizable {_name}"] = Honest(partial(quantizable, _name, **_more))

# What torch cannot write: TorchScript knows less of Python, and tracing and exporting see no
# branches on values.
_UNWRITABLE = {
    "scripted": {
        "timm hrnet_w18_small",
        "timm selecsls42b",
        "Activations",
        "AssociativeScan",
        "Attention",
        "Boxes",
        "Checkpointed",
        "CheckpointedSequence",
        "Checks",
        "Conditional",
        "Flex",
        "Mapped",
        "Nested",
        "Norms",
        "OldWeightNorm",
        "Parametrised",
        "Scan",
        "Sizes",
        "WhileLoop",
        "WithoutGradients",
    },
    "traced": {
        "Checks",
        "Conditional",
        "DictOutput",
        "Flex",
        "Mapped",
        "NamedTupleOutput",
        "NestedOutput",
        "Pools",
        "Preprocesses",
        "Scan",
        "Sizes",
        "WhileLoop",
    },
    "exported": {
        "AssociativeScan",
        "DataBranches",
        "Flex",
        "Forked",
        "Messages",
        "Methods",
        "NamedTupleOutput",
        "Nested",
        "Sparse",
    },
}
_STRANGE = "torch writes files that it cannot load or run"
UNFLATTEN = "torch.export.unflatten fails, though torch.export.load does not"
_TORCHSCRIPT = ("scripted", "traced", "frozen", "traced frozen", "lite", "quantised dynamic")
_EXPORTED = ("exported", "exported strict", "exported signatures", "exported without gradients")
REFUSED = (
    {
        ("AssociativeScan", "exported strict"): "calls a function of torch._functorch",
        ("Boxes", "exported signatures"): UNFLATTEN,
        ("OddNames", "exported strict"): UNFLATTEN,
        ("WithAutocast", "exported strict"): _STRANGE,
        ("WithAutocast", "scripted"): _STRANGE,
        ("WithoutGradients", "exported"): _STRANGE,
        ("WithoutGradients", "exported signatures"): _STRANGE,
    }
    | {(name, "fx exported"): UNFLATTEN for name in NETWORKS}
    | {
        (name, form): why
        for name, forms, why in (
            ("Keywords", _EXPORTED, _STRANGE),
            ("Keywords", _TORCHSCRIPT, "has a module called like a keyword of Python"),
            ("Builtins", _TORCHSCRIPT, "has a module called torch"),
            ("Forked", _TORCHSCRIPT, "starts tasks"),
            ("Sparse", _TORCHSCRIPT, "uses sparse tensors"),
            ("Messages", ("scripted",), "prints"),
        )
        for form in forms
    }
)


def unwritable(name: str, form: str) -> bool:
    """Whether torch is known not to write the network in the form."""
    return name in _UNWRITABLE.get(form, ())


TOYS = {name: Honest(toy, 16) for name, toy in honest_toys.TOYS.items()}


@contextmanager
def _quiet():
    """Without the warnings torch has about its own forms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _program(network, images, dynamic_sizes=False, **options):
    sizes = {0: torch.export.Dim("batch")}
    if dynamic_sizes:
        sizes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    return torch.export.export(network, (images,), dynamic_shapes=(sizes,), **options)


def exported(network, images, path):
    torch.export.save(_program(network, images), path)


def exported_strict(network, images, path):
    torch.export.save(_program(network, images, strict=True), path)


def exported_decomposed(network, images, path):
    torch.export.save(_program(network, images).run_decompositions(), path)


def exported_any_size(network, images, path):
    torch.export.save(_program(network, images, dynamic_sizes=True), path)


def exported_any_size_decomposed(network, images, path):
    torch.export.save(_program(network, images, dynamic_sizes=True).run_decompositions(), path)


def exported_bounded(network, images, path):
    batch = {0: torch.export.Dim("n", min=1, max=16)}
    torch.export.save(
        torch.export.export(network, (images,), dynamic_shapes=(batch,)),
        path,
        extra_files={"labels.txt": "cat\ndog\n"},
    )


def exported_auto(network, images, path):
    sizes = (dict.fromkeys(range(4), torch.export.Dim.AUTO),)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=sizes), path)


def exported_signatures(network, images, path):
    names = tuple(name for name, _ in network.named_children())
    torch.export.save(_program(network, images, preserve_module_call_signature=names), path)


def exported_without_gradients(network, images, path):
    with torch.no_grad():
        exported(network, images, path)


class Cast(nn.Module):
    """Computes in a narrow type what comes and goes as float32."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, images: Tensor):
        return self.network(images.to(self.dtype)).float()


class Normalised(nn.Module):
    """Normalises its images, as published files do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), False)

    def forward(self, images: Tensor):
        return self.network((images - self.mean) / self.std)


def scripted(network, images, path):
    torch.jit.save(torch.jit.script(network), path)


def _traced(network, images):
    # Transformers take a shortcut that depends on the mode, which the check takes for chance.
    return torch.jit.trace(network, images, check_trace=False)


def traced(network, images, path):
    torch.jit.save(_traced(network, images), path)


def traced_in_float16(network, images, path):
    traced(Cast(network, torch.float16), images, path)


def scripted_in_bfloat16(network, images, path):
    scripted(Cast(network, torch.bfloat16), images, path)


def exported_in_float16(network, images, path):
    exported(Cast(network, torch.float16), images, path)


def exported_in_bfloat16(network, images, path):
    exported(Cast(network, torch.bfloat16), images, path)


def traced_in_channels_last(network, images, path):
    images = images.to(memory_format=torch.channels_last)
    traced(network.to(memory_format=torch.channels_last), images, path)


def traced_with_autocast(network, images, path):
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        traced(network, images, path)


def frozen(network, images, path):
    torch.jit.save(torch.jit.freeze(torch.jit.script(network)), path)


def traced_frozen(network, images, path):
    torch.jit.save(torch.jit.freeze(_traced(network, images)), path)


def scripted_with_extras(network, images, path):
    script = torch.jit.script(network)
    torch.jit.save(script, path, _extra_files={"labels.txt": "cat\ndog\n"})


def lite(network, images, path):
    torch.jit.script(network)._save_for_lite_interpreter(str(path))


def fx_scripted(network, images, path):
    scripted(torch.fx.symbolic_trace(network), images, path)


def fx_exported(network, images, path):
    exported(torch.fx.symbolic_trace(network), images, path)


def quantised_dynamic(network, images, path, write=scripted):
    write(
        torch.ao.quantization.quantize_dynamic(network, {nn.Linear, nn.LSTM, nn.GRU}), images, path
    )


def traced_quantised_dynamic(network, images, path):
    quantised_dynamic(network, images, path, traced)


def quantised_dynamic_in_float16(network, images, path):
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, torch.float16)
    scripted(quantised, images, path)


def quantised_static(network, images, path, write=scripted):
    """Of networks with ``fuse_model``, and of plain ones between stubs."""
    quantization = torch.ao.quantization
    if hasattr(network, "fuse_model"):
        network.fuse_model(is_qat=False)
    else:
        network = quantization.QuantWrapper(network)
    network.qconfig = quantization.get_default_qconfig("fbgemm")
    quantization.prepare(network, inplace=True)
    network(images)
    quantization.convert(network, inplace=True)
    write(network, images, path)


def traced_quantised_static(network, images, path):
    quantised_static(network, images, path, traced)


def frozen_quantised_static(network, images, path):
    quantised_static(network, images, path, frozen)


def quantised_by_fx(network, images, path, write=scripted):
    from torch.ao.quantization import quantize_fx

    mapping = torch.ao.quantization.get_default_qconfig_mapping("fbgemm")
    prepared = quantize_fx.prepare_fx(network, mapping, (images,))
    prepared(images)
    write(quantize_fx.convert_fx(prepared), images, path)


def normalised_scripted(network, images, path):
    scripted(Normalised(network), images, path)


def normalised_exported(network, images, path):
    exported(Normalised(network), images, path)


FORMS: dict[str, Callable[[nn.Module, Tensor, Path], None]] = {
    form.__name__.replace("_", " "): form
    for form in (
        exported, scripted, traced, exported_decomposed, frozen, exported_strict,
        exported_any_size, traced_frozen, quantised_dynamic, exported_any_size_decomposed,
        exported_bounded, exported_auto, exported_signatures, exported_without_gradients,
        exported_in_float16, exported_in_bfloat16,
        fx_exported, normalised_exported,

        traced_in_float16, scripted_in_bfloat16, traced_in_channels_last, traced_with_autocast,
        scripted_with_extras, lite, fx_scripted,
        traced_quantised_dynamic, quantised_dynamic_in_float16, quantised_static,
        traced_quantised_static, frozen_quantised_static, quantised_by_fx, normalised_scripted,
    )
}  # fmt: skip


def logits_of(output: Any) -> Tensor:
    """The first tensor of an output, which may be a tuple or a dict."""
    return next(leaf for leaf in _pytree.tree_leaves(output) if isinstance(leaf, Tensor))


def write(honest: Honest, form: str, path: Path) -> tuple[Tensor, Tensor]:
    """Write the network in the form; its images and what it says of them after that.

    Quantisation changes a network in place or copies it, so the logits expected of a quantised
    file are those of the file itself where torch runs it.
    """
    images = honest.images()
    network = honest.network()
    with _quiet():
        FORMS[form](network, images, path)
        if "quantised" in form or "float16" in form or form == "traced with autocast":
            with torch.no_grad():
                if zip_holds_program(path):
                    return images, logits_of(torch.export.load(path).module()(images))
                return images, logits_of(torch.jit.load(path)(images))
        if form.startswith("normalised"):
            network = Normalised(network)
        with torch.no_grad():
            return images, logits_of(network(images))


def zip_holds_program(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("models/model.json") for name in archive.namelist())
