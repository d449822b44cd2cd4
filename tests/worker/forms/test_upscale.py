# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upscalers: what they read, how large they make a picture, and that no tile shows."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from openhorde.worker.forms import upscale
from openhorde.worker.forms.base import FormFault
from openhorde.worker.forms.post_processors import UPSCALERS, offered, post_processor_kind
from openhorde.worker.forms.rrdb import load_rrdb

X4 = "RealESRGAN_x4plus"


def opened(name: str, settings: Any) -> Any:
    form = post_processor_kind(name)(settings)
    form.open()
    return form


def old_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a fourfold network with one block as the first ESRGAN names them."""
    plain = {
        "conv_first": "model.0",
        "conv_body": "model.1.sub.1",
        "conv_up1": "model.3",
        "conv_up2": "model.6",
        "conv_hr": "model.8",
        "conv_last": "model.10",
    }
    named = {}
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        if layer in plain:
            named[f"{plain[layer]}.{kind}"] = tensor
        else:
            _, block, part, conv = layer.split(".")
            named[f"model.1.sub.{block}.{part.upper()}.{conv}.0.{kind}"] = tensor
    return named


@pytest.mark.parametrize(
    ("changes", "scale"),
    [({}, 4), ({"shrink": 2}, 2), ({"doublings": 1}, 2), ({"doublings": 3}, 8), ({"blocks": 3}, 4)],
)
def test_a_picture_becomes_larger_by_the_networks_scale(
    upscaler: Any, settings: Any, save: Any, noise: Any, changes: dict[str, int], scale: int
) -> None:
    save(X4, upscaler(**changes).state_dict())
    enlarged = opened(X4, settings()).run(noise(21, 13), {})
    assert enlarged.size == (21 * scale, 13 * scale)
    assert enlarged.mode == "RGB"


@pytest.mark.parametrize("prefix", ["", "params_ema.", "params.", "module."])
def test_every_way_of_naming_weights_is_read(upscaler: Any, prefix: str) -> None:
    network = upscaler()
    weights = network.state_dict()
    picture = torch.rand(1, 3, 8, 8)
    expected = network(picture)
    for named in (weights, old_names(weights)):
        loaded = load_rrdb({f"{prefix}{name}": one for name, one in named.items()})
        assert torch.equal(loaded(picture), expected)


def test_weights_that_do_not_belong_together_are_refused(upscaler: Any) -> None:
    weights = upscaler().state_dict()
    with pytest.raises(ValueError, match="belong together"):
        load_rrdb({name: one for name, one in weights.items() if "rdb2" not in name})
    with pytest.raises(ValueError, match="belong together"):
        load_rrdb(weights | {"conv_hr.weight": torch.zeros(4, 4, 3, 3)})
    with pytest.raises(ValueError, match="colour picture"):
        load_rrdb(upscaler(colours_out=1).state_dict())


def test_no_seam_shows_between_tiles(
    upscaler: Any, settings: Any, save: Any, noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(X4, upscaler().state_dict())
    form = opened(X4, settings())
    picture = noise(100, 70)
    whole = np.asarray(form.run(picture, {}), dtype=int)
    monkeypatch.setattr(upscale, "TILE_PIXELS", 32)
    tiled = np.asarray(form.run(picture, {}), dtype=int)
    assert whole.std() > 1
    assert np.abs(tiled - whole).max() <= 1
    # The margin is what hides the seams: without it they show.
    monkeypatch.setattr(upscale, "MARGIN_PIXELS", 0)
    assert np.abs(np.asarray(form.run(picture, {}), dtype=int) - whole).max() > 1


def test_a_tile_is_all_that_a_network_sees_at_once(settings: Any, noise: Any) -> None:
    seen: list[tuple[int, ...]] = []

    def enlarge(tile: Any) -> Any:
        seen.append(tuple(tile.shape[2:]))
        return tile

    picture = noise(700, 300)
    assert upscale.enlarge(picture, 1, 1, enlarge).tobytes() == picture.tobytes()
    side = upscale.TILE_PIXELS + 2 * upscale.MARGIN_PIXELS
    assert len(seen) == 6
    assert max(max(shape) for shape in seen) <= side


def test_transparency_stays(upscaler: Any, settings: Any, save: Any, noise: Any) -> None:
    save(X4, upscaler().state_dict())
    holed = noise(16, 16)
    holed.putalpha(Image.new("L", (16, 16), 77))
    enlarged = opened(X4, settings()).run(holed, {})
    assert enlarged.mode == "RGBA"
    assert enlarged.getchannel("A").getextrema() == (77, 77)


def test_no_picture_becomes_larger_than_is_allowed(
    upscaler: Any, settings: Any, save: Any, noise: Any
) -> None:
    save(X4, upscaler().state_dict())
    form = opened(X4, settings(upscaled_megapixels_max=1))
    with pytest.raises(FormFault, match=r"1200x1200 pixels; at most 1 million"):
        form.run(noise(300, 300), {})
    with pytest.raises(FormFault, match="16383 a side"):
        form.run(noise(4096, 1), {})


def test_only_what_is_there_is_offered(upscaler: Any, settings: Any, save: Any) -> None:
    assert offered(settings()) == []
    assert offered(settings(post_processors_folder=None)) == []
    save("4x_AnimeSharp", upscaler().state_dict())
    assert offered(settings()) == ["4x_AnimeSharp"]
    kind = post_processor_kind("NMKD_Siax")
    assert "there is no NMKD_Siax.safetensors" in str(kind.obstacle(settings()))
    with pytest.raises(RuntimeError, match="NMKD_Siax"):
        kind(settings()).open()
    with pytest.raises(KeyError):
        post_processor_kind("CodeFormers")


class Trap:
    """What a pickle does when it is opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def test_a_pickle_is_never_opened(settings: Any, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung))
    for ending in (".pth", ".pt", ".bin", ".ckpt"):
        for name in UPSCALERS:
            (tmp_path / f"{name}{ending}").write_bytes(content)
    assert offered(settings()) == []
    assert "pickle" in str(post_processor_kind(X4).obstacle(settings()))
    (tmp_path / f"{X4}.safetensors").write_bytes(content)
    assert "not a safetensors file" in str(post_processor_kind(X4).obstacle(settings()))
    with pytest.raises(RuntimeError, match="not a safetensors file"):
        post_processor_kind(X4)(settings()).open()
    assert not sprung.exists()
    pickle.loads(content)
    assert sprung.exists()


def test_other_architectures_need_spandrel(
    settings: Any, save: Any, noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("4xNomos2_hq_dat2", {"layers.0.blocks.0.weight": torch.zeros(1)})
    monkeypatch.setitem(sys.modules, "spandrel", None)
    kind = post_processor_kind("4xNomos2_hq_dat2")
    assert "install spandrel" in str(kind.obstacle(settings()))
    assert offered(settings()) == []


def test_spandrel_reads_other_architectures(
    settings: Any, save: Any, noise: Any, spandrel: Any
) -> None:
    save("4xNomos2_hq_dat2", {"layers.0.blocks.0.weight": torch.zeros(1)})
    assert offered(settings()) == ["4xNomos2_hq_dat2"]
    form = opened("4xNomos2_hq_dat2", settings())
    picture = noise(40, 30)
    doubled = picture.resize((80, 60), Image.Resampling.NEAREST)
    assert form.run(picture, {}).tobytes() == doubled.tobytes()
    spandrel.found = spandrel.ImageModelDescriptor(channels=1)
    with pytest.raises(RuntimeError, match="one colour picture"):
        opened("4xNomos2_hq_dat2", settings())
