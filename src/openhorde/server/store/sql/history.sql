-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: history_of_user
-- A page of the transfers that touch a user's accounts, newest first, before a place in the chain.
with place as (
    select e.block, spot.position
    from user_entries e
    cross join lateral (
        select position from unnest(e.positions) as within (position)
        where e.block < $2::bigint or position < $3::integer
    ) as spot
    where e.user_id = $1 and e.block <= $2
    order by e.block desc, spot.position desc
    limit $4
)
select place.block, place.position, t.source_id, t.purpose, t.phase, t.debit, t.credit,
    t.amount_milli, t.hold, t.debit_bucket, t.credit_bucket, t.recorded_at
from place
join ledger_blocks b on b.number = place.block
join transfers t on t.source_id = b.source_ids[place.position]
    and t.purpose = b.purposes[place.position]
order by place.block desc, place.position desc;

-- name: remembered_requests
-- What some requests asked for, as far as they are remembered, and whether a picture came with it.
select id, kind, body, sources is not null as has_sources
from requests
where id = any ($1::uuid[]);
