-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Where one job or one request is meant, the state is compared as `state || ''`: so the planner cannot
-- take an index of all jobs that wait or run, which looks small whenever few happen to.

-- name: claim_jobs
-- Hand a worker the best-ranked job of the given lanes (its owner's and friends' first), and more
-- of the same request up to the lane's batch amount. Lanes, models, multipliers, amounts and
-- whether a lane is for everybody go together; $10 are the lanes in which favoured users wait.
-- What it looked at is answered too: the ranks at the heads of the lanes.
-- With blocked words, only the first thousand jobs of a lane are looked through.
with favoured as (
    select best.id, best.request_id, best.lane
    from unnest($10::integer[]) as mine (lane)
    cross join unnest($6::integer[]) as friend (id)
    cross join lateral (
        select j.id, j.request_id, j.lane, j.rank
        from jobs j
        where j.state = 'waiting' and j.lane + 0 = mine.lane and j.user_id = friend.id
            and (
                cardinality($8::text[]) = 0
                or not exists (
                    select from requests r, unnest($8) as word
                    where r.id = j.request_id and position(word in r.screened_text) > 0
                )
            )
        order by j.rank, j.id
        limit 1
        for update of j skip locked
    ) as best
    order by best.rank
    limit 1
), looked as materialized (
    select offered.lane, head.rank
    from unnest($2::integer[], $7::boolean[]) as offered (lane, general)
    cross join lateral (
        select rank from jobs where state = 'waiting' and lane = offered.lane order by rank limit 1
    ) as head
    where offered.general and not exists (select from favoured)
), heads as materialized (
    select lane from looked order by rank
), general as (
    select best.id, best.request_id, best.lane
    from heads
    cross join lateral (
        select j.id, j.request_id, j.lane
        from jobs j
        where j.state = 'waiting' and j.lane = heads.lane
            and (
                cardinality($8::text[]) = 0
                or j.rank <= coalesce((
                    select rank from jobs where state = 'waiting' and lane = heads.lane
                    order by rank offset 999 limit 1
                ), j.rank)
            )
            and (
                cardinality($8::text[]) = 0
                or not exists (
                    select from requests r, unnest($8) as word
                    where r.id = j.request_id and position(word in r.screened_text) > 0
                )
            )
        order by j.rank, j.id
        limit 1
        for update of j skip locked
    ) as best
    limit 1
), chosen as (
    select id, request_id, lane from favoured
    union all
    select id, request_id, lane from general
), terms as (
    select
        c.id, c.request_id, c.lane, offered.model, offered.multiplier, offered.amount
    from chosen c
    join unnest($2, $3::text[], $4::double precision[], $5::integer[])
        as offered (lane, model, multiplier, amount) on offered.lane = c.lane
), taken as (
    select id, request_id, model, multiplier from terms
    union all
    select more.id, t.request_id, t.model, t.multiplier
    from terms t
    join requests r on r.id = t.request_id and r.batching
    cross join lateral (
        select j.id
        from jobs j
        where j.request_id = t.request_id and j.state || '' = 'waiting' and j.id <> t.id
            and j.lane = t.lane
        order by j.ordinal
        limit t.amount - 1
        for update of j skip locked
    ) as more
    where t.amount > 1
), claimed as (
    update jobs j
    set state = 'running', worker_id = $1, model = t.model, popped_at = now(),
        deadline_at = now()
            + make_interval(secs => r.ttl_seconds * $9::integer * (select count(*) from taken)),
        reward_milli = round(r.base_milli * t.multiplier),
        price_milli = round(r.price_each_milli * t.multiplier)
    from taken t
    join requests r on r.id = t.request_id
    where j.id = t.id
    returning
        j.id, j.request_id, j.kind, j.ordinal, j.rank, j.model, r.asked, j.things, r.body, r.sources,
        r.seed, (r.ttl_seconds * $9 * (select count(*) from taken))::integer as ttl_seconds,
        j.user_id, j.reward_milli, j.price_milli, j.popped_at, r.tax_each_milli,
        r.reserved_milli - r.activation_milli as held_milli
)
select claimed.*, seen.looked_lanes, seen.looked_ranks
from claimed
cross join (
    select array_agg(lane) as looked_lanes, array_agg(rank) as looked_ranks from looked
) as seen
order by ordinal;

