// Small plots as SVG with HTML labels: lines over time, bars by week. Coordinates are fractions of the box, so that a
// plot fits any width; line widths stay constant.

import { element } from './write.js'

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 1000
const HEIGHT = 200

export function shape(name, attributes) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return made
}

export function drawing(words) {
  const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' })
  svg.setAttribute('aria-label', words)
  return svg
}

/** Puts `svg` between a scale of `ticks` ({at: share from the top, text}) and labels below ({at: share, text}). */
export function framed(svg, ticks, below) {
  const scale = element('div', { className: 'ticks', ariaHidden: 'true' })
  for (const { at, text } of ticks) place(scale, text, 'top', at)
  const feet = element('div', { className: 'feet', ariaHidden: 'true' })
  for (const { at, text } of below) place(feet, text, 'left', at)
  return element('div', { className: 'plot' }, scale, svg, feet)
}

function place(host, text, side, share) {
  const label = element('span', { textContent: text })
  label.style.setProperty(side, `${(share * 100).toFixed(1)}%`)
  host.append(label)
}

function grid(svg, ticks) {
  for (const { at } of ticks) svg.append(shape('line', { class: 'grid', x1: 0, x2: WIDTH, y1: at * HEIGHT, y2: at * HEIGHT }))
}

/** Lines over time. `lines`: [{points: [[ms, value]], kind}]; `high` is the top of the scale, `unit` follows its numbers. */
export function timePlot({ lines, high, step, unit, words, dayOf }) {
  const times = lines.flatMap(({ points }) => points.map(([t]) => t))
  const [from, to] = [Math.min(...times), Math.max(...times)]
  const x = (t) => (to > from ? ((t - from) / (to - from)) * 0.96 + 0.02 : 0.5)
  const svg = drawing(words)
  const ticks = Array.from({ length: Math.floor(high / step) + 1 }, (_, k) => ({ at: 1 - (k * step) / high, text: `${k * step}${unit}` }))
  grid(svg, ticks)
  for (const { points, kind } of lines) {
    const at = points.map(([t, value]) => `${(x(t) * WIDTH).toFixed(1)} ${((1 - value / high) * HEIGHT).toFixed(1)}`)
    svg.append(shape('path', { class: kind, d: `M${at.join('L')}` }))
    svg.append(shape('path', { class: `dots ${kind}`, d: at.map((point) => `M${point}l0 0`).join('') }))
  }
  const ends = to > from ? [from, to] : [from]
  return framed(svg, ticks, ends.map((t) => ({ at: x(t), text: dayOf(t) })))
}

/** Bars by week: how many were done, in ink, of how many were planned, in outline. */
export function weekPlot(weeks, words, dayOf) {
  const high = Math.max(...weeks.map(({ planned }) => planned))
  const svg = drawing(words)
  const ticks = [{ at: 1, text: '0' }, { at: 0, text: String(high) }]
  grid(svg, ticks)
  const wide = Math.min(1 / weeks.length, 0.12)
  weeks.forEach(({ planned, done }, k) => {
    for (const [kind, value] of [['planned', planned], ['done', done]]) {
      const height = (value / high) * HEIGHT
      const box = { x: (k * wide + wide * 0.15) * WIDTH, width: wide * 0.7 * WIDTH, y: HEIGHT - height, height }
      if (value) svg.append(shape('rect', { class: kind, ...box }))
    }
  })
  const shown = weeks.map(({ week }, k) => ({ at: (k + 0.5) * wide, text: dayOf(Date.parse(week)) }))
  const every = Math.ceil(weeks.length / 4)
  return framed(svg, ticks, shown.filter((_, k) => k % every === 0))
}
