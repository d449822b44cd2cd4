# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers report how far a running job is."""

from openhorde.server.actions import steps
from openhorde.server.api.operations import Call, Invalid, Limit, Operation, Who, uuid_of
from openhorde.wire.work import StepReport, StepsHeard


async def post_image_progress(call: Call) -> StepsHeard:
    """Pass the steps of a job on to who watches its request."""
    said: StepReport = call.body
    if said.step > said.steps:
        raise Invalid({"step": f"must be at most `steps`, which is {said.steps}, not {said.step}"})
    job_id = uuid_of(said.id, "InvalidJobID")
    ttl_seconds = await steps.report(call.horde, call.caller, job_id, said.step, said.steps)
    return StepsHeard(cancelled=ttl_seconds is None, ttl=ttl_seconds or 0)


OPERATIONS = (
    Operation(
        name="post_image_job_progress",
        method="POST",
        path="/api/v2/generate/progress",
        handler=post_image_progress,
        summary="A worker tells how many steps of a job are done",
        tag="work",
        who=Who.USER,
        body=StepReport,
        answer=StepsHeard,
        limits=(Limit("60/second"),),
        refusals=("InvalidAPIKey", "InvalidJobID", "WrongCredentials"),
    ),
)
