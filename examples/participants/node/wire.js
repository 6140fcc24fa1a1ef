// What every participant has: declare, take, answer, send on what failed (docs/wire.md).
import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const [CONNECT_MS, CONFIRM_MS, END_MS, HEARTBEAT_S] = [10_000, 20_000, 10_000, 10];
const MEANINGFUL = ['installation', 'replay-of', 'schema-version', 'traceparent', 'causation-id', 'event-id'];
export const log = (event, fields) => console.log(JSON.stringify({ at: new Date().toISOString(), event, ...fields }));
/** Trying again is pointless: the message goes to the dead letters at once. `kind` is its error type. */
export class Permanent extends Error { constructor(kind, message) { super(message); this.kind = kind; } }
class Foreign extends Error { kind = 'foreign_installation'; }

/** Declares all of it. Older installations have dead letters without an overflow: what exists stays as it is. */
async function declare(connection, channel, name, queue, delaysS) {
  const quorum = { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish', 'x-delivery-limit': 100 };
  const dying = (to) => ({ ...quorum, 'x-dead-letter-strategy': 'at-least-once',
    'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': to });
  const dead = { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 };
  const isFormer = await refuses(connection, `${queue}.dlq`, { ...dead, 'x-overflow': 'reject-publish' });
  const hops = { [`${queue}.dlq`]: isFormer ? dead : { ...dead, 'x-overflow': 'reject-publish' } };
  for (const s of delaysS) hops[`${queue}.retry.${s}s`] = { ...dying(queue), 'x-message-ttl': Math.round(s * 1000) };
  const exchanges = { 'oms.commands': 'direct', 'oms.events': 'topic', [`${queue}.failed`]: 'direct' };
  for (const [exchange, kind] of Object.entries(exchanges)) await channel.assertExchange(exchange, kind);
  for (const [each, args] of Object.entries({ ...hops, [queue]: dying(`${queue}.dlq`) })) {
    await channel.assertQueue(each, { arguments: args });
    await channel.bindQueue(each, ...(each === queue ? ['oms.commands', name] : [`${queue}.failed`, each]));
  }
}

/** Whether the broker closes a channel over a declaration. */
async function refuses(connection, queue, args) {
  const trial = await connection.createChannel();
  trial.on('error', () => {});
  return trial.assertQueue(queue, { arguments: args }).then(() => trial.close()).then(() => false, () => true);
}

function answer({ properties: { messageId, correlationId, headers: asked } }, { type, key, id, body }) {
  const headers = { 'event-id': id, 'schema-version': 1, 'causation-id': messageId };
  for (const each of ['traceparent', 'installation']) headers[each] = asked?.[each];
  return ['oms.events', key, Buffer.from(body), { type, correlationId, headers }];
}

function hop(delivery, error, queue, delaysS, maxAttempts) {
  const { fields, properties: { headers, type, messageId, correlationId }, content } = delivery;
  const asked = headers ?? {};
  const attempt = Number.isInteger(asked.attempt) && asked.attempt > 0 ? asked.attempt : 1;
  const gaveUp = error.kind !== undefined || attempt >= maxAttempts, now = new Date().toISOString();
  const to = gaveUp ? `${queue}.dlq` : `${queue}.retry.${delaysS[Math.min(attempt, delaysS.length) - 1]}s`;
  log(gaveUp ? 'message gave up' : 'message failed, trying again later', { error: error.message, to });
  const first = {
    'original-exchange': fields.exchange, 'original-routing-key': fields.routingKey, 'original-queue': queue,
    'original-message-id': messageId ?? '', 'original-type': type ?? '', 'first-failure-at': now,
  };
  for (const each of Object.keys(first)) if (typeof asked[each] === 'string') first[each] = asked[each].slice(0, 255);
  const failure = {
    ...first, 'last-failure-at': now, attempt: gaveUp ? attempt : attempt + 1,
    'error-type': error.kind ?? error.name, 'error-message': error.message.replaceAll('\0', '').slice(0, 1000),
    'error-stack': String(error.stack).split('\n').slice(1, 9).join('\n').slice(0, 4000),
    'error-permanent': error instanceof Permanent,
  };
  const saga = UUID.test(correlationId) ? correlationId : undefined;
  return [`${queue}.failed`, to, content, { type, correlationId: saga, headers: { ...carried(asked, failure), ...failure } }];
}

/** What of a message's headers there is room for beside ours: those with a meaning first, then in their order. */
function carried(headers, ours) {
  const isPlain = (value) => ['string', 'boolean'].includes(typeof value) || Number.isFinite(value);
  const isName = (each) => !each.startsWith('x-') && !(each in ours) && Buffer.byteLength(each) <= 255;
  const found = {}, names = [...MEANINGFUL, ...Object.keys(headers)].filter(isName);
  let places = 64 - Object.keys(ours).length, room = 16 * 1024;
  for (const each of new Set(names)) {
    if (!isPlain(headers[each])) continue;
    const value = typeof headers[each] === 'string' ? headers[each].replaceAll('\0', '').slice(0, 1000) : headers[each];
    room -= Buffer.byteLength(each) + Buffer.byteLength(String(value)) + 14;
    if (places-- === 0 || room < 0) break;
    found[each] = value;
  }
  return found;
}

/** Serves what has come meanwhile all at once; where that fails, each by itself. `serve` gives outcomes or errors. */
export function inBatches(limit, serve) {
  const waiting = [];
  let isWorking = false;
  const settle = async (batch) => {
    try {
      const outcomes = await serve(batch.map(({ command }) => command));
      outcomes.forEach((each, n) => (each instanceof Error ? batch[n].failed(each) : batch[n].done(each)));
    } catch (error) {
      if (batch.length === 1) return batch[0].failed(error);
      for (const one of batch) await settle([one]);
    }
  };
  const work = async () => {
    isWorking = true;
    while (waiting.length) await settle(waiting.splice(0, limit));
    isWorking = false;
  };
  return (command) => new Promise((done, failed) => {
    waiting.push({ command, done, failed });
    if (!isWorking) setImmediate(work);
    isWorking = true;
  });
}

let tries = 0;

async function connect(urls, name) {
  const target = new URL(urls[tries++ % urls.length]); // the nodes of a cluster take turns
  if (!target.searchParams.has('heartbeat')) target.searchParams.set('heartbeat', HEARTBEAT_S);
  return amqp.connect(target.href, { timeout: CONNECT_MS, clientProperties: { connection_name: name } });
}

/** Serves over one connection until it is lost or `stopping`. `handle` returns an outcome or nothing, or throws. */
export async function serve({ urls, name, delaysS, maxAttempts, prefetch, installation }, handle, stopping, onReady) {
  const queue = `${name}.commands`, returned = new Set(), underWay = new Set();
  const connection = await connect(urls, name);
  const channel = await connection.createConfirmChannel();
  let open = true;
  const lost = new Promise((done) => connection.once('close', done)).then(() => { open = false; });
  const leave = () => connection.close().catch(() => {});
  connection.on('error', ({ message }) => log('connection lost', { error: message }));
  channel.on('error', ({ message }) => log('channel lost', { error: message })).on('close', leave);
  channel.on('return', ({ properties }) => returned.add(properties.messageId));
  const publish = ([exchange, key, content, own]) => new Promise((done, failed) => {
    const messageId = randomUUID(), timestamp = Math.floor(Date.now() / 1000);
    const unheard = setTimeout(() => failed(new Error('the broker does not confirm it')), CONFIRM_MS);
    const fixed = { contentType: 'application/json', persistent: true, mandatory: true, appId: name };
    channel.publish(exchange, key, content, { ...fixed, messageId, timestamp, ...own }, (refused) => {
      clearTimeout(unheard);
      if (refused) return failed(refused);
      return returned.delete(messageId) ? failed(new Error(`no queue takes ${key}`)) : done();
    });
  });
  const serveOne = async (delivery) => {
    const theirs = installation && delivery.properties.headers?.installation;
    if (theirs && theirs !== installation) throw new Foreign('it is of another installation');
    const outcome = await handle(delivery);
    return outcome && answer(delivery, outcome);
  };
  const take = async (delivery) => { // committed, then confirmed, then acknowledged: else the command comes again
    let message = await serveOne(delivery).catch((error) => hop(delivery, error, queue, delaysS, maxAttempts));
    while (open && message) {
      try { message = await publish(message); } catch (error) {
        log('not sent, trying again', { error: error.message });
        await pause(1000);
      }
    }
    if (open) channel.ack(delivery);
  };
  await declare(connection, channel, name, queue, delaysS);
  await channel.prefetch(prefetch);
  const { consumerTag } = await channel.consume(queue, (delivery) => {
    if (delivery === null) return leave(); // somebody deleted the queue: come back and declare it anew
    const work = take(delivery).catch(({ message }) => log('comes again', { error: message }));
    return underWay.add(work) && work.then(() => underWay.delete(work));
  });
  onReady();
  await Promise.race([lost, stopping.promise]);
  if (!stopping.begun) throw new Error('the connection to the broker is gone');
  await channel.cancel(consumerTag);
  await Promise.race([Promise.all(underWay), lost, pause(END_MS)]);
  await leave();
}
