# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be asked of a text, how it becomes the body of a request, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from openhorde.client.bodies import request_body
from openhorde.client.notes import words_of
from openhorde.wire.requests import Note, Warning
from openhorde.wire.text import TextParams, TextRequest


class TextSettings(TypedDict, total=False):
    """Everything besides the prompt; what is left out, the horde or the engine decides.

    The names are the wire's; lengths are in tokens. `extra_params` goes into `params` unlooked-at,
    for hordes and engines that know more than this client.
    """

    extra_params: Mapping[str, Any] | None
    models: Sequence[str]
    softprompt: str | None
    trusted_workers: bool
    validated_backends: bool
    slow_workers: bool
    extra_slow_workers: bool
    workers: Sequence[str]
    worker_blacklist: bool
    extra_source_images: Sequence[Mapping[str, Any]]
    proxied_account: str | None
    disable_batching: bool
    allow_downgrade: bool
    webhook: str | None
    style: str | None
    n: int
    max_length: int
    max_context_length: int
    rep_pen: float | None
    rep_pen_range: int | None
    rep_pen_slope: float | None
    temperature: float | None
    tfs: float | None
    top_a: float | None
    top_k: int | None
    top_p: float | None
    typical: float | None
    min_p: float
    smoothing_factor: float
    dynatemp_range: float
    dynatemp_exponent: float
    sampler_order: Sequence[int] | None
    singleline: bool | None
    use_default_badwordsids: bool | None
    frmtadsnsp: bool | None
    frmtrmblln: bool | None
    frmtrmspch: bool | None
    frmttriminc: bool | None
    stop_sequence: Sequence[str] | None


PARAMS = frozenset(TextParams.__struct_fields__)
REQUEST = frozenset(TextRequest.__struct_fields__) - {"prompt", "params", "dry_run"}


def text_body(prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body of `POST generate/text/async`."""
    return request_body(prompt, settings, params=PARAMS, request=REQUEST)


@dataclass(frozen=True, kw_only=True)
class QueuedText:
    """An accepted request. `kudos` is the price that the horde tells, `body` what was sent."""

    id: str
    kudos: float
    message: str | None
    warnings: list[Warning]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text as the worker wrote it, without the prompt that it goes on from.

    `kudos` is its share of what was charged. `censored` texts are kept in place: `gen_metadata`
    says what befell them.
    """

    text: str
    id: str
    request_id: str
    seed: int
    model: str
    worker_id: str
    worker_name: str
    gen_metadata: list[Note]
    kudos: float
    censored: bool

    @property
    def said(self) -> list[str]:
        """What the worker says of how it was written, in words."""
        return words_of(self.gen_metadata)

    def __str__(self) -> str:
        return self.text
