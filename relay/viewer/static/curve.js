// Curves of angles over time as SVG: left solid, right dashed, holes where a joint was not seen.

import { drawing, framed, shape } from './plot.js'

const WIDTH = 1000
const HEIGHT = 200
const TICKS = [180, 135, 90, 45, 0].map((degrees) => ({ at: 1 - degrees / 180, text: `${degrees}°` }))

/** SVG path data of values at x; null breaks the line. `toY` puts a value on the drawing. */
export function pathOf(xs, values, toY) {
  let path = ''
  let drawing = false
  values.forEach((value, k) => {
    if (value !== null) path += `${drawing ? 'L' : 'M'}${xs[k].toFixed(1)} ${toY(value).toFixed(1)}`
    drawing = value !== null
  })
  return path
}

export class Curve {
  #host
  #from
  #span
  #cursor

  /** Draws into `host`. `chosen(ms)` is called when a moment is pointed at. */
  constructor(host, timeline, joint, chosen) {
    this.#host = host
    const times = timeline.t
    this.#from = times[0]
    this.#span = Math.max(1, times.at(-1) - times[0])
    const svg = drawing(`Angle of the ${joint} over time, 0 to 180 degrees`)
    for (const { start, end } of timeline.repetitions) {
      svg.append(shape('rect', { class: 'band', x: this.#x(start), y: 0, width: this.#x(end) - this.#x(start), height: HEIGHT }))
    }
    for (const { at } of TICKS) svg.append(shape('line', { class: 'grid', x1: 0, x2: WIDTH, y1: at * HEIGHT, y2: at * HEIGHT }))
    const xs = times.map((t) => this.#x(t))
    for (const side of ['left', 'right']) {
      const values = timeline.angles[`${joint}_${side}`]
      if (values) svg.append(shape('path', { class: side, d: pathOf(xs, values, (degrees) => (1 - degrees / 180) * HEIGHT) }))
    }
    for (const { timestamp } of timeline.issues) {
      svg.append(shape('line', { class: 'mark', x1: this.#x(timestamp), x2: this.#x(timestamp), y1: 0, y2: 16 }))
    }
    this.#cursor = shape('line', { class: 'cursor', x1: 0, x2: 0, y1: 0, y2: HEIGHT })
    svg.append(this.#cursor)
    svg.addEventListener('click', (event) => {
      const box = svg.getBoundingClientRect()
      chosen(this.#from + ((event.clientX - box.left) / box.width) * this.#span)
    })
    const ends = [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, text: `${((at * this.#span) / 1000).toFixed(this.#span < 40_000 ? 1 : 0)} s` }))
    host.replaceChildren(framed(svg, TICKS, ends))
  }

  #x(ms) {
    return ((ms - this.#from) / this.#span) * WIDTH
  }

  /** Puts the cursor at a moment. */
  at(ms) {
    this.#cursor.setAttribute('x1', this.#x(ms))
    this.#cursor.setAttribute('x2', this.#x(ms))
  }
}
