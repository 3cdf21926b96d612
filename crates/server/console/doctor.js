/** Which transports work from this browser, how long they take, whether events are held back, how long silence lives. */

import { element } from './log.js';
import { Probes } from './probes.js';
import { say, words } from './words.js';

/** The rows, by their names in `sockeye doctor`. */
const ROWS = ['poll', 'clock', 'longpoll', 'sse', 'sse-idle', 'websocket', 'websocket-idle', 'v1'];

export class Doctor {
  #parts;
  #refused;
  #crowd;
  #channel = '';
  /** @type {Probes | null} */
  #probes = null;
  /** @type {Record<string, HTMLElement>} */
  #rows;

  /**
   * @param {Record<string, HTMLElement>} parts the elements of the page, by id
   * @param {(problem: object) => void} refused
   * @param {import('./crowd.js').Crowd} crowd
   */
  constructor(parts, refused, crowd) {
    this.#parts = parts;
    this.#refused = refused;
    this.#crowd = crowd;
    this.#rows = Object.fromEntries(ROWS.map((name) => [name, row(name)]));
    parts.findings.append(...Object.values(this.#rows));
    parts.examine.addEventListener('click', () => this.#start());
    parts.idle.addEventListener('change', () => this.#start());
  }

  /** Begins. What is published goes into channels beside the one that is chosen. */
  open(name) {
    this.#channel = `${name.slice(0, 220)}:doctor-${Math.random().toString(36).slice(2, 8)}`;
    this.#start();
  }

  leave() {
    this.#probes?.stop();
    this.#probes = null;
  }

  async #start() {
    this.leave();
    const probes = (this.#probes = new Probes(this.#channel, Number(this.#parts.idle.value), this.#crowd));
    const tell = (name) => (finding) => this.#probes === probes && finding && show(this.#rows[name], finding);
    for (const name of ROWS) show(this.#rows[name], { verdict: 'wait', figure: '' });
    this.#say('running', words.doctor.running);
    const { problem, ...first } = await probes.poll();
    for (const [name, finding] of Object.entries(first)) tell(name)(finding);
    if (first.poll.verdict === 'ok') await this.#rest(probes, tell);
    if (this.#probes !== probes) return;
    if (problem?.code === 'unauthorized') this.#refused(problem);
    this.#conclude(problem);
  }

  /** Side by side: most of it waits. */
  #rest(probes, tell) {
    const idle = (name) => (finding) => tell(name)(finding ?? { verdict: 'skip', figure: words.doctor.notTried });
    return Promise.allSettled([
      probes.longpoll().then(tell('longpoll')),
      probes.sse(tell('sse')).then(idle('sse-idle')),
      probes.websocket(tell('websocket')).then(idle('websocket-idle')),
      probes.v1().then(tell('v1')),
    ]);
  }

  #conclude(problem) {
    for (const node of Object.values(this.#rows)) {
      if (node.dataset.verdict === 'wait') show(node, { verdict: 'skip', figure: words.doctor.notTried });
    }
    this.#say('done', this.#conclusion(problem));
  }

  #conclusion(problem) {
    const named = (key, value) => {
      const rows = ROWS.filter((name) => this.#rows[name].dataset[key] === value);
      return rows.map((name) => words.doctor.names[name]).join(', ');
    };
    const [broken, unsure] = [named('verdict', 'fail'), named('isUnsure', 'true')];
    if (problem?.code === 'unauthorized') return words.doctor.needsToken;
    if (this.#rows.poll.dataset.verdict !== 'ok' && !unsure) return words.doctor.notGoneOn;
    const told = [broken && words.doctor.broken(broken), unsure && words.doctor.unsure(unsure)].filter(Boolean);
    return told.join(' ') || words.doctor.allWell;
  }

  #say(state, text) {
    this.#parts.conclusion.dataset.state = state;
    this.#parts.conclusion.textContent = text;
  }
}

function row(name) {
  const node = element('li', 'finding');
  node.dataset.check = name;
  node.append(element('span', 'verdict'), element('h3', '', words.doctor.names[name]), element('p', 'figure'), element('p', 'advice'));
  return node;
}

/** @param {HTMLElement} node @param {import('./probes.js').Finding} finding */
function show(node, { verdict, figure, advice = '', isUnsure = false }) {
  node.dataset.verdict = verdict;
  node.dataset.isUnsure = String(isUnsure);
  const [word, , seen, todo] = node.children;
  word.textContent = words.doctor.verdicts[verdict];
  say(seen, figure);
  say(todo, advice);
}
