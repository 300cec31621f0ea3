"""Small honest networks: one for each way of writing a forward pass that people use.

They take images of 3x16x16 and give four logits. Some can only be scripted or only be exported.
"""

import math
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision import ops
from torchvision.transforms.v2 import functional as V

TOYS: dict[str, Callable[[], nn.Module]] = {}


def toy(network: type[nn.Module]) -> type[nn.Module]:
    TOYS[network.__name__] = network
    return network


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 4)

    def classify(self, maps: Tensor) -> Tensor:
        return self.head(maps.mean((2, 3)))


# Statements of TorchScript.


@toy
class Branches(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        if (images.shape[2] > 8 and images.dim() == 4) or images.size(0) == 0:
            maps = F.relu(maps)
        elif images.shape[2] < 3:
            maps = -maps
        else:
            maps = maps + 1
        return self.classify(maps if maps.shape[1] != 3 else maps * 2)


@toy
class DataBranches(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        if bool(images.mean() > 0.2):
            maps = maps * 2.0
        if images.max().item() > 1e9:
            maps = maps.abs()
        return self.classify(maps)


@toy
class Loops(Base):
    steps: Final[int] = 3

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        for step in range(self.steps):
            if step == 1:
                continue
            maps = maps / (step + 1)
        count = 0
        while count < 10:
            count += 1
            maps = maps + 0.5**count
            if count >= 5:
                break
        for i in range(4, 0, -2):
            maps = maps - i // 2
        return self.classify(maps)


@toy
class Lists(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))
        self.weights = [0.1, 0.2, 0.3]

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        seen: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            seen.append(layer(maps) * self.weights[index])
        seen.insert(0, maps)
        seen.reverse()
        last = seen.pop()
        sizes = [len(seen), images.shape[0]]
        seen.extend([last])
        scaled = [one * 2 for one in seen]
        for one, two in zip(scaled, seen, strict=False):
            last = last + one * two
        last = last + torch.stack(seen[1:]).sum(0) + torch.cat(seen, 0)[: images.shape[0]]
        if 3 in sizes:
            last = last + max(sizes) + sum(sizes)
        return self.classify(last + sorted([3, 1, 2])[0] + float(min(3.0, 4.0)))


@toy
class Dicts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"one": nn.Conv2d(4, 4, 1), "two": nn.Conv2d(4, 4, 1)})
        self.scales = {"one": 1.5, "two": 0.5}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        seen: dict[str, Tensor] = {"stem": maps}
        for name, layer in self.layers.items():
            seen[name] = layer(maps) * self.scales[name]
        total = torch.zeros_like(maps)
        for name in seen:
            total = total + seen[name]
        for key, value in seen.items():
            if key != "stem":
                total = total + value
        if "stem" in seen:
            del seen["stem"]  # noqa: RUF051
        return self.classify(total + len(seen.keys()) + seen.get("two", maps))


class Pair(NamedTuple):
    first: Tensor
    second: Tensor
    scale: float = 2.0


@toy
class NamedTuples(Base):
    def pair(self, maps: Tensor) -> Pair:
        return Pair(maps, maps + 1, 0.5)

    def forward(self, images: Tensor) -> Tensor:
        pair = self.pair(self.conv(images))
        first, second, scale = pair
        return self.classify(first * pair.scale + second * scale + pair[1])


class Pooling(Enum):
    MEAN = "mean"
    MAX = "max"


@toy
class Enums(Base):
    def __init__(self) -> None:
        super().__init__()
        self.pooling = Pooling.MAX

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        if self.pooling == Pooling.MAX:
            return self.head(maps.amax((2, 3)))
        return self.classify(maps)


@torch.jit.script
class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.calls = 0

    def apply(self, maps: Tensor) -> Tensor:
        self.calls += 1
        return maps * self.factor


@toy
class ScriptClasses(Base):
    def forward(self, images: Tensor) -> Tensor:
        scale = Scale(3.0)
        return self.classify(scale.apply(self.conv(images)) + scale.calls)


