// The waveform: one time axis from left to right, gaps left empty between dashed borders, doubtful spans in a colour of
// their own. It draws a source (`forEach`, see ring.js), doubtful spans, and a view.

import uPlot from '/static/vendor/uPlot.esm.js'
import { clockTime, duration, stepWords } from './formats.js'
import { LINES } from './scale.js'
import { onSchemeChange, readTokens } from './tokens.js'

const TIME_STEPS_MS = [
  100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000,
]
const LINE_WIDTH = 1.6
const DOT_RADIUS = 3.5
const LABEL_FROM_PX = 64
const HALF_LABEL_PX = 24
const SILENT_MS = 1500

/** The points of `source` from `from` to `to` as uPlot's columns: x, trusted, doubtful; null where the line breaks. */
export function columnsOf(source, from, to, doubtful) {
  const x = []
  const sure = []
  const doubt = []
  const gaps = []
  let last = null
  source.forEach(from, to, (t, v, gap) => {
    if (gap) {
      gaps.push([last.t, t])
      x.push((last.t + t) / 2)
      sure.push(null)
      doubt.push(null)
      last = null
    }
    const faint = doubtful(t)
    if (last !== null && last.faint !== faint) (faint ? doubt : sure)[x.length - 1] = last.v
    x.push(t)
    sure.push(faint ? null : v)
    doubt.push(faint ? v : null)
    last = { t, v, faint }
  })
  return { data: [x, sure, doubt], gaps }
}

/** Times of grid lines: whole steps, about one every `perLine` pixels. */
export function timeLines(from, to, width, perLine) {
  const wanted = ((to - from) / Math.max(width, 1)) * perLine
  const step = TIME_STEPS_MS.find((s) => s >= wanted) ?? TIME_STEPS_MS.at(-1)
  const lines = []
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) lines.push(t)
  return lines
}

export class WaveChart {
  #host
  #plot
  #tokens = readTokens()
  #source = null
  #gaps = []
  #spans = []
  #built = { from: Infinity, to: -Infinity }
  #view = { from: 0, to: 10000, half: 0.15 }
  #pen = null

