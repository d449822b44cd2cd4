-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A fault that turns out to be the request's is taken back from the worker's count.

alter table deliveries_uncounted drop constraint deliveries_uncounted_outcome_check;
alter table deliveries_uncounted add constraint deliveries_uncounted_outcome_check
    check (outcome in ('done', 'faulted', 'overdue', 'excused'));
alter table deliveries drop constraint deliveries_outcome_check;
alter table deliveries add constraint deliveries_outcome_check
    check (outcome in ('done', 'faulted', 'overdue', 'excused'));
