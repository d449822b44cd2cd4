# SPDX-License-Identifier: AGPL-3.0-or-later
"""Language models in this process, and how one goes on with a text."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog
import torch
from msgspec import Struct, field
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria

from openhorde.worker.backends.base import (
    Cancelled,
    InMemory,
    ReportProgress,
    TextJob,
)
from openhorde.worker.backends.texts import prompt_room
from openhorde.worker.backends.transformers.catalogue import TextCard
from openhorde.worker.backends.transformers.sampling import translate
from openhorde.worker.library.loading import load_beside, load_model

# Tokens looked back over for a stop sequence, beyond one for each of its bytes.
_TAIL_TOKENS = 8
_SEED_BITS = 32

log = structlog.get_logger(__name__)


class Writer(Struct):
    """A loaded language model with its tokenizer."""

    card: TextCard
    model: Any
    tokenizer: Any


class Written(Struct, frozen=True):
    """What a model wrote, the seed it drew from, and what the requester should know of it."""

    text: str
    seed: int
    told: list[str] = field(default_factory=list)


class Writers:
    """The language models at hand; the one not used for longest makes room for the next, unless
    `count_max` is 0."""

    def __init__(self, cards: list[TextCard], device: torch.device, count_max: int) -> None:
        self._cards = {card.name: card for card in cards}
        self._device = device
        self._count_max = count_max or len(cards)
        self._loaded: OrderedDict[str, Writer] = OrderedDict()

    def get(self, name: str) -> Writer:
        """The model, loaded if it is not yet. Raises KeyError when there is none of that name,
        RuntimeError when it cannot be loaded."""
        card = self._cards[name]
        if name not in self._loaded:
            while len(self._loaded) >= self._count_max:
                self._loaded.popitem(last=False)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            log.info("loading a model", model=name)
            model = load_model(AutoModelForCausalLM, card.folder, self._device)
            self._loaded[name] = Writer(card, model, load_beside(AutoTokenizer, card.folder))
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def in_memory(self) -> list[InMemory]:
        """What is loaded, the last used first."""
        return [
            InMemory(name=name, size_bytes=writer.model.get_memory_footprint(), place="device")
            for name, writer in reversed(self._loaded.items())
        ]


def write(
    writer: Writer, job: TextJob, report: ReportProgress, cancelled: Callable[[], bool]
) -> Written:
    """Go on with the job's prompt. Raises Cancelled.

    A prompt that is too long loses its beginning. The text ends before the first stop sequence.
    """
    asked = translate(job.sampling)
    if asked.left_out:
        log.info("sampling words that transformers does not have", words=asked.left_out)
    numbers, told = _prompt_tokens(writer, job)
    tokens_max = min(job.tokens_max, _context(writer, job) - len(numbers))
    stops = [stop for stop in (*job.stop_sequences, *asked.stop_sequences) if stop]
    watch = _Watch(writer.tokenizer, len(numbers), tokens_max, stops, report, cancelled)
    prompt = torch.tensor([numbers], device=writer.model.device)
    seed = job.seed if job.seed is not None else secrets.randbits(_SEED_BITS)
    devices = [prompt.device] if prompt.device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        whole = writer.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens_max,
            pad_token_id=_padding(writer),
            stopping_criteria=[watch],
            **asked.arguments,
        )
    if watch.was_cancelled:
        raise Cancelled
    text = _text_after(writer.tokenizer, whole[0].tolist(), len(numbers))
    for stop in stops:
        text = text.partition(stop)[0]
    hint = writer.card.subject.hint_for(job.prompt) if writer.card.subject is not None else None
    return Written(text, seed, [*told, *([hint] if hint is not None else [])])


def _context(writer: Writer, job: TextJob) -> int:
    """How many tokens the model may read and write for a job."""
    return min(job.context_tokens_max, writer.card.context_tokens)


def _prompt_tokens(writer: Writer, job: TextJob) -> tuple[list[int], list[str]]:
    """The prompt's last tokens, as many as there is room for, and a word on those left out."""
    room = prompt_room(_context(writer, job), job.tokens_max)
    # A prompt may be longer than a model can read: that it is cut here needs no warning there.
    numbers: list[int] = writer.tokenizer(job.prompt, verbose=False)["input_ids"]
    start = writer.tokenizer.bos_token_id
    if start is None:
        start = writer.tokenizer.eos_token_id
    if not numbers or (writer.card.starts_texts and numbers[0] != start):
        numbers = [start, *numbers]
    if len(numbers) <= room:
        return numbers, []
    told = [f"only the last {room} of the prompt's {len(numbers)} tokens were read"]
    if numbers[0] == writer.tokenizer.bos_token_id and room > 1:
        return [numbers[0], *numbers[len(numbers) - room + 1 :]], told
    return numbers[-room:], told


def _padding(writer: Writer) -> int:
    """What generate() wants to know even of a single text, which has no padding."""
    for number in (writer.tokenizer.pad_token_id, writer.tokenizer.eos_token_id):
        if number is not None:
            return int(number)
    return 0


def _text_after(tokenizer: Any, numbers: list[int], prompt_length: int) -> str:
    """The text of the tokens after the prompt, with the space that some tokenizers drop when they
    begin in the middle."""
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before: str = tokenizer.decode(numbers[:prompt_length], **options)
    whole: str = tokenizer.decode(numbers, **options)
    if whole.startswith(before):
        return whole[len(before) :]
    after: str = tokenizer.decode(numbers[prompt_length:], **options)
    return after


class _Watch(StoppingCriteria):
    """Called after every token: reports it, and stops at a stop sequence or a cancel."""

    def __init__(
        self,
        tokenizer: Any,
        prompt_length: int,
        tokens_max: int,
        stops: list[str],
        report: ReportProgress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length
        self._tokens_max = tokens_max
        self._stops = stops
        self._tail_tokens = _TAIL_TOKENS + max((len(stop.encode()) for stop in stops), default=0)
        self._report = report
        self._cancelled = cancelled
        self.was_cancelled = False

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        written = input_ids[0, self._prompt_length :]
        self._report(len(written), self._tokens_max)
        self.was_cancelled = self._cancelled()
        tail = ""
        if self._stops:
            tail = self._tokenizer.decode(written[-self._tail_tokens :], skip_special_tokens=True)
        done = self.was_cancelled or any(stop in tail for stop in self._stops)
        return torch.full((1,), done, dtype=torch.bool, device=input_ids.device)
