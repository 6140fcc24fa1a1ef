// Inventory itself: the step ledger decides, in the transaction of the effect (rules P1 to P11 of docs/wire.md).
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';
import pg from 'pg';
import { Permanent, UUID, inBatches, pause } from './wire.js';

const BATCH = 100; // commands a transaction
const [RESERVE, RELEASE, COMMIT] = ['ReserveInventory', 'ReleaseInventory', 'CommitInventory'];
const DIRECTION = { [RESERVE]: 'forward', [RELEASE]: 'compensating', [COMMIT]: 'forward' };
const REPEAT = { done: 'repeat', rejected: 'repeat', consumed: 'repeat', settled: 'repeat' };
const FENCE = { // by direction, then the state of the row: what a command may do that was not answered before
  forward: { none: 'act', ...REPEAT, undone: 'refuse', tombstone: 'refuse' },
  compensating: { done: 'undo', none: 'bury', rejected: 'bury', tombstone: 'bury', consumed: 'fail', settled: 'fail' },
};
const RULINGS = { // by direction and verdict, then the state of the row: the state it leads to; else it is denied
  'forward took_effect': { done: 'done', consumed: 'consumed', settled: 'settled' },
  'forward no_effect': { none: 'tombstone', rejected: 'tombstone', tombstone: 'tombstone', undone: 'undone' },
  'forward settled_outside': { none: 'settled', tombstone: 'settled', settled: 'settled' },
  'compensating took_effect': { undone: 'undone', settled: 'settled' },
  'compensating no_effect': { none: 'tombstone', rejected: 'tombstone', tombstone: 'tombstone' },
  'compensating settled_outside': { none: 'settled', rejected: 'settled', consumed: 'settled', settled: 'settled',
    undone: 'undone' },
};
const PASSING = /^(08|25006|40|53|57|E[A-Z]+$)|onnection (terminated|error)|timeout/; // by codes, and words of pg
const ajv = new Ajv({ formats: { uuid: UUID }, strict: false });
const SCHEMAS = process.env.WAREHOUSE_CONTRACTS ?? new URL('../../../contracts/generated', import.meta.url).pathname;
const CHECKS = new Map([RESERVE, RELEASE, COMMIT, 'SettleStep', 'AdvanceLowWaterMark'].map((type) =>
  [type, ajv.compile(JSON.parse(readFileSync(`${SCHEMAS}/commands/${type}.schema.json`)))]));

function fail(kind, message) { throw new Permanent(kind, message); }

function read({ content, properties: { type, correlationId, headers } }) {
  if ((headers?.['schema-version'] ?? 1) !== 1) fail('unknown_version', 'this schema-version is not known here');
  const check = CHECKS.get(type) ?? fail('unknown_type', 'this is no command for inventory');
  let body;
  try { body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content)); } catch { /* checked below */ }
  if (!check(body)) fail('undecodable', body === undefined ? 'not JSON in UTF-8' : ajv.errorsText(check.errors));
  if (type === 'AdvanceLowWaterMark') return { type, mark: body.mark };
  const [saga_id, order_id] = [body.saga_id.toLowerCase(), body.order_id.toLowerCase()];
  if (saga_id !== correlationId?.toLowerCase()) fail('bad_envelope', 'correlation_id is not saga_id');
  const { direction } = body, isWrong = type in DIRECTION && direction !== DIRECTION[type];
  if (isWrong) fail('wrong_direction', `${type} is never ${direction}`);
  return { ...body, type, saga_id, order_id, lines: body.lines?.map(({ sku, quantity }) => ({ sku, quantity })) };
}

/** Writes an outcome and the new state into the row: the same question gets the same answer ever after. */
function answer(row, slot, state, type, { saga_id, order_id, step, direction }, fields) {
  const key = type.replace(/Event$/, '').replace(/(?<=.)(?=[A-Z])/, '.').toLowerCase(); // inventory.reserved
  const body = JSON.stringify({ saga_id, order_id, step, direction, ...fields });
  row.answers[slot] ??= { type, key, id: randomUUID(), body };
  Object.assign(row, { state, changed: true });
  return row.answers[slot];
}

