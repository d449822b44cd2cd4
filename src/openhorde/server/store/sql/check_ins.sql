-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: worker_by_name
-- A worker as the queue sees it.
select id, kind, name, user_id, bridge_agent, threads, maintenance, maintenance_message, paused,
    speed, extract(epoch from now() - created_at)::double precision as age_seconds,
    extract(epoch from now() - checked_in_at)::double precision as idle_seconds
from workers where name = $1;

-- name: check_in_worker
-- Store what a worker said at its check-in; its uptime grows while it is neither stale nor resting.
-- It is new to others if it was away, or offers something else (but for what differs from pop to pop).
with known as (
    select models, threads, offer, checked_in_at from workers where name = $3
)
insert into workers (id, kind, name, user_id, bridge_agent, threads, models, offer, address)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (name) do update
set bridge_agent = excluded.bridge_agent, threads = excluded.threads, models = excluded.models,
    offer = excluded.offer, address = excluded.address, checked_in_at = now(),
    uptime_seconds = workers.uptime_seconds + case
        when workers.maintenance or workers.paused
            or workers.checked_in_at < now() - interval '300 seconds' then 0
        else extract(epoch from now() - workers.checked_in_at)::bigint
    end
where workers.user_id = excluded.user_id and workers.kind = excluded.kind
returning id, not exists (
    select from known
    where known.models = $7::text[] and known.threads = $6
        and known.offer - '{amount,wait,holding}'::text[] = $8::jsonb - '{amount,wait,holding}'::text[]
        and known.checked_in_at > now() - interval '300 seconds'
) as is_new;

-- name: count_workers
-- How many workers of a kind that were online within a day a user has, and how many call from an
-- address, or where $2 is of IPv6 from its /64; without one of that name.
select count(*) filter (where user_id = $1)::integer as of_user,
    count(*) filter (where case
        when $2 like '%:%' and address ~ '^[0-9a-f.]*:[0-9a-f:.]*$'
            then address::inet <<= set_masklen($2::text::inet, 64)
        else address = $2
    end)::integer as of_address
from workers
where kind = $3 and name <> $4 and checked_in_at > now() - interval '1 day';

-- name: online_offers
-- What the workers that checked in lately offer, for telling whether a request is possible.
select w.id, w.kind, w.user_id, w.bridge_agent, w.threads, w.models, w.offer, w.speed,
    'trusted' = any (u.roles) as owner_trusted
from workers w join users u on u.id = w.user_id
where w.checked_in_at > now() - interval '300 seconds' and not w.maintenance and not w.paused
order by w.id;

-- name: running_work
-- What each worker has in hand: jobs, and the things of them that are not done yet at its
-- speed, or at its kind's usual one; a job that is late takes $2 of its time so far again.
select j.worker_id, count(*)::integer as jobs,
    sum(greatest(
        j.things - coalesce(w.speed, ($1::jsonb ->> w.kind)::double precision)
            * extract(epoch from now() - j.popped_at),
        $2::double precision * coalesce(w.speed, ($1::jsonb ->> w.kind)::double precision)
            * extract(epoch from now() - j.popped_at)
    ))::double precision as things
from jobs j join workers w on w.id = j.worker_id
where j.state = 'running'
group by j.worker_id;
