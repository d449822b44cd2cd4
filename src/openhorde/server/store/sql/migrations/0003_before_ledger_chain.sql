-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The hash chain, its signed roots, the history of accounts, and monthly grants. What was folded
-- before is sealed by the first fold that finds no block.

alter table users add column monthly_kudos_received_at timestamptz,
    add column usage_multiplier double precision not null default 1;

create function ledger_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception '% are append only', tg_table_name;
end $$;
drop trigger transfers_append_only on transfers;
create trigger transfers_append_only before update or delete or truncate on transfers
    for each statement execute function ledger_is_append_only();
drop function transfers_are_append_only();
create index transfers_between_users on transfers (debit, credit, recorded_at)
    where purpose = 'transfer';

-- The chain over all folded transfers (domain/chain.py). A block holds what one fold has folded, in
-- this order; its hash covers the transfers themselves and the block before.
create table ledger_blocks (
    number bigint primary key check (number > 0),
    sealed_at timestamptz not null,
    source_ids uuid[] not null check (cardinality(source_ids) > 0),
    purposes text[] not null check (cardinality(purposes) = cardinality(source_ids)),
    previous bytea not null,
    hash bytea not null
);
create trigger ledger_blocks_append_only before update or delete or truncate on ledger_blocks
    for each statement execute function ledger_is_append_only();

-- The head of the chain, signed once a day.
create table ledger_roots (
    day date primary key,
    block bigint not null,
    hash bytea not null,
    public_key bytea not null,
    signature bytea not null,
    signed_at timestamptz not null default now()
);
create trigger ledger_roots_append_only before update or delete or truncate on ledger_roots
    for each statement execute function ledger_is_append_only();

-- Where in the chain a user's transfers are, for the account's history.
create table user_entries (
    user_id integer not null,
    block bigint not null,
    positions integer[] not null,
    primary key (user_id, block)
);
