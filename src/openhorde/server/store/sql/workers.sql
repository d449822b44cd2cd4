-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: online_worker_ids
-- The workers that checked in lately, perhaps only of one kind or with some letters in their name.
select id from workers
where checked_in_at > now() - interval '300 seconds'
    and ($1::text is null or kind = $1)
    and ($2::text is null or position(lower($2) in lower(name)) > 0)
order by name;

-- name: worker_id_by_name
-- The worker of a name.
select id from workers where name = $1;

-- name: shown_workers
-- Everything that is shown of some workers, in the given order.
select w.id, w.kind, w.name, w.user_id, u.username as owner_name, u.roles as owner_roles,
    u.contact as owner_contact, u.public_workers, w.bridge_agent, w.threads, w.models, w.offer,
    w.address, w.info, w.maintenance, w.paused, w.speed, w.requests_fulfilled,
    w.uncompleted_jobs, w.things, w.generated_milli, w.uptime_milli, w.uptime_seconds,
    w.suspicion, w.checked_in_at > now() - interval '300 seconds' as online
from unnest($1::uuid[]) with ordinality as asked (id, place)
join workers w using (id)
join users u on u.id = w.user_id
order by asked.place;

-- name: change_worker
-- Change what is given of a worker; the message of a maintenance ends with it.
update workers
set maintenance = coalesce($2, maintenance),
    maintenance_message = case
        when not coalesce($2, maintenance) then null
        else coalesce($3, maintenance_message)
    end,
    paused = coalesce($4, paused),
    info = coalesce($5, info),
    name = coalesce($6, name)
where id = $1
returning id;

-- name: delete_worker
-- Forget a worker.
delete from workers where id = $1 returning id;
