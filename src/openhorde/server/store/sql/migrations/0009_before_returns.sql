-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Jobs that a worker does not hold any more are found by their worker, and come back a few times.

alter table jobs add column returns smallint not null default 0;
create index jobs_running_by_worker on jobs (worker_id) where state = 'running';
