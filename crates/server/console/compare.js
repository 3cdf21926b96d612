/** Four transports side by side: the same messages, what each way costs, and how late they come. Counted while you look. */

import { Chart } from './chart.js';
import { sockeye } from './connection.js';
import { EventLane, HoldLane, PollLane, SocketLane, now } from './lanes.js';
import { element } from './log.js';
import { words } from './words.js';

const LANES = { poll: PollLane, longpoll: HoldLane, sse: EventLane, ws: SocketLane };
/** What the two sliders stand for. */
const RATES = [0.2, 0.5, 1, 2, 5, 10, 20];
const INTERVALS = [0.5, 1, 2, 5, 10];
const FIGURES_EVERY_MS = 250;
const FRAME_MS = 50;
const OPEN_WITHIN_MS = 2_000;

export class Compare {
  #parts;
  #refused;
  #channel = '';
  /** @type {{name: string, chart: Chart, figures: Record<string, HTMLElement>, node: HTMLElement, lane: object | null}[]} */
  #rows;
  #number = 0;
  #publishTimer = 0;
  #figureTimer = 0;
  #drawnAt = 0;
  #isRunning = false;
  /** Which start this is, for what comes late of the one before. */
  #run = 0;

  /** @param {Record<string, HTMLElement>} parts the elements of the page, by id @param {(problem: object) => void} refused */
  constructor(parts, refused) {
    this.#parts = parts;
    this.#refused = refused;
    this.#rows = Object.keys(LANES).map((name) => this.#row(name));
    parts.lanes.append(...this.#rows.map(({ node }) => node));
    this.#setUpSlider('rate', RATES, words.perSecond);
    this.#setUpSlider('interval', INTERVALS, words.seconds);
    parts.run.addEventListener('click', () => (this.#isRunning ? this.#stop() : this.#start()));
    parts['start-over'].addEventListener('click', () => this.#startOver());
  }

  /** Begins. The messages go into a channel beside the one that is chosen, so that no conversation is disturbed. */
  open(name) {
    this.#channel = `${name.slice(0, 230)}:compare-${Math.random().toString(36).slice(2, 8)}`;
    this.#start();
  }

  leave() {
    this.#stop();
  }

  async #start() {
    const [channel, run] = [this.#channel, (this.#run += 1)];
    this.#isRunning = true;
    this.#showRunning();
    try {
      const { at } = await sockeye.read(channel, { after: 'now', limit: 1 });
      if (!this.#isRunning || run !== this.#run) return;
      await Promise.race([this.#openLanes(channel, at), pause(OPEN_WITHIN_MS)]);
    } catch (problem) {
      this.#stop();
      return this.#refused(problem);
    }
    if (!this.#isRunning || run !== this.#run) return;
    this.#publishOn();
    this.#figureTimer = setInterval(() => this.#showFigures(), FIGURES_EVERY_MS);
    requestAnimationFrame(() => this.#draw());
  }

  /** Resolves when each of them works: what is published before that would be late for no fault of its transport. */
  #openLanes(channel, at) {
    const opening = this.#rows.map(
      (row) =>
        new Promise((works) => {
          row.chart.clear();
          row.lane = new LANES[row.name](channel, at, this.#watcher(row, works));
        }),
    );
    return Promise.all(opening);
  }

  #stop() {
    this.#isRunning = false;
    clearTimeout(this.#publishTimer);
    clearInterval(this.#figureTimer);
    this.#showFigures();
    for (const row of this.#rows) {
      row.lane?.stop();
      row.lane = null;
    }
    this.#showRunning();
  }

  #watcher(row, opened) {
    return {
      request: () => {
        row.chart.request(now());
        if (row.name === 'longpoll') opened();
      },
      message: ({ n, sent }, delay) => row.chart.message(n, sent, sent + delay),
      works: (works) => {
        row.node.classList.toggle('failed', !works);
        if (works) opened();
      },
      interval: () => INTERVALS[this.#parts.interval.value] * 1000,
    };
  }

  // Not quite regularly, or polls would keep in step with it.
  #publishOn() {
    const delay = (1000 / RATES[this.#parts.rate.value]) * (0.7 + 0.6 * Math.random());
    this.#publishTimer = setTimeout(() => this.#publishOn(), delay);
    sockeye.publish(this.#channel, { n: (this.#number += 1), sent: now() }).catch((problem) => {
      if (!problem.code || !this.#isRunning) return;
      this.#stop();
      this.#refused(problem);
    });
  }

  // From the first request on: what it takes to connect is part of what a transport costs.
  #startOver() {
    this.#stop();
    this.#start();
  }

  #showRunning() {
    this.#parts.run.textContent = this.#isRunning ? words.stop : words.start;
  }

  #showFigures() {
    for (const { lane, figures } of this.#rows) {
      if (!lane) continue;
      const { tally } = lane;
      const [typical, worst] = [tally.percentile(0.5), tally.percentile(0.99)];
      figures.messages.textContent = tally.messages.toLocaleString(words.locale);
      figures.requests.textContent = tally.requests.toLocaleString(words.locale);
      figures.sent.textContent = words.size(tally.sent);
      figures.received.textContent = words.size(tally.received);
      figures.each.textContent = tally.messages ? words.size((tally.sent + tally.received) / tally.messages) : '–';
      figures.typical.textContent = typical === null ? '–' : words.delay(typical);
      figures.worst.textContent = worst === null ? '–' : words.delay(worst);
    }
  }

  // Fewer pictures where less motion is wanted.
  #draw() {
    if (!this.#isRunning) return;
    const time = performance.now();
    const frame = matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : FRAME_MS;
    if (time - this.#drawnAt >= frame) {
      this.#drawnAt = time;
      for (const { chart } of this.#rows) chart.draw(now());
    }
    requestAnimationFrame(() => this.#draw());
  }

  #setUpSlider(id, values, say) {
    const { [id]: slider, [`${id}-value`]: value } = this.#parts;
    slider.max = String(values.length - 1);
    slider.value = slider.getAttribute('value');
    const show = () => {
      value.textContent = say(values[slider.value]);
      slider.setAttribute('aria-valuetext', value.textContent);
    };
    slider.addEventListener('input', () => {
      show();
      if (this.#isRunning) this.#startOver();
    });
    show();
  }

  #row(name) {
    const [title, explanation] = words.lanes[name];
    const node = element('section', 'lane');
    node.dataset.lane = name;
    node.setAttribute('aria-label', title);
    const head = element('header');
    head.append(element('h3', '', title), element('p', '', explanation), element('p', 'failure', words.laneFailed));
    const canvas = element('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', words.chart(title));
    const list = element('dl');
    const figures = {};
    for (const [figure, text] of Object.entries(words.figures)) {
      const pair = element('div');
      pair.dataset.figure = figure;
      figures[figure] = element('dd', '', '–');
      pair.append(element('dt', '', text), figures[figure]);
      list.append(pair);
    }
    node.append(head, canvas, list);
    return { name, node, figures, chart: new Chart(canvas), lane: null };
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
