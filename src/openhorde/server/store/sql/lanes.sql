-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: lanes_of_users
-- The lanes in which jobs of the given users wait.
with recursive mine (user_id, lane) as (
    select owner.id, first.lane
    from unnest($1::integer[]) as owner (id)
    cross join lateral (
        select lane from jobs
        where state = 'waiting' and user_id = owner.id
        order by lane limit 1
    ) as first
    union all
    select mine.user_id, next.lane
    from mine
    cross join lateral (
        select lane from jobs
        where state = 'waiting' and user_id = mine.user_id and lane > mine.lane
        order by lane limit 1
    ) as next
)
select user_id, lane from mine;

-- name: live_lanes
-- The next lanes after the given one in which jobs wait, so many at most, each with the rank at its
-- head.
with recursive live (lane, rank, place) as (
    (
        select lane, rank, 1 from jobs
        where state = 'waiting' and lane > $1::integer
        order by lane, rank limit 1
    )
    union all
    select next.lane, next.rank, live.place + 1
    from live
    cross join lateral (
        select lane, rank from jobs
        where state = 'waiting' and lane > live.lane
        order by lane, rank
        limit 1
    ) as next
    where live.place < $2::integer
)
select lane, rank from live;

-- name: heads_of_lanes
-- Those of the given lanes in which jobs wait, each with the rank at its head.
select given.lane, head.rank
from unnest($1::integer[]) as given (lane)
cross join lateral (
    select rank from jobs where state = 'waiting' and lane = given.lane order by rank limit 1
) as head;

-- name: lanes_asked
-- What the lanes need that were asked for within $2 seconds, by transactions that a reading which saw
-- as far as $1 may not have seen; and how far this one sees: to the oldest transaction that is open.
select id, kind, words, sizes, models, workers, workers_excluded,
    pg_snapshot_xmin(pg_current_snapshot())::text as seen_to
from lanes
where asked_in >= $1::text::xid8
    and used_at > now() - make_interval(secs => $2::double precision)
order by asked_in;

-- name: lanes_by_id
-- What the given lanes need.
select id, kind, words, sizes, models, workers, workers_excluded
from lanes where id = any ($1::integer[]);

-- name: open_lane
-- The number of the lane with this signature, made if it is new. Asking keeps it from being pruned.
insert into lanes (kind, signature, words, sizes, models, workers, workers_excluded)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (signature) do update set used_at = now(), asked_in = pg_current_xact_id()
returning id;

-- name: prune_lanes
-- Forget lanes that nobody has asked for since the given moment and that no open job is in.
delete from lanes
where used_at < $1
    and not exists (select from jobs j where j.lane = lanes.id and j.state = 'waiting')
    and not exists (select from jobs j where j.lane = lanes.id and j.state = 'running');
