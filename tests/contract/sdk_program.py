# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run by test_sdk.py, with AI_HORDE_URL set: a play for the official SDK, told as JSON lines.

Arguments: which act, the key of who asks, the key of who works, a model.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
from horde_sdk.ai_horde_api.ai_horde_clients import (
    AIHordeAPIAsyncClientSession,
    AIHordeAPIAsyncSimpleClient,
    AIHordeAPIManualClient,
    AIHordeAPISimpleClient,
)
from horde_sdk.ai_horde_api.apimodels import (
    AIHordeHeartbeatResponse,
    AlchemyAsyncRequest,
    AlchemyAsyncRequestFormItem,
    AlchemyAsyncResponse,
    AlchemyJobSubmitRequest,
    AlchemyPopFormPayload,
    AlchemyPopRequest,
    AlchemyPopResponse,
    AlchemyStatusRequest,
    AlchemyStatusResponse,
    AllWorkersDetailsRequest,
    AllWorkersDetailsResponse,
    DeleteImageGenerateRequest,
    FindUserRequest,
    HordePerformanceRequest,
    HordeStatusModelsAllRequest,
    ImageGenerateAsyncDryRunResponse,
    ImageGenerateAsyncRequest,
    ImageGenerateAsyncResponse,
    ImageGenerateCheckRequest,
    ImageGenerateJobPopRequest,
    ImageGenerateJobPopResponse,
    ImageGenerateStatusRequest,
    ImageGenerationInputPayload,
    ImageGenerationJobSubmitRequest,
    ModifyWorkerRequest,
    SingleWorkerDetailsRequest,
    SingleWorkerDetailsResponse,
    UserDetailsResponse,
)
from horde_sdk.ai_horde_api.apimodels.alchemy._pop import NoValidAlchemyFound
from horde_sdk.ai_horde_api.apimodels.workers._workers import WorkerDetailItem
from horde_sdk.ai_horde_api.consts import GENERATION_STATE, KNOWN_ALCHEMY_TYPES
from horde_sdk.ai_horde_api.fields import JobID
from horde_sdk.generic_api.apimodels import RequestErrorResponse
from PIL import Image
from pydantic import BaseModel

REGEN = "AI Horde Worker reGen:10.1.1:https://github.com/Haidra-Org/horde-worker-reGen"

# The wire has grown since this SDK was made: `messages` of jobs and workers, `deleted` and
# `proxy_passkey` of users, most of the heartbeat. A dry run's `lines` are our own, and so is what
# a submit says of the prospects, the price and the deadline of forms, and most reasons why forms
# were skipped: outside tests this SDK lets unknown names pass. For the rest they are errors.
GROWN: tuple[type[BaseModel], ...] = (
    AIHordeHeartbeatResponse,
    ImageGenerateJobPopResponse,
    WorkerDetailItem,
    AllWorkersDetailsResponse,
    SingleWorkerDetailsResponse,
    UserDetailsResponse,
    ImageGenerateAsyncDryRunResponse,
    ImageGenerateAsyncResponse,
    AlchemyAsyncResponse,
    AlchemyPopFormPayload,
    NoValidAlchemyFound,
    AlchemyPopResponse,
)


def be_strict_within_reason(grown: tuple[type[BaseModel], ...] = GROWN) -> None:
    """Let these models, and no others, have further fields."""
    for model in grown:
        if model is not AllWorkersDetailsResponse:
            model.model_config["extra"] = "ignore"
        model.model_rebuild(force=True)


def say(**facts: Any) -> None:
    """Tell the test something."""
    print(json.dumps(facts, default=str), flush=True)


def wish(key: str, model: str, **changes: Any) -> ImageGenerateAsyncRequest:
    """A small image request."""
    params = {"width": 64, "height": 64, "steps": 4, "n": 1}
    params |= {name: changes.pop(name) for name in params if name in changes}
    return ImageGenerateAsyncRequest(
        apikey=key,
        prompt="a red circle ### blue",
        models=[model],
        params=ImageGenerationInputPayload(**params),
        **changes,
    )


