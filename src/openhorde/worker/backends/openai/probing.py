# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finding out what a server is, which models it has, and how many tokens they take."""

from typing import Any

from openhorde.worker.backends.openai.profiles import PROFILES, Profile, Tokeniser
from openhorde.worker.backends.servers import EngineError, Server, Unreachable

CONTEXT_TOKENS_UNTOLD = 2048
OLLAMA_CONTEXT_TOKENS = 4096
"""A model's whole context may not fit into memory, so Ollama's own default is not exceeded
unless the owner or the model's file says so."""


def list_models(server: Server) -> list[dict[str, Any]]:
    """The entries of /v1/models. Raises EngineError when there is no such list."""
    answer = server.get("/v1/models")
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise EngineError(f"{server.name} answered no list of models at /v1/models")
    return [one for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)]


def detect(server: Server, entries: list[dict[str, Any]]) -> str:
    """The name of the profile that fits: by what the list says, or by what else is answered."""
    owners = {str(entry.get("owned_by", "")).lower() for entry in entries}
    for name, profile in PROFILES.items():
        if owners & set(profile.owners):
            return name
    if "default_generation_settings" in _tried(server, "/props"):
        return "llamacpp"
    if "version" in _tried(server, "/api/version"):
        return "ollama"
    return "generic"


def context_tokens(server: Server, name: str, entry: dict[str, Any]) -> int | None:
    """How many tokens a model takes in all, prompt and answer; None when nobody tells."""
    told: Any = None
    if name == "vllm":
        told = entry.get("max_model_len")
    elif name == "llamacpp":
        told = _within(_tried(server, "/props"), "default_generation_settings", "n_ctx")
        told = told or _within(entry, "meta", "n_ctx")
    elif name == "tabbyapi":
        told = _within(_tried(server, "/v1/model"), "parameters", "max_seq_len")
    elif name == "ollama":
        told = _ollama_context_tokens(server, entry["id"])
    else:
        told = entry.get("max_model_len") or entry.get("context_length")
    return told if isinstance(told, int) and told > 0 else None


def find_tokeniser(server: Server, profile: Profile) -> Tokeniser | None:
    """The first of the profile's tokenisers that this server has."""
    for tokeniser in profile.tokenisers:
        try:
            answer = server.post(tokeniser.encode, {tokeniser.text: "a"})
        except EngineError:
            continue
        if isinstance(answer, dict) and isinstance(answer.get("tokens"), list):
            return tokeniser
    return None


def _ollama_context_tokens(server: Server, model: str) -> int:
    answer = server.post("/api/show", {"model": model})
    if not isinstance(answer, dict):
        return OLLAMA_CONTEXT_TOKENS
    known = answer.get("model_info") or {}
    longest = next((n for word, n in known.items() if word.endswith(".context_length")), None)
    for line in str(answer.get("parameters") or "").splitlines():
        word, _, value = line.strip().partition(" ")
        if word == "num_ctx" and value.strip().isdigit():
            return int(value)
    return min(longest, OLLAMA_CONTEXT_TOKENS) if longest else OLLAMA_CONTEXT_TOKENS


def _tried(server: Server, path: str) -> dict[str, Any]:
    """What is answered there, if an object is."""
    try:
        answer = server.get(path)
    except Unreachable:
        raise
    except EngineError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _within(answer: dict[str, Any], *words: str) -> Any:
    found: Any = answer
    for word in words:
        found = found.get(word) if isinstance(found, dict) else None
    return found
