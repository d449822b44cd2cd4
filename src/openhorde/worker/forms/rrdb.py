# SPDX-License-Identifier: AGPL-3.0-or-later
"""The network of the ESRGAN family of upscalers, made to measure from a file's weights.

Both ways of naming the weights are read: the first one's (model.1.sub.0.RDB1.conv1.0) and that of
Real-ESRGAN (body.0.rdb1.conv1). How large it is follows from the weights' shapes.
"""

import re
from collections.abc import Iterable

import torch
from msgspec import Struct
from torch import nn
from torch.nn import functional

SLOPE = 0.2
RESIDUAL_SHARE = 0.2
CONVOLUTIONS = 5
COLOURS = 3
PREFIX = re.compile(r"^(params_ema|params|module)\.")
FIRST_NAMES = re.compile(r"^model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)$")
FIRST_BODY_END = re.compile(r"^model\.1\.sub\.(\d+)\.(weight|bias)$")
FIRST_LAYERS = re.compile(r"^model\.(\d+)\.(weight|bias)$")


class Measures(Struct, frozen=True):
    """How large a network is. `shrink` is by how much the picture is folded into channels first."""

    blocks: int
    features: int
    growth: int
    doublings: int
    shrink: int
    colours_out: int

    @property
    def scale(self) -> int:
        """How many times larger a picture becomes. It is 1 for a network that only restores."""
        return (1 << self.doublings) // self.shrink


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it found."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for index in range(CONVOLUTIONS):
            out = growth if index < CONVOLUTIONS - 1 else features
            layer = nn.Conv2d(features + index * growth, out, 3, padding=1)
            self.add_module(f"conv{index + 1}", layer)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(1, features, height, width) to the same."""
        seen = picture
        for index in range(1, CONVOLUTIONS):
            found = self.get_submodule(f"conv{index}")(seen)
            seen = torch.cat((seen, functional.leaky_relu(found, SLOPE)), 1)
        last: torch.Tensor = self.get_submodule(f"conv{CONVOLUTIONS}")(seen)
        return picture + last * RESIDUAL_SHARE


class Block(nn.Module):
    """Three dense blocks and a way around them."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(1, features, height, width) to the same."""
        changed: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(picture)))
        return picture + changed * RESIDUAL_SHARE


class Rrdb(nn.Module):
    """The whole network: a picture (1, 3, height, width), 0 to 1, becomes `scale` times larger."""

    def __init__(self, measures: Measures) -> None:
        super().__init__()
        self.measures = measures
        features = measures.features
        self.conv_first = nn.Conv2d(COLOURS * measures.shrink**2, features, 3, padding=1)
        self.body = nn.Sequential(
            *(Block(features, measures.growth) for _ in range(measures.blocks))
        )
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        for index in range(measures.doublings):
            self.add_module(f"conv_up{index + 1}", nn.Conv2d(features, features, 3, padding=1))
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, measures.colours_out, 3, padding=1)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Enlarge; sides must be multiples of `shrink`."""
        if self.measures.shrink > 1:
            picture = functional.pixel_unshuffle(picture, self.measures.shrink)
        found = self.conv_first(picture)
        found = found + self.conv_body(self.body(found))
        for index in range(self.measures.doublings):
            doubled = functional.interpolate(found, scale_factor=2, mode="nearest")
            layer = self.get_submodule(f"conv_up{index + 1}")
            found = functional.leaky_relu(layer(doubled), SLOPE)
        found = functional.leaky_relu(self.conv_hr(found), SLOPE)
        enlarged: torch.Tensor = self.conv_last(found)
        return enlarged


def is_rrdb(names: Iterable[str]) -> bool:
    """Whether weights of these names are such a network's."""
    bare = {PREFIX.sub("", name) for name in names}
    modern = {"conv_first.weight", "body.0.rdb1.conv1.weight", "conv_hr.weight"}
    first = {"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"}
    return modern <= bare or first <= bare


def load_rrdb(weights: dict[str, torch.Tensor]) -> Rrdb:
    """The network of these weights. Raises ValueError when they do not belong together."""
    named = _named(weights)
    try:
        shrink = {3: 1, 12: 2, 48: 4}[named["conv_first.weight"].shape[1]]
        measures = Measures(
            blocks=1 + max(int(name.split(".")[1]) for name in named if name.startswith("body.")),
            features=named["conv_first.weight"].shape[0],
            growth=named["body.0.rdb1.conv1.weight"].shape[0],
            doublings=sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in named),
            shrink=shrink,
            colours_out=named["conv_last.weight"].shape[0],
        )
        if measures.colours_out != COLOURS or measures.scale < 1:
            raise ValueError("it does not turn a colour picture into a larger one")
        network = Rrdb(measures)
        network.load_state_dict(named)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"its weights do not belong together: {error}") from error
    return network.eval()


def _named(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under the names of Real-ESRGAN."""
    bare = {PREFIX.sub("", name): tensor.float() for name, tensor in weights.items()}
    if "model.0.weight" not in bare:
        return bare
    numbers = sorted({int(found[1]) for name in bare if (found := FIRST_LAYERS.match(name))})
    last, hr = numbers[-1], numbers[-2]
    layers = {0: "conv_first", hr: "conv_hr", last: "conv_last"} | {
        number: f"conv_up{index + 1}" for index, number in enumerate(numbers[1:-2])
    }
    named = {}
    for name, tensor in bare.items():
        if found := FIRST_NAMES.match(name):
            block, part, layer, kind = found.groups()
            named[f"body.{block}.rdb{part}.conv{layer}.{kind}"] = tensor
        elif found := FIRST_BODY_END.match(name):
            named[f"conv_body.{found[2]}"] = tensor
        elif found := FIRST_LAYERS.match(name):
            named[f"{layers[int(found[1])]}.{found[2]}"] = tensor
        else:
            named[name] = tensor
    return named
