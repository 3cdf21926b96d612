/** The picture of a lane: each message a line from the moment of publishing to the moment of arrival, each request a tick. */

const SPAN_MS = 20_000;
/** Lines of messages that overlap in time lie below each other. */
const ROWS = 8;
const TICKS_PX = 10;
const HEAD_PX = 2.5;

export class Chart {
  #canvas;
  /** @type {{row: number, from: number, to: number}[]} */
  #lines = [];
  /** @type {number[]} */
  #ticks = [];

  /** @param {HTMLCanvasElement} canvas its `color` is that of the lane */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** A message was published at `from` and arrived at `to`: milliseconds by one clock. */
  message(number, from, to) {
    this.#lines.push({ row: number % ROWS, from, to });
  }

  /** A request went out. */
  request(at) {
    this.#ticks.push(at);
  }

  clear() {
    this.#lines = [];
    this.#ticks = [];
  }

  /** Draws the last seconds up to `now`. */
  draw(now) {
    const start = now - SPAN_MS;
    this.#lines = this.#lines.filter(({ to }) => to > start);
    this.#ticks = this.#ticks.filter((at) => at > start);
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const pen = this.#pen(width, height);
    const x = (time) => ((time - start) / SPAN_MS) * width;
    const rowHeight = (height - TICKS_PX - 6) / ROWS;
    for (const { row, from, to } of this.#lines) drawLine(pen, x(from), x(to), 4 + rowHeight * (row + 0.5));
    pen.globalAlpha = 0.55;
    for (const at of this.#ticks) pen.fillRect(x(at), height - TICKS_PX, 1.5, TICKS_PX);
  }

  // As many dots as the screen has, in the colours of the style sheet.
  #pen(width, height) {
    const ratio = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const pen = this.#canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = pen.strokeStyle = getComputedStyle(this.#canvas).color;
    pen.lineCap = 'round';
    return pen;
  }
}

function drawLine(pen, from, to, y) {
  pen.globalAlpha = 0.35;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(from, y);
  pen.lineTo(to, y);
  pen.stroke();
  pen.globalAlpha = 1;
  pen.beginPath();
  pen.arc(to, y, HEAD_PX, 0, 2 * Math.PI);
  pen.fill();
}