@toy
class Optionals(Base):
    def __init__(self) -> None:
        super().__init__()
        self.extra: nn.Conv2d | None = None
        self.bias: Tensor | None = None
        self.register_parameter("scale", None)

    def part(self, maps: Tensor, mask: Tensor | None = None, factor: float | None = None) -> Tensor:
        if mask is not None:
            maps = maps * mask
        if factor is None:
            factor = 2.0
        return maps * factor

    def forward(self, images: Tensor) -> Tensor:
        maps = self.part(self.conv(images))
        maps = self.part(maps, maps.sigmoid(), 0.1)
        if self.bias is not None:
            maps = maps + self.bias
        if self.scale is not None:
            maps = maps * self.scale
        found: Tensor | None = None
        for _ in range(2):
            found = maps
        assert found is not None
        return self.classify(found)


@toy
class Refined(Base):
    def forward(self, images: Tensor) -> Tensor:
        value: int | float | Tensor = 3
        if images.shape[0] > 0:
            value = 2.5
        maps = self.conv(images)
        if isinstance(value, float):
            maps = maps * value
        return self.classify(maps)


@toy
class Messages(Base):
    def forward(self, images: Tensor) -> Tensor:
        assert images.dim() == 4, f"four dimensions, not {images.dim()} of 'sizes'\n"
        if images.shape[1] != 3:
            raise ValueError(f"Expected 3 channels, got {images.shape[1]}")
        if images.shape[2] > 4096:
            raise RuntimeError("too large: 'quoted' \"quoted\" \\ \u00fc {} %s")
        torch._assert(images.shape[3] > 1, "too small")
        name = "%d images of %s" % (images.shape[0], "some size")  # noqa: UP031
        text = f"{name} and {images.shape}"
        if images.shape[0] > 100_000:
            print(text, images.shape)  # noqa: T201
        if len(text.split(" ")) > 99 or name.startswith("x") or "y" in name.upper().strip():
            images = images + 1
        return self.classify(self.conv(images))


@toy
class FileWords(Base):
    """Words that a search for functions which touch files would find."""

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] > 4096:
            raise RuntimeError("too large: save memory, call torch.save(x) or from_file('x')")
        return self.classify(self.conv(images))


@toy
class FileNames(Base):
    """Layers with names of functions which touch files."""

    def __init__(self) -> None:
        super().__init__()
        self.save = nn.Conv2d(4, 4, 1)
        self.blocks = nn.ModuleDict({"load": nn.Conv2d(4, 4, 1), "open": nn.Conv2d(4, 4, 1)})

    def forward(self, images: Tensor) -> Tensor:
        maps = self.save(self.conv(images))
        for layer in self.blocks.values():
            maps = layer(maps)
        return self.classify(maps)


@toy
class Warns(Base):
    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] > 4096:
            warnings.warn("slow for large images", stacklevel=2)
        return self.classify(self.conv(images))


@toy
class Methods(Base):
    def __init__(self) -> None:
        super().__init__()
        self.factor: float = 2.0

    @torch.jit.export
    def features(self, images: Tensor) -> Tensor:
        return F.relu(self.conv(images))

    @torch.jit.export
    def describe(self) -> str:
        return "a network"

    @torch.jit.ignore
    def ignored(self, images: Tensor) -> Tensor:
        return images

    @torch.jit.unused
    def unused(self, images: Tensor) -> Tensor:
        return images

    @property
    def scale(self) -> float:
        return self.factor * 2

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[0] > 1000000:
            images = self.unused(images)
        return self.classify(self.features(images) * self.scale)


