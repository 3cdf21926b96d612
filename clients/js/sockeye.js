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
const LARGE_PAGE = 512 * 1024;
class Problem extends Error {
constructor({ message, ...about }) {
super(message);
Object.assign(this, about);
}
}
class Http {
freshUntil = Infinity;
#a;
#b;
constructor(base, options) {
this.base = base;
if (!base.pathname.endsWith('/')) base.pathname += '/';
this.#a = options;
}
url(path, query = {}) {
const url = new URL(path, this.base);
const all = { ...query, as: this.#a.as };
for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
return url;
}
async token(refused) {
const { token } = this.#a;
if (typeof token !== 'function') return token === refused ? undefined : token;
if (!this.#b || this.#b === refused || Date.now() >= this.freshUntil) {
try {
this.#b = await token();
} catch ({ message }) {
throw new Problem({ message, retryAfter: 1 });
}
this.freshUntil = Date.now() + lifetime(this.#b) * 0.8;
}
return this.#b;
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
const message = detail ?? title ?? `The server answered ${status}.`;
throw new Problem({ message, status, code, retryAfter: retryAfter(response) });
}
async page(channel, query, { headers, ...init }) {
const response = await this.fetch(`c/${channel}`, { ...init, query, headers: { Accept: 'application/json', ...headers } });
const page = response.status === 304 ? { at: query.after, messages: [] } : await response.json();
const isFull = page.messages.length >= query.limit || response.headers.get('Content-Length') > LARGE_PAGE;
return { ...page, isFull, retryAfter: retryAfter(response) };
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
function retryAfter({ headers }) {
return Math.min(Number(headers.get('Retry-After')) * 1000 || 0, LONGEST_RETRY_AFTER);
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
#c = new AbortController();
#d = 0;
constructor(line, http, way) {
Object.assign(this, { line, http, way });
this.delivered = new Promise((resolve) => (this.onworks = resolve));
this.ended = new Promise((resolve) => (this.onend = resolve));
}
get signal() {
return this.#c.signal;
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
clearTimeout(this.#d);
this.#c.abort();
this.onend(reason);
}
refreshLater() {
const left = this.http.freshUntil - Date.now();
if (left < 2 ** 31) this.#d = setTimeout(() => this.refresh(), Math.max(left + 10, 1000));
}
}
const HELLO_WITHIN = 5_000;
const PONG_WITHIN = 5_000;
class SocketRun extends Run {
#e;
#f = new Map();
#g = 0;
#h = 25_000;
#i = 0;
start() {
const url = this.http.url('connect');
url.protocol = url.protocol.replace('http', 'ws');
const socket = (this.#e = new WebSocket(url, ['sockeye.v1']));
const deadline = setTimeout(() => this.end(new Error('The WebSocket does not open.')), HELLO_WITHIN);
this.delivered.then(() => clearTimeout(deadline));
socket.onclose = ({ code }) => this.end(new Error(`The WebSocket was closed (${code}).`));
socket.onmessage = ({ data }) => this.#j(JSON.parse(data));
this.signal.addEventListener('abort', () => {
clearTimeout(deadline);
clearTimeout(this.#i);
socket.onclose = socket.onmessage = null;
socket.close();
for (const { reject } of this.#f.values()) reject(new Error('The connection was lost.'));
});
}
#j(message) {
clearTimeout(this.#i);
this.#i = setTimeout(() => this.probe(), this.#h);
if (message.hello) this.#k(message.hello);
else if (message.bye) {
this.bye = true;
this.retryMs = message.bye.retry_ms;
this.end(new Error(`The server says goodbye: ${message.bye.why}.`));
} else if (message.ch) this.line.took(message.ch, message);
else this.#l(message);
}
async #k({ ping }) {
if (ping) this.#h = ping * 1000;
try {
await this.refresh();
this.works();
for (const channel of this.line.channels) this.open(channel);
} catch (error) {
if (error.status === 401) for (const { name } of this.line.channels) this.line.refused(name, error);
this.end(error);
}
}
#l({ id, ok, err }) {
const asked = this.#f.get(id);
this.#f.delete(id);
if (err) asked?.reject(new Problem({ ...err, ...(err.code === 'unauthorized' && { status: 401 }) }));
else asked?.resolve(ok);
}
#m(command, ms = ANSWER_WITHIN) {
const id = ++this.#g;
const answer = new Promise((resolve, reject) => this.#f.set(id, { resolve, reject }));
this.#e.send(JSON.stringify({ id, ...command }));
return within(ms, answer);
}
async refresh() {
const token = await this.http.token();
if (!token) return;
const show = (token) => this.#m({ op: 'auth', token });
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
const sub = await this.#m({ op: 'sub', ch: name, ...(at && { after: at }), ...(presence && { presence }) });
if (!sub.missed) this.line.stands(channel, sub.at);
} catch (error) {
if (isTransient(error)) this.end(error);
else this.line.refused(name, error);
}
}
shut(name) {
if (this.since && !this.signal.aborted) this.#m({ op: 'unsub', ch: name }).catch(() => {});
}
async publish({ channel, data, event, key }) {
const payload = isBytes(data) ? { b64: toBase64(data) } : { data };
return (await this.#m({ op: 'pub', ch: channel, ...payload, event, key })).at;
}
probe() {
if (this.since) this.#m({ op: 'ping' }, PONG_WITHIN).catch((error) => this.end(error));
}
}
const PAGE = 1000;
const HELD_REQUESTS = 4;
const FIRST_WITHIN = 5_000;
const SILENT = 40_000;
const HOLD = { first: 2, then: 25 };
class RequestRun extends Run {
#n = new Map();
#o = Date.now();
start() {
for (const channel of this.line.channels) this.open(channel);
}
async open(channel) {
const { name } = channel;
if (this.#n.has(name)) return;
const loop = new AbortController();
this.#n.set(name, loop);
const signal = AbortSignal.any([this.signal, loop.signal]);
try {
const mayHold = this.#n.size <= HELD_REQUESTS;
await (mayHold ? this.listen(channel, signal) : this.poll(channel, signal));
} catch (error) {
if (signal.aborted) return;
if (error.code && [400, 401, 403, 404].includes(error.status)) this.line.refused(name, error);
else this.end(error);
}
}
shut(name) {
this.#n.get(name)?.abort();
this.#n.delete(name);
}
heard() {
this.#o = Date.now();
this.works();
}
async poll(channel, signal) {
for (;;) {
const isFull = await this.page(channel, 0, signal);
if (!isFull) await sleep(about(this.line.pollInterval), signal);
}
}
async page({ name, at }, wait, signal) {
const query = { after: at ?? 'now', limit: PAGE, ...(wait ? { wait } : { presence: 1 }) };
const headers = at && !wait ? { 'If-None-Match': `"${at}"` } : {};
const page = await within(wait * 1000 + ANSWER_WITHIN, this.http.page(name, query, { signal, headers }));
signal.throwIfAborted();
this.heard();
this.line.tookPage(name, page);
if (page.retryAfter) this.end({ message: 'The server says goodbye.', retryAfter: page.retryAfter });
return page.isFull;
}
refresh() {
this.end();
}
probe() {
if (Date.now() - this.#o > SILENT / 2) this.end();
}
}
class StreamRun extends RequestRun {
async listen(channel, signal) {
const { name, at } = channel;
const request = { query: { meta: 1, after: at ?? 'now' }, headers: { Accept: 'text/event-stream' }, signal };
const response = await within(FIRST_WITHIN, this.http.fetch(`c/${name}`, request));
if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Error('That is no event stream.');
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
const parse = eventParser((event) => this.#p(channel, event));
for (let patience = FIRST_WITHIN; ; patience = SILENT) {
const { done, value } = await within(patience, reader.read());
signal.throwIfAborted();
if (done) throw new Error('The event stream ended.');
this.heard();
parse(value);
}
}
#p(channel, { event, id, data, retry }) {
if (retry) this.retryMs = Number(retry);
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
const IDLE = { state: 'idle', transport: null, retryAt: 0, error: null };
class Line {
#q;
#r;
#s;
#t = new Map();
#u = null;
#v = null;
#w = 0;
#x = 0;
#y = false;
#z = new AbortController();
#aa = () => {};
#ab = IDLE;
constructor(http, { transports = Object.keys(TRANSPORTS), pollInterval = 5_000 }, tell) {
this.#q = http;
this.#r = tell;
this.pollInterval = pollInterval;
this.#s = transports
.filter((name) => name !== 'websocket' || globalThis.WebSocket)
.map((name, rank) => ({ name, rank, blocked: 0, penalty: AGAIN_AFTER.first }));
const { signal } = this.#z;
globalThis.addEventListener?.('online', () => this.wake(), { signal });
globalThis.addEventListener?.('offline', () => this.#u?.probe(), { signal });
globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.wake(), { signal });
}
get channels() {
return [...this.#t.values()];
}
want(name, at, presence) {
const known = this.#t.get(name);
const channel = known ?? { name, at, presence };
if (!known || (presence && !known.presence)) {
channel.presence = presence;
this.#t.set(name, channel);
for (const run of new Set([this.#u, this.#v])) {
if (known) run?.shut(name);
run?.open(channel);
}
this.#ac();
}
if (channel.at) this.#r({ channel: name, prev: channel.at });
this.#ad();
}
keepOnly(names) {
for (const name of this.#t.keys()) if (!names.has(name)) this.#ae(name);
}
#ae(name) {
this.#t.delete(name);
this.#u?.shut(name);
if (!this.#t.size) setTimeout(() => this.#t.size || this.#u?.end(), LINGER);
}
publish(publication) {
return this.#u?.since ? this.#u.publish?.(publication) : undefined;
}
wake() {
for (const way of this.#s) way.blocked = 0;
this.#aa();
if (!this.#u?.since) return;
this.#u.probe();
this.#af();
}
close() {
this.#z.abort();
clearTimeout(this.#w);
this.#u?.end();
this.#v?.end();
this.#aa();
}
stands(channel, at) {
if (channel.at) return;
channel.at = at;
this.#r({ channel: channel.name, prev: at });
}
took(name, item) {
const channel = this.#t.get(name);
if (!channel) return;
const { join, leave, gap } = item;
if (join || leave) return this.#r({ channel: name, join, leave });
const [prev, at] = [channel.at, gap ? gap.next : item.at];
if (!at) return;
if (prev && !isPast(at, prev) && gap?.after !== prev) return;
channel.at = at;
this.#r({ channel: name, prev: prev ?? at, ...(gap ? { gap } : { message: item }) });
}
tookPage(name, { at, gap, messages }) {
if (gap) this.took(name, { gap });
for (const message of messages) this.took(name, message);
const channel = this.#t.get(name);
if (channel) this.stands(channel, at);
}
refused(name, error) {
this.#r({ channel: name, error: plain(error) });
this.#ae(name);
}
works(run) {
const before = this.#u;
this.#u = run;
if (before !== run) before?.end();
this.#ad({ ...IDLE, state: 'live', transport: run.way.name });
this.#af();
}
#ad(status) {
if (status) this.#ab = status;
this.#r(this.#ab);
}
async #ac() {
if (this.#y) return;
this.#y = true;
while (this.#t.size && !this.#z.signal.aborted) {
if (!this.#u) {
this.#ad({ ...this.#ab, state: 'connecting', transport: null });
this.#u = this.#ag(this.#ah() ?? this.#s[0]);
}
const run = this.#u;
const reason = await run.ended;
if (this.#u !== run) continue;
this.#u = null;
const delay = reason && this.#t.size ? this.#ai(run, reason) : 0;
if (delay) await this.#aj(delay, reason);
}
this.#y = false;
if (!this.#z.signal.aborted) this.#ad(IDLE);
}
#ag(way) {
const run = new TRANSPORTS[way.name](this, this.#q, way);
try {
run.start();
} catch (error) {
run.end(error);
}
return run;
}
#ah() {
return this.#s.find((way) => way.blocked <= Date.now());
}
#ai({ way, since, bye, retryMs }, { status, retryAfter = 0 }) {
const lived = since && Date.now() - since;
if (lived >= STABLE) this.#x = 0;
if (lived >= FLAPPING) way.penalty = AGAIN_AFTER.known;
else if (!bye && !retryAfter && status !== 401) {
this.#ak(way);
if (this.#ah() && !this.#x) return 0;
}
if (!this.#ah()) for (const each of this.#s) each.blocked = 0;
return Math.max(retryMs, retryAfter, backoff(this.#x++));
}
#ak(way) {
way.blocked = Date.now() + way.penalty * (0.5 + Math.random() / 2);
way.penalty = Math.min(way.penalty * 2, AGAIN_AFTER.most);
}
async #aj(delay, error) {
this.#ad({ state: 'waiting', transport: null, retryAt: Date.now() + delay, error: plain(error) });
await new Promise((resolve) => {
const timer = setTimeout(resolve, delay);
this.#aa = () => (clearTimeout(timer), resolve());
});
}
#af() {
clearTimeout(this.#w);
const better = this.#s.slice(0, this.#u.way.rank).map((way) => way.blocked);
if (!better.length || this.#v) return;
this.#w = setTimeout(() => this.#al(), Math.max(0, Math.min(...better) - Date.now()));
}
async #al() {
const way = this.#ah();
if (!this.#u?.since || !way || way.rank >= this.#u.way.rank) return;
const climber = (this.#v = this.#ag(way));
await Promise.race([climber.ended, climber.delivered]);
this.#v = null;
if (!climber.since && !this.#z.signal.aborted) this.#ak(way);
if (this.#u?.since) this.#af();
}
}
function plain({ message, code, status }) {
return { message, code, status };
}
class Subscription {
at = null;
pending = false;
ready;
#a;
#am;
#an;
#ao = null;
#z = new AbortController();
#ap = new Set();
#aq;
constructor(channel, options, owner) {
this.channel = channel;
this.presence = Boolean(options.presence);
this.#a = options;
this.#am = owner;
this.#an = String(options.after ?? 'now');
if (this.#an.includes('.')) this.at = this.#an;
this.ready = new Promise((resolve, reject) => (this.#aq = { resolve, reject }));
this.ready.catch(() => {});
}
async begin() {
if (this.#an !== 'now' && !this.at) {
this.pending = true;
await this.#ar(null);
this.pending = false;
}
if (this.at) this.#aq.resolve(this.at);
if (!this.#z.signal.aborted) this.#am.changed();
}
close() {
if (this.#z.signal.aborted) return;
this.#z.abort();
this.#am.closed();
for (const iterator of this.#ap) iterator.end();
}
take(event) {
const { error, join, leave, prev } = event;
if (error) this.#as(new Problem(error));
else if (join) this.#at('onjoin', join);
else if (leave) this.#at('onleave', leave);
else if (this.#ao) this.#ao.push(event);
else {
this.at ??= prev;
this.#aq.resolve(this.at);
if (prev !== this.at && isPast(prev, this.at)) this.#ar(prev, [event]);
else this.#au(event);
}
}
#au({ prev, message, gap }) {
const follows = prev === this.at;
if (gap && (follows || isPast(gap.next, this.at))) this.#av(gap);
if (message && (follows || (sameEpoch(message.at, this.at) && isPast(message.at, this.at)))) {
this.at = message.at;
this.#aw(opened(this.channel, message));
}
}
#av(gap) {
this.at = gap.next;
this.#aw({ gap: { channel: this.channel, ...gap } });
}
async #ar(until, late = []) {
this.#ao = late;
try {
for (let more = true; more; ) {
const page = await this.#am.read(this.at ?? this.#an, this.#z.signal);
if (page.gap) this.#av(page.gap);
for (const message of page.messages) {
this.at = message.at;
this.#aw(message);
}
this.at = page.at;
more = until && page.messages.length && isPast(until, this.at);
}
} catch (error) {
this.#as(error);
}
this.#ao = null;
for (const event of late) this.#au(event);
}
#as(error) {
if (this.#z.signal.aborted) return;
for (const iterator of this.#ap) iterator.end(error);
this.#aq.reject(error);
this.close();
this.#a.onerror?.(error);
}
#aw(item) {
if (this.#z.signal.aborted) return;
for (const iterator of this.#ap) iterator.give(item);
if (item.gap) this.#at('ongap', item.gap);
else this.#at('onmessage', item);
}
#at(name, value) {
try {
this.#a[name]?.(value);
} catch (error) {
setTimeout(() => {
throw error;
});
}
}
[Symbol.asyncIterator]() {
const waiting = [];
let [wake, ended, failure] = [null, this.#z.signal.aborted, null];
this.#ap.add({
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
#a;
#q;
#ax = new Set();
#ay = null;
#az = randomKey();
#ba = new Map();
#bb = null;
#z = new AbortController();
constructor(url = new URL('.', import.meta.url), options = {}) {
super();
this.#a = { share: !options.token, ...options };
this.#q = new Http(new URL(url, globalThis.location?.href), this.#a);
const { share } = this.#a;
if (share && globalThis.navigator?.locks && globalThis.BroadcastChannel) this.#bc(`sockeye ${this.#q.base} ${share}`);
else this.#bd();
}
subscribe(channel, options = {}) {
const subscription = new Subscription(channel, options, {
read: (after, signal) => patiently(() => this.read(channel, { after, signal }), signal),
changed: () => this.#m(),
closed: () => this.#ax.delete(subscription) && this.#m(),
});
this.#ax.add(subscription);
subscription.begin();
return subscription;
}
async publish(channel, data, { key = randomKey(), event, signal } = {}) {
const publication = { channel, data, event, key, signal };
const attempt = (n) => (n === 0 && this.#ay?.publish(publication)) || this.#q.publish(publication);
return patiently(attempt, signal, PUBLISH_ATTEMPTS);
}
async read(channel, { after, limit = 1000, signal } = {}) {
const { messages, ...page } = await this.#q.page(channel, { after, limit }, { signal });
return { ...page, messages: messages.map((message) => opened(channel, message)) };
}
async presence(channel, { after, limit = 1000, signal } = {}) {
return (await this.#q.fetch(`c/${channel}/presence`, { query: { after, limit }, signal })).json();
}
retry() {
if (this.#ay) this.#ay.wake();
else this.#bb?.postMessage({ wake: true });
}
close() {
for (const subscription of [...this.#ax]) subscription.close();
this.#z.abort();
this.#ay?.close();
this.#bb?.close();
this.#be({ state: 'closed', transport: null });
}
#bc(name) {
const { signal } = this.#z;
const untilClosed = () => new Promise((done) => signal.addEventListener('abort', done));
const hold = (lock, held) => navigator.locks.request(lock, { signal }, held).catch(() => {});
this.#bb = new BroadcastChannel(name);
this.#bb.onmessage = ({ data }) => {
if (data.lead) this.#m();
else if (data.wake) this.#ay?.wake();
else if (!data.tab) this.#be(data);
else if (this.#ay) {
if (!this.#ba.has(data.tab)) hold(`${name} ${data.tab}`, () => this.#bf({ tab: data.tab }));
this.#bf(data);
}
};
hold(`${name} ${this.#az}`, untilClosed);
hold(name, () => (this.#bd(), untilClosed()));
}
#bd() {
this.#ay = new Line(this.#q, this.#a, (event) => {
this.#bb?.postMessage(event);
this.#be(event);
});
this.#bb?.postMessage({ lead: true });
this.#m();
}
#m() {
const channels = {};
for (const { channel, at, pending, presence } of this.#ax) {
const { at: before, presence: wished } = channels[channel] ?? {};
if (!pending) channels[channel] = { at: before ?? at, presence: wished || presence };
}
const request = { tab: this.#az, channels };
if (this.#ay) this.#bf(request);
else this.#bb?.postMessage(request);
}
#bf({ tab, channels = {} }) {
this.#ba.set(tab, channels);
for (const [name, { at, presence }] of Object.entries(channels)) this.#ay.want(name, at, presence);
this.#ay.keepOnly(new Set([...this.#ba.values()].flatMap(Object.keys)));
}
#be({ channel, ...event }) {
if (channel) {
for (const each of [...this.#ax]) if (each.channel === channel) each.take(event);
} else if (event.state !== this.state || event.transport !== this.transport || event.retryAt !== this.retryAt) {
Object.assign(this, event);
this.dispatchEvent(new Event('state'));
}
}
}
