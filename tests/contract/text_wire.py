# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bodies that programs out there really send to have texts written, or to write them."""

from typing import Any

import httpx

SCRIBE_AGENT = "AI Horde Worker~aphrodite~kai:24:https://github.com/db0/AI-Horde-Worker"
KOBOLD_AGENT = "KoboldCppEmbedWorker:2:https://github.com/LostRuins/koboldcpp"


def scribe_pop(name: str, model: str, **changes: Any) -> dict[str, Any]:
    """What the old scribe sends."""
    return {
        "name": name,
        "models": [model],
        "max_length": 512,
        "max_context_length": 4096,
        "priority_usernames": [],
        "softprompts": [],
        "bridge_agent": SCRIBE_AGENT,
        "threads": 1,
        **changes,
    }


def kobold_pop(name: str, model: str, **changes: Any) -> dict[str, Any]:
    """What KoboldCpp's own worker sends."""
    return {
        "name": name,
        "models": [model],
        "max_length": 512,
        "max_context_length": 4096,
        "priority_usernames": [],
        "softprompts": [],
        "bridge_agent": KOBOLD_AGENT,
        **changes,
    }


def lite_body(model: str, **changes: Any) -> dict[str, Any]:
    """What KoboldAI Lite sends, with all that is unknown here."""
    params = {
        "n": 1,
        "max_context_length": 2048,
        "max_length": 100,
        "rep_pen": 1.08,
        "temperature": 0.62,
        "top_p": 0.9,
        "top_k": 0,
        "top_a": 0,
        "typical": 1,
        "tfs": 1,
        "rep_pen_range": 1024,
        "rep_pen_slope": 0.7,
        "sampler_order": [6, 0, 1, 3, 4, 2, 5],
        "use_default_badwordsids": False,
        "stop_sequence": ["\n### Instruction:", "\n### Response:"],
        "min_p": 0,
        "dynatemp_range": 0,
        "dynatemp_exponent": 1,
        "smoothing_factor": 0,
        "seed": "",
        "xtc_probability": 0.2,
        "dry_multiplier": 0.8,
        "banned_tokens": ["never"],
        "render_special": False,
        **changes.pop("params", {}),
    }
    return {
        "prompt": "\n### Instruction:\nTell a story.\n### Response:\n",
        "params": params,
        "models": [model],
        "workers": [],
        "worker_blacklist": False,
        "trusted_workers": False,
        "dry_run": False,
        **changes,
    }


def ask_text(http: httpx.Client, headers: dict[str, str], model: str, **changes: Any) -> str:
    """The id of a request that is accepted."""
    answer = http.post(
        "/api/v2/generate/text/async", headers=headers, json=lite_body(model, **changes)
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def pop_text(http: httpx.Client, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    """The answer to a pop."""
    return http.post("/api/v2/generate/text/pop", headers=headers, json=body)


def take_text(http: httpx.Client, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """The job that a pop brings."""
    answer = pop_text(http, headers, body)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    assert job["id"], job
    return job


def hand_in_text(http: httpx.Client, headers: dict[str, str], **body: Any) -> httpx.Response:
    """What the horde says to a result."""
    return http.post("/api/v2/generate/text/submit", headers=headers, json=body)


def text_status(http: httpx.Client, request_id: str) -> dict[str, Any]:
    """How far a request is."""
    answer = http.get(f"/api/v2/generate/text/status/{request_id}")
    assert answer.status_code == 200, answer.text
    status: dict[str, Any] = answer.json()
    return status
