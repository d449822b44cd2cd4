-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: claim_webhook_calls
-- Take at most $3 of the calls that are due at $1: of each host at most $4 together with those that
-- are being made (so many, $6, of each host in $5), and of the next $8 hosts after $7; those that
-- were tried least come first. A call whose outcome is not recorded before $2 is then due again.
-- Every row tells which host was the last, and how many there were; the others may be alone.
with recursive hosts (origin, place) as (
    (
        select origin, 1 from webhook_calls
        where state = 'waiting' and origin > $7
        order by origin limit 1
    )
    union all
    select next.origin, hosts.place + 1
    from hosts
    cross join lateral (
        select origin from webhook_calls
        where state = 'waiting' and origin > hosts.origin
        order by origin limit 1
    ) as next
    where hosts.place < $8::integer
), due as (
    select call.id, call.attempts, call.due_at
    from hosts
    left join unnest($5::text[], $6::integer[]) as making (origin, calls)
        on making.origin = hosts.origin
    cross join lateral (
        select id, attempts, due_at from webhook_calls
        where state = 'waiting' and origin = hosts.origin and due_at <= $1
        order by due_at
        limit greatest(0, $4 - coalesce(making.calls, 0))
    ) as call
), chosen as (
    select w.id
    from due
    join webhook_calls w on w.id = due.id
    where w.state = 'waiting' and w.due_at <= $1
    order by due.attempts, due.due_at
    limit $3
    for update of w skip locked
), claimed as (
    update webhook_calls w
    set attempts = w.attempts + 1, due_at = $2
    from chosen
    where w.id = chosen.id
    returning
        w.id, w.kind, w.request_id, w.url, w.origin, w.attempts, w.inline_results, w.reward_milli,
        w.created_at, w.job_id, w.model, w.result, w.worker_id, w.worker_name
)
select lap.*, claimed.*
from (select max(origin) as last_origin, count(*) as origins from hosts) as lap
left join claimed on true;

-- name: record_webhook_attempt
-- What became of a call. Unless it got through, the outcome of an attempt counts only as long as no
-- later one was begun.
update webhook_calls
set state = $3, due_at = coalesce($4, due_at), last_status = $5, last_error = $6, ended_at = $7
where id = $1 and state = 'waiting' and (attempts = $2 or $3 = 'delivered');

-- name: webhook_log
-- The calls of a request, in the order of their jobs' delivery.
select id, job_id, state, attempts, last_status, last_error, created_at, ended_at,
    case when state = 'waiting' then due_at end as due_at
from webhook_calls
where request_id = $1
order by created_at, id;

-- name: give_up_webhook_calls
-- Give up some of the calls that have waited since before $1; how many.
with given_up as (
    update webhook_calls
    set state = 'given_up', last_error = coalesce(last_error, $3), ended_at = $2
    where id = any (array(
        select id from webhook_calls
        where state = 'waiting' and created_at < $1
        order by created_at limit 5000
    )) and state = 'waiting'
    returning id
)
select count(*) from given_up;

-- name: purge_webhook_calls
-- Forget some of the calls that ended before the given moment; how many.
with forgotten as (
    delete from webhook_calls
    where id = any (array(
        select id from webhook_calls where ended_at < $1 order by ended_at limit 5000
    ))
    returning id
)
select count(*) from forgotten;
