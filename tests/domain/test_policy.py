# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain import policy
from openhorde.server.domain.kinds import image
from openhorde.server.domain.needs import SAMPLERS
from openhorde.server.domain.policy import accept, downgrade, limit_side_pixels, upfront
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ImageParams, Lora
from openhorde.wire.requests import ImageRequest

REFERENCE = Reference.from_json(
    {
        "sd": {"baseline": "stable diffusion 1"},
        "xl": {"baseline": "stable_diffusion_xl"},
        "cascade": {"baseline": "stable_cascade"},
        "flux": {"baseline": "flux_1"},
        "quick": {"baseline": "stable diffusion 1", "requirements": {"max_steps": 10}},
        "slow": {"baseline": "stable diffusion 1", "requirements": {"max_steps": 100}},
    }
)
POOR = Requester(user_id=5, alias="poor#5", available_milli=0)
RICH = Requester(user_id=6, alias="rich#6", available_milli=1_000_000)
IDLE: dict[str, Any] = {"queued_jobs": 0, "threads": 0}
BUSY: dict[str, Any] = {"queued_jobs": 100_000, "threads": 10}


def request(params: dict[str, Any] | None = None, **fields: Any) -> ImageRequest:
    return ImageRequest(
        **dict[str, Any](prompt="a", models=["sd"], params=ImageParams(**(params or {}))) | fields
    )


def code_of(action: Any, *arguments: Any, **facts: Any) -> str:
    with pytest.raises(Refusal) as caught:
        action(*arguments, **facts)
    return caught.value.code


def test_concurrency() -> None:
    policy.check_concurrency(POOR, waiting=29, asked=1)
    assert code_of(policy.check_concurrency, POOR, waiting=30, asked=1) == "TooManyPrompts"


def test_the_example_client_is_refused() -> None:
    policy.check_client_agent("My-Project:v0.0.2:me")
    agent = "My-Project:v0.0.1:My-Contact"
    assert code_of(policy.check_client_agent, agent) == "BannedClientAgent"


@pytest.mark.parametrize(
    ("fields", "queued_jobs", "threads", "side"),
    [
        ({}, 0, 0, 1024),
        ({}, 100, 5, 984),
        ({}, 101, 5, 983),
        ({}, 0, 50, 1024),
        ({}, 5000, 0, 576),
        ({"models": ["xl"]}, 5000, 0, 1024),
        ({"models": ["sd", "cascade"]}, 5000, 0, 1024),
        ({"models": ["flux"]}, 5000, 0, 1024),
        ({"models": []}, 5000, 0, 576),
        ({"slow_workers": False}, 0, 50, 1524),
        ({"slow_workers": False}, 5000, 0, 0),
    ],
)
def test_the_largest_free_square(
    fields: dict[str, Any], queued_jobs: int, threads: int, side: int
) -> None:
    found = limit_side_pixels(
        request(**fields), REFERENCE, queued_jobs=queued_jobs, threads=threads
    )
    assert found == side


