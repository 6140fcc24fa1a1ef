-- What the Node.js inventory keeps, in a schema of its own. Run at every start; changes nothing that is there.
SELECT pg_advisory_xact_lock(hashtextextended('warehouse', 0));
CREATE SCHEMA IF NOT EXISTS warehouse;

-- One row per (saga, step): what was done, what was answered, what is needed to undo it.
CREATE TABLE IF NOT EXISTS warehouse.ledger (
    saga_id uuid, step text, order_id uuid NOT NULL,
    command text NOT NULL,
    state text NOT NULL CHECK (state IN ('done', 'rejected', 'undone', 'tombstone', 'consumed', 'settled')),
    payload_hash text,
    lines json NOT NULL,
    answers json NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (saga_id, step)
);
CREATE TABLE IF NOT EXISTS warehouse.stock (
    sku text PRIMARY KEY, on_hand bigint NOT NULL, reserved bigint NOT NULL,
    CONSTRAINT never_oversold CHECK (0 <= reserved AND reserved <= on_hand)
);
-- Every change of on_hand; saga_id is NULL where a person has counted.
CREATE TABLE IF NOT EXISTS warehouse.movements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku text NOT NULL, quantity bigint NOT NULL, saga_id uuid, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS warehouse.retention (
    id int PRIMARY KEY CHECK (id = 1), mark uuid NOT NULL, advanced_at timestamptz NOT NULL
);

-- The rows of some sagas, and after them the low-water mark (P7), once nobody else works on these sagas.
CREATE OR REPLACE FUNCTION warehouse.open(sagas uuid[], OUT rows json, OUT mark uuid) LANGUAGE plpgsql AS $$
DECLARE key bigint;
BEGIN
    FOR key IN SELECT DISTINCT hashtextextended(saga::text, 0) FROM unnest(sagas) AS saga ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(key);
    END LOOP;
    rows := (SELECT coalesce(json_agg(l), '[]') FROM warehouse.ledger AS l WHERE l.saga_id = ANY (sagas));
    mark := (SELECT r.mark FROM warehouse.retention AS r);
END $$;

CREATE OR REPLACE FUNCTION warehouse.save(given json) RETURNS void LANGUAGE sql AS $$
    INSERT INTO warehouse.ledger
    SELECT saga_id, step, order_id, command, state, payload_hash, lines, answers, clock_timestamp()
    FROM json_populate_recordset(NULL::warehouse.ledger, given)
    ON CONFLICT (saga_id, step) DO UPDATE SET (state, payload_hash, lines, answers, updated_at)
        = (excluded.state, excluded.payload_hash, excluded.lines, excluded.answers, excluded.updated_at)
$$;

-- Change the stock by so many times the lines: all of them, or none and say why. Locks in the order of SKU.
CREATE OR REPLACE FUNCTION warehouse.change(lines json, held int, left_by int, saga uuid) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    wanted jsonb := (SELECT jsonb_object_agg(sku, pieces) FROM (
        SELECT line ->> 'sku' AS sku, sum((line ->> 'quantity')::bigint) AS pieces
        FROM json_array_elements(lines) AS line GROUP BY 1) AS summed);
    unknown text[];
    short text[];
BEGIN
    PERFORM FROM warehouse.stock WHERE sku IN (SELECT jsonb_object_keys(wanted)) ORDER BY sku FOR UPDATE;
    SELECT array_agg(key) FILTER (WHERE s.sku IS NULL),
           array_agg(key) FILTER (WHERE s.on_hand - s.reserved < held * value::numeric)
    INTO unknown, short FROM jsonb_each_text(wanted) LEFT JOIN warehouse.stock AS s ON s.sku = key;
    IF coalesce(unknown, short) IS NOT NULL THEN
        RETURN json_build_object('skus', coalesce(unknown, short), 'code',
            CASE WHEN unknown IS NULL THEN 'out_of_stock' ELSE 'unknown_sku' END);
    END IF;
    UPDATE warehouse.stock SET reserved = reserved + held * value::bigint, on_hand = on_hand - left_by * value::bigint
    FROM jsonb_each_text(wanted) WHERE sku = key;
    INSERT INTO warehouse.movements (sku, quantity, saga_id)
    SELECT key, -left_by * value::bigint, saga FROM jsonb_each_text(wanted) WHERE left_by <> 0;
    RETURN NULL;
END $$;

-- A person has counted: SELECT warehouse.set_on_hand('SKU-1', 10).
CREATE OR REPLACE FUNCTION warehouse.set_on_hand(product text, counted bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE was bigint;
BEGIN
    INSERT INTO warehouse.stock VALUES (product, 0, 0) ON CONFLICT DO NOTHING;
    SELECT on_hand INTO was FROM warehouse.stock WHERE sku = product FOR UPDATE;
    UPDATE warehouse.stock SET on_hand = counted WHERE sku = product;
    INSERT INTO warehouse.movements (sku, quantity) SELECT product, counted - was WHERE counted <> was;
END $$;

-- Take a low-water mark, unless it lets go of what may still be at work: says then why not (P7).
CREATE OR REPLACE FUNCTION warehouse.advance(given uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE made_at_ms bigint := ('x' || left(replace(given::text, '-', ''), 12))::bit(48)::bigint;
BEGIN
    IF substr(given::text, 15, 1) <> '7' THEN RETURN 'bad_mark'; END IF;
    IF to_timestamp(made_at_ms / 1000.0) > clock_timestamp() - interval '6 days' THEN RETURN 'mark_too_young'; END IF;
    INSERT INTO warehouse.retention AS r VALUES (1, given, clock_timestamp()) ON CONFLICT (id) DO UPDATE
        SET mark = excluded.mark, advanced_at = excluded.advanced_at WHERE excluded.mark > r.mark;
    RETURN NULL;
END $$;

-- Remove what has ended behind the mark, a minute after it came to be; what holds stock stays.
CREATE OR REPLACE FUNCTION warehouse.prune() RETURNS void LANGUAGE sql AS $$
    DELETE FROM warehouse.ledger AS l USING warehouse.retention AS r
    WHERE l.saga_id < r.mark AND l.updated_at < r.advanced_at
      AND r.advanced_at < clock_timestamp() - interval '1 minute'
      AND NOT (l.state = 'done' AND l.command = 'ReserveInventory')
$$;
