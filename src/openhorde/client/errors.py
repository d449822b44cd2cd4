# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes wrong between a client and a horde, said so that one knows what to change."""

from collections.abc import Mapping, Sequence

from openhorde.client.advice import advice_for, field_advice

GENERAL = "Input payload validation failed"
"""How every horde begins its answer to fields that are wrong."""
ADVISED = "Ask for less"
"""A horde of this software says itself what to ask for instead."""


class HordeError(Exception):
    """The horde refused, or its answer was of no use.

    `status` is the HTTP status (0 when nothing was sent or nothing came back), `rc` the horde's
    return code for programs, `errors` the fields that are wrong. The text says what to change.
    """

    def __init__(
        self,
        status: int,
        rc: str | None,
        message: str,
        errors: Mapping[str, str] | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(status, rc, message)
        self.status = status
        self.rc = rc
        self.message = message
        self.errors = dict(errors or {})
        self.retry_after_seconds = retry_after_seconds

    def explain(self, names: Mapping[str, str] | None = None) -> str:
        """The whole story; `names` says what the caller calls a field (`--cfg` for `cfg_scale`)."""
        # With the fields named, that the input is wrong in general tells nothing more.
        said = self.errors and self.message == GENERAL
        lines = [] if said else [self.message]
        lines += [field_advice(path, text, names or {}) for path, text in self.errors.items()]
        advice = advice_for(self.status, self.rc, self.retry_after_seconds, names or {})
        if advice and not (self.rc == "KudosUpfront" and ADVISED in self.message):
            lines.append(advice)
        return "\n".join(lines)

    @property
    def passing(self) -> bool:
        """Whether the same call may well succeed a little later."""
        return self.status in (429, 502, 503, 504) and self.rc is None

    def __str__(self) -> str:
        return self.explain()


class Impossible(HordeError):
    """No worker that is online can do the request, which was cancelled without charge.

    `online` names what the workers online do serve: models, or forms of alchemy.
    """

    def __init__(self, request_id: str, reason: str, online: Sequence[str], *, cancelled: bool):
        became = (
            "It was cancelled and costs nothing."
            if cancelled
            else f"It could not be cancelled: request {request_id} stays in the queue for a while."
        )
        parts = [f"{reason.rstrip('.')}.", became]
        if online:
            parts.append(f"Served now: {', '.join(online)}.")
        super().__init__(0, "NoAvailableWorker", " ".join(parts))
        self.request_id = request_id
        self.reason = reason
        self.online = list(online)


class HordeUnreachable(HordeError):
    """Nothing answers at the horde's address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            0,
            None,
            f"No answer from {url} ({reason}).\n"
            "Is a horde running there? Start one with `make up` or `horde up`, or name another "
            "one with its URL (--url or OPENHORDE_URL on the command line).",
        )
        self.url = url

    @property
    def passing(self) -> bool:
        """A server that restarts is back in a moment."""
        return True


class PictureUnreachable(HordeError):
    """Nothing answers where a picture should be, which need not be where the horde is."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(0, None, f"No answer from {url}: the picture is out of reach ({reason}).")

    @property
    def passing(self) -> bool:
        """Object storage that restarts is back in a moment."""
        return True
