-- SPDX-License-Identifier: AGPL-3.0-or-later
-- How many bytes a request's source pictures take in the store. Those of requests that are there
-- already are not counted; they go with their requests.

alter table requests
    add column source_bytes bigint not null default 0 check (source_bytes >= 0);
create index requests_with_sources on requests (user_id, client_address)
    include (source_bytes, ended_at) where source_bytes > 0;
