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
insert into transfers_unfolded (source_id, purpose) select source_id, purpose from booked;

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
        join transfers t using (source_id, purpose)
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
-- Take a batch of transfers that no balance shows yet.
with batch as (
    delete from transfers_unfolded
    where ctid = any (array(select ctid from transfers_unfolded limit $1))
    returning source_id, purpose
)
select t.source_id, t.purpose, t.phase, t.debit, t.credit, t.amount_milli, t.hold,
    t.debit_bucket, t.credit_bucket
from batch join transfers t using (source_id, purpose);

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
-- The sum of all balances, and of all that is booked but not folded: both must be what they are
-- in a closed system, zero.
select
    (select coalesce(sum(balance_milli), 0)::bigint from accounts) as balances_milli,
    (select count(*)::integer from transfers_unfolded) as unfolded;

-- name: drift
-- Accounts whose balance differs from the sum of their folded transfers.
with moved as (
    select account, sum(amount)::bigint as amount_milli
    from (
        select t.debit as account, -t.amount_milli as amount from transfers t
        where t.phase = 'posted'
        union all
        select t.credit, t.amount_milli from transfers t where t.phase = 'posted'
    ) as leg
    group by account
)
select coalesce(a.number, m.account) as account, a.balance_milli, m.amount_milli
from accounts a full join moved m on m.account = a.number
where coalesce(a.balance_milli, 0) <> coalesce(m.amount_milli, 0);