def pop_request(key: str, model: str, **changes: Any) -> ImageGenerateJobPopRequest:
    """What reGen asks."""
    fields = {
        "apikey": key,
        "name": "SDK machine",
        "bridge_agent": REGEN,
        "models": [model],
        "nsfw": True,
        "threads": 1,
        "max_pixels": 262_144,
        "amount": 1,
    }
    return ImageGenerateJobPopRequest(**(fields | changes))


def draw(asker: str, worker: str, model: str) -> None:
    """The simple client has two pictures drawn."""
    client = AIHordeAPISimpleClient()
    status, job_id = client.image_generate_request(wish(asker, model, n=2), timeout=60)
    sizes = [client.download_image_from_generation(each).size for each in status.generations]
    say(id=job_id, sizes=sizes, seeds=[each.seed for each in status.generations])
    priced = client.image_generate_request_dry_run(wish(asker, model, dry_run=True))
    say(price=priced.kudos)
    say(heartbeat=client.heartbeat_request().message)


def draw_asynchronously(asker: str, worker: str, model: str) -> None:
    """The asynchronous simple client has a picture drawn, inline."""

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            client = AIHordeAPIAsyncSimpleClient(session)
            status, _ = await client.image_generate_request(wish(asker, model, r2=False))
            picture, _ = await client.download_image_from_generation(status.generations[0])
            say(size=picture.size)

    asyncio.run(run())


def manage(asker: str, worker: str, model: str) -> None:
    """Check, status and cancel by hand; accounts, models and performance."""
    client = AIHordeAPIManualClient()
    queued = client.submit_request(
        one := wish(asker, model, n=3), one.get_default_success_response_type()
    )
    check = client.get_generate_check(queued.id_)
    status = client.get_generate_status(queued.id_)
    cancelled = client.delete_pending_image(queued.id_)
    say(
        waiting=check.waiting,
        generations=len(status.generations),
        cancelled=cancelled.waiting,
        done=client.get_generate_check(queued.id_).done,
    )
    for request in (
        FindUserRequest(apikey=asker),
        HordeStatusModelsAllRequest(),
        HordePerformanceRequest(),
        AllWorkersDetailsRequest(),
    ):
        answer = client.submit_request(request, request.get_default_success_response_type())
        say(request=type(request).__name__, answer=type(answer).__name__)


def work(asker: str, worker: str, model: str) -> None:
    """Pop, upload and submit as reGen does, inside a session that cleans up."""
    asking = AIHordeAPIManualClient()
    queued = asking.submit_request(
        one := wish(asker, model, n=2), one.get_default_success_response_type()
    )
    idle = asking.submit_request(
        empty := pop_request(worker, "no such work"), empty.get_default_success_response_type()
    )
    say(idle=idle.id_, ids=idle.ids)

    async def run() -> None:
        async with aiohttp.ClientSession() as http, AIHordeAPIAsyncClientSession(http) as session:
            popping = pop_request(worker, model, amount=2)
            job = await session.submit_request(popping, popping.get_default_success_response_type())
            say(ids=len(job.ids), uploads=len(job.r2_uploads), n=job.payload.n_iter, ttl=job.ttl)
            for job_id, upload in zip(job.ids, job.r2_uploads, strict=True):
                async with http.put(upload, data=webp(), skip_auto_headers=["content-type"]) as put:
                    say(put=put.status)
                submit = submission(worker, job_id, job.payload.seed)
                done = await session.submit_request(
                    submit, submit.get_default_success_response_type()
                )
                say(reward=done.reward)

    asyncio.run(run())
    say(finished=asking.get_generate_check(queued.id_).finished)


