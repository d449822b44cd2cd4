-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: keep_secret
-- The secret of this name, made from the given bytes if there is none yet.
with made as (
    insert into secrets (name, value) values ($1, $2) on conflict do nothing returning value
)
select value from made union all select value from secrets where name = $1 limit 1;

-- name: count_deliveries
-- Add a batch of deliveries to the counters of workers, users and days; a worker that gives up too many
-- jobs within an hour ($1, by kind) is put into maintenance. Of the kinds in $4 the speed is all that
-- was done lately by all the time it took, of others the mean of the jobs' speeds. Answers the workers
-- whose numbers changed.
with batch as (
    delete from deliveries_uncounted
    where ctid = any (array(select ctid from deliveries_uncounted limit $3))
    returning *
), kept as (
    insert into deliveries (
        job_id, kind, outcome, worker_id, owner_id, user_id, model, things, seconds, reward_milli,
        delivered_at
    )
    select * from batch
), per_worker as (
    select worker_id,
        count(*) filter (where outcome = 'done') as done,
        coalesce(sum(things) filter (where outcome = 'done'), 0) as things,
        coalesce(sum(reward_milli) filter (where outcome = 'done'), 0) as reward_milli,
        count(*) filter (where outcome in ('faulted', 'overdue')) as failed,
        count(*) filter (where outcome = 'excused') as excused
    from batch group by worker_id
), aborted as (
    select p.worker_id,
        greatest(0, p.failed - p.excused + case
            when w.aborted_since < now() - interval '1 hour' then 0 else w.aborted_jobs
        end) as jobs,
        case
            when w.aborted_since < now() - interval '1 hour' and p.failed > 0 then now()
            else w.aborted_since
        end as since,
        ($1::jsonb ->> w.kind)::integer as jobs_max
    from per_worker p join workers w on w.id = p.worker_id
), worker_counters as (
    update workers w
    set requests_fulfilled = w.requests_fulfilled + p.done,
        things = w.things + p.things,
        generated_milli = w.generated_milli + p.reward_milli,
        uncompleted_jobs = greatest(0, w.uncompleted_jobs + p.failed - p.excused),
        aborted_jobs = case when a.jobs > a.jobs_max then 0 else a.jobs end,
        aborted_since = a.since,
        suspicion = w.suspicion + (a.jobs > a.jobs_max)::integer,
        maintenance = w.maintenance or a.jobs > a.jobs_max,
        maintenance_message = case
            when a.jobs > a.jobs_max then $2::text else w.maintenance_message
        end,
        speed = coalesce((
            select case
                when w.kind = any ($4::text[])
                    then sum(latest.things) / greatest(sum(latest.seconds), 0.001)
                else avg(latest.things / greatest(latest.seconds, 0.001))
            end
            from (
                (
                    select d.delivered_at, d.things, d.seconds from deliveries d
                    where d.worker_id = w.id and d.outcome = 'done'
                    order by d.id desc limit 20
                )
                union all
                select b.delivered_at, b.things, b.seconds from batch b
                where b.worker_id = w.id and b.outcome = 'done'
                order by delivered_at desc limit 20
            ) as latest
        ), w.speed)
    from per_worker p join aborted a on a.worker_id = p.worker_id
    where w.id = p.worker_id
    returning w.name
), by_day as (
    insert into daily_totals as t (day, kind, model, jobs, things)
    select (delivered_at at time zone 'UTC')::date, kind, model, count(*), sum(things)
    from batch where outcome = 'done'
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (kind, day, model) do update
    set jobs = t.jobs + excluded.jobs, things = t.things + excluded.things
), records as (
    insert into user_records as r (
        user_id, kind, requests, usage_things, fulfilments, contributed_things
    )
    select user_id, kind, sum(requests), sum(usage_things), sum(fulfilments), sum(contributed)
    from (
        select b.user_id, b.kind, 1 as requests,
            round(b.things * coalesce(u.usage_multiplier, 1))::bigint as usage_things,
            0 as fulfilments, 0 as contributed
        from batch b left join users u on u.id = b.user_id
        where b.outcome = 'done'
        union all
        select owner_id, kind, 0, 0, 1, things from batch where outcome = 'done'
    ) as part
    group by user_id, kind
    on conflict (user_id, kind) do update
    set requests = r.requests + excluded.requests,
        usage_things = r.usage_things + excluded.usage_things,
        fulfilments = r.fulfilments + excluded.fulfilments,
        contributed_things = r.contributed_things + excluded.contributed_things
)
select (select count(*) from batch)::integer as counted,
    coalesce((select array_agg(name) from worker_counters), '{}') as workers;

-- name: prune_deliveries
-- Forget some of the deliveries that are of no use for recent figures.
delete from deliveries where id = any (array(
    select id from deliveries where delivered_at < $1 order by delivered_at limit 10000
));

-- name: take_uptime
-- Workers that have been up long enough since their last reward; their time counts as rewarded.
update workers w set uptime_rewarded_seconds = w.uptime_seconds
from users u
where u.id = w.user_id and w.uptime_seconds - w.uptime_rewarded_seconds > $1::integer
returning w.id, w.kind, w.user_id, w.uptime_seconds, w.models, w.offer,
    'trusted' = any (u.roles) as owner_trusted;

-- name: add_uptime_reward
-- Add a reward to what a worker has earned by being there.
update workers set uptime_milli = uptime_milli + $2 where id = $1;

-- name: escrows
-- Owners with something in escrow, and what decides whether they get it.
select u.id as user_id, a.balance_milli as escrow_milli, u.suspicion,
    'trusted' = any (u.roles) as trusted,
    extract(epoch from now() - u.created_at)::bigint as age_seconds
from accounts a
join users u on a.number = 2 * u.id::bigint + 1
where a.balance_milli > 0 and ('trusted' = any (u.roles) or a.balance_milli > $1)
    and not exists (
        select from transfers_unfolded f
        join transfers t on t.source_id = f.source_id and t.purpose = any (f.purposes)
        where t.debit = a.number
    )
for update of u;

-- name: trust_user
-- Give an account the role, and let its workers work.
with trusted as (
    update users set roles = array_append(roles, 'trusted')
    where id = $1 and not 'trusted' = any (roles)
    returning id
)
update workers set paused = false from trusted where workers.user_id = trusted.id;