-- name: claim_jobs_apart
-- Hand a worker the best-ranked jobs of the given lanes (its owner's and friends' first), at most
-- $5 of them, of whatever requests. Lanes, models, multipliers and whether a lane is for everybody
-- go together; $10 are the lanes in which favoured users wait. Some more than $5 are looked at:
-- others may hold some of them locked.
with offered as materialized (
    select lane, model, multiplier, general
    from unnest($2::integer[], $3::text[], $4::double precision[], $7::boolean[])
        as terms (lane, model, multiplier, general)
), fronts as materialized (
    select front.id, front.rank, front.favoured, offered.model, offered.multiplier
    from offered
    cross join lateral (
        select j.id, j.rank, j.user_id = any ($6::integer[]) as favoured
        from jobs j
        where j.state = 'waiting' and j.lane = offered.lane
            and (offered.general or j.user_id = any ($6::integer[]))
            and (
                cardinality($8::text[]) = 0
                or not exists (
                    select from requests r, unnest($8) as word
                    where r.id = j.request_id and position(word in r.screened_text) > 0
                )
            )
        order by j.rank, j.id
        limit 4 * $5::integer
    ) as front
    union all
    select mine.id, mine.rank, true, offered.model, offered.multiplier
    from unnest($10::integer[]) as lane_of_friends (lane)
    join offered on offered.lane = lane_of_friends.lane
    cross join unnest($6::integer[]) as friend (id)
    cross join lateral (
        select j.id, j.rank
        from jobs j
        where j.state = 'waiting' and j.lane + 0 = offered.lane and j.user_id = friend.id
            and (
                cardinality($8::text[]) = 0
                or not exists (
                    select from requests r, unnest($8) as word
                    where r.id = j.request_id and position(word in r.screened_text) > 0
                )
            )
        order by j.rank, j.id
        limit 4 * $5::integer
    ) as mine
), best as materialized (
    select distinct on (favoured, rank, id) id, rank, favoured, model, multiplier
    from fronts
    order by favoured desc, rank, id
    limit 4 * $5
), taken as (
    select j.id, j.request_id, best.model, best.multiplier
    from best join jobs j on j.id = best.id
    where j.state || '' = 'waiting'
    order by best.favoured desc, best.rank, best.id
    limit $5
    for update of j skip locked
), claimed as (
    update jobs j
    set state = 'running', worker_id = $1, model = t.model, popped_at = now(),
        deadline_at = now() + make_interval(secs => r.ttl_seconds * $9::integer),
        reward_milli = round(r.base_milli * t.multiplier),
        price_milli = round(r.price_each_milli * t.multiplier)
    from taken t
    join requests r on r.id = t.request_id
    where j.id = t.id
    returning
        j.id, j.request_id, j.kind, j.ordinal, j.rank, j.model, r.asked, j.things, r.body, r.sources,
        r.seed, (r.ttl_seconds * $9)::integer as ttl_seconds,
        j.user_id, j.reward_milli, j.price_milli, j.popped_at, r.tax_each_milli,
        r.reserved_milli - r.activation_milli as held_milli
)
select * from claimed order by rank, ordinal;

-- name: anything_waiting
-- Is a job waiting that a claim with the same arguments would take, locked or not?
select exists (
    select
    from unnest($1::integer[], $3::boolean[]) as offered (lane, general)
    cross join lateral (
        select j.request_id from jobs j
        where j.state = 'waiting' and j.lane = offered.lane
            and (offered.general or j.user_id = any ($2::integer[]))
        order by j.rank
        limit case when cardinality($4::text[]) = 0 then 1 else 1000 end
    ) as front
    where cardinality($4) = 0 or not exists (
        select from requests r, unnest($4) as word
        where r.id = front.request_id and position(word in r.screened_text) > 0
    )
);

-- name: blocked_requests
-- How many requests wait at the front of the given lanes with one of these words in their prompt.
select count(distinct request_id)::integer
from (
    select j.request_id from jobs j
    where j.state = 'waiting' and j.lane = any ($1::integer[])
    order by j.rank
    limit 1000
) as front
join requests r on r.id = front.request_id
where exists (
    select from unnest($2::text[]) as word where position(word in r.screened_text) > 0
);

-- name: queue_depth
-- How much waits: by lane (rank is null), and by kind from front to back in at most 256 slices
-- (lane is null; rank is the last of the slice). A request counts while its first job waits:
-- grouping jobs by request would make this four times as dear.
with job as materialized (
    select kind, lane, rank, things, (ordinal = 1)::integer as first
    from jobs where state = 'waiting'
)
select kind, lane, null::bigint as rank, sum(first)::integer as requests, count(*)::integer as jobs,
    sum(things)::bigint as things
from job group by kind, lane
union all
select kind, null, max(rank), sum(first)::integer, count(*)::integer, sum(things)::bigint
from (
    select kind, rank, things, first, ntile(256) over (partition by kind order by rank) as slice
    from job
) as placed
group by kind, slice;

