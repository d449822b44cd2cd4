# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading streamed answers: events of completions, and Ollama's lines."""

import json
from abc import ABC, abstractmethod
from typing import Any

from openhorde.worker.backends.servers import EngineError, said
from openhorde.worker.backends.texts import Writing


class Reader(ABC):
    """Takes the lines of an answer. `name` is the engine's; `ended` is whether it said so."""

    def __init__(self, name: str, writing: Writing) -> None:
        self.ended = False
        self._name = name
        self._writing = writing

    def take(self, line: str) -> bool:
        """One line; True when nothing more is wanted. Raises EngineError when it makes no sense,
        or tells of an error."""
        data = self._data(line.strip())
        if data is None:
            return False
        if data == "[DONE]":
            self.ended = True
            return True
        try:
            said_so = json.loads(data)
        except ValueError:
            said_so = None
        if not isinstance(said_so, dict):
            raise EngineError(
                f"{self._name} answered something unreadable: {said(data.encode(errors='replace'))}"
            )
        if said_so.get("error"):
            raise EngineError(f"{self._name} failed while it wrote: {said(said_so)}")
        piece, ended = self._piece(said_so)
        enough = self._writing.add(piece)
        self.ended = self.ended or ended or enough
        return enough

    @abstractmethod
    def _data(self, line: str) -> str | None:
        """What a line carries, if anything."""

    @abstractmethod
    def _piece(self, answer: dict[str, Any]) -> tuple[str, bool]:
        """The text of an answer, and whether it is the last. Raises EngineError."""


class CompletionReader(Reader):
    """Server-sent events, each a part of a completion; a comment keeps a silent line alive."""

    def _data(self, line: str) -> str | None:
        word, _, rest = line.partition(":")
        if word == "error":  # llama.cpp names such an event's only line so
            raise EngineError(
                f"{self._name} failed while it wrote: {said(rest.encode(errors='replace'))}"
            )
        return rest.strip() if word == "data" else None

    def _piece(self, answer: dict[str, Any]) -> tuple[str, bool]:
        choices = answer.get("choices")
        if not choices:  # figures of usage come in an event of their own
            return "", False
        choice = choices[0] if isinstance(choices, list) else None
        text = choice.get("text") if isinstance(choice, dict) else None
        if choice is None or not isinstance(text, str | None):
            raise EngineError(f"{self._name} answered a choice without text: {said(answer)}")
        return text or "", choice.get("finish_reason") is not None


class OllamaReader(Reader):
    """One JSON object a line."""

    def _data(self, line: str) -> str | None:
        return line or None

    def _piece(self, answer: dict[str, Any]) -> tuple[str, bool]:
        text = answer.get("response", "")
        if not isinstance(text, str):
            raise EngineError(f"{self._name} answered a response that is no text: {said(answer)}")
        return text, answer.get("done") is True
