// The heart rate of the last five minutes, once per second as the relay sent it. Where the relay sent none, the line
// breaks.

import uPlot from '/static/vendor/uPlot.esm.js'
import { clockTime } from './formats.js'
import { timeLines } from './chart.js'
import { onSchemeChange, readTokens } from './tokens.js'

export const SPAN_MS = 300000
const BREAK_MS = 3500
const NOW_LABEL_PX = 48

/** Readings kept for `SPAN_MS`, in order of time. `bpm` null where there was no reading. */
export class TrendData {
  #list = []

  get list() {
    return this.#list
  }

  take(t, bpm) {
    if (this.#list.length && t <= this.#list.at(-1).t) return
    this.#list.push({ t, bpm })
    while (this.#list[0].t < t - SPAN_MS) this.#list.shift()
  }

  /** uPlot's columns; the line breaks where nothing was given for longer than it takes to miss a few. */
  columns() {
    const x = []
    const y = []
    let last = null
    for (const { t, bpm } of this.#list) {
      if (last !== null && t - last > BREAK_MS) {
        x.push((t + last) / 2)
        y.push(null)
      }
      x.push(t)
      y.push(bpm)
      last = t
    }
    return [x, y]
  }
}

/** Tens below and above what was measured, at least thirty beats a minute apart. */
export function rateRange(values) {
  const known = values.filter((v) => v !== null)
  if (!known.length) return [50, 90]
  let low = Math.floor((Math.min(...known) - 3) / 10) * 10
  let high = Math.ceil((Math.max(...known) + 3) / 10) * 10
  for (let i = 0; high - low < 30; i++) i % 2 ? (high += 10) : (low -= 10)
  return [Math.max(0, low), high]
}

export class TrendChart {
  #host
  #plot
  #tokens = readTokens()
  #data = new TrendData()
  #end = 0
  #ended = false

  constructor(host) {
    this.#host = host
    this.#plot = new uPlot(
      this.#options(),
      [
        [0, 1],
        [null, null],
      ],
      host,
    )
    new ResizeObserver(() => this.#plot.setSize({ width: host.clientWidth, height: host.clientHeight })).observe(host)
    onSchemeChange(() => {
      this.#tokens = readTokens()
      this.#plot.redraw(false, true)
    })
  }

  get data() {
    return this.#data
  }

  /** Draw the five minutes before `end` (stream ms). */
  draw(end) {
    this.#end = end
    const [x, y] = this.#data.columns()
    const [low, high] = rateRange(y)
    this.#plot.batch(() => {
      this.#plot.setData(
        x.length > 1
          ? [x, y]
          : [
              [end - 1, end],
              [null, null],
            ],
        false,
      )
      this.#plot.setScale('x', { min: end - SPAN_MS, max: end })
      this.#plot.setScale('y', { min: low, max: high })
    })
    Object.assign(this.#host.dataset, { from: end - SPAN_MS, to: end, low, high })
  }

  /** Nothing follows: the last moment is told by the clock, no longer as now. */
  end() {
    this.#ended = true
    this.#plot.redraw(false, true)
  }

  #options() {
    const colour = (name) => () => this.#tokens[name]
    const axis = { stroke: colour('ink3'), font: this.#tokens.font, gap: 6, ticks: { show: false } }
    const keep = (u, min, max) => [min, max]
    return {
      width: Math.max(this.#host.clientWidth, 1),
      height: Math.max(this.#host.clientHeight, 1),
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, auto: false, range: keep }, y: { auto: false, range: keep } },
      axes: [
        {
          ...axis,
          size: 24,
          grid: { show: false },
          splits: (u, _, from, to) => this.#times(u, from, to),
          values: (u, all) => all.map((t) => this.#ago(t)),
        },
        { ...axis, size: 46, grid: { stroke: colour('grid'), width: 1 }, incrs: [10, 20, 50], space: 24 },
      ],
      series: [
        {},
        {
          stroke: colour('heart'),
          width: 2,
          points: { show: (u) => u.data[0].length < 3, size: 4, fill: colour('heart') },
        },
      ],
    }
  }

  #times(u, from, to) {
    const width = u.bbox.width / uPlot.pxRatio
    const near = (NOW_LABEL_PX / Math.max(width, 1)) * (to - from)
    return [...timeLines(from, to, width, 90).filter((t) => t < to - near), to]
  }

  #ago = (t) => (t === this.#end && !this.#ended ? 'now' : clockTime(t).slice(0, -3))
}