@pytest.mark.parametrize(
    ("params", "fields", "reasons"),
    [
        ({}, {}, ()),
        ({}, {"slow_workers": False}, ("slow_workers",)),
        ({"sampler_name": "lcm", "steps": 10}, {}, ()),
        ({"sampler_name": "lcm", "steps": 11}, {}, ("lcm",)),
        ({"loras": [Lora(name="195519")], "steps": 11}, {}, ("lcm",)),
        ({"loras": [Lora(name="1")], "steps": 11}, {}, ()),
        ({"steps": 40}, {}, ()),
        ({"steps": 41}, {}, ("steps",)),
        ({"steps": 21, "sampler_name": "k_heun"}, {}, ("steps",)),
        ({"steps": 41}, {"models": ["slow"]}, ()),
        ({"steps": 41}, {"models": ["slow", "sd"]}, ("steps",)),
        ({"steps": 11}, {"models": ["quick"]}, ("steps",)),
        ({"steps": 500}, {"models": []}, ()),
        ({"width": 1024, "height": 1024}, {}, ()),
        ({"width": 1024, "height": 1088}, {}, ("pixels",)),
        ({"control_type": "hed", "steps": 20}, {}, ()),
        ({"control_type": "hed", "steps": 21}, {}, ("control_type",)),
    ],
)
def test_what_must_be_payable_in_advance(
    params: dict[str, Any], fields: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    rule = upfront(request(params, **fields), REFERENCE, **IDLE, estimate_milli=9000)
    assert rule.reasons == reasons
    assert rule.required is bool(reasons)
    assert rule.amount_milli == (9000 if reasons else 0)
    assert not rule.forbids_downgrade


@pytest.mark.parametrize("fields", [{"workers": ["w"]}, {"worker_blacklist": True}])
def test_an_operator_may_charge_for_choosing_workers(fields: dict[str, Any]) -> None:
    wanted = request(allow_downgrade=True, **fields)
    assert not upfront(wanted, REFERENCE, **IDLE, estimate_milli=1).required
    rule = upfront(wanted, REFERENCE, **IDLE, estimate_milli=1, charges_worker_lists=True)
    assert (rule.reasons, rule.forbids_downgrade) == (("workers",), True)
    refused = code_of(
        accept, wanted, POOR, REFERENCE, **IDLE, estimate_milli=1, charges_worker_lists=True
    )
    assert refused == "KudosUpfront"


def sides(width: int, height: int, **load: int) -> tuple[int, int]:
    params = downgrade(request({"width": width, "height": height}), REFERENCE, **load).params
    return params.width, params.height


def test_pictures_shrink_in_proportion() -> None:
    assert sides(2048, 2048, **IDLE) == (1024, 1024)
    assert sides(3072, 1024, **IDLE) == (1728, 576)
    assert sides(1024, 1024, **BUSY) == (576, 576)
    assert sides(1024, 512, **BUSY) == (768, 384)
    assert sides(3072, 128, **BUSY) == (512, 512)
    assert sides(512, 512, **BUSY) == (512, 512)
    assert sides(3072, 64, **BUSY) == (3072, 64)


@pytest.mark.parametrize(
    ("params", "models", "steps"),
    [
        ({"steps": 500}, ["sd"], 30),
        ({"steps": 500}, [], 30),
        ({"steps": 500}, ["slow"], 100),
        ({"steps": 500}, ["slow", "quick"], 10),
        ({"steps": 500, "sampler_name": "k_heun"}, ["sd"], 15),
        ({"steps": 500, "sampler_name": "lcm"}, ["slow"], 10),
        ({"steps": 40, "control_type": "hed"}, ["slow"], 20),
        ({"steps": 500, "sampler_name": "k_heun", "control_type": "hed"}, ["quick"], 5),
        ({"steps": 500, "sampler_name": "k_dpm_adaptive"}, ["sd"], 4),
        ({"steps": 8}, ["sd"], 8),
        ({}, ["quick"], 10),
    ],
)
def test_steps_are_lowered_to_what_is_free(
    params: dict[str, Any], models: list[str], steps: int
) -> None:
    assert downgrade(request(params, models=models), REFERENCE, **IDLE).params.steps == steps


def test_a_downgraded_request_takes_slow_workers() -> None:
    wanted = request(slow_workers=False)
    assert downgrade(wanted, REFERENCE, **IDLE).slow_workers
    assert not wanted.slow_workers


def test_who_can_pay_reserves_and_keeps_the_request_as_it_is() -> None:
    wanted = request({"steps": 100}, allow_downgrade=True)
    done = accept(wanted, RICH, REFERENCE, **IDLE, estimate_milli=1_000_000)
    assert (done.request, done.reserve_milli) == (wanted, 1_000_000)


def test_light_requests_reserve_nothing() -> None:
    assert accept(request(), POOR, REFERENCE, **IDLE, estimate_milli=9000).reserve_milli == 0


def test_a_dry_run_reserves_nothing_and_is_not_refused() -> None:
    wanted = request({"steps": 500}, dry_run=True)
    for requester in (POOR, RICH):
        done = accept(wanted, requester, REFERENCE, **IDLE, estimate_milli=10**9)
        assert (done.request, done.reserve_milli) == (wanted, 0)


def test_who_cannot_pay_hears_why() -> None:
    with pytest.raises(Refusal) as caught:
        accept(request({"steps": 41}), POOR, REFERENCE, **IDLE, estimate_milli=9000)
    assert caught.value.code == "KudosUpfront"
    assert caught.value.facts == {
        "required_milli": 9000,
        "available_milli": 0,
        "reasons": ("steps",),
        "limit_steps": 40,
    }


@pytest.mark.parametrize(
    ("params", "limits"),
    [
        ({"steps": 41}, {"limit_steps": 40}),
        ({"width": 2048, "height": 2048, "steps": 10}, {"limit_side_pixels": 1024}),
        (
            {"width": 2048, "height": 2048, "steps": 41},
            {"limit_side_pixels": 1024, "limit_steps": 40},
        ),
        ({"steps": 21, "control_type": "canny"}, {"limit_steps": 20}),
    ],
)
def test_the_bounds_that_are_told_are_those_exceeded(
    params: dict[str, Any], limits: dict[str, int]
) -> None:
    with pytest.raises(Refusal) as caught:
        accept(request(params), POOR, REFERENCE, **IDLE, estimate_milli=9000)
    facts = caught.value.facts
    assert {name: facts[name] for name in facts if name.startswith("limit_")} == limits


@given(
    st.fixed_dictionaries(
        {
            "width": st.integers(1, 48).map(lambda side: side * 64),
            "height": st.integers(1, 48).map(lambda side: side * 64),
            "steps": st.none() | st.integers(1, 500),
            "sampler_name": st.sampled_from(SAMPLERS),
            "control_type": st.none() | st.just("hed"),
        }
    ),
    st.lists(st.sampled_from(["sd", "xl", "quick", "slow", "x"]), max_size=3),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(0, 10**4),
    st.integers(0, 2_000_000),
)
def test_what_is_accepted_is_affordable_or_within_the_limits(
    params: dict[str, Any],
    models: list[str],
    slow_workers: bool,
    queued_jobs: int,
    threads: int,
    estimate_milli: int,
) -> None:
    wanted = request(params, models=models, slow_workers=slow_workers, allow_downgrade=True)
    load: dict[str, Any] = {"queued_jobs": queued_jobs, "threads": threads}
    done = accept(wanted, RICH, REFERENCE, **load, estimate_milli=estimate_milli)
    if done.reserve_milli:
        assert done.request == wanted
        assert done.reserve_milli == estimate_milli <= RICH.available_milli
        return
    before, after = wanted.params, done.request.params
    shrunk_to_least = (after.width, after.height) == (512, 512)
    assert after.width * after.height <= before.width * before.height
    assert shrunk_to_least or (after.width <= before.width and after.height <= before.height)
    assert after.width % 64 == after.height % 64 == 0
    assert image.steps(done.request) <= image.steps(wanted)
    rule = upfront(done.request, REFERENCE, **load, estimate_milli=estimate_milli)
    still_heavy = (
        {"steps", "control_type", "lcm"} if before.sampler_name == "k_dpm_adaptive" else set()
    )
    assert set(rule.reasons) <= still_heavy or rule.amount_milli == 0


def test_downgrading_forgets_nothing_else() -> None:
    wanted = request({"n": 3, "seed": "x"}, slow_workers=False, nsfw=False)
    smaller = downgrade(wanted, REFERENCE, **IDLE)
    expected = msgspec.structs.replace(
        wanted, slow_workers=True, params=msgspec.structs.replace(wanted.params, steps=30)
    )
    assert smaller == expected


CAPS = policy.WorkerCaps(per_owner=4, per_trusted_owner=21, per_address=4)
UNBOUND = policy.WorkerCaps(per_owner=0, per_trusted_owner=0, per_address=0)
ALONE = {"trusted": False, "invited": 0, "owned": 0, "from_same_ip": 0, "invite_only": False}


@pytest.mark.parametrize(
    ("trusted", "invited", "limit"),
    [(False, 0, 4), (False, 50, 4), (True, 0, 21), (True, 20, 21), (True, 30, 31)],
)
def test_how_many_workers_an_owner_may_have(trusted: bool, invited: int, limit: int) -> None:
    assert policy.worker_limit(CAPS, trusted=trusted, invited=invited) == limit
    assert policy.worker_limit(UNBOUND, trusted=trusted, invited=invited) == 0


@pytest.mark.parametrize("name", ["my Colab worker", "TPU", "on google"])
def test_names_of_workers_that_are_refused(name: str) -> None:
    assert code_of(policy.check_worker_name, name) == "BadRequest"


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("WorkerInviteOnly", {"invite_only": True, "invited": 1, "owned": 1}),
        ("TooManyWorkers", {"owned": 4}),
        ("TooManyWorkersTrusted", {"owned": 21, "trusted": True}),
        ("TooManySameIPs", {"from_same_ip": 4}),
        ("TooManySameIPs", {"from_same_ip": 21, "trusted": True}),
    ],
)
def test_new_workers_that_are_refused(code: str, facts: dict[str, Any]) -> None:
    assert code_of(policy.check_worker_count, CAPS, **(ALONE | facts)) == code
    if code != "WorkerInviteOnly":
        policy.check_worker_count(UNBOUND, **(ALONE | facts))


