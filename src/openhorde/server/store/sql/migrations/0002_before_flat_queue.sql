-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Cheaper hot paths: one row per unfolded booking, deliveries counted by moving them, indexes that
-- hold open requests only. Servers of the version before must be stopped first: they would not
-- understand what this one leaves to be folded and counted.

alter table lanes add column used_at timestamptz not null default now();

alter table requests add column screened_text text, add column webhook text;
update requests set screened_text = lower(body::jsonb ->> 'prompt'), webhook = body::jsonb ->> 'webhook';
drop index requests_by_age;
create index requests_open_by_age on requests (created_at) where ended_at is null;
create index requests_open_by_user on requests (user_id) where ended_at is null;
create index requests_by_end on requests (ended_at) where ended_at is not null;

drop index jobs_waiting_by_user;
create index jobs_waiting_by_user on jobs (user_id, lane, rank) where state = 'waiting';

alter table transfers_unfolded rename to transfers_unfolded_singly;
create table transfers_unfolded (
    source_id uuid not null,
    purposes text[] not null
);
insert into transfers_unfolded (source_id, purposes)
select source_id, array_agg(purpose) from transfers_unfolded_singly group by source_id;
drop table transfers_unfolded_singly;

drop index deliveries_uncounted;
create table deliveries_uncounted (
    job_id uuid not null,
    kind text not null,
    outcome text not null check (outcome in ('done', 'faulted', 'overdue')),
    worker_id uuid not null,
    owner_id integer not null,
    user_id integer not null,
    model text not null,
    things bigint not null,
    seconds real not null,
    reward_milli bigint not null,
    delivered_at timestamptz not null default now()
);
insert into deliveries_uncounted
select job_id, kind, outcome, worker_id, owner_id, user_id, model, things, seconds, reward_milli,
    delivered_at
from deliveries where not counted;
delete from deliveries where not counted;
alter table deliveries drop column counted, alter column delivered_at drop default;
