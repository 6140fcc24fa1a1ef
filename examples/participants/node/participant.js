// Inventory for the OMS saga orchestrator, a process of its own. README.md says how to run it.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import pg from 'pg';
import { handler } from './ledger.js';
import { log, pause, serve } from './wire.js';

const { env } = process, stopping = new AbortController();
const pool = new pg.Pool({ connectionString: env.WAREHOUSE_DATABASE_URL, max: 8, connectionTimeoutMillis: 10_000 });
const settings = {
  url: env.OMS_BROKER_URL, name: 'inventory', prefetch: 50, maxAttempts: Number(env.OMS_MAX_ATTEMPTS ?? 5),
  delaysS: (env.OMS_RETRY_DELAYS_S ?? '1,5,30').split(',').map(Number), installation: env.OMS_INSTALLATION,
};
let trouble = 'not started yet';
const health = createServer((request, response) => response.writeHead(trouble && request.url === '/readyz' ? 503 : 200,
  { 'content-type': 'application/json' }).end(JSON.stringify({ status: trouble ? 'unavailable' : 'ok', trouble })));
if (env.OMS_HEALTH_PORT) health.listen(Number(env.OMS_HEALTH_PORT), env.OMS_HEALTH_HOST ?? '127.0.0.1');
const prune = () => pool.query('SELECT warehouse.prune()').catch(({ message }) => log('not pruned', { error: message }));
const pruning = setInterval(prune, 60_000);
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stopping.abort());
const lost = ({ message }) => log('database connection lost', { error: message }); // its transaction fails as well
pool.on('error', lost).on('connect', (connection) => connection.on('error', lost));

while (!stopping.signal.aborted) {
  try {
    await pool.query(readFileSync(new URL('tables.sql', import.meta.url), 'utf8'));
    await serve(settings, handler(pool), stopping.signal, () => { trouble = null; log('consuming'); });
  } catch (error) {
    trouble = error.message || error.code;
    log('starting again', { error: trouble });
    await pause(500 + Math.random() * 1500);
  }
}
clearInterval(pruning);
health.close();
await pool.end();
