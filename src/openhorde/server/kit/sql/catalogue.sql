-- SPDX-License-Identifier: AGPL-3.0-or-later

-- name: describe_schema
-- Say all that makes up the current schema in sorted lines, without the order of columns.
with own as (
    select pg_class.*
    from pg_class
    where relnamespace = current_schema()::regnamespace
        and relname <> 'schema_migrations'
        and not exists (
            select from pg_depend
            where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'
        )
), own_types as (
    select pg_type.*
    from pg_type
    where typnamespace = current_schema()::regnamespace
        and not exists (
            select from pg_depend
            where classid = 'pg_type'::regclass and objid = pg_type.oid and deptype = 'e'
        )
), lines (line) as (
    select format('relation %s %s options %s persistence %s partition %s of %s by %s',
        relkind, relname, coalesce((select array_agg(o order by o) from unnest(reloptions) o), '{}'),
        relpersistence, pg_get_expr(relpartbound, own.oid),
        (select string_agg(inhparent::regclass::text, ',' order by inhparent::regclass::text)
            from pg_inherits where inhrelid = own.oid),
        case when relkind = 'p' then pg_get_partkeydef(own.oid) end)
    from own
    where relkind in ('r', 'p', 'f', 'm', 'v')
    union all
    select format('column %s.%s %s not null %s default %s identity %s generated %s collation %s'
        ' storage %s compression %s statistics %s',
        relname, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid), attidentity, attgenerated, attcollation::regcollation,
        attstorage, attcompression, attstattarget)
    from own
    join pg_attribute on attrelid = own.oid and attnum > 0 and not attisdropped
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relkind in ('r', 'p', 'f', 'm', 'v', 'c')
    union all
    select format('constraint %s of %s: %s, validated %s', conname, relname,
        pg_get_constraintdef(pg_constraint.oid), convalidated)
    from own
    join pg_constraint on conrelid = own.oid
    -- Said by the columns; the names given to these differ with the way they came.
    where contype <> 'n'
    union all
    select format('index %s, valid %s, cluster %s, replica identity %s', pg_get_indexdef(indexrelid),
        indisvalid, indisclustered, indisreplident)
    from own
    join pg_index on indrelid = own.oid
    union all
    select format('trigger on %s: %s, enabled %s', relname, pg_get_triggerdef(pg_trigger.oid),
        tgenabled)
    from own
    join pg_trigger on tgrelid = own.oid and not tgisinternal
    union all
    select format('rule on %s: %s', relname, pg_get_ruledef(pg_rewrite.oid))
    from own
    join pg_rewrite on ev_class = own.oid
    union all
    select format('policy %s on %s: %s %s %s %s', polname, relname, polcmd, polpermissive,
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    from own
    join pg_policy on polrelid = own.oid
    union all
    select format('statistics %s', pg_get_statisticsobjdef(pg_statistic_ext.oid))
    from own
    join pg_statistic_ext on stxrelid = own.oid
    union all
    select format('sequence %s %s start %s by %s from %s to %s cache %s cycle %s owner %s',
        relname, format_type(seqtypid, null), seqstart, seqincrement, seqmin, seqmax, seqcache,
        seqcycle, (select string_agg(pg_describe_object(refclassid, refobjid, refobjsubid), ',')
            from pg_depend
            where classid = 'pg_class'::regclass and objid = own.oid and deptype in ('a', 'i')))
    from own
    join pg_sequence on seqrelid = own.oid
    union all
    select format('function %s', pg_get_functiondef(pg_proc.oid))
    from pg_proc
    where pronamespace = current_schema()::regnamespace
        and prokind in ('f', 'p')
        and not exists (
            select from pg_depend
            where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e'
        )
    union all
    select format('enum %s: %s', typname,
        (select string_agg(enumlabel, ', ' order by enumsortorder)
            from pg_enum where enumtypid = own_types.oid))
    from own_types
    where typtype = 'e'
    union all
    select format('domain %s %s not null %s default %s: %s', typname,
        format_type(typbasetype, typtypmod), typnotnull, typdefault,
        (select string_agg(pg_get_constraintdef(pg_constraint.oid), ', ' order by conname)
            from pg_constraint where contypid = own_types.oid and contype <> 'n'))
    from own_types
    where typtype = 'd'
    union all
    select format('comment on %s: %s', pg_describe_object(classoid, objoid, objsubid), description)
    from pg_description
    where (classoid = 'pg_class'::regclass and objoid in (select oid from own))
        or (classoid = 'pg_type'::regclass and objoid in (select oid from own_types))
    union all
    select format('extension %s', extname) from pg_extension
)
select line from lines order by line;