def fail(asker: str, worker: str, model: str) -> None:
    """Every refusal is one that the SDK can read."""
    client = AIHordeAPIManualClient()
    nobody = JobID(root="00000000-0000-0000-0000-000000000000")
    machine = client.submit_request(
        everybody := AllWorkersDetailsRequest(), everybody.get_default_success_response_type()
    )
    requests = {
        "key": FindUserRequest(apikey="aaaaaaaaaaaaaaaaaaaaaa"),
        "check": ImageGenerateCheckRequest(id=nobody),
        "status": ImageGenerateStatusRequest(id=nobody),
        "cancel": DeleteImageGenerateRequest(id=nobody),
        "job": submission(worker, nobody, "1"),
        "worker": SingleWorkerDetailsRequest(worker_id=str(nobody)),
        "owner": ModifyWorkerRequest(apikey=asker, worker_id=machine[0].id_, maintenance=True),
        "heavy": wish("0000000000", model, width=2048, height=2048, steps=150),
        "anonymous": pop_request("0000000000", model),
        "taken": pop_request(asker, model),
    }
    for name, request in requests.items():
        answer = client.submit_request(request, request.get_default_success_response_type())
        assert isinstance(answer, RequestErrorResponse), (name, answer)
        say(name=name, message=answer.message, rc=answer.rc)


def interrogate(asker: str, worker: str, model: str) -> None:
    """Forms are asked for, taken and handed in. This SDK sends results as JSON in a string."""
    client = AIHordeAPIManualClient()
    names = (
        KNOWN_ALCHEMY_TYPES.caption,
        KNOWN_ALCHEMY_TYPES.nsfw,
        KNOWN_ALCHEMY_TYPES.RealESRGAN_x4plus,
    )
    asking = AlchemyAsyncRequest(
        apikey=asker,
        forms=[AlchemyAsyncRequestFormItem(name=name) for name in names],
        source_image=base64.b64encode(webp()).decode(),
    )
    queued = client.submit_request(asking, AlchemyAsyncResponse)
    assert isinstance(queued, AlchemyAsyncResponse)
    status = AlchemyStatusRequest(id=queued.id_)
    waiting = client.submit_request(status, AlchemyStatusResponse)
    say(state=waiting.state, results=[form.result for form in waiting.forms])
    results: dict[str, object] = {
        "caption": "a red square",
        "nsfw": False,
        "RealESRGAN_x4plus": base64.b64encode(webp()).decode(),
    }
    popping = AlchemyPopRequest(
        apikey=worker, name="SDK alchemist", priority_usernames=[], forms=list(names)
    )
    # By the manual client: this SDK's sessions cannot clean up after a popped form.
    while forms := client.submit_request(popping, AlchemyPopResponse).forms:
        for form in forms:
            submit = AlchemyJobSubmitRequest(
                apikey=worker,
                id=form.id_,
                result=json.dumps({form.form: results[form.form]}),
                state=GENERATION_STATE.ok,
            )
            done = client.submit_request(submit, submit.get_default_success_response_type())
            say(form=form.form, reward=done.reward, upload=bool(form.r2_upload))
    told = client.submit_request(status, AlchemyStatusResponse)
    say(
        state=told.state,
        captions=[each.caption for each in told.all_caption_results],
        nsfw=[each.nsfw for each in told.all_nsfw_results],
        complete=told.is_job_complete(len(names)),
    )


def submission(key: str, job_id: JobID, seed: str | None) -> ImageGenerationJobSubmitRequest:
    """What reGen hands in after an upload."""
    return ImageGenerationJobSubmitRequest(
        apikey=key,
        id=job_id,
        generation="R2",
        state=GENERATION_STATE.ok,
        seed=int(seed or 0),
        censored=False,
        gen_metadata=[],
    )


def webp() -> bytes:
    """A small picture."""
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "WEBP", quality=95, method=6)
    return file.getvalue()


ACTS: dict[str, Callable[[str, str, str], None]] = {
    each.__name__: each for each in (draw, draw_asynchronously, manage, work, fail, interrogate)
}

if __name__ == "__main__":
    be_strict_within_reason()
    ACTS[sys.argv[1]](*sys.argv[2:])
