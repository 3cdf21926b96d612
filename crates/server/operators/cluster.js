/** Asks this address how the cluster is, again and again, and shows it. */

/** How often, in milliseconds, while the page is seen. */
const PERIOD = 3000;
/** Behind by more than that many messages is late. */
const LATE = 10_000;

const find = (selector) => document.querySelector(selector);
const count = (number) => number.toLocaleString('en');

/** Seconds as people say them. */
function time(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Bytes in a unit that leaves few digits. */
function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (number >= 1024 && unit + 1 < units.length) {
    number /= 1024;
    unit += 1;
  }
  return `${unit ? number.toFixed(1) : number} ${units[unit]}`;
}

/** A cell: its text, and its class if it has one. */
function cell([text, kind]) {
  const td = document.createElement('td');
  td.textContent = text;
  if (kind) td.className = kind;
  return td;
}

/** Puts rows of cells into a table. */
function fill(table, rows) {
  find(`#${table} tbody`).replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement('tr');
      row.append(...cells.map(cell));
      return row;
    }),
  );
}

const ofNode = (node) => [
  [node.node],
  node.ready ? ['ready', 'good'] : ['not ready', 'bad'],
  [count(node.behind), node.behind > LATE ? 'number late' : 'number'],
  [node.stale >= 3 ? time(node.stale) : '–', node.stale >= 3 ? 'number bad' : 'number'],
  [node.server || '–'],
  [node.version],
  [time(node.uptime), 'number'],
];

function follower({ name, offline, current, lag }) {
  if (offline) return `${name} away`;
  if (lag > 0) return `${name} −${count(lag)}`;
  return current ? name : `${name} behind`;
}

function ofShard(shard) {
  const late = shard.followers.some(({ offline, current, lag }) => offline || !current || lag > LATE);
  const followers = shard.followers.map(follower).join(', ') || '–';
  const size = shard.max_bytes ? `${bytes(shard.bytes)} of ${bytes(shard.max_bytes)}` : bytes(shard.bytes);
  return [
    [shard.shard, 'number'],
    shard.leader ? [shard.leader] : [shard.failure ?? (shard.replicas > 1 ? 'none' : '–'), shard.failure ? 'bad' : ''],
    [followers, late ? 'late' : ''],
    [count(shard.messages), 'number'],
    [size, 'number'],
    [shard.at ?? '–'],
  ];
}

function show(status) {
  const { cluster, well, trouble, nodes, shards } = status;
  find('#name').textContent = cluster;
  say(well ? 'well' : 'wrong', well ? 'All is well' : trouble.length === 1 ? '1 thing is wrong' : `${trouble.length} things are wrong`);
  find('#trouble').hidden = well;
  find('#trouble ul').replaceChildren(
    ...trouble.map((text) => {
      const item = document.createElement('li');
      item.textContent = text;
      return item;
    }),
  );
  fill('nodes', nodes.map(ofNode));
  fill('shards', shards.map(ofShard));
  find('#asked').textContent = `asked at ${new Date().toLocaleTimeString()}`;
}

function say(state, text) {
  find('#state').dataset.state = state;
  find('#state').textContent = text;
}

async function ask() {
  try {
    const answer = await fetch('cluster', { headers: { Accept: 'application/json' } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    show(await answer.json());
  } catch {
    say('silent', 'This node does not answer');
  }
  setTimeout(ask, PERIOD);
}

ask();
