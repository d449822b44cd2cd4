# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run by test_sdk_text.py, with AI_HORDE_URL set: the official SDK asks for texts and writes them.

Arguments: which act, the key of who asks, the key of who works, a model.
"""

import sys
from collections.abc import Callable
from threading import Thread
from typing import Any

from contract.sdk_program import GROWN, be_strict_within_reason, say
from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPIManualClient, AIHordeAPISimpleClient
from horde_sdk.ai_horde_api.apimodels import (
    AllWorkersDetailsRequest,
    DeleteTextGenerateRequest,
    HordePerformanceRequest,
    HordeStatusModelsAllRequest,
    TextGenerateAsyncDryRunResponse,
    TextGenerateAsyncRequest,
    TextGenerateAsyncResponse,
    TextGenerateJobPopRequest,
    TextGenerateJobPopResponse,
    TextGenerateStatusRequest,
    TextGenerateStatusResponse,
    TextGenerationJobSubmitRequest,
    TextStatsModelsRequest,
    TextStatsModelsTotalRequest,
)
from horde_sdk.ai_horde_api.apimodels.generate.text._async import ModelGenerationInputKobold
from horde_sdk.ai_horde_api.apimodels.generate.text._status import GenerationKobold
from horde_sdk.ai_horde_api.consts import GENERATION_STATE
from horde_sdk.ai_horde_api.fields import JobID
from horde_sdk.generic_api.apimodels import RequestErrorResponse

# See there: what a submit and a dry run say of the prospects is our own, and `messages` are newer.
# The id of a text is our own too: pictures have one, and clients tell generations apart by it.
GROWN_TEXTS = (
    GenerationKobold,
    TextGenerateStatusResponse,
    TextGenerateAsyncResponse,
    TextGenerateAsyncDryRunResponse,
    TextGenerateJobPopResponse,
)


def wish(key: str, model: str, **changes: Any) -> TextGenerateAsyncRequest:
    """A short text."""
    params = {"max_length": 80, "max_context_length": 1024, "n": 1}
    params |= {name: changes.pop(name) for name in params if name in changes}
    return TextGenerateAsyncRequest(
        apikey=key,
        prompt="Once upon a time",
        models=[model],
        params=ModelGenerationInputKobold(**params),
        **changes,
    )


def pop_request(key: str, model: str, **changes: Any) -> TextGenerateJobPopRequest:
    """What a worker made with the SDK asks."""
    fields = {"apikey": key, "name": "SDK scribe", "models": [model], "amount": 1}
    return TextGenerateJobPopRequest(**(fields | changes))


def ask(client: AIHordeAPIManualClient, request: Any) -> Any:
    """The answer, which must not be a refusal."""
    answer = client.submit_request(request, request.get_default_success_response_type())
    assert not isinstance(answer, RequestErrorResponse), answer
    return answer


def work_through(key: str, model: str, texts: int) -> None:
    """Pop and submit until so many texts are written."""
    client = AIHordeAPIManualClient()
    while texts > 0:
        job = ask(client, pop_request(key, model, amount=texts))
        for job_id in job.ids:
            submit = TextGenerationJobSubmitRequest(
                apikey=key, id=job_id, generation="there was a horde.", state=GENERATION_STATE.ok
            )
            assert ask(client, submit).reward > 0
            texts -= 1


def write(asker: str, worker: str, model: str) -> None:
    """The simple client has a text written by a worker made with the SDK."""
    client = AIHordeAPISimpleClient()
    scribe = Thread(target=work_through, args=(worker, model, 1), daemon=True)
    scribe.start()
    # One: it takes a request for two to be done when it has one text, and so never.
    status, job_id = client.text_generate_request(wish(asker, model), timeout=120)
    say(id=job_id, texts=[each.text for each in status.generations], done=status.done)
    priced = client.text_generate_request_dry_run(wish(asker, model, dry_run=True))
    say(price=priced.kudos)


def manage(asker: str, worker: str, model: str) -> None:
    """Status and cancel by hand; a pop without work; models, workers, performance and stats."""
    client = AIHordeAPIManualClient()
    queued = ask(client, wish(asker, model, n=3))
    status = ask(client, TextGenerateStatusRequest(id=queued.id_))
    cancelled = ask(client, DeleteTextGenerateRequest(id=queued.id_))
    idle = ask(client, pop_request(worker, "no such work"))
    say(waiting=status.waiting, cancelled=cancelled.waiting, idle=idle.id_, ids=idle.ids)
    for request in (
        HordeStatusModelsAllRequest(),
        HordePerformanceRequest(),
        AllWorkersDetailsRequest(),
        TextStatsModelsRequest(),
        TextStatsModelsTotalRequest(),
    ):
        say(request=type(request).__name__, answer=type(ask(client, request)).__name__)


def fail(asker: str, worker: str, model: str) -> None:
    """Every refusal is one that the SDK can read."""
    client = AIHordeAPIManualClient()
    nobody = JobID(root="00000000-0000-0000-0000-000000000000")
    requests = {
        "status": TextGenerateStatusRequest(id=nobody),
        "cancel": DeleteTextGenerateRequest(id=nobody),
        "job": TextGenerationJobSubmitRequest(
            apikey=worker, id=nobody, generation="x", state=GENERATION_STATE.ok
        ),
        "heavy": wish("0000000000", model, n=20, max_length=1024),
        "anonymous": pop_request("0000000000", model),
    }
    for name, request in requests.items():
        answer = client.submit_request(request, request.get_default_success_response_type())
        assert isinstance(answer, RequestErrorResponse), (name, answer)
        say(name=name, message=answer.message, rc=answer.rc)


ACTS: dict[str, Callable[[str, str, str], None]] = {
    each.__name__: each for each in (write, manage, fail)
}

if __name__ == "__main__":
    be_strict_within_reason((*GROWN, *GROWN_TEXTS))
    ACTS[sys.argv[1]](*sys.argv[2:])
