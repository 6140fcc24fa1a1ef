// Inventory for the OMS saga orchestrator, a process of its own. README.md says how to run it.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import pg from 'pg';
import { handler } from './ledger.js';
import { log, pause, serve } from './wire.js';

const { env } = process, stopping = { begun: false };
const pool = new pg.Pool({ connectionString: env.WAREHOUSE_DATABASE_URL, max: 2, connectionTimeoutMillis: 10_000,
  query_timeout: 30_000, idle_in_transaction_session_timeout: 30_000, keepAlive: true });
const settings = {
  name: 'inventory', prefetch: 200, urls: (env.OMS_BROKER_URL ?? '').split(','),
  maxAttempts: Number(env.OMS_MAX_ATTEMPTS ?? 5), installation: env.WAREHOUSE_INSTALLATION,
  delaysS: (env.OMS_RETRY_DELAYS_S ?? '1,5,30').split(',').map(Number),
};
const wrong = Object.entries({
  OMS_BROKER_URL: settings.urls.every((each) => /^amqps?:$/.test(URL.canParse(each) && new URL(each).protocol)),
  WAREHOUSE_DATABASE_URL: /^postgres(ql)?:/.test(env.WAREHOUSE_DATABASE_URL),
  OMS_RETRY_DELAYS_S: settings.delaysS.every((each) => each > 0 && each < 1e6),
  OMS_MAX_ATTEMPTS: Number.isInteger(settings.maxAttempts) && settings.maxAttempts > 0,
}).filter(([, isGood]) => !isGood).map(([name]) => name);
const complaint = `missing or not understood: ${wrong.join(', ')} (see README.md)`;
if (wrong.length) { console.error(complaint); process.exit(2); }
let trouble = 'not started yet';
const health = createServer(({ url }, response) => response
  .writeHead(trouble && url === '/readyz' ? 503 : 200, { 'content-type': 'application/json' })
  .end(JSON.stringify({ status: trouble ? 'unavailable' : 'ok', trouble })));
if (env.OMS_HEALTH_PORT) health.listen(Number(env.OMS_HEALTH_PORT), env.WAREHOUSE_HEALTH_HOST ?? '127.0.0.1');
const prune = () => pool.query('SELECT warehouse.prune()')
  .catch(({ message }) => log('not pruned', { error: message }));
setInterval(prune, 60_000);
stopping.promise = new Promise((done) => {
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => done(stopping.begun = true));
});
const lost = ({ message }) => log('database connection lost', { error: message }); // its transaction fails as well
pool.on('error', lost).on('connect', (connection) => connection.on('error', lost));

while (!stopping.begun) {
  try {
    await pool.query(readFileSync(new URL('tables.sql', import.meta.url), 'utf8'));
    await serve(settings, handler(pool), stopping, () => { trouble = null; log('consuming'); });
  } catch (error) {
    trouble = error.message || error.code;
    log('starting again', { error: trouble });
    await Promise.race([stopping.promise, pause(500 + Math.random() * 1500)]);
  }
}
health.close();
await Promise.race([pool.end(), pause(5_000)]);
process.exit();