-- name: median_started_ranks
-- The median of the ranks that the workers took last, by kind: where virtual time stands.
select kind, percentile_disc(0.5) within group (order by rank) as rank
from (
    select distinct on (kind, worker_id) kind, rank
    from jobs where popped_at is not null
    order by kind, worker_id, popped_at desc
) as latest
group by kind;

-- name: running_ranks
-- The highest rank that each worker has in hand.
select kind, worker_id, max(rank) as rank
from jobs where state = 'running' group by kind, worker_id;

-- name: return_jobs
-- Take jobs back that a worker was given at $2 but never heard of.
update jobs
set state = 'waiting', worker_id = null, model = null, popped_at = null, deadline_at = null,
    reward_milli = null, price_milli = null
where id = any ($1::uuid[]) and state || '' = 'running' and popped_at = $2::timestamptz
returning request_id, kind, lane, rank, user_id;

-- name: return_unheld_jobs
-- Take jobs back that a worker was given more than $3 seconds ago and that are not among those it
-- holds. No job comes back like this more than $4 times: then it is left to its deadline.
update jobs
set state = 'waiting', worker_id = null, model = null, popped_at = null, deadline_at = null,
    reward_milli = null, price_milli = null, returns = returns + 1
where worker_id = $1 and state = 'running' and not id = any ($2::uuid[])
    and popped_at < now() - make_interval(secs => $3::double precision) and returns < $4::integer
returning request_id, kind, lane, rank, user_id;

-- name: lock_request_of_job
-- Only one of fail, cancel and expire judges a request at a time.
select kind, pg_advisory_xact_lock(7003, hashtext(request_id::text)) from jobs where id = $1;

-- name: job_state
-- Where a job is.
select state from jobs where id = $1;

-- name: job_facts
-- What a delivery needs to know of a job, its request and its worker.
select
    j.id, j.request_id, j.kind, j.state, j.model, j.things, j.worker_id, j.reward_milli,
    j.price_milli, r.user_id,
    r.tax_each_milli, w.user_id as owner_id, w.bridge_agent,
    r.reserved_milli - r.activation_milli - (
        select coalesce(sum(paid_milli), 0) from jobs where request_id = j.request_id
    )::bigint as remaining_milli,
    (
        select max(other.state) from jobs other
        where other.request_id = j.request_id and other.id <> j.id
            and other.state in ('waiting', 'running')
    ) as others_open
from jobs j
join requests r on r.id = j.request_id
left join workers w on w.id = j.worker_id
where j.id = $1;

-- name: deliver_job
-- Take a result once: job done, transfers booked, delivery noted.
with delivered as (
    update jobs
    set state = 'done', finished_at = now(), result = $2::jsonb, paid_milli = $3,
        reward_milli = $15::bigint, things = coalesce($16::bigint, things)
    where id = $1 and state || '' = 'running' and worker_id = $17
    returning id, request_id, kind, worker_id, user_id, model, things, popped_at, reward_milli
), ended as (
    update requests r set ended_at = now()
    from delivered
    where r.id = delivered.request_id and $14::boolean
), booked as (
    insert into transfers (
        source_id, purpose, phase, debit, credit, amount_milli, hold, debit_bucket,
        credit_bucket
    )
    select leg.*
    from delivered, unnest(
        $5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[],
        $11::uuid[], $12::text[], $13::text[]
    ) as leg
), unfolded as (
    insert into transfers_unfolded (source_id, purposes)
    select leg.source_id, array_agg(leg.purpose)
    from delivered, unnest($5, $6) as leg (source_id, purpose)
    group by leg.source_id
), noted as (
    insert into deliveries_uncounted (
        job_id, kind, outcome, worker_id, owner_id, user_id, model, things, seconds, reward_milli
    )
    select id, kind, 'done', worker_id, $4, user_id, model, things,
        extract(epoch from now() - popped_at), reward_milli
    from delivered
), called as (
    insert into webhook_calls (
        kind, request_id, job_id, url, model, worker_id, worker_name, result, reward_milli, inline_results
    )
    select d.kind, d.request_id, d.id, r.webhook, d.model, d.worker_id, coalesce(w.name, 'unknown'),
        $2::jsonb, d.reward_milli, r.inline_results
    from delivered d
    join requests r on r.id = d.request_id and r.webhook is not null
    left join workers w on w.id = d.worker_id
)
select exists (select from delivered) as taken;

