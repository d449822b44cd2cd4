# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workflow templates: the shipped ones, and those of an owner."""

import json
from pathlib import Path
from typing import Any

import pytest
from worker.engines.replay import serving

from openhorde.worker.backends.comfyui.backend import ComfyBackend
from openhorde.worker.backends.comfyui.samplers import SAMPLERS, usable_samplers
from openhorde.worker.backends.comfyui.workflows import NEEDED, choose, fill, read_templates
from openhorde.worker.settings import load_settings

FLUX: dict[str, Any] = {
    "task": "txt2img",
    "models": ["Flux.1 dev"],
    "workflow": {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
        "2": {"class_type": "FluxText", "inputs": {"text": "fine: {{prompt}}, {{steps}} steps"}},
        "3": {"class_type": "Noise", "inputs": {"noise_seed": "{{seed}}", "of": ["1", 0]}},
    },
}


def written(folder: Path, content: Any, name: str = "own.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_every_task_has_a_shipped_template() -> None:
    templates = read_templates(None)
    assert {one.task for one in templates} == set(NEEDED)
    for template in templates:
        assert template.loader is not None
        assert template.models == []


def test_an_owner_s_template_comes_first_for_the_models_it_names(tmp_path: Path) -> None:
    written(tmp_path, FLUX)
    templates = read_templates(tmp_path)
    flux = choose(templates, "txt2img", "Flux.1 dev")
    other = choose(templates, "txt2img", "stable_diffusion")
    assert flux is not None
    assert other is not None
    assert (flux.file, other.file) == ("own.json", "txt2img.json")
    assert choose(templates, "img2img", "Flux.1 dev") == choose(templates, "img2img", "x")
    assert choose([flux], "txt2img", "stable_diffusion") is None
    filled = fill(flux, {"prompt": "{{seed}}", "steps": 4, "seed": 7}, [])
    assert filled["2"]["inputs"] == {"text": "fine: {{seed}}, 4 steps"}
    assert filled["3"]["inputs"] == {"noise_seed": 7, "of": ["1", 0]}
    assert flux.workflow["3"]["inputs"]["noise_seed"] == "{{seed}}"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "truncated"),
        (FLUX | {"task": "upscale"}, "upscale"),
        (FLUX | {"workflow": {"1": {"inputs": {}}}}, "node 1 has no class_type"),
        (FLUX | {"task": "img2img"}, "it has no slot source"),
        (
            FLUX
            | {
                "workflow": FLUX["workflow"]
                | {"4": {"class_type": "X", "inputs": {"a": "{{colour}}"}}}
            },
            "there is no slot colour",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_named(
    tmp_path: Path, content: Any, complaint: str
) -> None:
    written(tmp_path, content)
    with pytest.raises(RuntimeError, match=rf"own.json cannot be used.*{complaint}"):
        read_templates(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"comfyui_workflows_folder.*absent"):
        read_templates(tmp_path / "absent")


def test_a_sampler_that_the_server_lacks_is_drawn_with_one_that_it_has() -> None:
    schedulers = ["normal", "karras"]
    usable = usable_samplers(["euler", "lcm", "dpmpp_2m"], schedulers)
    assert list(usable) == list(SAMPLERS)
    own = {word for word, sampler in usable.items() if sampler.approximation is None}
    assert own == {"k_euler", "k_dpmpp_2m", "dpmsolver"}
    assert {usable[word].name for word in set(usable) - own} == {"euler"}
    assert usable_samplers(["ddpm"], schedulers) == SAMPLERS
    assert len({one.name for one in SAMPLERS.values()}) == len(SAMPLERS) - 1


def comfy_with(nodes: dict[str, Any], embeddings: list[str]) -> Any:
    """A ComfyUI that knows only these nodes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        node_type = scope["path"].rpartition("/")[2]
        answer: Any = {node_type: nodes[node_type]} if node_type in nodes else {}
        content = json.dumps(embeddings if scope["path"] == "/embeddings" else answer).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    return app


def test_a_workflow_whose_nodes_are_missing_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, FLUX | {"harmless": True})
    own: dict[str, Any] = {node["class_type"]: {} for node in FLUX["workflow"].values()}
    with serving(comfy_with(own, [])) as url:
        flags = {"comfyui_url": url, "comfyui_workflows_folder": tmp_path}
        capabilities = ComfyBackend(load_settings(None, None, flags)).open()
        assert capabilities.models == ["Flux.1 dev"]
        assert capabilities.features == []
        absent = comfy_with({}, [])
        with serving(absent) as other, pytest.raises(RuntimeError, match="ComfyUI has no model"):
            ComfyBackend(load_settings(None, None, flags | {"comfyui_url": other})).open()
        wrong = {"comfyui_url": url, "comfyui_models": ["absent=x"]} | flags
        with pytest.raises(RuntimeError, match="comfyui_models: ComfyUI has no model 'x'"):
            ComfyBackend(load_settings(None, None, wrong)).open()
