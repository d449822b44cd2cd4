# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workflow templates: reading them, choosing one for a job, and filling its slots.

A template is a JSON file: `task`, the `models` it is for (none: any checkpoint), and `workflow`,
as ComfyUI saves one for its API, in which a text may be or hold `{{slot}}`.
"""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from openhorde.incoming.texts import decode_json, decode_text
from openhorde.worker.backends.base import Adapter

SHIPPED = Path(__file__).parent / "workflows"
TEMPLATE_BYTES_MAX = 4 << 20
SLOT = re.compile(r"\{\{(\w+)\}\}")
SLOTS = {
    "model",
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "steps",
    "sampler",
    "scheduler",
    "cfg_scale",
    "seed",
    "clip_layer",
    "denoising_strength",
    "source",
    "mask",
}
NEEDED = {
    "txt2img": {"prompt", "seed"},
    "img2img": {"prompt", "seed", "source"},
    "inpainting": {"prompt", "seed", "source", "mask"},
}
Task = Literal["txt2img", "img2img", "inpainting"]


class Template(Struct, kw_only=True):
    """A workflow with slots. `harmless` is its owner's word that it draws nothing indecent, so that
    nobody need judge its pictures. `file` is where it came from."""

    task: Task
    models: list[str] = field(default_factory=list)
    harmless: bool = False
    workflow: dict[str, dict[str, Any]]
    file: str = ""

    @property
    def slots(self) -> set[str]:
        """The names of its slots."""
        return {name for text in _texts(self.workflow) for name in SLOT.findall(text)}

    @property
    def node_types(self) -> set[str]:
        """The kinds of nodes it is made of."""
        return {str(node["class_type"]) for node in self.workflow.values()}

    @property
    def loader(self) -> str | None:
        """The id of the node that loads the checkpoint, if the template takes any."""
        for node_id, node in self.workflow.items():
            if node["inputs"].get("ckpt_name") == "{{model}}":
                return node_id
        return None


def read_templates(folder: Path | None) -> list[Template]:
    """The owner's templates in the order of their names, then the shipped ones.

    Raises RuntimeError, naming the file, for one that cannot be used.
    """
    if folder is not None and not folder.is_dir():
        raise RuntimeError(f"comfyui_workflows_folder: there is no folder {folder.absolute()}")
    own = sorted(folder.glob("*.json")) if folder is not None else []
    return [_read(path) for path in (*own, *sorted(SHIPPED.glob("*.json")))]


def choose(templates: Sequence[Template], task: Task, model: str) -> Template | None:
    """The first template of the task that names the model; else the first that takes any."""
    fitting = [one for one in templates if one.task == task]
    named = [one for one in fitting if model in one.models]
    return next(iter(named + [one for one in fitting if not one.models]), None)


def fill(template: Template, values: dict[str, Any], loras: Sequence[Adapter]) -> dict[str, Any]:
    """The workflow with its slots filled, and the LoRAs put behind what loads the checkpoint.

    The names of the LoRAs are those of their files.
    """
    workflow: dict[str, Any] = copy.deepcopy(template.workflow)
    loader = template.loader
    if loader is not None:
        _chain(workflow, loader, loras)
    filled: dict[str, Any] = _filled(workflow, values)
    return filled


def _read(path: Path) -> Template:
    try:
        content = path.read_bytes()
        if len(content) > TEMPLATE_BYTES_MAX:
            raise ValueError(f"it has more than {TEMPLATE_BYTES_MAX} bytes")
        template = decode_json(decode_text(content, "it").encode(), Template)
        template.file = path.name
        for node_id, node in template.workflow.items():
            if "class_type" not in node or not isinstance(node.get("inputs"), dict):
                raise ValueError(f"its node {node_id} has no class_type or no inputs")
    except (OSError, ValueError) as error:
        raise RuntimeError(f"the workflow {path} cannot be used: {error}") from error
    unknown = template.slots - SLOTS
    missing = NEEDED[template.task] - template.slots
    if unknown or missing:
        wrong = f"there is no slot {min(unknown)}" if unknown else f"it has no slot {min(missing)}"
        raise RuntimeError(f"the workflow {path} cannot be used: {wrong}")
    return template


def _chain(workflow: dict[str, Any], loader: str, loras: Sequence[Adapter]) -> None:
    """Outputs 0 (model) and 1 (text encoder) of the loader go through each LoRA in turn."""
    last = loader
    added = {}
    for number, lora in enumerate(loras, 1):
        node_id = f"lora_{number}"
        added[node_id] = {
            "class_type": "LoraLoader",
            "inputs": {
                "model": [last, 0],
                "clip": [last, 1],
                "lora_name": lora.name,
                "strength_model": lora.model,
                "strength_clip": lora.clip,
            },
        }
        last = node_id
    for node in workflow.values():
        for name, value in node["inputs"].items():
            if value in ([loader, 0], [loader, 1]):
                node["inputs"][name] = [last, value[1]]
    workflow.update(added)


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, values) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if not isinstance(value, str):
        return value
    whole = SLOT.fullmatch(value)
    if whole is not None:
        return values[whole[1]]
    return SLOT.sub(lambda found: str(values[found[1]]), value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
