-- SPDX-License-Identifier: AGPL-3.0-or-later
-- On `state || ''` see work.sql.

-- name: submit_request
-- Store a request, its jobs and its transfers (whose source is the request), unless the user would
-- have too many jobs waiting.
with room as (
    select count(*) as waiting, count(*) + cardinality($26::uuid[]) <= $24::integer as enough
    from (
        select from jobs
        where $25::integer[] is null and user_id = $3 and state = 'waiting' and kind = $2
        union all
        select from unnest($25) as counted_lane (lane)
        join jobs j on j.lane = counted_lane.lane and j.state = 'waiting' and j.user_id = $3
        limit $24
    ) as counted
), tag as (
    select greatest(
        $18::bigint,
        case when $19::boolean
            then (select max(finish_tag) from requests where user_id = $3 and kind = $2)
        end
    ) as start
    from room where enough
), request as (
    insert into requests (
        id, kind, user_id, asked, body, screened_text, webhook, sources, seed, batching,
        inline_results, shared, base_milli, price_each_milli, tax_each_milli, activation_milli,
        reserved_milli, ttl_seconds, start_tag, finish_tag, client_agent, client_address,
        source_bytes
    )
    select
        $1::uuid, $2::text, $3::integer, cardinality($26), $6::text, $36::text, $37::text,
        $7::jsonb, $8::bigint, $9::boolean, $10::boolean, $11::boolean, $12::bigint,
        $13::bigint, $14::bigint, $15::bigint, $16::bigint, $17::integer, tag.start,
        tag.start + $21::bigint, $22::text, $23::text, $38::bigint
    from tag
    returning id
), work as (
    insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)
    select job.id, $1, $2, job.lane, tag.start + job.start, $3, job.place, job.things
    from tag, unnest($26, $4::integer[], $5::bigint[], $20::bigint[])
        with ordinality as job (id, lane, things, start, place)
), booked as (
    insert into transfers (
        source_id, purpose, phase, debit, credit, amount_milli, hold, debit_bucket,
        credit_bucket
    )
    select leg.*
    from request, unnest(
        $27::uuid[], $28::text[], $29::text[], $30::bigint[], $31::bigint[], $32::bigint[],
        $33::uuid[], $34::text[], $35::text[]
    ) as leg
), unfolded as (
    insert into transfers_unfolded (source_id, purposes)
    select $1, $28 from request where cardinality($28) > 0
)
select room.waiting, room.enough, (select start from tag) as start_tag from room;

-- name: request_body
-- What a request asked for.
select body from requests where id = $1;

-- name: cancel_request
-- Stop handing out the jobs of a request; running ones may still be delivered, and until then what
-- it reserved is held. What was not served does not count as served.
with request as (
    update requests r
    set state = 'cancelled',
        ended_at = case when work.running = 0 then now() end,
        finish_tag = r.start_tag + (r.finish_tag - r.start_tag) / r.asked
            * least(r.asked, work.popped)
    from (
        select count(*) filter (where state = 'running') as running,
            count(*) filter (where popped_at is not null) as popped
        from jobs where request_id = $1
    ) as work
    where r.id = $1 and r.state = 'active'
    returning r.id
)
update jobs set state = 'cancelled', finished_at = now()
from request
where jobs.request_id = request.id and jobs.state || '' = 'waiting';

-- name: end_requests
-- Note the end of those of the given requests of which no job is open.
update requests r set ended_at = now()
where r.id = any ($1::uuid[]) and r.ended_at is null
    and not exists (
        select from jobs j where j.request_id = r.id and j.state in ('waiting', 'running')
    );

-- name: unsettled_requests
-- What those of the given requests still hold in reserve of which no job is open.
select
    r.id, r.user_id,
    r.reserved_milli - r.activation_milli - coalesce(sum(j.paid_milli), 0)::bigint
        as remaining_milli
from requests r
join jobs j on j.request_id = r.id
where r.id = any ($1::uuid[])
group by r.id
having bool_and(j.state not in ('waiting', 'running'));

-- name: expirable_requests
-- Requests on which nothing has happened since the given moment and of which nothing runs.
select r.id
from requests r
where r.created_at < $1 and r.ended_at is null
    and not exists (
        select from jobs j
        where j.request_id = r.id
            and (j.state = 'running' or j.popped_at > $1 or j.finished_at > $1)
    )
order by r.created_at
limit 500;

-- name: lock_requests
-- Only one of fail, cancel and expire judges a request at a time.
select pg_advisory_xact_lock(7003, number)
from (
    select distinct hashtext(id::text) as number from unnest($1::uuid[]) as id order by 1
) as turn;

-- name: expire_requests
-- End those of the given requests of which nothing runs; answers which.
with request as (
    update requests r
    set ended_at = now(), state = case
        when r.state = 'active' and exists (
            select from jobs j where j.request_id = r.id and j.state || '' = 'waiting'
        ) then 'expired'
        else r.state
    end
    where id = any ($1::uuid[]) and ended_at is null
        and not exists (
            select from jobs j where j.request_id = r.id and j.state || '' = 'running'
        )
    returning id
), withdrawn as (
    update jobs set state = 'expired', finished_at = now()
    from request
    where jobs.request_id = request.id and jobs.state || '' = 'waiting'
)
select id from request;

-- name: source_bytes
-- What the source pictures of all requests take in the store.
select coalesce(sum(source_bytes), 0)::bigint as bytes from requests where source_bytes > 0;

-- name: source_bytes_of_user
-- What those of a user's requests take there; with $2 of those that came from this address, or where
-- it is of IPv6 from its /64.
select coalesce(sum(source_bytes), 0)::bigint as bytes
from (
    select source_bytes from requests
    where source_bytes > 0 and user_id = $1 and $2::text is null
    union all
    select source_bytes from requests
    where source_bytes > 0 and user_id = $1 and client_address = $2 and $2 not like '%:%'
    union all
    select source_bytes from requests
    where source_bytes > 0 and user_id = $1 and $2 like '%:%' and case
        when client_address ~ '^[0-9a-f.]*:[0-9a-f:.]*$'
            then client_address::inet <<= set_masklen($2::inet, 64)
        else false
    end
) as taken;

-- name: ended_with_sources
-- Requests that have ended, of which nothing is open, and whose source pictures are still in the
-- store.
select r.id, r.sources from requests r
where r.source_bytes > 0 and r.ended_at is not null
    and not exists (
        select from jobs j where j.request_id = r.id and j.state in ('waiting', 'running')
    )
limit 500;

-- name: drop_sources
-- The source pictures of these requests have been deleted.
update requests set source_bytes = 0 where id = any ($1::uuid[]);

-- name: purgeable_requests
-- Requests that ended before the given moment and of which nothing is open.
select r.id, r.sources
from requests r
where r.ended_at < $1
    and not exists (
        select from jobs j
        where j.request_id = r.id and (j.state in ('waiting', 'running') or j.finished_at > $1)
    )
order by r.ended_at
limit 500;

-- name: purge_requests
-- Forget requests and their jobs; what they moved stays in the ledger.
with forgotten as (delete from requests where id = any ($1::uuid[]))
delete from jobs where request_id = any ($1::uuid[]);

-- name: existing_workers
-- Which of the given workers exist.
select id from workers where id = any ($1::uuid[]);
