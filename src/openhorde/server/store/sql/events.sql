-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: check_request
-- Everything that tells how far a request is, from one snapshot; and, if $2, of each job that a
-- worker has taken: its ordinal (the attempts at one go by the time they were taken), id, state,
-- model, worker, and the result if it has ended. $3 are the usual speeds of the kinds, for workers
-- without one of their own; a job that is late is taken to last for $4 of the time that it has taken.
select
    r.id, r.kind, r.user_id, r.state, r.asked, r.shared, r.inline_results, r.activation_milli,
    r.created_at,
    count(*) filter (where j.state = 'waiting') as waiting,
    count(*) filter (where j.state = 'running') as running,
    count(*) filter (where j.state = 'done') as done,
    count(*) filter (where j.state = 'faulted') as faulted,
    min(j.rank) filter (where j.state = 'waiting') as rank,
    coalesce(array_agg(j.lane) filter (where j.state = 'waiting'), '{}') as lanes_waiting,
    coalesce(sum(j.things) filter (where j.state = 'waiting'), 0)::bigint as things_waiting,
    coalesce(sum(j.paid_milli), 0)::bigint as paid_milli,
    coalesce(max(
        greatest(
            $4::double precision * extract(epoch from now() - j.popped_at),
            j.things / coalesce(nullif(w.speed, 0), ($3::jsonb ->> r.kind)::double precision)
            - extract(epoch from now() - j.popped_at)
        )
    ) filter (where j.state = 'running'), 0)::double precision as remaining_seconds,
    coalesce(jsonb_agg(
        jsonb_build_array(
            j.ordinal, j.id, j.state, j.model, j.worker_id, coalesce(w.name, 'unknown'),
            j.result
        )
        order by j.ordinal, j.popped_at, j.id
    ) filter (where $2::boolean and j.popped_at is not null), '[]') as taken
from requests r
join jobs j on j.request_id = r.id
left join workers w on w.id = j.worker_id
where r.id = $1
group by r.id;

-- name: job_watched
-- Whose worker has a job, whether anybody still wants it, and until when it may take. A batch is
-- what one pop took of a request; its jobs have their time together.
select
    j.request_id, w.user_id as owner_id,
    j.state = 'running' and r.state = 'active' as wanted,
    j.popped_at, j.deadline_at, batch.ids as together,
    r.ttl_seconds * cardinality(batch.ids) as life_seconds
from jobs j
join requests r on r.id = j.request_id
left join workers w on w.id = j.worker_id
cross join lateral (
    select array_agg(other.id) as ids
    from jobs other
    where other.request_id = j.request_id and (
        other.id = j.id
        or r.batching and other.worker_id = j.worker_id and other.popped_at = j.popped_at
    )
) as batch
where j.id = $1;