-- name: fail_job
-- Give a running job up once (that of worker $8, if given); another takes its place in the queue until
-- $5 of the request have failed, or until it is the request's fault (domain/faults.py): another worker
-- failed before for the same reason $7, and nobody has done any. Where jobs stand apart ($6), the
-- attempts at it count, and end this job alone: the request has failed when it was the last and none is
-- done. A worker that gives up what was cancelled has not failed. A fault is excused once: it notes
-- whether it was not counted, and an earlier one is excused by the first of another worker that notes so.
with failing as (
    select j.id, j.request_id, j.ordinal, j.worker_id, coalesce(w.user_id, 0) as owner_id,
        coalesce('trusted' = any (u.roles), false) as trusted
    from jobs j
    left join workers w on w.id = j.worker_id
    left join users u on u.id = w.user_id
    where j.id = $1 and j.state || '' = 'running' and ($8::uuid is null or j.worker_id = $8)
), alike as (
    select other.id, other.worker_id, other.model, other.things, coalesce(w.user_id, 0) as owner_id,
        failing.trusted or coalesce(w.user_id, 0) <> failing.owner_id as is_excused,
        coalesce(other.result ->> 'excused' = 'true', false) or exists (
            select from jobs third
            where third.request_id = failing.request_id and third.state || '' = 'faulted'
                and third.worker_id <> other.worker_id and third.result ->> 'reason' = $7
                and third.result ->> 'excused' = 'true'
                and (not $6::boolean or third.ordinal = failing.ordinal)
        ) as was_excused
    from failing
    join jobs other on other.request_id = failing.request_id and other.state || '' = 'faulted'
        and other.worker_id <> failing.worker_id and other.result ->> 'reason' = $7::text
        and (not $6::boolean or other.ordinal = failing.ordinal)
    left join workers w on w.id = other.worker_id
    where not exists (
        select from jobs done
        where done.request_id = failing.request_id and done.state || '' = 'done'
            and (not $6 or done.ordinal = failing.ordinal)
    )
), failed as (
    update jobs
    set state = 'faulted', finished_at = now(), result = $3::jsonb || jsonb_build_object(
        'reason', $7, 'of_request', exists (select from alike),
        'excused', exists (select from alike where is_excused)
    )
    from failing
    where jobs.id = failing.id and jobs.state || '' = 'running'
    returning jobs.id, jobs.request_id, jobs.kind, jobs.lane, jobs.rank, jobs.user_id, jobs.ordinal,
        jobs.things, jobs.worker_id, jobs.model, jobs.popped_at, failing.owner_id
), counted as (
    select failed.*, r.state = 'active' as wanted, r.state = 'cancelled' as cancelled,
        exists (select from alike) or (
            select count(*) from jobs j
            where j.request_id = failed.request_id and j.state = 'faulted'
                and (not $6 or j.ordinal = failed.ordinal)
        ) + 1 >= $5::integer as hopeless,
        $6 and exists (
            select from jobs j
            where j.request_id = failed.request_id and j.id <> failed.id
                and j.state in ('waiting', 'running', 'done')
        ) as others_count
    from failed join requests r on r.id = failed.request_id
), judged as (
    select counted.*, wanted and hopeless and not others_count as ends from counted
), again as (
    insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)
    select $2, request_id, kind, lane, rank, user_id, ordinal, things
    from judged where wanted and not hopeless
    returning lane, rank
), given_up as (
    update requests r set state = 'faulted', ended_at = now()
    from judged
    where r.id = judged.request_id and judged.ends
), withdrawn as (
    update jobs j set state = 'cancelled', finished_at = now()
    from judged
    where j.request_id = judged.request_id and judged.ends and j.state || '' = 'waiting'
), noted as (
    insert into deliveries_uncounted (
        job_id, kind, outcome, worker_id, owner_id, user_id, model, things, seconds, reward_milli
    )
    select id, kind, $4, worker_id, owner_id, user_id, model, things,
        extract(epoch from now() - popped_at), 0
    from judged
    where not cancelled and not exists (select from alike where is_excused)
    union all
    select alike.id, judged.kind, 'excused', alike.worker_id, alike.owner_id, judged.user_id,
        alike.model, alike.things, 0, 0
    from judged, alike
    where alike.is_excused and not alike.was_excused and not judged.cancelled
)
select judged.request_id, judged.kind, judged.user_id, judged.hopeless, again.lane, again.rank
from judged left join again on true;

-- name: prolong_jobs
-- Put off the deadline of jobs that were handed out together at $2 from $3 to $4, unless somebody
-- was faster.
with due as (
    select id from jobs
    where id = any ($1::uuid[]) and state || '' = 'running'
        and popped_at = $2::timestamptz and deadline_at = $3::timestamptz
    order by id
    for update
)
update jobs set deadline_at = $4::timestamptz from due where jobs.id = due.id
returning jobs.id;

-- name: overdue_jobs
-- Running jobs whose deadline has passed.
select id from jobs where state = 'running' and deadline_at < $1 order by deadline_at limit 500;