@pytest.mark.parametrize(
    ("caps", "facts"),
    [
        (CAPS, {"owned": 3, "from_same_ip": 3}),
        (CAPS, {"owned": 20, "from_same_ip": 20, "trusted": True}),
        (CAPS, {"owned": 30, "from_same_ip": 30, "trusted": True, "invited": 30}),
        (CAPS, {"from_same_ip": 5, "invited": 5}),
        (CAPS, {"owned": 1, "invited": 2, "invite_only": True}),
        (msgspec.structs.replace(CAPS, per_address=0), {"from_same_ip": 1000}),
        (msgspec.structs.replace(CAPS, per_trusted_owner=0), {"owned": 99, "trusted": True}),
        (msgspec.structs.replace(CAPS, per_trusted_owner=0), {"from_same_ip": 99, "trusted": True}),
        (msgspec.structs.replace(CAPS, per_owner=0), {"owned": 1000}),
    ],
)
def test_new_workers_that_are_welcome(caps: policy.WorkerCaps, facts: dict[str, Any]) -> None:
    policy.check_worker_count(caps, **(ALONE | facts))


def test_worker_names() -> None:
    assert policy.worker_name(" <b>big</b>\0 box ") == "big box"
    assert policy.worker_name("x" * 150) == "x" * 100
    assert code_of(policy.worker_name, "<br>") == "BadRequest"


def test_blacklists_are_cut() -> None:
    assert policy.blacklist(["a" * 20, " ", "b"]) == ("a" * 15, "b")
    assert len(policy.blacklist([f"word{number}" for number in range(300)])) == 200


def test_priority_users() -> None:
    assert policy.priority_user_ids(["ada#7", "a#b#8", "x#y", "ada#7"]) == (7, 8)
    for wrong in ("ada", "ada#"):
        assert code_of(policy.priority_user_ids, [wrong]) == "InvalidPriorityUsername"
