// Sockeye, the browser client. Made by build.mjs from src/, where it is explained. MIT OR Apache-2.0.
function isPast(position, other) {
return !sameEpoch(position, other) || Number(position.split('.')[1]) > Number(other.split('.')[1]);
}
function sameEpoch(position, other) {
return position.split('.')[0] === other.split('.')[0];
}
const ANSWER_WITHIN = 10_000;
const BACKOFF = { base: 500, cap: 30_000 };
function backoff(n) {
return Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** n);
}
function about(ms) {
return ms * (0.9 + Math.random() / 5);
}
function sleep(ms, signal) {
return new Promise((resolve, reject) => {
const timer = setTimeout(resolve, ms);
signal?.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
});
}
function within(ms, promise) {
let timer;
const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('The server does not answer.')), ms)));
return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
function opened(channel, { b64, ...message }) {
if (b64 !== undefined) message.data = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
return { channel, ...message };
}
function isBytes(data) {
return data instanceof ArrayBuffer || ArrayBuffer.isView(data);
}
function toBase64(data) {
const { buffer = data, byteOffset, byteLength } = data;
const bytes = new Uint8Array(buffer, byteOffset, byteLength);
return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
function randomKey() {
return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
const LONGEST_RETRY_AFTER = 300_000;
class Problem extends Error {
constructor({ message, ...about }) {
super(message);
Object.assign(this, about);
}
}
class Http {
freshUntil = Infinity;
#options;
#token;
constructor(base, options) {
this.base = base;
if (!base.pathname.endsWith('/')) base.pathname += '/';
this.#options = options;
}
url(path, query = {}) {
const url = new URL(path, this.base);
const all = { ...query, as: this.#options.as };
for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
return url;
}
async token(refused) {
const { token } = this.#options;
if (typeof token !== 'function') return token === refused ? undefined : token;
if (!this.#token || this.#token === refused || Date.now() > this.freshUntil) {
try {
this.#token = await token();
} catch ({ message }) {
throw new Problem({ message, retryAfter: 1 });
}
this.freshUntil = Date.now() + lifetime(this.#token) * 0.8;
}
return this.#token;
}
async fetch(path, { query, headers, ...init } = {}) {
const send = (token) => {
const authorization = token && { Authorization: `Bearer ${token}` };
return fetch(this.url(path, query), { cache: 'no-store', ...init, headers: { ...authorization, ...headers } });
};
const token = await this.token();
let response = await send(token);
const fresh = response.status === 401 && token && (await this.token(token));
if (fresh) response = await send(fresh);
const { status } = response;
if (response.ok || status === 304) return response;
const { code, title, detail } = await response.json().catch(() => ({}));
const retryAfter = Math.min(Number(response.headers.get('Retry-After')) * 1000 || 0, LONGEST_RETRY_AFTER);
throw new Problem({ message: detail ?? title ?? `The server answered ${status}.`, status, code, retryAfter });
}
async page(channel, query, { headers, ...init }) {
const response = await this.fetch(`c/${channel}`, { ...init, query, headers: { Accept: 'application/json', ...headers } });
return response.status === 304 ? { at: query.after, messages: [] } : response.json();
}
async publish({ channel, data, event, key, signal }) {
const isText = typeof data === 'string';
const type = isBytes(data) ? 'application/octet-stream' : isText ? 'text/plain;charset=utf-8' : 'application/json';
const body = isBytes(data) || isText ? data : JSON.stringify(data);
const headers = { 'Content-Type': type, 'Idempotency-Key': key, ...(event && { 'Sockeye-Event': event }) };
return (await (await this.fetch(`c/${channel}`, { method: 'POST', body, headers, signal })).json()).at;
}
}
async function patiently(attempt, signal, times = Infinity) {
for (let n = 0; ; n += 1) {
try {
return await attempt(n);
} catch (error) {
signal?.throwIfAborted();
if (!isTransient(error) || n + 1 >= times) throw error;
await sleep(Math.max(error.retryAfter ?? 0, backoff(n)), signal);
}
}
}
function isTransient({ status, code, retry }) {
return retry ?? (status ? status === 429 || status >= 500 : !code);
}
function lifetime(token) {
try {
const { exp, iat } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
const left = exp * 1000 - Date.now();
return left > 0 || !iat ? (left || Infinity) : (exp - iat) * 1000;
} catch {
return Infinity;
}
}
class Run {
since = 0;
retryMs = 0;
bye = false;
#abort = new AbortController();
#refresh = 0;
constructor(line, http, way) {
Object.assign(this, { line, http, way });
this.delivered = new Promise((resolve) => (this.onworks = resolve));
this.ended = new Promise((resolve) => (this.onend = resolve));
}
get signal() {
return this.#abort.signal;
}
works() {
if (this.since || this.signal.aborted) return;
this.since = Date.now();
this.refreshLater();
this.line.works(this);
this.onworks();
}
end(reason) {
if (this.signal.aborted) return;
clearTimeout(this.#refresh);
this.#abort.abort();
this.onend(reason);
}
refreshLater() {
const left = this.http.freshUntil - Date.now();
if (left < 2 ** 31) this.#refresh = setTimeout(() => this.refresh(), Math.max(left, 1000));
}
}
const HELLO_WITHIN = 5_000;
const PONG_WITHIN = 5_000;
class SocketRun extends Run {
#socket;
#asked = new Map();
#lastId = 0;
#pingAfter = 25_000;
#idle = 0;
start() {
const url = this.http.url('connect');
url.protocol = url.protocol.replace('http', 'ws');
const socket = (this.#socket = new WebSocket(url, ['sockeye.v1']));
const deadline = setTimeout(() => this.end(new Error('The WebSocket does not open.')), HELLO_WITHIN);
this.delivered.then(() => clearTimeout(deadline));
socket.onclose = ({ code }) => this.end(new Error(`The WebSocket was closed (${code}).`));
socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
this.signal.addEventListener('abort', () => {
clearTimeout(deadline);
clearTimeout(this.#idle);
socket.onclose = socket.onmessage = null;
socket.close();
for (const { reject } of this.#asked.values()) reject(new Error('The connection was lost.'));
});
}
#heard(message) {
clearTimeout(this.#idle);
this.#idle = setTimeout(() => this.probe(), this.#pingAfter);
if (message.hello) this.#welcome(message.hello);
else if (message.bye) {
this.bye = true;
this.retryMs = message.bye.retry_ms;
this.end(new Error(`The server says goodbye: ${message.bye.why}.`));
} else if (message.ch) this.line.took(message.ch, message);
else this.#answered(message);
}
async #welcome({ ping }) {
if (ping) this.#pingAfter = ping * 1000;
try {
await this.refresh();
this.works();
for (const channel of this.line.channels) this.open(channel);
} catch (error) {
if (error.status === 401) for (const { name } of this.line.channels) this.line.refused(name, error);
this.end(error);
}
}
#answered({ id, ok, err }) {
const asked = this.#asked.get(id);
this.#asked.delete(id);
if (err) asked?.reject(new Problem({ ...err, ...(err.code === 'unauthorized' && { status: 401 }) }));
else asked?.resolve(ok);
}
#ask(command, ms = ANSWER_WITHIN) {
const id = ++this.#lastId;
const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
this.#socket.send(JSON.stringify({ id, ...command }));
return within(ms, answer);
}
async refresh() {
const token = await this.http.token();
if (!token) return;
const show = (token) => this.#ask({ op: 'auth', token });
await show(token).catch(async (error) => {
const fresh = error.status === 401 && (await this.http.token(token));
if (!fresh) throw error;
await show(fresh);
});
if (this.since) this.refreshLater();
}
async open(channel) {
if (!this.since || this.signal.aborted) return;
const { name, at, presence } = channel;
try {
const sub = await this.#ask({ op: 'sub', ch: name, ...(at && { after: at }), ...(presence && { presence }) });
if (!sub.missed) this.line.stands(channel, sub.at);
} catch (error) {
if (isTransient(error)) this.end(error);
else this.line.refused(name, error);
}
}
shut(name) {
if (this.since && !this.signal.aborted) this.#ask({ op: 'unsub', ch: name }).catch(() => {});
}
async publish({ channel, data, event, key }) {
const payload = isBytes(data) ? { b64: toBase64(data) } : { data };
return (await this.#ask({ op: 'pub', ch: channel, ...payload, event, key })).at;
}
probe() {
if (this.since) this.#ask({ op: 'ping' }, PONG_WITHIN).catch((error) => this.end(error));
}
}
const PAGE = 1000;
const HELD_REQUESTS = 4;
const FIRST_WITHIN = 5_000;
const SILENT = 40_000;
const HOLD = { first: 2, then: 25 };
class RequestRun extends Run {
#loops = new Map();
#heardAt = Date.now();
start() {
for (const channel of this.line.channels) this.open(channel);
}
async open(channel) {
const { name } = channel;
if (this.#loops.has(name)) return;
const loop = new AbortController();
this.#loops.set(name, loop);
const signal = AbortSignal.any([this.signal, loop.signal]);
try {
const mayHold = this.#loops.size <= HELD_REQUESTS;
await (mayHold ? this.listen(channel, signal) : this.poll(channel, signal));
} catch (error) {
if (signal.aborted) return;
if (error.code && [400, 401, 403, 404].includes(error.status)) this.line.refused(name, error);
else this.end(error);
}
}
shut(name) {
this.#loops.get(name)?.abort();
this.#loops.delete(name);
}
heard() {
this.#heardAt = Date.now();
this.works();
}
async poll(channel, signal) {
for (;;) {
const isFull = await this.page(channel, 0, signal);
if (!isFull) await sleep(about(this.line.pollInterval), signal);
}
}
async page({ name, at }, wait, signal) {
const query = { after: at ?? 'now', limit: PAGE, ...(wait && { wait }) };
const headers = at && !wait ? { 'If-None-Match': `"${at}"` } : {};
const page = await within(wait * 1000 + ANSWER_WITHIN, this.http.page(name, query, { signal, headers }));
signal.throwIfAborted();
this.heard();
this.line.tookPage(name, page);
return page.messages.length === PAGE;
}
refresh() {
this.end();
}
probe() {
if (Date.now() - this.#heardAt > SILENT / 2) this.end();
}
}
class StreamRun extends RequestRun {
#toldWhen = new Set();
async listen(channel, signal) {
const { name, at } = channel;
const request = { query: { meta: 1, after: at ?? 'now' }, headers: { Accept: 'text/event-stream' }, signal };
const response = await within(FIRST_WITHIN, this.http.fetch(`c/${name}`, request));
if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Error('That is no event stream.');
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
const parse = eventParser((event) => this.#event(channel, event));
for (let patience = FIRST_WITHIN; ; patience = SILENT) {
const { done, value } = await within(patience, reader.read());
signal.throwIfAborted();
if (done) throw new Error('The event stream ended.');
this.heard();
parse(value);
}
}
#event(channel, { event, id, data, retry }) {
if (retry) {
this.bye = this.#toldWhen.has(channel);
this.#toldWhen.add(channel);
this.retryMs = Number(retry);
}
if (data) this.line.took(channel.name, event === 'gap' ? { gap: JSON.parse(data) } : JSON.parse(data));
else if (id) this.line.stands(channel, id);
}
}
class HeldRun extends RequestRun {
async listen(channel, signal) {
let wait = 0;
for (;;) {
const isFull = await this.page(channel, wait, signal);
if (!isFull) wait = wait ? Math.round(about(HOLD.then)) : HOLD.first;
}
}
}
class PollRun extends RequestRun {
listen(channel, signal) {
return this.poll(channel, signal);
}
}
function eventParser(dispatch) {
let [rest, event] = ['', {}];
return (text) => {
const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
rest = lines.pop();
for (const line of lines) {
const [, field, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line);
if (!line) {
dispatch(event);
event = {};
} else if (field === 'data' && 'data' in event) event.data += `\n${value}`;
else event[field] = value;
}
};
}
const TRANSPORTS = { websocket: SocketRun, sse: StreamRun, longpoll: HeldRun, poll: PollRun };
const FLAPPING = 5_000;
const STABLE = 60_000;
const AGAIN_AFTER = { first: 60_000, known: 3_000, most: 900_000 };
const LINGER = 2_000;
class Line {
#http;
#tell;
#ways;
#channels = new Map();
#run = null;
#climber = null;
#climbTimer = 0;
#failures = 0;
#keeping = false;
#closing = new AbortController();
#wake = () => {};
#status = { state: 'idle', transport: null, retryAt: 0, error: null };
constructor(http, { transports = Object.keys(TRANSPORTS), pollInterval = 5_000 }, tell) {
this.#http = http;
this.#tell = tell;
this.pollInterval = pollInterval;
this.#ways = transports
.filter((name) => name !== 'websocket' || globalThis.WebSocket)
.map((name, rank) => ({ name, rank, blocked: 0, penalty: AGAIN_AFTER.first }));
const { signal } = this.#closing;
globalThis.addEventListener?.('online', () => this.wake(), { signal });
globalThis.addEventListener?.('offline', () => this.#run?.probe(), { signal });
globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.wake(), { signal });
}
get channels() {
return [...this.#channels.values()];
}
want(name, at, presence) {
const known = this.#channels.get(name);
const channel = known ?? { name, at, presence };
if (!known || (presence && !known.presence)) {
channel.presence = presence;
this.#channels.set(name, channel);
for (const run of new Set([this.#run, this.#climber])) {
if (known) run?.shut(name);
run?.open(channel);
}
this.#keep();
}
if (channel.at) this.#tell({ channel: name, prev: channel.at });
this.#say();
}
keepOnly(names) {
for (const name of this.#channels.keys()) if (!names.has(name)) this.#drop(name);
}
#drop(name) {
this.#channels.delete(name);
this.#run?.shut(name);
if (!this.#channels.size) setTimeout(() => this.#channels.size || this.#run?.end(), LINGER);
}
publish(publication) {
return this.#run?.since ? this.#run.publish?.(publication) : undefined;
}
wake() {
for (const way of this.#ways) way.blocked = 0;
this.#wake();
if (!this.#run?.since) return;
this.#run.probe();
this.#climbLater();
}
close() {
this.#closing.abort();
clearTimeout(this.#climbTimer);
this.#run?.end();
this.#climber?.end();
this.#wake();
}
stands(channel, at) {
if (channel.at) return;
channel.at = at;
this.#tell({ channel: channel.name, prev: at });
}
took(name, item) {
const channel = this.#channels.get(name);
if (!channel) return;
const { join, leave, gap } = item;
if (join || leave) return this.#tell({ channel: name, join, leave });
const [prev, at] = [channel.at, gap ? gap.next : item.at];
if (prev && !isPast(at, prev) && gap?.after !== prev) return;
channel.at = at;
this.#tell({ channel: name, prev: prev ?? at, ...(gap ? { gap } : { message: item }) });
}
tookPage(name, { at, gap, messages }) {
if (gap) this.took(name, { gap });
for (const message of messages) this.took(name, message);
const channel = this.#channels.get(name);
if (channel) this.stands(channel, at);
}
refused(name, { message, code, status }) {
this.#tell({ channel: name, error: { message, code, status } });
this.#drop(name);
}
works(run) {
const before = this.#run;
this.#run = run;
if (before !== run) before?.end();
this.#say({ state: 'live', transport: run.way.name, retryAt: 0, error: null });
this.#climbLater();
}
#say(status) {
if (status) this.#status = status;
this.#tell(this.#status);
}
async #keep() {
if (this.#keeping) return;
this.#keeping = true;
while (this.#channels.size && !this.#closing.signal.aborted) {
if (!this.#run) {
this.#say({ ...this.#status, state: 'connecting', transport: null });
this.#run = this.#start(this.#best() ?? this.#ways[0]);
}
const run = this.#run;
const reason = await run.ended;
if (this.#run !== run) continue;
this.#run = null;
const delay = reason && this.#channels.size ? this.#judge(run, reason) : 0;
if (delay) await this.#wait(delay, reason);
}
this.#keeping = false;
if (!this.#closing.signal.aborted) this.#say({ state: 'idle', transport: null, retryAt: 0, error: null });
}
#start(way) {
const run = new TRANSPORTS[way.name](this, this.#http, way);
try {
run.start();
} catch (error) {
run.end(error);
}
return run;
}
#best() {
return this.#ways.find((way) => way.blocked <= Date.now());
}
#judge({ way, since, bye, retryMs }, { status, retryAfter = 0 }) {
const lived = since && Date.now() - since;
if (lived >= STABLE) this.#failures = 0;
if (lived >= FLAPPING) way.penalty = AGAIN_AFTER.known;
else if (!bye && !retryAfter && status !== 401) {
this.#block(way);
if (this.#best() && !this.#failures) return 0;
}
if (!this.#best()) for (const each of this.#ways) each.blocked = 0;
return Math.max(retryMs, retryAfter, backoff(this.#failures++));
}
#block(way) {
way.blocked = Date.now() + way.penalty * (0.5 + Math.random() / 2);
way.penalty = Math.min(way.penalty * 2, AGAIN_AFTER.most);
}
async #wait(delay, { message, code, status }) {
this.#say({ state: 'waiting', transport: null, retryAt: Date.now() + delay, error: { message, code, status } });
await new Promise((resolve) => {
const timer = setTimeout(resolve, delay);
this.#wake = () => (clearTimeout(timer), resolve());
});
}
#climbLater() {
clearTimeout(this.#climbTimer);
const better = this.#ways.slice(0, this.#run.way.rank).map((way) => way.blocked);
if (!better.length || this.#climber) return;
this.#climbTimer = setTimeout(() => this.#climb(), Math.max(0, Math.min(...better) - Date.now()));
}
async #climb() {
const way = this.#best();
if (!this.#run?.since || !way || way.rank >= this.#run.way.rank) return;
const climber = (this.#climber = this.#start(way));
await Promise.race([climber.ended, climber.delivered]);
this.#climber = null;
if (!climber.since && !this.#closing.signal.aborted) this.#block(way);
if (this.#run?.since) this.#climbLater();
}
}
class Subscription {
at = null;
pending = false;
ready;
#options;
#owner;
#after;
#late = null;
#closing = new AbortController();
#iterators = new Set();
#begun;
constructor(channel, options, owner) {
this.channel = channel;
this.presence = Boolean(options.presence);
this.#options = options;
this.#owner = owner;
this.#after = String(options.after ?? 'now');
if (this.#after.includes('.')) this.at = this.#after;
this.ready = new Promise((resolve, reject) => (this.#begun = { resolve, reject }));
this.ready.catch(() => {});
}
async begin() {
if (this.#after !== 'now' && !this.at) {
this.pending = true;
await this.#catchUp(null);
this.pending = false;
}
if (this.at) this.#begun.resolve(this.at);
if (!this.#closing.signal.aborted) this.#owner.changed();
}
close() {
if (this.#closing.signal.aborted) return;
this.#closing.abort();
this.#owner.closed();
for (const iterator of this.#iterators) iterator.end();
}
take(event) {
const { error, join, leave, prev } = event;
if (error) this.#fail(new Problem(error));
else if (join) this.#call('onjoin', join);
else if (leave) this.#call('onleave', leave);
else if (this.#late) this.#late.push(event);
else {
this.at ??= prev;
this.#begun.resolve(this.at);
if (prev !== this.at && isPast(prev, this.at)) this.#catchUp(prev, [event]);
else this.#accept(event);
}
}
#accept({ prev, message, gap }) {
const follows = prev === this.at;
if (gap && (follows || isPast(gap.next, this.at))) this.#skip(gap);
if (message && (follows || (sameEpoch(message.at, this.at) && isPast(message.at, this.at)))) {
this.at = message.at;
this.#give(opened(this.channel, message));
}
}
#skip(gap) {
this.at = gap.next;
this.#give({ gap: { channel: this.channel, ...gap } });
}
async #catchUp(until, late = []) {
this.#late = late;
try {
for (let more = true; more; ) {
const page = await this.#owner.read(this.at ?? this.#after, this.#closing.signal);
if (page.gap) this.#skip(page.gap);
for (const message of page.messages) {
this.at = message.at;
this.#give(message);
}
this.at = page.at;
more = until && page.messages.length && isPast(until, this.at);
}
} catch (error) {
this.#fail(error);
}
this.#late = null;
for (const event of late) this.#accept(event);
}
#fail(error) {
if (this.#closing.signal.aborted) return;
for (const iterator of this.#iterators) iterator.end(error);
this.#begun.reject(error);
this.close();
this.#options.onerror?.(error);
}
#give(item) {
if (this.#closing.signal.aborted) return;
for (const iterator of this.#iterators) iterator.give(item);
if (item.gap) this.#call('ongap', item.gap);
else this.#call('onmessage', item);
}
#call(name, value) {
try {
this.#options[name]?.(value);
} catch (error) {
setTimeout(() => {
throw error;
});
}
}
[Symbol.asyncIterator]() {
const waiting = [];
let [wake, ended, failure] = [null, this.#closing.signal.aborted, null];
this.#iterators.add({
give: (item) => (waiting.push(item), wake?.()),
end: (error) => ((ended = true), (failure ??= error), wake?.()),
});
const next = async () => {
while (!waiting.length && !ended) await new Promise((resolve) => (wake = resolve));
if (failure && !waiting.length) throw failure;
return { done: !waiting.length, value: waiting.shift() };
};
return { next, return: async () => (this.close(), { done: true, value: undefined }) };
}
}
const PUBLISH_ATTEMPTS = 6;
export class Sockeye extends EventTarget {
state = 'idle';
transport = null;
retryAt = 0;
error = null;
#options;
#http;
#subscriptions = new Set();
#line = null;
#tab = randomKey();
#wanted = new Map();
#others = null;
#closing = new AbortController();
constructor(url = new URL('.', import.meta.url), options = {}) {
super();
this.#options = { share: !options.token, ...options };
this.#http = new Http(new URL(url, globalThis.location?.href), this.#options);
const { share } = this.#options;
if (share && globalThis.navigator?.locks && globalThis.BroadcastChannel) this.#join(`sockeye ${this.#http.base} ${share}`);
else this.#lead();
}
subscribe(channel, options = {}) {
const subscription = new Subscription(channel, options, {
read: (after, signal) => patiently(() => this.read(channel, { after, signal }), signal),
changed: () => this.#ask(),
closed: () => this.#subscriptions.delete(subscription) && this.#ask(),
});
this.#subscriptions.add(subscription);
subscription.begin();
return subscription;
}
async publish(channel, data, { key = randomKey(), event, signal } = {}) {
const publication = { channel, data, event, key, signal };
const attempt = (n) => (n === 0 && this.#line?.publish(publication)) || this.#http.publish(publication);
return patiently(attempt, signal, PUBLISH_ATTEMPTS);
}
async read(channel, { after, limit = 1000, signal } = {}) {
const { messages, ...page } = await this.#http.page(channel, { after, limit }, { signal });
return { ...page, messages: messages.map((message) => opened(channel, message)) };
}
async presence(channel, { signal } = {}) {
return (await this.#http.fetch(`c/${channel}/presence`, { signal })).json();
}
retry() {
if (this.#line) this.#line.wake();
else this.#others?.postMessage({ wake: true });
}
close() {
for (const subscription of [...this.#subscriptions]) subscription.close();
this.#closing.abort();
this.#line?.close();
this.#others?.close();
this.#others = null;
this.#take({ state: 'closed', transport: null });
}
#join(name) {
const { signal } = this.#closing;
const untilClosed = () => new Promise((done) => signal.addEventListener('abort', done));
const hold = (lock, held) => navigator.locks.request(lock, { signal }, held).catch(() => {});
this.#others = new BroadcastChannel(name);
this.#others.onmessage = ({ data }) => {
if (data.lead) this.#ask();
else if (data.wake) this.#line?.wake();
else if (!data.tab) this.#take(data);
else if (this.#line) {
if (!this.#wanted.has(data.tab)) hold(`${name} ${data.tab}`, () => this.#want({ tab: data.tab }));
this.#want(data);
}
};
hold(`${name} ${this.#tab}`, untilClosed);
hold(name, () => (this.#lead(), untilClosed()));
}
#lead() {
this.#line = new Line(this.#http, this.#options, (event) => {
this.#others?.postMessage(event);
this.#take(event);
});
this.#others?.postMessage({ lead: true });
this.#ask();
}
#ask() {
const channels = {};
for (const { channel, at, pending, presence } of this.#subscriptions) {
const { at: before, presence: wished } = channels[channel] ?? {};
if (!pending) channels[channel] = { at: before ?? at, presence: wished || presence };
}
const request = { tab: this.#tab, channels };
if (this.#line) this.#want(request);
else this.#others?.postMessage(request);
}
#want({ tab, channels = {} }) {
this.#wanted.set(tab, channels);
for (const [name, { at, presence }] of Object.entries(channels)) this.#line.want(name, at, presence);
this.#line.keepOnly(new Set([...this.#wanted.values()].flatMap(Object.keys)));
}
#take({ channel, ...event }) {
if (channel) {
for (const each of [...this.#subscriptions]) if (each.channel === channel) each.take(event);
} else if (event.state !== this.state || event.transport !== this.transport || event.retryAt !== this.retryAt) {
Object.assign(this, event);
this.dispatchEvent(new Event('state'));
}
}
}