  /** Draws into `host` and fills it; `axes`: name times and levels. `onResize` is called after it changed size. */
  constructor(host, { axes = true, onResize = () => {} } = {}) {
    this.#host = host
    this.#plot = new uPlot(
      this.#options(axes),
      [
        [0, 1],
        [null, null],
        [null, null],
      ],
      host,
    )
    new ResizeObserver(() => {
      this.#plot.setSize({ width: host.clientWidth, height: host.clientHeight })
      onResize()
    }).observe(host)
    onSchemeChange(() => {
      this.#tokens = readTokens()
      this.#plot.redraw(false, true)
    })
  }

  get gaps() {
    return this.#gaps
  }

  get view() {
    return this.#view
  }

  /** The source changed, or what is doubtful in it (`spans`: [from, to] pairs): build the columns anew when drawing. */
  changed(source, spans) {
    this.#source = source
    this.#spans = spans
    this.#built = { from: Infinity, to: -Infinity }
  }

  /**
   * Draw from `from` to `to` (stream ms), ±`half` at the outermost lines, the pen's dot at `pen` ([t, v] or null).
   * The host's data-from, data-to and data-half say what is drawn now.
   */
  draw(from, to, half, pen = null) {
    this.#view = { from, to, half }
    this.#pen = pen
    const stale = this.#source && (from < this.#built.from || to > this.#built.to)
    this.#plot.batch(() => {
      if (stale) this.#build(from, to)
      this.#plot.setScale('x', { min: from, max: to })
      this.#plot.setScale('y', { min: -half, max: half })
    })
    Object.assign(this.#host.dataset, { from, to, half })
  }

  #build(from, to) {
    const margin = (to - from) / 2
    this.#built = { from: from - margin, to: to + margin }
    const doubtful = (t) => this.#spans.some(([a, b]) => a <= t && t <= b)
    const { data, gaps } = columnsOf(this.#source, from - margin, to + margin, doubtful)
    this.#gaps = gaps
    this.#plot.setData(
      data[0].length > 1
        ? data
        : [
            [from, to],
            [null, null],
            [null, null],
          ],
      false,
    )
  }

  #options(named) {
    const colour = (name) => () => this.#tokens[name]
    const axis = (more) => ({
      stroke: colour('ink3'),
      font: this.#tokens.font,
      gap: 6,
      ticks: { show: false },
      grid: { stroke: colour('grid'), width: 1 },
      ...more,
    })
    const line = (name) => ({ stroke: colour(name), width: LINE_WIDTH, points: { show: false } })
    return {
      width: Math.max(this.#host.clientWidth, 1),
      height: Math.max(this.#host.clientHeight, 1),
      pxAlign: 0,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      focus: { alpha: 1 },
      scales: {
        x: { time: false, auto: false, range: (u, min, max) => [min, max] },
        y: { auto: false, range: (u, min, max) => [min, max] },
      },
      axes: [
        axis({
          size: named ? 24 : 0,
          splits: (u, _, from, to) => timeLines(from, to, this.#width(u), 80),
          values: (u, all) => all.map((t) => (named && this.#labelFits(u, t) ? clockTime(t) : '')),
        }),
        axis({
          size: named ? 54 : 0,
          splits: (u, _, low, high) => this.#levels(high),
          values: (u, all) => all.map(named ? signed : () => ''),
        }),
      ],
      series: [{}, line('ink'), line('doubt')],
      hooks: { drawClear: [(u) => this.#under(u)], draw: [(u) => this.#over(u)] },
    }
  }

  #width = (u) => u.bbox.width / uPlot.pxRatio

  #labelFits(u, t) {
    const x = u.valToPos(t, 'x')
    return x > HALF_LABEL_PX / 2 && x < this.#width(u) - HALF_LABEL_PX
  }

  #levels(half) {
    return Array.from({ length: 2 * LINES + 1 }, (_, i) => ((i - LINES) * half) / LINES)
  }

  #under(u) {
    const { from, to } = this.#view
    const { ctx } = u
    ctx.save()
    for (const [a, b] of this.#spans) {
      if (b > from && a < to) this.#band(u, a, b, 'doubtSoft', 'doubt', 'movement')
    }
    ctx.setLineDash([3 * uPlot.pxRatio, 4 * uPlot.pxRatio])
    for (const [a, b] of this.#gaps) {
      if (b > from && a < to) this.#hole(u, a, b, `gap ${duration(b - a)}`)
    }
    if (this.#pen && to - this.#pen[0] > SILENT_MS)
      this.#hole(u, this.#pen[0], to, `nothing since ${clockTime(this.#pen[0])}`)
    ctx.restore()
  }

  #hole(u, a, b, words) {
    const { ctx } = u
    const { top, height, left, width } = u.bbox
    ctx.strokeStyle = this.#tokens.ink3
    ctx.lineWidth = uPlot.pxRatio
    for (const t of [a, b]) {
      const x = u.valToPos(t, 'x', true)
      if (x < left || x > left + width - 1) continue
      ctx.beginPath()
      ctx.moveTo(x, top)
      ctx.lineTo(x, top + height)
      ctx.stroke()
    }
    this.#label(u, a, b, 'ink3', words)
  }

  #band(u, a, b, fill, ink, words) {
    const { ctx } = u
    const { top, height, left, width } = u.bbox
    const x0 = Math.max(u.valToPos(a, 'x', true), left)
    const x1 = Math.min(u.valToPos(b, 'x', true), left + width)
    ctx.fillStyle = this.#tokens[fill]
    ctx.fillRect(x0, top, x1 - x0, height)
    this.#label(u, a, b, ink, words)
  }

  #label(u, a, b, ink, words) {
    const { ctx } = u
    const { top, left, width } = u.bbox
    const x0 = Math.max(u.valToPos(a, 'x', true), left)
    const x1 = Math.min(u.valToPos(b, 'x', true), left + width)
    if (x1 - x0 < LABEL_FROM_PX * uPlot.pxRatio) return
    ctx.fillStyle = this.#tokens[ink]
    ctx.font = this.#tokens.font.replace(/^([\d.]+)/, (size) => String(size * uPlot.pxRatio))
    ctx.textAlign = 'left'
    ctx.textBaseline = 'top'
    ctx.fillText(words, x0 + 6 * uPlot.pxRatio, top + 4 * uPlot.pxRatio)
  }

  #over(u) {
    if (!this.#pen) return
    const [t, v] = this.#pen
    const { ctx } = u
    const { top, height } = u.bbox
    const x = u.valToPos(t, 'x', true)
    const y = Math.min(Math.max(u.valToPos(v, 'y', true), top), top + height)
    ctx.save()
    ctx.fillStyle = this.#tokens.heart
    ctx.beginPath()
    ctx.arc(x, y, DOT_RADIUS * uPlot.pxRatio, 0, 2 * Math.PI)
    ctx.fill()
    ctx.restore()
  }
}

const signed = (v) => (Math.abs(v) < 1e-12 ? '0' : `${v > 0 ? '+' : '−'}${stepWords(Math.abs(v))}`)
