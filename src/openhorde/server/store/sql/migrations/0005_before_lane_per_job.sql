-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Every job has a lane and a size of its own, and lanes have sizes of several names. Servers of the
-- version before must be stopped first: they would not understand what this one stores.

alter table lanes add column sizes jsonb;
update lanes set sizes = jsonb_build_object('pixels', pixels);
alter table lanes alter column sizes set not null, drop column pixels;

alter table requests drop column lane, drop column things;

drop index jobs_waiting_by_user;
create index jobs_waiting_by_user on jobs (user_id, lane, rank) include (kind)
    where state = 'waiting';

alter table webhook_calls add column kind text;
update webhook_calls set kind = 'image';
alter table webhook_calls alter column kind set not null;

create table daily_totals (
    day date not null,
    kind text not null,
    model text not null,
    jobs bigint not null,
    things bigint not null,
    primary key (kind, day, model)
);
insert into daily_totals (day, kind, model, jobs, things)
select (delivered_at at time zone 'UTC')::date, kind, model, count(*), sum(things)
from deliveries where outcome = 'done'
group by 1, 2, 3;