async function work(db, rows, row, command) {
  const { type, direction, order_id, lines, step } = command, act = (...outcome) => answer(row, direction, ...outcome);
  const isSame = row.command === command.work || row.command === 'SettleStep';
  if (!isSame) fail('step_mismatch', `${step} was asked for as ${row.command}`);
  const hash = createHash('sha256').update(JSON.stringify([type, order_id, lines])).digest('hex');
  const move = FENCE[direction][row.state], stored = move !== 'refuse' && row.answers[direction];
  const isOther = stored && direction === 'forward' && row.payload_hash !== hash;
  if (isOther) fail('payload_mismatch', `${step} was asked for with another payload`);
  if (stored) return stored; // P2
  const reason = 'this step has been compensated';
  const isLate = move === 'refuse' || move === 'repeat'; // P5
  if (isLate) return answer(row, 'refused', row.state, 'StepRefused', command, { reason });
  if (move === 'fail') fail(row.state, `${step} is ${row.state}`); // P11, S19
  if (move === 'bury') return act('tombstone', 'InventoryReleasedEvent', command, { effect: 'nothing' }); // P4
  const change = (what, ...times) =>
    db('SELECT warehouse.change($1, $2, $3, $4) AS shortage', JSON.stringify(what), ...times, row.saga_id);
  if (move === 'undo') { // P3: what this row holds, never what the message says
    await change(row.lines, -1, 0);
    return act('undone', 'InventoryReleasedEvent', command, { effect: 'undone', lines: row.lines });
  }
  row.payload_hash = hash; // P1
  if (type === RESERVE) {
    const { shortage } = await change(lines, 1, 0);
    if (shortage) return act('rejected', 'InventoryRejectedEvent', command, shortage); // P8
    row.lines = lines;
    return act('done', 'InventoryReservedEvent', command, { lines });
  }
  const held = rows.filter((each) => each.command === RESERVE && each.state === 'done');
  if (!held.length) fail('not_reserved', 'this saga holds no reservation that could be committed'); // P11
  row.lines = held.flatMap((each) => each.lines);
  for (const each of held) Object.assign(each, { state: 'consumed', changed: true });
  await change(row.lines, -1, 1);
  return act('done', 'InventoryReducedEvent', command, { lines: row.lines });
}

function judge(row, command) { // S19: accepted only where the ledger agrees
  const { direction, verdict, reference, amount } = command;
  const said = { direction, verdict, reference, amount };
  if (JSON.stringify(row.answers.verdict?.said) === JSON.stringify(said)) return row.answers.verdict;
  const state = RULINGS[`${direction} ${verdict}`][row.state];
  const settle = (on, fields) => answer(on, 'verdict', state, 'StepSettled', command, { verdict, ...fields });
  if (!state) return settle({ answers: {} }, { accepted: false, reason: `the ledger disagrees: it is ${row.state}` });
  delete row.answers.verdict;
  return Object.assign(settle(row, { accepted: true, reference: reference ?? undefined }), { said });
}

async function serve(db, rows, mark, command) {
  const { type, saga_id, step, order_id } = command;
  if (type === 'AdvanceLowWaterMark') {
    const { problem } = await db('SELECT warehouse.advance($1) AS problem', command.mark);
    return problem ? fail(problem, 'a mark is a time-ordered id that is six days old at least') : undefined;
  }
  const asked = type === RELEASE ? RESERVE : type, ofSaga = rows.filter((each) => each.saga_id === saga_id);
  const known = ofSaga.find((each) => each.step === step);
  if (!known && mark && saga_id < mark) fail('expired', 'the saga has ended long ago'); // P7
  const row = known ?? { saga_id, step, order_id, command: asked, state: 'none', lines: [], answers: {} };
  if (row.order_id !== order_id) fail('order_mismatch', `${step} is of another order`);
  const isVerdict = type === 'SettleStep';
  const outcome = isVerdict ? judge(row, command) : await work(db, ofSaga, row, { ...command, work: asked });
  if (row.changed && !known) rows.push(row);
  return outcome;
}

/** Serves commands in one transaction. Their outcomes in order, an error for one that fails for good. */
async function transaction(pool, commands) {
  const connection = await pool.connect();
  const db = async (text, ...values) => (await connection.query(text, values)).rows[0];
  const forGood = (error) => { if (error instanceof Permanent) return error; throw error; }; // it has changed nothing
  try {
    await db('BEGIN');
    const sagas = commands.flatMap(({ saga_id }) => saga_id ?? []), outcomes = [];
    const { rows, mark } = await db('SELECT * FROM warehouse.open($1)', sagas);
    for (const command of commands) outcomes.push(await serve(db, rows, mark, command).catch(forGood));
    const changed = JSON.stringify(rows.filter((row) => row.changed));
    await connection.query(`SELECT warehouse.save(${pg.escapeLiteral(changed)}); COMMIT`);
    connection.release();
    return outcomes;
  } catch (error) {
    connection.release(true); // closed: the server rolls back
    throw error;
  }
}

/** A delivery's outcome. Trouble of the database is waited out here, so that it burns no attempt. */
export const handler = (pool) => {
  const served = inBatches(BATCH, async (commands) => {
    for (;;) {
      try { return await transaction(pool, commands); } catch (error) {
        if (!PASSING.test(error.code ?? error.message)) throw error;
        await pause(200 + Math.random() * 800);
      }
    }
  });
  return async (delivery) => served(read(delivery));
};
