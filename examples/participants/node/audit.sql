-- For `oms audit`: the books of this inventory in the form in which the audit reads any inventory's.
-- Run it once in the database that holds schema warehouse, and name that database in OMS_AUDIT_DATABASE_URL.
CREATE SCHEMA inventory;
CREATE VIEW inventory.ledger AS
    SELECT saga_id, step, order_id, command, state, answers -> 'verdict' AS verdict,
           convert_to(answers -> 'forward' ->> 'body', 'UTF8') AS forward_body
    FROM warehouse.ledger;
CREATE VIEW inventory.stock AS SELECT sku, on_hand, reserved FROM warehouse.stock;
CREATE VIEW inventory.stock_movements AS
    SELECT sku, CASE WHEN saga_id IS NULL THEN 'adjustment' ELSE 'reduction' END AS kind, quantity, saga_id
    FROM warehouse.movements;
CREATE VIEW inventory.retention AS SELECT mark FROM warehouse.retention;
