# SPDX-License-Identifier: AGPL-3.0-or-later
"""KoboldCpp, and KoboldAI servers like it: the wire's sampling words are their own."""

import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import structlog

from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    Job,
    JobFault,
    ReportProgress,
    TextJob,
)
from openhorde.worker.backends.offers import offered
from openhorde.worker.backends.servers import (
    EngineError,
    Server,
    engine_url,
    faulting_jobs,
    refusing_to_open,
    said,
)
from openhorde.worker.backends.texts import Writing, capabilities
from openhorde.worker.settings import WorkerSettings

NAME = "KoboldCpp"
NO_MODEL = ("", "inactive", "ReadOnly")
HEEDED = {"singleline", "stop_sequence"}
UNKNOWN = {"frmtadsnsp", "frmtrmblln", "frmtrmspch", "frmttriminc"}
"""Words of KoboldAI's old interface that its servers do not read."""

log = structlog.get_logger(__name__)


class KoboldBackend:
    """Writes with the server at `koboldcpp_url`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._told_dropped = False

    def open(self) -> Capabilities:
        """See Backend.open."""
        settings = self._settings
        url = engine_url("koboldcpp_url", settings.koboldcpp_url, "/api/v1", "/api")
        server = Server(NAME, url, settings.koboldcpp_password)
        with refusing_to_open():
            model = str(_of(server.loaded(lambda: server.get("/api/v1/model")), "result") or "")
            self._streams = _of(_tried(server, "/api/extra/version"), "result") == NAME
            version = _of(_tried(server, "/api/v1/info/version"), "result")
            told = _of(_tried(server, "/api/extra/true_max_context_length"), "value") or _of(
                server.get("/api/v1/config/max_context_length"), "value"
            )
        if not isinstance(told, int) or told < 1:
            raise RuntimeError(f"{NAME} does not tell how many tokens it takes")
        found = [] if model in NO_MODEL else [model]
        self._models = offered(NAME, "koboldcpp_model", _wanted(settings.koboldcpp_model), found)
        self._context_tokens_max = told
        self._server = server
        log.info("open", url=url, model=model, api=version, context_tokens=told)
        return capabilities(self._models, self._context_tokens_max)

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run. Each piece of text that comes is a step."""
        if not isinstance(job, TextJob):
            raise JobFault(f"{NAME} only writes")
        if job.model not in self._models:
            raise JobFault(f"the model {job.model} is not here")
        writing = Writing(job, report, cancelled)
        key = f"HORDE{uuid.uuid4().hex}"
        body = self._body(job, writing) | {"genkey": key}
        write = self._stream if self._streams else self._write
        try:
            with faulting_jobs():
                self._server.patiently(lambda: write(body, writing), writing.pulse)
        except Cancelled:
            # It would go on writing for nobody, and keep the next job waiting.
            with contextlib.suppress(EngineError):
                self._server.post("/api/extra/abort", {"genkey": key})
            raise
        self._tell_performance()
        return [writing.artifact()]

    def _body(self, job: TextJob, writing: Writing) -> dict[str, Any]:
        dropped = sorted(word for word in UNKNOWN if job.sampling.get(word))
        if dropped and not self._told_dropped:
            self._told_dropped = True
            log.warning("the server does not know these sampling words", words=dropped)
        sampling = {
            word: value for word, value in job.sampling.items() if word not in HEEDED | UNKNOWN
        }
        return sampling | {
            "prompt": job.prompt,
            "max_length": job.tokens_max,
            "max_context_length": min(job.context_tokens_max, self._context_tokens_max),
            "sampler_seed": writing.seed,
            "stop_sequence": writing.stops,
            "trim_stop": True,
            "quiet": True,
        }

    def _stream(self, body: dict[str, Any], writing: Writing) -> None:
        events = _Events(writing)
        self._server.stream("/api/extra/generate/stream", body, events.take, writing.pulse)
        if events.broken_off:
            raise EngineError(f"{NAME} broke off its answer")

    def _write(self, body: dict[str, Any], writing: Writing) -> None:
        """The whole answer at once, from servers that cannot stream."""
        lines: list[str] = []

        def take(line: str) -> bool:
            lines.append(line)
            return False

        self._server.stream("/api/v1/generate", body, take, writing.pulse)
        answer = _json("\n".join(lines))
        results = answer.get("results")
        first = results[0] if isinstance(results, list) and results else None
        text = _of(first, "text")
        if not isinstance(text, str):
            raise EngineError(f"{NAME} answered no text: {said(answer)}")
        writing.add(text)

    def _tell_performance(self) -> None:
        """What the server says of the text it has just written goes into the log."""
        performance = _tried(self._server, "/api/extra/perf") if self._streams else None
        if isinstance(performance, dict):
            log.info(
                "written",
                tokens=performance.get("last_token_count"),
                prompt_seconds=performance.get("last_process"),
                seconds=performance.get("last_eval"),
            )


class _Events:
    """The events of a streamed answer, each a token."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._reason: Any = "untold"
        self._enough = False

    @property
    def broken_off(self) -> bool:
        """Whether the server had more to say. An older one tells no reason for the end, so that
        the end of its answer is all there is."""
        return self._reason in (None, "null") and not self._enough

    def take(self, line: str) -> bool:
        """One line; True when nothing more is wanted."""
        if not line.startswith("data:"):
            return False
        event = _json(line.removeprefix("data:"))
        token = event.get("token")
        if event.get("error") or not isinstance(token, str):
            raise EngineError(f"{NAME} failed while it wrote: {said(event)}")
        self._reason = event.get("finish_reason", self._reason)
        self._enough = self._writing.add(token)
        return self._enough


def _wanted(name: str) -> list[str]:
    return [name] if name else []


def _json(text: str) -> dict[str, Any]:
    """The object that a text is. Raises EngineError when it is none."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineError(
            f"{NAME} answered something unreadable: {said(text.encode(errors='replace'))}"
        )
    return answer


def _of(answer: Any, word: str) -> Any:
    return answer.get(word) if isinstance(answer, dict) else None


def _tried(server: Server, path: str) -> Any:
    """What is answered there; None when nothing good is."""
    try:
        return server.get(path)
    except EngineError:
        return None
