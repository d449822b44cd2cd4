-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Calls of webhooks: an outbox, and the log of what became of them.

create table webhook_calls (
    id uuid primary key default gen_random_uuid(),
    request_id uuid not null,
    job_id uuid not null,
    url text not null,
    origin text collate "C" not null generated always as (
        left(coalesce(substring(lower(url) from '^https://[^/?#]*'), lower(url)), 255)
    ) stored,
    model text not null,
    worker_id uuid not null,
    worker_name text not null,
    result jsonb not null,
    reward_milli bigint not null,
    inline_results boolean not null,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'given_up')),
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    last_status integer,
    last_error text,
    ended_at timestamptz,
    created_at timestamptz not null default now(),
    check ((state = 'waiting') = (ended_at is null))
);
create index webhook_calls_waiting on webhook_calls (origin, due_at) where state = 'waiting';
create index webhook_calls_waiting_by_age on webhook_calls (created_at) where state = 'waiting';
create index webhook_calls_by_request on webhook_calls (request_id);
create index webhook_calls_by_end on webhook_calls (ended_at) where ended_at is not null;
