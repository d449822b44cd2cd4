# SPDX-License-Identifier: AGPL-3.0-or-later
"""The models of the v2 wire as facts, and the bodies that programs out there really send."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

_FACTS = json.loads(Path(__file__).with_name("contract_subset.json").read_text(encoding="utf-8"))
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}
OLD_AGENT = "AI Horde Worker~unknown:24:https://github.com/db0/AI-Horde-Worker"
REGEN_AGENT = "AI Horde Worker reGen:10.1.1:https://github.com/Haidra-Org/horde-worker-reGen"


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    key: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of their calls."""
        return {"apikey": self.key}


def assert_is(model: str, value: Any, place: str = "") -> None:
    """The value has exactly the keys of the model, and their types; a null may stand for any."""
    place = place or model
    fields = _FACTS["models"][model]
    assert isinstance(value, dict), f"{place} is no object: {value}"
    if not fields:
        return
    may_be_absent = set(_FACTS["may_be_absent"].get(model, ()))
    if model == "ModelPayloadStable":
        # A payload leaves out what is null: SDKs reject it.
        may_be_absent = {name for name in fields if name not in PAYLOAD_KEYS}
        assert None not in value.values(), f"a null in {place}"
    added = set(_FACTS["added_by_openhorde"].get(model, ()))
    assert set(value) - added <= set(fields), f"{place} has {set(value) - set(fields)} too much"
    assert set(fields) - may_be_absent <= set(value), f"{place} lacks {set(fields) - set(value)}"
    for name in set(value) - added:
        _assert_type(fields[name], value[name], f"{place}.{name}")


def _assert_type(kind: Any, value: Any, place: str) -> None:
    if value is None:
        return
    if isinstance(kind, list):
        assert isinstance(value, list), f"{place} is no list: {value}"
        for each in value:
            _assert_type(kind[0], each, f"{place}[]")
    elif kind in _TYPES:
        is_flag = isinstance(value, bool)
        right = isinstance(value, _TYPES[kind]) and is_flag == (kind == "boolean")
        assert right, f"{place} is no {kind}: {value}"
    else:
        assert_is(kind, value, place)


# What the old worker reads without a default, and what has one in the contract.
PAYLOAD_KEYS = {
    "prompt",
    "height",
    "width",
    "ddim_steps",
    "n_iter",
    "sampler_name",
    "cfg_scale",
    "seed",
    "tiling",
    "karras",
    "hires_fix",
    "image_is_control",
    "return_control_map",
    "transparent",
    "post_processing",
    "loras",
    "tis",
}


def old_pop(name: str, model: str, **changes: Any) -> dict[str, Any]:
    """What the last old worker sends."""
    return {
        "name": name,
        "max_pixels": 262_144,
        "priority_usernames": [],
        "nsfw": True,
        "blacklist": [],
        "models": [model],
        "allow_img2img": True,
        "allow_painting": True,
        "allow_unsafe_ip": True,
        "threads": 1,
        "allow_post_processing": True,
        "allow_controlnet": True,
        "allow_lora": True,
        "require_upfront_kudos": False,
        "bridge_version": 24,
        "bridge_agent": OLD_AGENT,
        **changes,
    }


def regen_pop(name: str, model: str, **changes: Any) -> dict[str, Any]:
    """What reGen sends."""
    return {
        "amount": 1,
        "bridge_agent": REGEN_AGENT,
        "models": [model],
        "name": name,
        "nsfw": True,
        "require_upfront_kudos": False,
        "threads": 1,
        "max_pixels": 262_144,
        "blacklist": [],
        "allow_img2img": True,
        "allow_painting": True,
        "allow_unsafe_ipaddr": True,
        "allow_post_processing": True,
        "allow_controlnet": False,
        "allow_sdxl_controlnet": False,
        "allow_lora": True,
        "extra_slow_worker": False,
        "limit_max_steps": False,
        **changes,
    }


def image_body(model: str, **changes: Any) -> dict[str, Any]:
    """A small image request."""
    params = {"width": 64, "height": 64, "steps": 4, **changes.pop("params", {})}
    return {"prompt": "a red circle ### blue", "models": [model], "params": params, **changes}


def picture(format_name: str = "WEBP", side: int = 64, color: str = "red") -> bytes:
    """A small picture."""
    file = BytesIO()
    Image.new("RGB", (side, side), color).save(file, format_name)
    return file.getvalue()


def ask(http: httpx.Client, headers: dict[str, str], model: str, **changes: Any) -> str:
    """The id of a request that is accepted."""
    body = image_body(model, **changes)
    answer = http.post("/api/v2/generate/async", headers=headers, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def take(http: httpx.Client, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """The job that a pop brings."""
    answer = http.post("/api/v2/generate/pop", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    assert job["id"], job
    return job


def hand_in(http: httpx.Client, headers: dict[str, str], **body: Any) -> httpx.Response:
    """What the horde says to a result."""
    return http.post("/api/v2/generate/submit", headers=headers, json=body)
