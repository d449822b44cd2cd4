# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts: asked for, written, handed in and paid by what was written."""

import pytest
from cast import CLIENT, Cast, image_pop, image_request
from text_cast import (
    ask_text,
    take_text,
    text_delivery,
    text_pop,
    text_request,
    with_text_models,
)

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Priced, Queued
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import kudos
from openhorde.server.store.users import Account
from openhorde.server.tasks import count_deliveries, fold_ledger, reward_uptime, sweep_overdue

FULL_MILLI = 15_232
"""What 80 tokens by seven billion parameters cost with 2048 tokens of context."""

TAX_MILLI = 1000


@pytest.fixture
def horde(horde: Horde) -> Horde:
    """A horde that knows the sizes of some text models."""
    return with_text_models(horde)


async def sound(horde: Horde) -> None:
    """The ledger sums to zero and every balance is what its transfers say."""
    await fold_ledger.run(horde)
    assert await kudos.ledger_totals(horde.statements) == (0, 0)
    assert await kudos.drifting_accounts(horde.statements) == []


async def left_milli(horde: Horde, account: Account) -> int:
    """What an account has to spend, which must be all that it has: nothing is held."""
    await sound(horde)
    balance_milli = await horde.pool.fetchval(
        "select balance_milli from accounts where number = $1", 2 * account.id
    )
    assert await kudos.available_milli(horde.statements, account.id) == balance_milli
    return int(balance_milli)


