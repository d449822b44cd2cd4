# SPDX-License-Identifier: AGPL-3.0-or-later
"""The face of a kind of work: all that the server's other rooms know about it.

To add a kind:

1. `wire/NAME.py`: structs of its request, pop and submit. A pop has the fields of `AnyPop`.
2. Words that only some workers have, and sizes, into `domain/needs.py`: one line each.
3. `domain/kinds/NAME_kind.py`: a class that derives from `Kind` and fills in what is abstract;
   what has a default here (sources, variants, blocked words, ...) only where it differs.
4. One line in `domain/kinds/table.py`; and in `actions/showing.py` what a finished job looks like.
5. `api/v2/NAME.py`: its operations, which hand structs to `actions.requests.submit`,
   `actions.waiting.pop` and `actions.work.deliver`; one line in `api/table.py`.

Store, ledger, matching, queue and tasks need no change: they are told what they need to know.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from openhorde.server.domain.bridges import bridge_multiplier
from openhorde.server.domain.lives import TOGETHER, Faults
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate, Variant
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.requester import Requester
from openhorde.wire.requests import Warning


class AnyPop(Protocol):
    """What every worker says when it asks for work, whatever its kind."""

    name: str
    bridge_agent: str
    threads: int
    amount: int
    priority_usernames: list[str]
    require_upfront_kudos: bool
    wait: float
    holding: list[str] | None


class Source(Struct, frozen=True, kw_only=True):
    """A picture that a request brings: `text` is a URL or base64, `field` its path in the body.

    It is stored and remembered under its `role`; of extra ones also the `strength`. Where URLs are
    `linked` the worker is given the URL itself. One that `is_mask` says where to draw.
    """

    role: str
    field: str
    text: str
    strength: float | None = None
    linked: bool = False
    is_mask: bool = False


class PictureFacts(Struct, frozen=True):
    """What was found out about a source picture. Sides in pixels; whether it `has_holes`, which is
    transparent parts to draw in; whether, as a mask, it `is_blank` and selects nothing."""

    width: int
    height: int
    has_holes: bool = False
    is_blank: bool = False


Pictures = Mapping[str, PictureFacts]
"""The source pictures that were looked at, by role."""


class Load(Struct, frozen=True):
    """How busy a kind is: jobs that wait, and threads of the workers online; and how long a text
    need not be payable in advance, in tokens, while little waits."""

    queued_jobs: int
    threads: int
    text_length_free: int


class JobPlan(Struct, frozen=True):
    """One job as it is queued. `things` is its size in the kind's unit, `cost_things` what it
    counts for in the order of the queue."""

    needs: Needs
    things: int
    cost_things: int


class Order(Struct, frozen=True, kw_only=True):
    """What is stored of a judged request beside its jobs.

    A job's price and reward are these times the multiplier of its needs and model, plus the tax.
    `screened_text`, in lower case, is where the words are looked for that a worker refuses.
    """

    body: str
    screened_text: str | None = None
    webhook: str | None = None
    seed: int | None = None
    batching: bool = True
    inline_results: bool = False
    shared: bool = False
    base_milli: int
    price_each_milli: int
    tax_each_milli: int
    activation_milli: int
    ttl_seconds: int


class SentPicture(Struct, frozen=True):
    """A picture that came as base64 in the `field` of a submit."""

    field: str
    text: str


class UploadedPicture(Struct, frozen=True):
    """A picture that the worker has uploaded, as the `field` of a submit says."""

    field: str


class TakenJob(Struct, frozen=True):
    """The job that a result is for: the model that it was given out for, its size as planned, and
    whether the owner of the worker is trusted."""

    model: str
    things: int
    trusted_owner: bool


class Outcome(Struct, frozen=True, kw_only=True):
    """What a worker handed in, once it was judged.

    `result` is kept with the job, with the key of its picture as `picture`, if it has one. `share`
    (0 to 1) of the agreed reward and price was earned, and `things` were done if that differs from
    what was planned.
    """

    result: dict[str, Any]
    picture: SentPicture | UploadedPicture | None = None
    censored: bool = False
    share: float = 1.0
    things: int | None = None


RequestT = TypeVar("RequestT", bound=Struct)
PopT = TypeVar("PopT", bound=AnyPop)


class Finder(Protocol[RequestT]):
    """Finds the variant of an impossible request that is nearest to it, among some workers."""

    def closest(self, needs: Needs) -> list[Candidate]:
        """The workers that lack least for these needs."""

    def nearest(
        self,
        request: RequestT,
        candidates: Sequence[Candidate],
        needs_of: Callable[[RequestT], Needs],
    ) -> Variant | None:
        """The first change that makes the request fit one of these workers."""


class Kind(ABC, Generic[RequestT, PopT]):
    """One kind of work. Everything that may be refused raises `Refusal`."""

    name: ClassVar[str]
    request_type: ClassVar[type[Any]]
    pop_type: ClassVar[type[Any]]
    submit_type: ClassVar[type[Any]]

    divisor: ClassVar[int] = 1
    """Things in the unit that is shown. A worker without a measured speed counts as one such unit a
    second."""

    faults: ClassVar[Faults] = TOGETHER
    jobs_apart: ClassVar[bool] = False
    """The jobs of a request differ in what they need: each stands for itself, in counts, and in a
    pop, which may take jobs of several requests."""

    concurrency_factor: ClassVar[int] = 1
    """An account may have so many times its usual number of jobs waiting."""

    aborted_jobs_max: ClassVar[int] = 20
    """A worker that gives up more jobs than this within an hour is put into maintenance."""

    uptime_at_once: ClassVar[bool] = False
    """The reward for being there is paid at once also to owners who are not trusted."""

    speed_by_time: ClassVar[bool] = False
    """A worker's speed is all it did by all the time it took, not the mean of its jobs' speeds."""

    priced_by_sources: ClassVar[bool] = False
    """The price depends on the source pictures: they are looked at first, even for a dry run."""

    source_pixels_max: ClassVar[int] = 3072 * 3072

    # A request comes in.

    @abstractmethod
    def check(
        self, request: RequestT, requester: Requester, reference: Reference
    ) -> tuple[RequestT, tuple[Warning, ...]]:
        """The request as it will be done, and what may not come out as hoped."""

    def workers(self, request: RequestT) -> Sequence[str]:
        """The ids of the workers that the request lists, wanted or not."""
        return ()

    def with_workers(self, request: RequestT, workers: Sequence[str]) -> RequestT:
        """The request with these ids in their place."""
        return request

    def is_dry_run(self, request: RequestT) -> bool:
        """Is it only to be priced?"""
        return bool(getattr(request, "dry_run", False))

    def shares(self, request: RequestT, requester: Requester) -> bool:
        """Are the results published?"""
        return False

    def sources(self, request: RequestT) -> Sequence[Source]:
        """The pictures that it brings."""
        return ()

    def check_source(self, source: Source, facts: PictureFacts) -> None:
        """Refuse a picture by what its header says, before it is decoded."""

    def check_sources(self, request: RequestT, pictures: Pictures) -> None:
        """Refuse pictures that do not do, once they were looked at."""

    @abstractmethod
    def estimate(
        self, request: RequestT, pictures: Pictures, reference: Reference, *, shared: bool
    ) -> Estimate:
        """What the whole request is expected to cost."""

    def must_be_covered(
        self, request: RequestT, reference: Reference, load: Load, estimate: Estimate
    ) -> bool:
        """Is it so heavy under this load that it must be payable in advance?"""
        return False

    def cover(
        self,
        request: RequestT,
        requester: Requester,
        reference: Reference,
        load: Load,
        estimate: Estimate,
    ) -> tuple[RequestT, int]:
        """The request, perhaps smaller, and how much must be there to be spent (thousandths), for
        one that must be covered."""
        return request, 0

    @abstractmethod
    def jobs(
        self, request: RequestT, requester: Requester, pictures: Pictures, reference: Reference
    ) -> Sequence[JobPlan]:
        """Its jobs, in order. At least one."""

    @abstractmethod
    def order(
        self,
        request: RequestT,
        reference: Reference,
        *,
        shared: bool,
        ttl_seconds_min: int,
        random_seed: int,
    ) -> Order:
        """What is stored of it."""

    def price_lines(
        self, body: str, price_milli: int, *, has_sources: bool
    ) -> Sequence[PriceLine] | None:
        """Where the price of a delivered job came from, as far as the stored request tells."""
        return None

    def finder(
        self, candidates: Sequence[Candidate], reference: Reference
    ) -> Finder[RequestT] | None:
        """What finds a variant that one of these workers would do, if the kind knows how."""
        return None

    def light(self, request: RequestT) -> RequestT:
        """The request without the weight of its pictures, for looking for variants of it."""
        return request

    def judge_variant(
        self, request: RequestT, requester: Requester, reference: Reference
    ) -> RequestT:
        """A variant as it would be done. It is judged without its pictures."""
        return self.check(request, requester, reference)[0]

    # A worker asks for work.

    @abstractmethod
    def serves(
        self, pop: PopT, reference: Reference, *, alias: str, customizer: bool, special: bool
    ) -> tuple[str, ...]:
        """The models that the worker may serve of those that it declares; at least one. Where a
        kind has no models: what takes their place in views and statistics."""

    @abstractmethod
    def offer(
        self,
        pop: PopT,
        *,
        worker_id: str,
        models: Sequence[str],
        trusted_owner: bool,
        speed_things_per_second: float,
        reference: Reference,
    ) -> Offer:
        """What the worker offers. `models` are those that it may serve."""

    def models_for(self, needs: Needs, models: Sequence[str], pop: PopT) -> Sequence[str]:
        """With which of the worker's models, at least one, it could do a job that it fits."""
        return [name for name in models if name in needs.models] if needs.models else models

    @abstractmethod
    def job_multiplier(
        self, needs: Needs, model: str, pop: PopT, offer: Offer, reference: Reference
    ) -> float:
        """What a job on that model earns and costs, as a multiple of the request's base price."""

    def batch_amount(self, needs: Needs, model: str, pop: PopT, reference: Reference) -> int:
        """At most how many jobs of one request the worker gets at once."""
        return pop.amount

    def blocked_words(self, pop: PopT) -> Sequence[str]:
        """Words that may not be in a prompt, in lower case."""
        return ()

    def ttl_factor(self, pop: PopT) -> int:
        """By how much longer than usual the worker may take."""
        return 1

    # It hands a result in.

    @abstractmethod
    def outcome(self, submit: Any, job: TakenJob, reference: Reference) -> Outcome:
        """Judge what a worker submitted for a job."""

    def credited_share(self, bridge_agent: str) -> float:
        """The share of a reward that an agent is really credited."""
        return bridge_multiplier(bridge_agent)

    @abstractmethod
    def uptime_reward_milli(self, pop: PopT, models: Sequence[str], reference: Reference) -> int:
        """What ten minutes of readiness earn."""

    @abstractmethod
    def performance(self, speed: float | None) -> str:
        """The sentence that tells a worker's speed, in things a second; None before any job."""


AnyKind = Kind[Any, Any]