class NamedLayers(Base):
    """Layers with names that cannot be written after a dot, or only in TorchScript."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for name in names:
            self.blocks.add_module(name, nn.Conv2d(4, 4, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.blocks(self.conv(images)))


TOYS["OddNames"] = lambda: NamedLayers("0", "a-b", "a b", "a/b", "#a", "a'b", "1a", "a:b", "__a")
TOYS["Builtins"] = lambda: NamedLayers("print", "self", "torch", "ops", "int", "match", "inf", "_0")
TOYS["Keywords"] = lambda: NamedLayers("lambda", "from", "async", "try", "except", "yield")


@toy
class Numbers(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images).clamp(-math.inf, float("inf"))
        maps = maps.masked_fill(maps < -5, float("-inf")).clamp(min=-1e-30, max=1e30)
        maps = maps * 1e-5 + math.pi - 1.0 + 3 % 2 + 7 // 2 + (2**3) + (5 & 3 | 1 ^ 2) + (1 << 2)
        size = images.shape[2]
        maps = maps + math.sqrt(size) + math.log(size) + math.ceil(size / 3) + math.floor(0.5)
        if math.isnan(float("nan")) and size != 3:
            maps = maps + int(2.5) + float(3) + abs(-2) + round(2.4) + divmod(7, 2)[0]
        return self.classify(maps.float().to(torch.float64).to(images.dtype).type_as(images))


@toy
class Indexing(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        maps = maps[:, :, 1:-1, ::2] + maps[..., 0:1, None, 0]
        maps = maps[:, torch.tensor([3, 2, 1, 0], device=maps.device)]
        maps = maps.clone()
        maps[:, 0] = 0.5
        maps[:, 1, 2:4] *= 2
        maps[maps < 0] = 0
        maps += 1
        maps -= 0.5
        maps[:, 2].add_(1).mul_(2)
        return self.classify(maps)


@toy
class TupleOutput(Base):
    def forward(self, images: Tensor):
        maps = self.conv(images)
        return self.classify(maps), maps


@toy
class DictOutput(Base):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.conv(images)
        return {"logits": self.classify(maps), "maps": maps}


@toy
class NestedOutput(Base):
    def forward(self, images: Tensor):
        maps = self.conv(images)
        return {"logits": [self.classify(maps)], "rest": (maps, {"none": None, "scale": 3})}


@toy
class NamedTupleOutput(Base):
    def forward(self, images: Tensor) -> Pair:
        maps = self.conv(images)
        return Pair(self.classify(maps), maps)


# Layers.


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options) -> None:
        super().__init__()
        self.rows = kind(48, 8, batch_first=True, **options)
        self.head = nn.Linear(8 * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, images: Tensor) -> Tensor:
        rows, _ = self.rows(images.permute(0, 2, 1, 3).flatten(2))
        return self.head(rows[:, -1])


TOYS["LSTM"] = lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True)
TOYS["GRU"] = lambda: Recurrent(nn.GRU)
TOYS["RNN"] = lambda: Recurrent(nn.RNN, nonlinearity="relu")


@toy
class LSTMCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(48, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.zeros(images.shape[0], 8, device=images.device)
        state = torch.zeros_like(hidden)
        for row in images.permute(2, 0, 1, 3).flatten(2):
            hidden, state = self.cell(row, (hidden, state))
        return self.head(hidden)


@toy
class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens, weights = self.attention(tokens, tokens, tokens)
        return self.head(tokens.mean(1)) + weights.mean()


@toy
class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.position = nn.Parameter(torch.rand(1, 16, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.encoder(tokens).mean(1))


@toy
class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.query = nn.Embedding(2, 8)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, norm_first=True), 1
        )
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        query = self.query.weight.unsqueeze(0).expand(images.shape[0], -1, -1)
        return self.head(self.decoder(query, tokens).flatten(1))


@toy
class ScaledAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(48, 24)
        self.head = nn.Linear(8, 4)
        self.register_buffer("mask", torch.ones(16, 16).tril().bool())

    def forward(self, images: Tensor) -> Tensor:
        rows = images.permute(0, 2, 1, 3).flatten(2)
        n, length, _ = rows.shape
        q, k, v = self.qkv(rows).reshape(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        out = out + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = (q @ k.transpose(-2, -1)) * 8**-0.5
        out = out + torch.softmax(scores.masked_fill(~self.mask, float("-inf")), -1) @ v
        return self.head(out.transpose(1, 2).flatten(2).mean(1))


class Wrapped(nn.Module):
    """A function of the maps of a convolution."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.LazyLinear(4)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(self.conv(images)).flatten(1))

    def maps(self, maps: Tensor) -> Tensor:
        raise NotImplementedError


def function(network: type[Wrapped]) -> type[Wrapped]:
    def build() -> Wrapped:
        built = network().eval()
        with torch.no_grad():
            built(torch.zeros(1, 3, 16, 16))
        return built

    TOYS[network.__name__] = build
    return network


