-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: notify
-- Send the payloads to every process that listens on the channel.
select pg_notify($1, payload) from unnest($2::text[]) as payload;

-- name: still_there
-- Does the server still answer?
select 1;
