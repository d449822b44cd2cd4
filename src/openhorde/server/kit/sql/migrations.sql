-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: lock_migrations
-- Wait until nobody else migrates this database.
select pg_advisory_lock($1::bigint);

-- name: unlock_migrations
-- Let the next one migrate.
select pg_advisory_unlock($1::bigint);

-- name: has_migrations_table
-- Tell whether this database was ever set up by us.
select to_regclass('schema_migrations') is not null;

-- name: create_migrations_table
-- Make the table that remembers which migrations were applied.
create table schema_migrations (
    number integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
);

-- name: count_foreign_tables
-- Count the tables in the current schema, but those of extensions.
select count(*)
from pg_class
where relnamespace = current_schema()::regnamespace
    and relkind in ('r', 'p')
    and not exists (
        select from pg_depend
        where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
    );

-- name: list_applied_migrations
-- List what was applied, by number.
select number, name from schema_migrations order by number;

-- name: record_migration
-- Remember that a migration was applied.
insert into schema_migrations (number, name) values ($1, $2);