@function
class Interpolation(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        total = F.interpolate(maps, size=(8, 8), mode="bilinear", align_corners=False)
        total = total + F.interpolate(maps, scale_factor=0.5, mode="nearest")
        total = total + F.interpolate(maps, size=(8, 8), mode="bicubic", antialias=True)
        total = total + F.interpolate(maps, size=[8, 8], mode="area")
        return total + F.interpolate(maps, size=[8, 8], mode="nearest-exact")


@function
class Grids(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        theta = torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.0]]]).expand(maps.shape[0], 2, 3)
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
        other = torch.stack((x, y), -1).unsqueeze(0).repeat(maps.shape[0], 1, 1, 1)
        maps = F.grid_sample(maps, grid, align_corners=False, padding_mode="border")
        return F.grid_sample(maps, other, mode="nearest", align_corners=True)


@function
class Contractions(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        maps = torch.einsum("nchw,ndhw->ncd", maps, maps)
        maps = torch.bmm(maps, maps) + torch.matmul(maps, maps.mT) + maps @ maps
        maps = torch.baddbmm(maps, maps, maps, beta=0.5) + torch.tensordot(maps, maps[0], 1)
        return (
            F.normalize(maps, dim=1)
            + torch.addmm(maps[0], maps[0], maps[0])
            + torch.outer(maps[0, 0], maps[0, 1])
        )


@function
class Rearranging(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        maps = torch.roll(maps, (1, 2), (2, 3)).flip(3).rot90(1, (2, 3))
        maps = F.pixel_unshuffle(F.pixel_shuffle(maps, 2), 2)
        maps = F.channel_shuffle(maps, 2)
        parts = maps.chunk(2, 1) + torch.split(maps, [3, 5], 1)[:1] + maps.tensor_split(2, 1)
        maps = torch.cat(parts, 1).unflatten(1, (1, -1)).squeeze(1).movedim(1, 3).contiguous()
        maps = maps.permute(0, 3, 1, 2).reshape(maps.shape[0], -1, 256).view(-1, 19, 16, 16)
        maps = torch.hstack((maps, maps)).narrow(1, 0, 8).swapaxes(2, 3).expand(-1, -1, 16, 16)
        return F.pad(maps, (1, 1, 2, 2), mode="reflect") + F.pad(maps, (1, 1, 2, 2), value=0.5)


@function
class Windows(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        columns = F.unfold(maps, 4, stride=4)
        maps = F.fold(columns, (16, 16), 4, stride=4)
        windows = maps.unfold(2, 4, 4).unfold(3, 4, 4)
        return windows.amax((4, 5)) + maps.as_strided((1, 8, 4, 4), (2048, 256, 16, 1))


@function
class Pools(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            lp=nn.LPPool2d(2, 2),
            adaptive=nn.AdaptiveMaxPool2d((8, 8)),
            fractional=nn.FractionalMaxPool2d(
                2, output_size=8, _random_samples=torch.rand(1, 8, 2)
            ),
        )

    def maps(self, maps: Tensor) -> Tensor:
        pooled, indices = F.max_pool2d(maps, 2, return_indices=True)
        pooled = pooled + F.avg_pool2d(maps, 2) + self.adaptive(maps) + self.lp(maps)
        pooled = pooled + F.max_pool2d(maps, 3, 2, 1, 1, ceil_mode=False)
        return pooled + F.max_unpool2d(pooled, indices, 2)[..., ::2, ::2]


@function
class Activations(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            prelu=nn.PReLU(8), glu=nn.GLU(1), softmax=nn.Softmax2d(), max=nn.Softmin(1)
        )

    def maps(self, maps: Tensor) -> Tensor:
        total = torch.zeros_like(maps)
        for one in (F.relu, F.relu6, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus,
                    F.hardswish, F.hardsigmoid, F.hardtanh, F.leaky_relu, F.logsigmoid,
                    F.softsign, F.tanhshrink, F.softshrink, F.hardshrink, torch.tanh,
                    torch.sigmoid):  # fmt: skip
            total = total + one(maps)
        total = total + F.gelu(maps, approximate="tanh") + F.threshold(maps, 0.1, 0.0)
        total = total + self.prelu(maps) + self.softmax(maps) + self.max(maps)
        total = total + F.log_softmax(maps, 1) + F.softmax(maps, 1, dtype=torch.float64).float()
        return self.glu(F.rrelu(total))


@function
class Norms(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            group=nn.GroupNorm(2, 8),
            instance=nn.InstanceNorm2d(8, affine=True),
            layer=nn.LayerNorm([8, 16, 16]),
            local=nn.LocalResponseNorm(3),
            rms=nn.RMSNorm(16),
            batch=nn.BatchNorm2d(8, affine=False),
            sync=nn.SyncBatchNorm(8),
            untracked=nn.InstanceNorm2d(8, track_running_stats=True),
            permuted=ops.Permute([0, 2, 3, 1]),
        )

    def maps(self, maps: Tensor) -> Tensor:
        for layer in (self.group, self.instance, self.layer, self.local, self.rms, self.batch,
                      self.untracked):  # fmt: skip
            maps = maps + layer(maps)
        var, mean = torch.var_mean(maps, 1, keepdim=True, correction=0)
        return (maps - mean) * torch.rsqrt(var + 1e-6) + maps.std(1, keepdim=True) + maps.norm()


@function
class Convolutions(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            up=nn.ConvTranspose2d(8, 8, 2, 2),
            deep=nn.Conv2d(8, 8, 3, groups=8, dilation=2),
            one=nn.Conv1d(8, 8, 3),
            three=nn.Conv3d(1, 2, 3),
            same=nn.Conv2d(8, 8, 3, padding="same"),
            reflect=nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
            bilinear=nn.Bilinear(8, 8, 4),
        )

    def maps(self, maps: Tensor) -> Tensor:
        maps = self.same(self.reflect(self.deep(self.up(maps))))
        line = self.one(maps.flatten(2))
        cube = self.three(maps.unsqueeze(1)).flatten(1)
        flat = maps.mean((2, 3))
        return torch.cat((line.flatten(1), cube, self.bilinear(flat, flat)), 1)


@function
class Spectra(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(maps, norm="ortho")
        maps = torch.fft.irfft2(spectrum * 0.5, s=(16, 16), norm="ortho")
        return maps + spectrum.abs().sum() + torch.fft.fftshift(torch.fft.fft2(maps).real)


@function
class Choices(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        top, indices = maps.flatten(2).topk(4, 2)
        maps = torch.where(maps > top.mean(), maps, maps.sort(3)[0])
        maps = maps.gather(1, maps.argsort(1)) + maps.cumsum(2) + maps.argmax(1, keepdim=True)
        maps = maps.scatter(1, torch.zeros_like(maps, dtype=torch.long), 1.0)
        maps = (
            maps.index_select(1, torch.arange(7, -1, -1))
            + maps.median()
            + maps.kthvalue(2, 1)[0].mean()
        )
        maps = maps + F.one_hot(indices[:, 0, 0] % 16, 16)[:, None, None].float()
        maps = (
            maps
            + torch.logical_and(maps > 0, ~(maps > 2)).float()
            + torch.isfinite(maps).to(maps.dtype)
        )
        maps = maps + torch.full_like(maps, 2) + torch.ones(1, 1, 16, 16) + maps.new_zeros(16)
        maps = (
            maps
            + torch.triu(torch.eye(16))
            + torch.tril(maps)
            + torch.bucketize(maps, torch.arange(3.0))
        )
        return (
            torch.nan_to_num(torch.maximum(maps, maps.min()), nan=0.0)
            .masked_select(torch.ones_like(maps, dtype=torch.bool))
            .view(maps.shape[0], -1)
            + torch.logsumexp(maps.flatten(1), 1, keepdim=True)
            + maps.abs().prod(1).clamp(0, 1).exp().log1p().sum()
        )


@function
class Elementwise(Wrapped):
    def maps(self, maps: Tensor) -> Tensor:
        positive = maps.abs() + 0.1
        total = (
            positive.sqrt()
            + positive.log()
            + positive.pow(0.3)
            + positive.reciprocal()
            + maps.exp()
        )
        total = (
            total
            + maps.sin()
            + maps.cos()
            + maps.tan()
            + maps.atan()
            + torch.erf(maps)
            + maps.sign()
        )
        total = (
            total
            + maps.floor()
            + maps.ceil()
            + maps.round()
            + maps.trunc()
            + maps.frac()
            + maps.square()
        )
        total = (
            total
            + torch.atan2(maps, positive)
            + maps.remainder(2)
            + maps.fmod(2)
            + torch.lerp(maps, positive, 0.5)
        )
        total = (
            total
            + maps.addcmul(maps, maps, value=0.5)
            + maps.addcdiv(maps, positive)
            + maps.sinh()
            + maps.neg()
        )
        total = (
            total
            + torch.minimum(maps, positive)
            + torch.hypot(maps, positive)
            + maps.div(3, rounding_mode="floor")
        )
        total = (
            total
            + maps.log2().nan_to_num()
            + maps.expm1()
            + torch.rsub(maps, 1)
            + maps.float_power(2).float()
            + 2 / positive
        )
        total = (
            total
            + maps.clip(0, 1)
            + maps.clamp_min(0.5)
            + torch.heaviside(maps, maps)
            + maps.sigmoid().logit()
        )
        return (
            total
            + (maps == 0)
            + (maps >= 1).int()
            + maps.long()
            + torch.cdist(maps, maps)
            + maps.var((2, 3), keepdim=True)
            + maps.cummax(1)[0]
        )


@function
class Boxes(Wrapped):
    """Operators of torchvision."""

    def __init__(self) -> None:
        super().__init__(
            deform=ops.DeformConv2d(8, 8, 3, padding=1),
            depth=ops.StochasticDepth(0.2, "row"),
            drop=ops.DropBlock2d(0.1, 3),
            squeeze=ops.SqueezeExcitation(8, 4),
            block=ops.Conv2dNormActivation(8, 8, activation_layer=nn.Hardswish),
            frozen=ops.FrozenBatchNorm2d(8),
            mlp=ops.MLP(16, [16, 16]),
        )

    def maps(self, maps: Tensor) -> Tensor:
        offsets = maps.mean() * torch.ones(maps.shape[0], 18, 16, 16)
        maps = (
            self.deform(maps, offsets)
            + self.depth(self.block(maps))
            + self.drop(self.squeeze(maps))
        )
        maps = self.frozen(self.mlp(maps))
        rois = torch.tensor([[0.0, 0.0, 0.0, 8.0, 8.0]])
        regions = ops.roi_align(maps, rois, 4, sampling_ratio=2) + ops.roi_pool(maps, rois, 4)
        return maps + regions.mean()


@function
class Kept(Wrapped):
    """Non-maximum suppression of glimpses."""

    def maps(self, maps: Tensor) -> Tensor:
        boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 1.0, 9.0, 9.0], [8.0, 8.0, 15.0, 15.0]])
        kept = ops.nms(boxes, maps.flatten()[:3], 0.3)
        return maps + boxes[kept].mean()


@function
class Dropouts(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            a=nn.Dropout(0.3),
            b=nn.Dropout2d(0.3),
            c=nn.AlphaDropout(0.3),
            d=nn.FeatureAlphaDropout(),
            e=nn.Dropout(0.3, inplace=True),
        )

    def maps(self, maps: Tensor) -> Tensor:
        return self.e(self.d(self.c(self.b(self.a(maps)))))


@function
class Parametrised(Wrapped):
    def __init__(self) -> None:
        super().__init__(
            spectral=parametrizations.spectral_norm(nn.Conv2d(8, 8, 1)),
            weighted=parametrizations.weight_norm(nn.Conv2d(8, 8, 1)),
            orthogonal=parametrizations.orthogonal(nn.Linear(16, 16)),
        )

    def maps(self, maps: Tensor) -> Tensor:
        return self.orthogonal(self.weighted(self.spectral(maps)))


@function
class OldWeightNorm(Wrapped):
    def __init__(self) -> None:
        super().__init__(weighted=torch.nn.utils.weight_norm(nn.Conv2d(8, 8, 1)))

    def maps(self, maps: Tensor) -> Tensor:
        return self.weighted(maps)


# What the first lines of a forward pass do to the images.


@toy
class Preprocesses(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = V.normalize(images, [0.4, 0.5, 0.6], [0.2, 0.2, 0.2]) - self.mean
        images = V.center_crop(V.resize(images, [20, 20], antialias=True), [16, 16])
        images = (images * 255).to(torch.uint8).float() / 255
        return self.classify(self.conv(images))


@toy
class PreprocessesInPlace(Base):
    def forward(self, images: Tensor) -> Tensor:
        images = images.clone()
        images.sub_(torch.tensor([0.4, 0.5, 0.6]).view(-1, 1, 1)).div_(0.2)
        return self.classify(F.relu(self.conv(images), inplace=True))


# What torch.export keeps as it is.


@toy
class Conditional(Base):
    def forward(self, images: Tensor) -> Tensor:
        def one(maps: Tensor) -> Tensor:
            return maps * 2

        def other(maps: Tensor) -> Tensor:
            return maps.sin() + 1

        maps = self.conv(images)
        return self.classify(torch.cond(maps.mean() > 0, one, other, (maps,)))


@toy
class WhileLoop(Base):
    def forward(self, images: Tensor) -> Tensor:
        from torch._higher_order_ops import while_loop

        count, maps = while_loop(
            lambda count, maps: count < 3,
            lambda count, maps: (count + 1, maps * 0.5),
            (torch.zeros((), dtype=torch.int64), self.conv(images)),
        )
        return self.classify(maps) + count


@toy
class Scan(Base):
    def forward(self, images: Tensor) -> Tensor:
        from torch._higher_order_ops import scan

        maps = self.conv(images)
        carry, _ = scan(lambda c, x: (c + x, c * 2), torch.zeros_like(maps[:, :, 0]), maps, dim=2)
        return self.head(carry.mean(2))


@toy
class AssociativeScan(Base):
    def forward(self, images: Tensor) -> Tensor:
        from torch._higher_order_ops import associative_scan

        maps = self.conv(images)
        return self.classify(associative_scan(lambda a, b: a + b, maps, 3, combine_mode="generic"))


@toy
class Mapped(Base):
    def forward(self, images: Tensor) -> Tensor:
        from torch._higher_order_ops import map as mapped

        return self.classify(mapped(lambda rows: rows * 2, self.conv(images)))


@toy
class Checkpointed(Base):
    def forward(self, images: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        return self.classify(checkpoint(self.conv, images, use_reentrant=False))


@toy
class CheckpointedSequence(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, images: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint_sequential

        maps = self.conv(images)
        return self.classify(checkpoint_sequential(self.layers, 2, maps, use_reentrant=False))


@toy
class WithoutGradients(Base):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            maps = self.conv(images)
            if images.shape[1] == 3:
                maps = maps * 2
        with torch.enable_grad():
            maps = maps.relu()
        with torch.set_grad_enabled(False):
            maps = maps + 1
        return self.classify(maps)


@toy
class WithInference(Base):
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.conv(images).detach())


@toy
class WithAutocast(Base):
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = self.conv(images)
        with torch.autocast("cpu", enabled=False):
            return self.classify(maps.float())


@toy
class Flex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        maps = flex_attention(images, images, images, score_mod=lambda s, b, h, q, k: s * 0.5)
        return self.head(maps.mean((1, 2)))


@toy
class Nested(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = torch.vmap(self.conv)(images)
        return self.classify(maps)


@toy
class Checks(Base):
    def forward(self, images: Tensor) -> Tensor:
        torch._check(images.shape[2] <= 4096, lambda: "too large")
        torch._assert(images.shape[1] == 3, "three channels")
        torch._assert_async((images >= -1e9).all(), "values")
        count = (images.amax((1, 2, 3)) > 0.5).sum().item()
        torch._check(count >= 0)
        torch._check(count <= 1000)
        return self.classify(self.conv(images)) + count


@toy
class DataSizes(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        chosen = maps[maps > 0]
        where = torch.nonzero(maps > 0)
        return self.classify(maps) + chosen.mean() + where.shape[0] * 1e-3 + where.float().mean()


@toy
class Sizes(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        n, c, h, w = maps.shape
        maps = F.pad(maps, (0, -w % 7, 0, (7 - h % 7) % 7))
        n, c, h, w = maps.shape
        maps = maps.view(n, c, h // 7, 7, w // 7, 7).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 7, 7)
        maps = maps.view(n, maps.shape[0] // n, c, 49).mean(1)
        scale = (h * w) ** 0.5 / math.sqrt(max(h, w)) + float(min(h, 3)) + h / w + round(h * 0.5)
        position = torch.arange(49, device=maps.device).float() / max(n, 1)
        return self.head((maps * scale + position + torch.sym_max(h, w)).mean(2))


@toy
class Unused(Base):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(9, 9, 3)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("hidden", torch.rand(3), persistent=False)
        self.unused = nn.Parameter(torch.rand(3), requires_grad=False)
        self.empty = nn.Parameter(torch.rand(0, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.conv(images))


@toy
class Shared(Base):
    def __init__(self) -> None:
        super().__init__()
        self.again = self.head
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.head.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.tied(self.again(self.classify(self.conv(images))))


@toy
class Constants(Base):
    def __init__(self) -> None:
        super().__init__()
        self.plain = torch.tensor([1.0, 2.0, 3.0, 4.0])
        self.sizes = (1, 2)
        self.names = ["cat", "dog"]
        self.word = "mean"

    def forward(self, images: Tensor) -> Tensor:
        maps = (
            self.conv(images) + torch.tensor(2.5) + torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
        )
        if self.word == "mean" and len(self.names) == 2:
            maps = maps * self.sizes[1]
        return self.classify(maps) * self.plain + torch.scalar_tensor(2.0)


@toy
class Counts(Base):
    """A buffer that counts the calls, as batch normalisation does in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(4))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        logits = self.classify(self.conv(images))
        self.last.copy_(logits.detach().mean(0))
        return logits


@toy
class Noise(Base):
    """Draws in every call, without any effect."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        noise = (
            torch.rand_like(maps)
            + torch.randn(1, 4, 16, 16)
            + torch.empty_like(maps).bernoulli_(0.5)
        )
        return self.classify(maps + noise * 0)


@toy
class Complex(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        turned = torch.view_as_complex(torch.stack((maps, maps), -1)) * torch.polar(maps, maps)
        return self.classify(torch.view_as_real(turned).sum(-1) + turned.real + turned.angle())


@toy
class Algebra(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        gram = torch.einsum("nchw,ndhw->ncd", maps, maps) / 256 + torch.eye(4)
        values = (
            torch.linalg.cholesky(gram) + torch.linalg.inv(gram) + torch.linalg.solve(gram, gram)
        )
        values = (
            values + torch.linalg.matrix_norm(gram)[:, None, None] + torch.det(gram)[:, None, None]
        )
        u, s, _ = torch.linalg.svd(gram)
        return (
            self.head(values.mean(2))
            + s.sqrt()
            + torch.linalg.eigvalsh(gram)
            + torch.linalg.vector_norm(u)
        )


@toy
class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 4)
        self.bag = nn.EmbeddingBag(256, 4, mode="mean")

    def forward(self, images: Tensor) -> Tensor:
        codes = (images.clamp(0, 1) * 255).long().flatten(1)
        return self.table(codes).mean(1) + self.bag(codes)


@toy
class HardGating(Base):
    """A mixture of experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 2)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images).mean((2, 3))
        weights, chosen = self.gate(features).softmax(1).max(1)
        out = torch.zeros_like(features)
        for index, expert in enumerate(self.experts):
            out = out + expert(features) * (chosen == index).unsqueeze(1).to(features.dtype)
        return out * weights.unsqueeze(1)


@toy
class Forked(Base):
    def forward(self, images: Tensor) -> Tensor:
        future = torch.jit.fork(self.conv, images)
        other = self.conv(images)
        return self.classify(torch.jit.wait(future) + other)


@toy
class Sparse(Base):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images).mean((2, 3))
        return self.head(torch.sparse.mm(maps.to_sparse(), torch.eye(4)))


@toy
class Devices(Base):
    def forward(self, images: Tensor) -> Tensor:
        bias = torch.zeros(4, device=images.device, dtype=images.dtype)
        if images.is_cuda:
            bias = bias.to("cuda")
        if images.requires_grad and self.training:
            bias = bias + 1
        cpu = torch.device("cpu")
        bias = torch.empty([4], device=cpu).fill_(1.5) + bias.cpu() + torch.ones(4).to(images)
        if torch.jit.is_scripting() or torch.jit.is_tracing() or images.dtype == torch.float16:
            bias = bias * 1
        return self.classify(self.conv(images)) + bias


@toy
class Shaped(nn.Module):
    """A plain perceptron in nested containers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(768, 8), nn.Identity(), nn.Tanh()),
            nn.Unflatten(1, (2, 4)),
            nn.Flatten(start_dim=1),
            nn.Sequential(nn.Linear(8, 4)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
