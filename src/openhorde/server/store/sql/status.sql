-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: running_by_lane
-- What workers have in hand, by lane, with the models that the lane names.
select j.lane, l.kind, l.models, j.jobs, j.things
from (
    select lane, count(*)::integer as jobs, sum(things)::bigint as things
    from jobs where state = 'running' group by lane
) j
join lanes l on l.id = j.lane;

-- name: speeds_by_model
-- How fast the last hour's jobs of a kind went, by model.
select model, avg(things / greatest(seconds, 0.001))::double precision as things_per_second
from deliveries
where delivered_at > now() - interval '1 hour' and kind = $1 and outcome = 'done'
group by model;

-- name: things_of_past_minute
-- What was done in the past minute, by kind.
select kind, sum(things)::bigint as things
from deliveries
where delivered_at > now() - interval '1 minute' and outcome = 'done'
group by kind;

-- name: database_answers
-- Does the database answer at all?
select true;
