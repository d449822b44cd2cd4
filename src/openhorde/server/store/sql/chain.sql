-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: ledger_head
-- The last block of the chain, and the time at which a block of this transaction is sealed.
select coalesce(b.number, 0) as number, b.hash, now() as sealed_at
from (select) as always
left join lateral (
    select number, hash from ledger_blocks order by number desc limit 1
) as b on true;

-- name: save_block
-- Append a block to the chain.
insert into ledger_blocks (number, sealed_at, source_ids, purposes, previous, hash)
values ($1, $2, $3::uuid[], $4::text[], $5, $6);

-- name: save_user_entries
-- Note where in a block the transfers of users are.
insert into user_entries (user_id, block, positions)
select user_id, $1::bigint, array_agg(position order by position)
from unnest($2::integer[], $3::integer[]) as entry (user_id, position)
group by user_id;

-- name: transfers_never_sealed
-- All folded transfers in the order in which they were recorded, before there is any block.
select t.source_id, t.purpose, t.phase, t.debit, t.credit, t.amount_milli, t.hold,
    t.debit_bucket, t.credit_bucket, t.recorded_at
from transfers t
where not exists (
    select from transfers_unfolded u
    where u.source_id = t.source_id and t.purpose = any (u.purposes)
)
order by t.recorded_at, t.source_id, t.purpose;

-- name: root_of_day
-- Has the head of the chain been signed on this day?
select exists (select from ledger_roots where day = $1);

-- name: save_root
-- Keep a signed head, unless another server was first on this day.
insert into ledger_roots (day, block, hash, public_key, signature)
values ($1, $2, $3, $4, $5)
on conflict (day) do nothing;

-- name: roots
-- The newest signed heads before a day, newest first.
select day, block, hash, public_key, signature, signed_at
from ledger_roots
where $1::date is null or day < $1
order by day desc
limit $2;

-- name: blocks_after
-- The next blocks of the chain, without their transfers.
select number, sealed_at, previous, hash, cardinality(source_ids) as transfers
from ledger_blocks
where number > $1
order by number
limit $2;

-- name: transfers_of_blocks
-- The transfers that the blocks of a range list, in order; empty but for the key where one is gone.
select b.number, leg.source_id, leg.purpose as listed, t.purpose, t.phase, t.debit, t.credit,
    t.amount_milli, t.hold, t.debit_bucket, t.credit_bucket, t.recorded_at
from ledger_blocks b
cross join lateral unnest(b.source_ids, b.purposes)
    with ordinality as leg (source_id, purpose, place)
left join transfers t on t.source_id = leg.source_id and t.purpose = leg.purpose
where b.number between $1 and $2
order by b.number, leg.place;

-- name: misplaced_transfers
-- Transfers that are not in exactly one block or waiting to be folded, and the other way round.
select source_id, purpose, sum(booked)::integer as booked, sum(sealed)::integer as sealed,
    sum(unfolded)::integer as unfolded
from (
    select source_id, purpose, 1 as booked, 0 as sealed, 0 as unfolded from transfers
    union all
    select leg.source_id, leg.purpose, 0, 1, 0
    from ledger_blocks b
    cross join lateral unnest(b.source_ids, b.purposes) as leg (source_id, purpose)
    union all
    select u.source_id, leg.purpose, 0, 0, 1
    from transfers_unfolded u cross join lateral unnest(u.purposes) as leg (purpose)
) as seen
group by source_id, purpose
having sum(booked) <> 1 or sum(sealed) + sum(unfolded) <> 1
order by source_id, purpose
limit $1;

-- name: drifting_buckets
-- Totals by bucket that differ from the sum of their folded transfers.
with unfolded as (
    select u.source_id, leg.purpose
    from transfers_unfolded u cross join lateral unnest(u.purposes) as leg (purpose)
), folded as (
    select t.debit, t.credit, t.amount_milli, t.debit_bucket, t.credit_bucket
    from transfers t left join unfolded u using (source_id, purpose)
    where t.phase = 'posted' and u.source_id is null
), moved as (
    select account, bucket, sum(amount)::bigint as amount_milli
    from (
        select debit as account, debit_bucket as bucket, -amount_milli as amount from folded
        where debit_bucket is not null
        union all
        select credit, credit_bucket, amount_milli from folded where credit_bucket is not null
    ) as leg
    group by account, bucket
)
select coalesce(b.account, m.account) as account, coalesce(b.bucket, m.bucket) as bucket,
    coalesce(b.amount_milli, 0) as total_milli, coalesce(m.amount_milli, 0) as moved_milli
from account_buckets b
full join moved m on m.account = b.account and m.bucket = b.bucket
where coalesce(b.amount_milli, 0) <> coalesce(m.amount_milli, 0)
order by account, bucket
limit $1;

-- name: ledger_counts
-- How much there is to be checked.
select
    (select coalesce(sum(balance_milli), 0)::bigint from accounts) as balances_milli,
    (select count(*) from accounts) as accounts,
    (select count(*) from account_buckets) as buckets,
    (select count(*) from transfers) as transfers,
    (select count(*) from transfers_unfolded) as unfolded,
    (select count(*) from ledger_blocks) as blocks,
    (select count(*) from ledger_roots) as roots;
