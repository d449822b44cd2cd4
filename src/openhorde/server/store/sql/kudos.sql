-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: book_transfers
-- Append transfers; one that is there already is left as it is.
with booked as (
    insert into transfers (
        source_id, purpose, phase, debit, credit, amount_milli, hold, debit_bucket,
        credit_bucket
    )
    select * from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::uuid[],
        $8::text[], $9::text[]
    )
    on conflict do nothing
    returning source_id, purpose
)
insert into transfers_unfolded (source_id, purposes)
select source_id, array_agg(purpose) from booked group by source_id;

-- name: lock_payer
-- Only one request of a payer that must be covered is judged at a time.
select pg_advisory_xact_lock(7001, $1::integer);

-- name: available_kudos
-- A user's balance, less debits that are booked but not folded, less what open requests hold.
select
    (
        select balance_milli from accounts where number = $2::bigint
    ) - coalesce((
        select sum(t.amount_milli)
        from transfers_unfolded u
        join transfers t on t.source_id = u.source_id and t.purpose = any (u.purposes)
        where t.debit = $2 and t.phase = 'posted'
    ), 0)::bigint - coalesce((
        select sum(greatest(0, r.reserved_milli - r.activation_milli - coalesce(spent.milli, 0)))
        from requests r
        cross join lateral (
            select sum(j.paid_milli) as milli from jobs j where j.request_id = r.id
        ) as spent
        where r.user_id = $1 and r.ended_at is null
    ), 0)::bigint as available_milli;

-- name: lock_folding
-- One folding task at a time, whatever the number of servers.
select pg_try_advisory_xact_lock(7002, 0);

-- name: take_unfolded
-- Take a batch of bookings that no balance shows yet: their transfers, in the order in which they
-- were booked, and how many bookings these are.
with batch as (
    delete from transfers_unfolded
    where ctid = any (array(select ctid from transfers_unfolded limit $1))
    returning source_id, purposes
)
select t.source_id, t.purpose, t.phase, t.debit, t.credit, t.amount_milli, t.hold,
    t.debit_bucket, t.credit_bucket, t.recorded_at,
    (select count(*) from batch)::integer as bookings
from batch
cross join lateral unnest(batch.purposes) with ordinality as leg (purpose, place)
join transfers t on t.source_id = batch.source_id and t.purpose = leg.purpose
order by t.recorded_at, t.source_id, leg.place;

-- name: accounts_for_fold
-- The accounts that a batch touches, with what decides their floors.
select a.number, a.balance_milli, u.provider_id
from accounts a left join users u on a.number >= 0 and u.id = a.number / 2
where a.number = any ($1::bigint[]);

-- name: save_balances
-- Write folded balances.
insert into accounts (number, balance_milli)
select * from unnest($1::bigint[], $2::bigint[])
on conflict (number) do update set balance_milli = excluded.balance_milli;

-- name: save_buckets
-- Add folded amounts to the totals by where kudos came from or went.
insert into account_buckets (account, bucket, amount_milli)
select * from unnest($1::bigint[], $2::text[], $3::bigint[])
on conflict (account, bucket) do update
set amount_milli = account_buckets.amount_milli + excluded.amount_milli;

-- name: book_folded
-- Append the adjustments that a fold made; they are in the balances already.
insert into transfers (
    source_id, purpose, phase, debit, credit, amount_milli, hold, debit_bucket,
        credit_bucket
)
select * from unnest(
    $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::uuid[],
    $8::text[], $9::text[]
);

-- name: ledger_totals
-- The sum of all balances, which must be zero, and how many bookings are not folded.
select
    (select coalesce(sum(balance_milli), 0)::bigint from accounts) as balances_milli,
    (select count(*)::integer from transfers_unfolded) as unfolded;

-- name: drifting_accounts
-- Accounts whose balance differs from the sum of their folded transfers.
with unfolded as (
    select u.source_id, leg.purpose
    from transfers_unfolded u cross join lateral unnest(u.purposes) as leg (purpose)
), folded as (
    select t.debit, t.credit, t.amount_milli
    from transfers t left join unfolded u using (source_id, purpose)
    where t.phase = 'posted' and u.source_id is null
), moved as (
    select account, sum(amount)::bigint as amount_milli
    from (
        select debit as account, -amount_milli as amount from folded
        union all
        select credit, amount_milli from folded
    ) as leg
    group by account
)
select coalesce(a.number, m.account) as account, coalesce(a.balance_milli, 0) as balance_milli,
    coalesce(m.amount_milli, 0) as moved_milli
from accounts a full join moved m on m.account = a.number
where coalesce(a.balance_milli, 0) <> coalesce(m.amount_milli, 0)
order by account;

-- name: find_transfer
-- To whom and how much a transfer between users moved.
select credit, amount_milli from transfers where source_id = $1 and purpose = 'transfer';

-- name: has_sent
-- Has one user sent kudos to another within so many seconds?
select exists (
    select from transfers
    where purpose = 'transfer' and debit = $1::bigint and credit = $2::bigint
        and recorded_at > now() - make_interval(secs => $3)
);

-- name: coming_balance
-- A user's balance once everything that is booked is folded, before floors.
select
    coalesce((select balance_milli from accounts where number = $1::bigint), 0) + coalesce((
        select sum(case when t.debit = $1 then -t.amount_milli else t.amount_milli end)
        from transfers_unfolded u
        join transfers t on t.source_id = u.source_id and t.purpose = any (u.purposes)
        where $1 in (t.debit, t.credit) and t.phase = 'posted'
    ), 0)::bigint as balance_milli;

-- name: lock_grants
-- Accounts that may be due their monthly kudos, for as long as the transaction lives.
select id, monthly_kudos_milli, 'moderator' = any (roles) as moderator,
    monthly_kudos_received_at as received_at
from users
where id > $1 and id <> 0 and not 'deleted' = any (roles)
    and (monthly_kudos_milli > 0 or 'moderator' = any (roles))
    and (monthly_kudos_received_at is null or monthly_kudos_received_at < $2::timestamptz - interval '27 days')
order by id
limit $3
for update;

-- name: save_grants
-- Note for which moment monthly kudos were granted last.
update users u set monthly_kudos_received_at = granted.received_at
from unnest($1::integer[], $2::timestamptz[]) as granted (id, received_at)
where u.id = granted.id;
