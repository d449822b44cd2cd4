# SPDX-License-Identifier: AGPL-3.0-or-later
"""Taking the background away, with a network that finds bright things to be in front."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from openhorde.worker.forms.post_processors import offered, post_processor_kind

NAME = "strip_background"


def save_network(path: Path) -> None:
    """Takes (1, 3, 320, 320) and tells the sum of the colours, (1, 1, 320, 320)."""
    seen = helper.make_tensor_value_info("seen", TensorProto.FLOAT, [1, 3, 320, 320])
    said = helper.make_tensor_value_info("said", TensorProto.FLOAT, [1, 1, 320, 320])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    add = helper.make_node("ReduceSum", ["seen", "axes"], ["said"], keepdims=1)
    graph = helper.make_graph([add], "bright", [seen], [said], [axes])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("it tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_what_is_in_front_stays(settings: Any, tmp_path: Path) -> None:
    save_network(tmp_path / "u2net.onnx")
    assert offered(settings()) == [NAME]
    form = post_processor_kind(NAME)(settings())
    form.open()
    picture = Image.new("RGB", (90, 60), "black")
    picture.paste("white", (30, 20, 60, 40))
    stripped = form.run(picture, {})
    assert (stripped.mode, stripped.size) == ("RGBA", (90, 60))
    alpha = np.asarray(stripped.getchannel("A"))
    assert alpha[25:35, 35:55].min() > 240
    assert alpha[:15].max() < 15


@pytest.mark.usefixtures("no_network")
def test_without_its_network_it_is_not_offered_and_nothing_is_fetched(
    settings: Any, tmp_path: Path
) -> None:
    form = post_processor_kind(NAME)
    assert form.obstacle(settings()) == f"there is no u2net.onnx in {tmp_path}"
    assert form.obstacle(settings(post_processors_folder=None)) is not None
    with pytest.raises(RuntimeError, match=r"u2net\.onnx"):
        form(settings()).open()
    (tmp_path / "u2net.onnx").write_bytes(b"no network at all")
    with pytest.raises(RuntimeError, match=r"u2net\.onnx cannot be loaded"):
        form(settings()).open()
