-- For compose.yaml on a developer's machine alone: every role of roles.sql, with its own name as its password.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['oms_migrate', 'oms_orchestrator', 'oms_prune', 'oms_inventory',
                                     'oms_payment', 'oms_shipping', 'oms_sandbox', 'oms_audit'] LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD %L', role_name, role_name);
    END LOOP;
END
$$;
