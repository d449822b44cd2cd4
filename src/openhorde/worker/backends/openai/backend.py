# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine itself: opens onto a server, and has it write."""

from collections.abc import Callable
from typing import Any

import structlog

from openhorde.worker.backends.base import (
    Artifact,
    Capabilities,
    Job,
    JobFault,
    ReportProgress,
    TextJob,
)
from openhorde.worker.backends.offers import offered
from openhorde.worker.backends.openai import probing
from openhorde.worker.backends.openai.answers import CompletionReader, OllamaReader, Reader
from openhorde.worker.backends.openai.profiles import PROFILES, translate
from openhorde.worker.backends.openai.prompts import fitted
from openhorde.worker.backends.servers import (
    EngineError,
    Server,
    engine_url,
    faulting_jobs,
    refusing_to_open,
)
from openhorde.worker.backends.texts import Writing, capabilities, prompt_room
from openhorde.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


class OpenAIBackend:
    """Writes with the server at `openai_url`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._told_dropped: set[str] = set()

    def open(self) -> Capabilities:
        """See Backend.open: asks what the server is, and what its models take."""
        settings = self._settings
        url = engine_url("openai_url", settings.openai_url, "/completions", "/v1")
        server = Server(PROFILES["generic"].title, url, settings.openai_api_key)
        with refusing_to_open():
            entries = server.loaded(lambda: probing.list_models(server))
            name: str = settings.openai_profile
            if name == "auto":
                name = probing.detect(server, entries)
            self._profile = PROFILES[name]
            server.name = self._profile.title
            engine_names = [entry["id"] for entry in entries]
            self._models = offered(
                server.name, "openai_models", settings.openai_models, engine_names
            )
            told = [
                probing.context_tokens(server, name, entry)
                for entry in entries
                if entry["id"] in self._models.values()
            ]
            self._tokeniser = probing.find_tokeniser(server, self._profile)
        self._server = server
        self._context_tokens_max = self._context(told)
        log.info(
            "open",
            server=self._profile.title,
            url=url,
            models=self._models,
            context_tokens=self._context_tokens_max,
        )
        return capabilities(self._models, self._context_tokens_max)

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run. Each piece of text that comes is a step."""
        if not isinstance(job, TextJob):
            raise JobFault(f"{self._profile.title} only writes")
        if job.model not in self._models:
            raise JobFault(f"the model {job.model} is not here")
        sampling, dropped = translate(self._profile, job.sampling)
        self._tell_dropped(dropped)
        writing = Writing(job, report, cancelled)
        with faulting_jobs():
            self._server.patiently(lambda: self._write(job, writing, sampling), writing.pulse)
        return [writing.artifact()]

    def _write(self, job: TextJob, writing: Writing, sampling: dict[str, Any]) -> None:
        ollama = self._profile.api == "ollama"
        kind: type[Reader] = OllamaReader if ollama else CompletionReader
        reader = kind(self._server.name, writing)
        ask = self._ask_ollama if ollama else self._ask_completion
        path, body = ask(job, writing, sampling)
        self._server.stream(path, body, reader.take, writing.pulse)
        if not reader.ended:
            raise EngineError(f"{self._server.name} broke off its answer")

    def _context(self, told: list[int | None]) -> int:
        """The most tokens in all: what every model takes, or what the owner says where nobody
        tells. That the owner wants less is for the worker to heed, who hears of changes."""
        known = [tokens for tokens in told if tokens is not None]
        wanted = self._settings.max_context_length
        if not known:
            if not wanted:
                log.warning(
                    "the server does not tell how many tokens it takes; set max_context_length",
                    assumed=probing.CONTEXT_TOKENS_UNTOLD,
                )
            return wanted or probing.CONTEXT_TOKENS_UNTOLD
        if wanted and self._profile.api == "ollama":
            return wanted  # it loads a model with as much context as it is asked for
        return min(known)

    def _ask_completion(
        self, job: TextJob, writing: Writing, sampling: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        context_tokens_max = min(job.context_tokens_max, self._context_tokens_max)
        prompt_tokens_max = prompt_room(context_tokens_max, job.tokens_max)
        prompt = job.prompt
        more: dict[str, Any] = {}
        if self._profile.truncate is not None:
            more[self._profile.truncate] = prompt_tokens_max
        else:
            prompt = fitted(self._server, self._tokeniser, prompt, prompt_tokens_max)
        if writing.stops:
            more["stop"] = writing.stops
        return "/v1/completions", {
            "model": self._models[job.model],
            "prompt": prompt,
            "max_tokens": min(job.tokens_max, max(1, context_tokens_max - prompt_tokens_max)),
            "seed": writing.seed,
            "stream": True,
            **sampling,
            **more,
        }

    def _ask_ollama(
        self, job: TextJob, writing: Writing, sampling: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Ollama cuts the prompt itself. It loads a model anew when the context changes, so that
        is the same for all jobs."""
        options = {
            "num_predict": job.tokens_max,
            "num_ctx": self._context_tokens_max,
            "seed": writing.seed,
            **sampling,
        }
        if writing.stops:
            options["stop"] = writing.stops
        return "/api/generate", {
            "model": self._models[job.model],
            "prompt": job.prompt,
            "raw": True,
            "stream": True,
            "options": options,
        }

    def _tell_dropped(self, words: list[str]) -> None:
        """Log the words that this server does not know, each once."""
        news = sorted(set(words) - self._told_dropped)
        if news:
            self._told_dropped |= set(news)
            log.warning("the server does not know these sampling words", words=news)
