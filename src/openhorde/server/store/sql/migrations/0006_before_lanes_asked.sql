-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A process finds the lanes it has not seen by the transactions that asked for them.

alter table lanes add column asked_in xid8 not null default pg_current_xact_id();
create index lanes_by_asking on lanes (asked_in);
