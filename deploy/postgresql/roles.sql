-- A role for each service, with the rights that its work needs and no others.
--
-- Run it as a superuser, or as a role that may create roles and owns the database, in the database of the services:
--
--     psql --set ON_ERROR_STOP=1 --file deploy/postgresql/roles.sql postgresql://postgres@host/oms
--
-- before the first `oms migrate`, and again after each `oms migrate`: tables that are new get the rights of their
-- schema at once; the second run narrows them for the few that are read or only written to. It may be run as often as
-- one likes, also on an installation that had a single role for everything: its tables then change their owner.
--
-- Roles are made without a password, and nobody can log in with a password until one is set:
--
--     \password oms_payment          (in psql; the password itself never crosses the wire or a log)
--
-- Where services have databases of their own, run it in each of them.

BEGIN;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['oms_migrate', 'oms_orchestrator', 'oms_prune', 'oms_inventory',
                                     'oms_payment', 'oms_shipping', 'oms_sandbox', 'oms_audit'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'oms_migrate', 'MEMBER') THEN -- no superuser: what it owns is given away below
        EXECUTE format('GRANT oms_migrate TO %I', current_user);
    END IF;
    -- Nobody else may even connect, and nobody may make temporary tables.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO oms_migrate, oms_orchestrator, oms_prune, oms_inventory, '
                   'oms_payment, oms_shipping, oms_sandbox, oms_audit', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- oms_migrate owns the schemas and all that is in them. Only `oms migrate` uses it.
CREATE SCHEMA IF NOT EXISTS orchestrator;
CREATE SCHEMA IF NOT EXISTS inventory;
CREATE SCHEMA IF NOT EXISTS payment;
CREATE SCHEMA IF NOT EXISTS shipping;
CREATE SCHEMA IF NOT EXISTS sandbox;

DO $$
DECLARE
    schema_name text;
    table_name text;
    role_name text;
BEGIN
    FOREACH schema_name IN ARRAY ARRAY['orchestrator', 'inventory', 'payment', 'shipping', 'sandbox'] LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO oms_migrate', schema_name);
        FOR table_name IN SELECT tablename FROM pg_tables WHERE schemaname = schema_name LOOP
            EXECUTE format('ALTER TABLE %I.%I OWNER TO oms_migrate', schema_name, table_name);
        END LOOP;
        -- What an earlier version of this file, or a person, gave is taken back first.
        FOREACH role_name IN ARRAY ARRAY['oms_orchestrator', 'oms_prune', 'oms_inventory', 'oms_payment',
                                         'oms_shipping', 'oms_sandbox', 'oms_audit'] LOOP
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', schema_name, role_name);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', schema_name, role_name);
        END LOOP;
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', schema_name);

        -- The auditor reads everything, and what later migrations add.
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO oms_audit', schema_name);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO oms_audit', schema_name);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE oms_migrate IN SCHEMA %I '
                       'GRANT SELECT ON TABLES TO oms_audit', schema_name);
    END LOOP;

    -- Each participant, and the sandbox: the rows of its own schema.
    FOREACH schema_name IN ARRAY ARRAY['inventory', 'payment', 'shipping', 'sandbox'] LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, 'oms_' || schema_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I',
                       schema_name, 'oms_' || schema_name);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE oms_migrate IN SCHEMA %I '
                       'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', schema_name, 'oms_' || schema_name);
    END LOOP;
END
$$;

-- The orchestrator and the HTTP API write, and take nothing away: only rows of the outbox go once they are confirmed.
GRANT USAGE ON SCHEMA orchestrator TO oms_orchestrator;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA orchestrator TO oms_orchestrator;
ALTER DEFAULT PRIVILEGES FOR ROLE oms_migrate IN SCHEMA orchestrator -- the outbox is made after the first run
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO oms_orchestrator;

-- `oms prune` alone removes what has ended long ago. A role of its own, so that whoever gets hold of a service that
-- faces the network cannot remove sagas and their histories. The audit log it can only add to, as everybody.
GRANT USAGE ON SCHEMA orchestrator TO oms_prune;

DO $$
DECLARE
    schema_name text;
BEGIN
    IF to_regclass('orchestrator.audit_log') IS NULL THEN
        RETURN; -- the first run: there are no tables yet
    END IF;
    GRANT DELETE ON orchestrator.outbox TO oms_orchestrator;
    -- The history and the audit log: what is written stays as it was written.
    REVOKE UPDATE ON orchestrator.history, orchestrator.audit_log FROM oms_orchestrator;
    ALTER DEFAULT PRIVILEGES FOR ROLE oms_migrate IN SCHEMA orchestrator REVOKE DELETE ON TABLES FROM oms_orchestrator;

    GRANT SELECT ON orchestrator.schema_version, orchestrator.audit_log TO oms_prune;
    GRANT SELECT, DELETE ON orchestrator.sagas, orchestrator.orders, orchestrator.history,
        orchestrator.dead_letters, orchestrator.idempotency_keys, orchestrator.jobs,
        orchestrator.job_items TO oms_prune;
    IF to_regclass('orchestrator.saga_references') IS NOT NULL THEN
        GRANT SELECT, DELETE ON orchestrator.saga_references, orchestrator.saga_metadata TO oms_prune;
    END IF;
    -- FOR UPDATE, by which it holds the rows that are about to go, asks for the right to update a column of each.
    GRANT UPDATE (saga_id) ON orchestrator.sagas TO oms_prune;
    GRANT UPDATE (dead_letter_id) ON orchestrator.dead_letters TO oms_prune;
    GRANT UPDATE (customer_id) ON orchestrator.idempotency_keys TO oms_prune;
    GRANT UPDATE (job_id) ON orchestrator.jobs TO oms_prune;
    GRANT SELECT, INSERT, UPDATE ON orchestrator.retention TO oms_prune;
    GRANT INSERT ON orchestrator.audit_log, orchestrator.outbox TO oms_prune;
    -- What receivers of webhooks know senders by is nothing to look at.
    IF to_regclass('orchestrator.webhooks') IS NOT NULL THEN
        REVOKE SELECT ON orchestrator.webhooks FROM oms_audit;
    END IF;

    -- Which revision a schema is at, and whose it is, is for `oms migrate` to write.
    FOREACH schema_name IN ARRAY ARRAY['orchestrator', 'inventory', 'payment', 'shipping', 'sandbox'] LOOP
        IF to_regclass(format('%I.schema_version', schema_name)) IS NOT NULL THEN
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I.schema_version FROM %I',
                           schema_name, 'oms_' || schema_name);
        END IF;
        IF to_regclass(format('%I.installation', schema_name)) IS NOT NULL THEN
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I.installation FROM %I',
                           schema_name, 'oms_' || schema_name);
        END IF;
    END LOOP;
END
$$;

COMMIT;
