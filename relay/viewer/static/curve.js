// Joint angles over time as SVG: left side solid, right side dashed, gaps where a joint was not seen.

import { moment } from './formats.js'
import { drawing, framed, shape } from './plot.js'

/** Frames further apart than this have nothing between them that was seen. */
const GAP_MS = 1000
const WIDTH = 1000
const HEIGHT = 200
const TICKS = [180, 135, 90, 45, 0].map((degrees) => ({ at: 1 - degrees / 180, text: `${degrees}°` }))

/** SVG path data of values at x; null breaks the line, and so do neighbours further apart than `gap`. `toY` puts a value on the drawing. */
export function pathOf(xs, values, toY, gap = Infinity) {
  let path = ''
  let drawing = false
  values.forEach((value, k) => {
    if (xs[k] - xs[k - 1] > gap) drawing = false
    if (value !== null) path += `${drawing ? 'L' : 'M'}${xs[k].toFixed(1)} ${toY(value).toFixed(1)}`
    drawing = value !== null
  })
  return path
}

/** What of a recording to draw, [from, to], so that `at` is in it: pages of `span` ms, or all of it when `span` is 0. */
export function pageOf(times, at, span) {
  const [first, last] = [times[0], times.at(-1)]
  if (!span) return [first, Math.max(last, first + 1)]
  const from = first + Math.floor((at - first) / span) * span
  return [from, from + span]
}

export class Curve {
  #host
  #span
  #cursor

  /** Draws `[from, to]` of a timeline into `host`. `chosen(ms)` is called when a moment is pointed at. */
  constructor(host, timeline, joint, [from, to], chosen) {
    this.#host = host
    this.from = from
    this.#span = to - from
    const svg = drawing(`Angle of the ${joint} over time, 0 to 180 degrees`)
    for (const { start, end } of timeline.repetitions) {
      const [x, right] = [start, end].map((ms) => this.#x(Math.min(Math.max(ms, from), to)))
      if (right > x) svg.append(shape('rect', { class: 'band', x, y: 0, width: right - x, height: HEIGHT }))
    }
    for (const { at } of TICKS) svg.append(shape('line', { class: 'grid', x1: 0, x2: WIDTH, y1: at * HEIGHT, y2: at * HEIGHT }))
    const shown = timeline.t.map((t, k) => [t, k]).filter(([t]) => t >= from && t <= to)
    const xs = shown.map(([t]) => this.#x(t))
    for (const side of ['left', 'right']) {
      const values = timeline.angles[`${joint}_${side}`]
      if (values) svg.append(shape('path', { class: side, d: pathOf(xs, shown.map(([, k]) => values[k]), (degrees) => (1 - degrees / 180) * HEIGHT, (GAP_MS / this.#span) * WIDTH) }))
    }
    for (const { timestamp } of timeline.issues.filter((issue) => issue.timestamp >= from && issue.timestamp <= to)) {
      svg.append(shape('line', { class: 'mark', x1: this.#x(timestamp), x2: this.#x(timestamp), y1: 0, y2: 16 }))
    }
    this.#cursor = shape('line', { class: 'cursor', x1: 0, x2: 0, y1: 0, y2: HEIGHT })
    svg.append(this.#cursor)
    svg.addEventListener('click', (event) => {
      const box = svg.getBoundingClientRect()
      chosen(from + ((event.clientX - box.left) / box.width) * this.#span)
    })
    const digits = this.#span < 40_000 ? 1 : 0
    const ends = [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, text: moment(from - timeline.t[0] + at * this.#span, digits) }))
    host.replaceChildren(framed(svg, TICKS, ends))
  }

  #x(ms) {
    return ((ms - this.from) / this.#span) * WIDTH
  }

  /** Puts the cursor at a moment. */
  at(ms) {
    this.#cursor.setAttribute('x1', this.#x(ms))
    this.#cursor.setAttribute('x2', this.#x(ms))
  }
}