@pytest.mark.parametrize(
    ("text", "tokens"), [("a" * 320, 80), ("a" * 9999, 80), ("a" * 160, 40), ("", 20)]
)
async def test_what_is_paid_is_what_was_written(
    horde: Horde, cast: Cast, text: str, tokens: int
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask_text(horde, alice)
    (job_id,) = await take_text(horde, bob)
    reward_milli = await work.deliver(horde, bob, text_delivery(job_id, text))
    assert reward_milli == round(FULL_MILLI * tokens / 80)
    spent_milli = 100_000_000 - await left_milli(horde, alice)
    assert spent_milli == reward_milli + 2 * TAX_MILLI
    earned = await horde.pool.fetch(
        "select amount_milli from transfers where credit = $1 and purpose = 'reward'", 2 * bob.id
    )
    assert [row["amount_milli"] for row in earned] == [reward_milli]
    progress = await requests.check(horde, request_id)
    assert progress.kudos_milli == spent_milli
    await count_deliveries.run(horde)
    assert await horde.pool.fetchval("select things from workers") == tokens


async def test_texts_of_all_lengths_cost_at_most_what_was_said(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    wanted = text_request(params={"n": 6, "max_length": 300}, models=["seven", "seventy", "odd"])
    queued = await requests.submit(horde, alice, wanted, CLIENT)
    assert isinstance(queued, Queued)
    held = await kudos.available_milli(horde.statements, alice.id)
    assert held == 100_000_000 - queued.total_milli
    models = ["seven", "seventy", "odd", "seven", "seventy"]
    for number, model in enumerate(models):
        name = f"{model} scribe"
        (job_id,) = await take_text(horde, bob, name=name, models=[model])
        await work.deliver(horde, bob, text_delivery(job_id, "a" * 400 * number))
    (failed,) = await take_text(horde, bob)
    await work.deliver(horde, bob, text_delivery(failed, state="faulted"))
    (last,) = await take_text(horde, bob)
    await work.deliver(horde, bob, text_delivery(last, state="censored"))
    spent_milli = 100_000_000 - await left_milli(horde, alice)
    assert 7 * TAX_MILLI < spent_milli < queued.total_milli
    rewards = await horde.pool.fetch("select source_id from transfers where purpose = 'reward'")
    assert len({row["source_id"] for row in rewards}) == len(rewards) == 6


async def test_a_text_is_paid_once(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice)
    (job_id,) = await take_text(horde, bob)
    await work.deliver(horde, bob, text_delivery(job_id, "short"))
    with pytest.raises(Refusal, match="DuplicateGen"):
        await work.deliver(horde, bob, text_delivery(job_id))
    assert await left_milli(horde, alice) == 100_000_000 - FULL_MILLI // 4 - 2 * TAX_MILLI


async def test_what_is_cancelled_costs_what_was_written(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask_text(horde, alice, params={"n": 3})
    (job_id,) = await take_text(horde, bob)
    await requests.cancel(horde, request_id, "text")
    await work.deliver(horde, bob, text_delivery(job_id))
    assert await left_milli(horde, alice) == 100_000_000 - FULL_MILLI - 2 * TAX_MILLI


async def test_a_censored_text_costs_the_tax_alone_and_pays_the_worker(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice)
    (job_id,) = await take_text(horde, bob)
    assert await work.deliver(horde, bob, text_delivery(job_id, state="csam")) == FULL_MILLI
    assert await left_milli(horde, alice) == 100_000_000 - 2 * TAX_MILLI


@pytest.mark.parametrize(
    ("model", "agent", "trusted", "reward_milli"),
    [
        ("seven", "somebody's:1:x", True, round(FULL_MILLI * 0.3)),
        ("seven.Q4_K_M", "KoboldCppEmbedWorker:2:x", True, FULL_MILLI),
        ("odd", "KoboldCppEmbedWorker:2:x", True, round(2176 * 0.027 * 125)),
        ("odd", "KoboldCppEmbedWorker:2:x", False, 3400),
    ],
)
async def test_what_a_worker_earns(
    horde: Horde, cast: Cast, model: str, agent: str, trusted: bool, reward_milli: int
) -> None:
    alice, worker = await cast.alice(), await cast.make("Charlie", trusted=trusted)
    await ask_text(horde, alice, models=[model])
    (job_id,) = await take_text(horde, worker, models=[model], bridge_agent=agent)
    assert await work.deliver(horde, worker, text_delivery(job_id)) == reward_milli


async def test_an_unknown_model_of_an_untrusted_owner_earns_the_same_at_any_length(
    horde: Horde, cast: Cast
) -> None:
    alice, charlie = await cast.alice(), await cast.make("Charlie")
    await ask_text(horde, alice, models=["odd"])
    (job_id,) = await take_text(horde, charlie, models=["odd"])
    assert await work.deliver(horde, charlie, text_delivery(job_id, "short")) == 3400
    await sound(horde)


async def test_who_takes_any_model_pays_at_most_what_was_said(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    queued = await requests.submit(horde, alice, text_request(models=[]), CLIENT)
    assert isinstance(queued, Queued)
    (job_id,) = await take_text(horde, bob, models=["seventy"])
    reward_milli = await work.deliver(horde, bob, text_delivery(job_id))
    assert reward_milli == round(2176 * 13 * 1.25)
    assert await left_milli(horde, alice) == 100_000_000 - queued.total_milli


async def test_a_dry_run_moves_nothing_and_explains_itself(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    priced = await requests.submit(horde, alice, text_request(dry_run=True), CLIENT)
    assert isinstance(priced, Priced)
    assert sum(line.milli for line in priced.lines) == priced.kudos_milli
    assert priced.kudos_milli == round(FULL_MILLI * 1.25) + 2 * TAX_MILLI
    assert await left_milli(horde, alice) == 100_000_000


async def test_texts_and_pictures_do_not_mix(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await requests.submit(horde, alice, image_request(models=["seven"]), CLIENT)
    assert await take_text(horde, bob) == []
    request_id = await ask_text(horde, alice)
    popped = await work.pop(horde, bob, image_pop(models=["other"]), "127.0.0.1")
    assert popped.jobs == ()
    (job_id,) = await take_text(horde, bob)
    await work.deliver(horde, bob, text_delivery(job_id))
    assert (await requests.check(horde, request_id)).life.done
    with pytest.raises(Refusal, match="RequestNotFound"):
        await requests.read(horde, request_id, "image")


async def test_a_batch_is_as_large_as_the_worker_asks(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice, params={"n": 5})
    assert len(await take_text(horde, bob, amount=3)) == 3
    assert len(await take_text(horde, bob, amount=3)) == 2


async def test_a_soft_prompt_needs_a_worker_that_has_it(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice, softprompt="poet")
    assert await take_text(horde, bob) == []
    outcome = await requests.submit(
        horde, alice, text_request(softprompt="poet", dry_run=True), CLIENT
    )
    assert outcome.outlook.variant is not None
    assert outcome.outlook.variant.changes == {"softprompt": None}
    assert len(await take_text(horde, bob, softprompts=["poet"])) == 1


async def test_a_blacklisted_word_is_not_served(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice, prompt="Once upon a DRAGON")
    assert await take_text(horde, bob, blacklist=["dragon"]) == []
    assert len(await take_text(horde, bob)) == 1


async def test_too_long_a_text_is_refused_and_may_be_sent_again(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice)
    (job_id,) = await take_text(horde, bob)
    with pytest.raises(Refusal) as caught:
        await work.deliver(horde, bob, text_delivery(job_id, "a" * (10 * 1024 * 1024 + 1)))
    assert (caught.value.code, caught.value.facts["field"]) == ("TooLong", "generation")
    assert await work.deliver(horde, bob, text_delivery(job_id)) == FULL_MILLI


async def test_a_picture_is_no_text(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await requests.submit(horde, alice, image_request(), CLIENT)
    popped = await work.pop(horde, bob, image_pop(), "127.0.0.1")
    with pytest.raises(Refusal, match="InvalidJobID"):
        await work.deliver(horde, bob, text_delivery(popped.jobs[0].id))


async def test_who_falls_silent_is_given_up_and_another_writes(horde: Horde, cast: Cast) -> None:
    alice, bob, charlie = await cast.alice(), await cast.bob(), await cast.make("Charlie")
    request_id = await ask_text(horde, alice)
    (silent,) = await take_text(horde, bob)
    await horde.pool.execute("update jobs set deadline_at = now() - interval '1 second'")
    await sweep_overdue.run(horde)
    (again,) = await take_text(horde, charlie, name="Charlie's scribe")
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, text_delivery(silent))
    assert await work.deliver(horde, charlie, text_delivery(again)) == FULL_MILLI
    assert (await requests.check(horde, request_id)).life.finished == 1
    assert await left_milli(horde, alice) == 100_000_000 - FULL_MILLI - 2 * TAX_MILLI


async def test_a_branded_model_is_its_owners(horde: Horde, cast: Cast) -> None:
    bob, charlie = await cast.bob(), await cast.make("Charlie")
    branded = f"seven::{bob.alias}"
    with pytest.raises(Refusal, match="BadRequest"):
        await take_text(horde, charlie, models=[branded], name="thief")
    alice = await cast.alice()
    await ask_text(horde, alice, models=[branded])
    (job_id,) = await take_text(horde, bob, models=[branded])
    assert await work.deliver(horde, bob, text_delivery(job_id)) == FULL_MILLI


async def test_a_name_belongs_to_one_kind(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    await take_text(horde, bob, name="both")
    with pytest.raises(Refusal, match="PolymorphicNameConflict"):
        await work.pop(horde, bob, image_pop(name="both"), "127.0.0.1")


async def test_long_texts_must_be_payable_in_advance(horde: Horde, cast: Cast) -> None:
    charlie = await cast.make("Charlie")
    heavy = {"max_length": 1000, "max_context_length": 8192}
    with pytest.raises(Refusal) as caught:
        await ask_text(horde, charlie, params=heavy)
    assert caught.value.code == "KudosUpfront"
    assert caught.value.facts["limit_length"] == 512
    request_id = await ask_text(horde, charlie, params=heavy, allow_downgrade=True)
    body = await horde.pool.fetchval("select body from requests where id = $1", request_id)
    assert '"max_length":512' in body
    alice = await cast.alice()
    await ask_text(horde, alice, params=heavy)


async def test_who_writes_is_rewarded_for_being_there(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    before_milli = await left_milli(horde, bob)
    await take_text(horde, bob)
    await horde.pool.execute("update workers set uptime_seconds = 601")
    await reward_uptime.run(horde)
    assert await left_milli(horde, bob) - before_milli == 55_000


async def test_speed_is_known_once_something_was_written(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_text(horde, alice, slow_workers=False)
    assert await take_text(horde, bob) == []
    await ask_text(horde, alice)
    (job_id,) = await take_text(horde, bob)
    await work.deliver(horde, bob, text_delivery(job_id))
    await count_deliveries.run(horde)
    assert await horde.pool.fetchval("select speed from workers") > 5
    horde.check_ins.forget(text_pop().name)
    assert len(await take_text(horde, bob)) == 1
