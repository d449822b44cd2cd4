-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: account_by_key_hash
-- The account behind a key.
select u.id, u.username, u.provider_id, u.roles, u.concurrency, u.worker_invited,
    u.public_workers, u.suspicion, u.created_at, coalesce(a.balance_milli, 0) as balance_milli,
    coalesce(e.balance_milli, 0) as escrow_milli
from users u
left join accounts a on a.number = 2 * u.id::bigint
left join accounts e on e.number = 2 * u.id::bigint + 1
where u.key_hash = $1;

-- name: account_by_id
-- The account of a number.
select u.id, u.username, u.provider_id, u.roles, u.concurrency, u.worker_invited,
    u.public_workers, u.suspicion, u.created_at, coalesce(a.balance_milli, 0) as balance_milli,
    coalesce(e.balance_milli, 0) as escrow_milli
from users u
left join accounts a on a.number = 2 * u.id::bigint
left join accounts e on e.number = 2 * u.id::bigint + 1
where u.id = $1;

-- name: shown_users
-- Everything that is shown of some accounts, in the given order.
select u.id, u.username, u.provider_id, u.roles, u.concurrency, u.worker_invited,
    u.public_workers, u.contact, u.admin_comment, u.monthly_kudos_milli,
    u.monthly_kudos_received_at, u.usage_multiplier, u.suspicion, u.created_at, coalesce(a.balance_milli, 0) as balance_milli,
    coalesce(e.balance_milli, 0) as escrow_milli,
    (
        select coalesce(jsonb_object_agg(b.bucket, b.amount_milli), '{}')
        from account_buckets b where b.account = 2 * u.id::bigint
    ) as buckets,
    (
        select coalesce(jsonb_object_agg(r.kind, jsonb_build_array(
            r.requests, r.usage_things, r.fulfilments, r.contributed_things
        )), '{}')
        from user_records r where r.user_id = u.id
    ) as records,
    array(select w.id from workers w where w.user_id = u.id order by w.created_at) as worker_ids
from unnest($1::integer[]) with ordinality as asked (id, place)
join users u using (id)
left join accounts a on a.number = 2 * u.id::bigint
left join accounts e on e.number = 2 * u.id::bigint + 1
order by asked.place;

-- name: user_ids_by_kudos
-- A page of accounts, richest first.
select u.id from users u left join accounts a on a.number = 2 * u.id::bigint
order by coalesce(a.balance_milli, 0) desc, u.id offset $1 limit $2;

-- name: user_ids_by_age
-- A page of accounts, oldest first.
select u.id from users u order by u.created_at, u.id offset $1 limit $2;

-- name: open_requests_of_user
-- The newest requests of an account on which something is still to be done.
select r.id, r.kind from requests r
where r.user_id = $1 and r.state = 'active' and exists (
    select from jobs j where j.request_id = r.id and j.state in ('waiting', 'running')
)
order by r.created_at desc limit 100;

-- name: save_user
-- Make an account with its kudos accounts, or give the one of this provider a new name and key.
with saved as (
    insert into users (username, provider_id, key_hash, roles) values ($1, $2, $3, $4::text[])
    on conflict (provider_id) do update
    set username = excluded.username, key_hash = excluded.key_hash, roles = array(
        select distinct role from unnest(
            array_remove(array_remove(users.roles, 'moderator'), 'trusted') || excluded.roles
        ) as role
    )
    returning id, xmax = 0 as is_new
), opened as (
    insert into accounts (number)
    select 2 * id::bigint + leg from saved, generate_series(0, 1) as leg
    on conflict do nothing
)
select id, is_new from saved;

-- name: aliases
-- The public names of some accounts.
select id, username || '#' || id as alias from users where id = any ($1::integer[]);

-- name: change_user
-- Change what is given of an account; a promise of monthly kudos counts from its first day.
update users u
set roles = array(
        select distinct role from unnest(u.roles || $2::text[]) as role
        where role <> all ($3::text[])
        order by role
    ),
    concurrency = coalesce($4, concurrency),
    worker_invited = coalesce($5, worker_invited),
    usage_multiplier = coalesce($6, usage_multiplier),
    public_workers = coalesce($7, public_workers),
    username = coalesce($8, username),
    contact = coalesce($9, contact),
    admin_comment = coalesce($10, admin_comment),
    suspicion = case when $11::boolean then 0 else suspicion end,
    monthly_kudos_milli = greatest(0, monthly_kudos_milli + $12::bigint),
    monthly_kudos_received_at = case
        when $12 > 0 then coalesce(monthly_kudos_received_at, $13::timestamptz)
        else monthly_kudos_received_at
    end
where id = $1
returning monthly_kudos_milli;
