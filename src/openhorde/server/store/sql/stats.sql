-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: totals_of_kind
-- What was done of a kind within the last minute, hour and day, the last 30 days (counted by days in
-- UTC) and ever: jobs and things of each.
with recent as (
    select
        count(*) filter (where delivered_at > now() - interval '1 minute') as minute_jobs,
        coalesce(sum(things) filter (where delivered_at > now() - interval '1 minute'), 0)
            as minute_things,
        count(*) filter (where delivered_at > now() - interval '1 hour') as hour_jobs,
        coalesce(sum(things) filter (where delivered_at > now() - interval '1 hour'), 0)
            as hour_things,
        count(*) as day_jobs,
        coalesce(sum(things), 0) as day_things
    from deliveries
    where delivered_at > now() - interval '1 day' and kind = $1 and outcome = 'done'
), ever as (
    select
        coalesce(sum(jobs) filter (where day > (now() at time zone 'UTC')::date - 30), 0)
            as month_jobs,
        coalesce(sum(things) filter (where day > (now() at time zone 'UTC')::date - 30), 0)
            as month_things,
        coalesce(sum(jobs), 0) as total_jobs,
        coalesce(sum(things), 0) as total_things
    from daily_totals
    where kind = $1
)
select
    minute_jobs, minute_things::bigint, hour_jobs, hour_things::bigint, day_jobs,
    day_things::bigint, month_jobs::bigint, month_things::bigint, total_jobs::bigint,
    total_things::bigint
from recent, ever;

-- name: models_of_day
-- How many jobs of a kind were done within the last day, by model.
select model, count(*) as jobs
from deliveries
where delivered_at > now() - interval '1 day' and kind = $1 and outcome = 'done'
group by model
order by jobs desc, model;

-- name: models_ever
-- How many jobs of a kind were done in the last 30 days, and ever, by model.
select model,
    coalesce(sum(jobs) filter (where day > (now() at time zone 'UTC')::date - 30), 0)::bigint
        as month_jobs,
    sum(jobs)::bigint as total_jobs
from daily_totals
where kind = $1
group by model
order by total_jobs desc, model;
