// The live waveform: takes samples, draws once per frame. It holds the last seconds, removes gravity, keeps the scale
// steady, moves smoothly between bursts of samples, and can be frozen while samples go on arriving.

import { Baseline } from './baseline.js'
import { WaveChart } from './chart.js'
import { duration, count, stepWords } from './formats.js'
import { Playout } from './playout.js'
import { Ring } from './ring.js'
import { LINES, SteadyScale } from './scale.js'
import { Spans } from './spans.js'
import { prefersStill } from './tokens.js'

const RING_SAMPLES = 9000
const STILL_FRAME_MS = 1000
const EASE_MS = 120

export class LiveLine {
  windowMs = 10000
  #ring
  #baseline = new Baseline()
  #playout = new Playout()
  #scale = new SteadyScale()
  #spans = new Spans()
  #chart
  #paused = null
  #half = null
  #drawnAt = -Infinity
  #running = false

  /** Draws into `host`, with or without `axes`; neighbours more than `gapMs` apart have a gap between them. */
  constructor(host, gapMs, { axes = true } = {}) {
    this.#ring = new Ring(RING_SAMPLES, gapMs)
    this.#chart = new WaveChart(host, { axes, onResize: () => this.draw(performance.now()) })
  }

  get newest() {
    return this.#ring.newest
  }

  get spans() {
    return this.#spans.list
  }

  /** The stream time the drawing stands still at, or null while it runs. */
  get pausedAt() {
    return this.#paused?.edge ?? null
  }

  /** The stream time of the newest sample that is drawn at `now` (performance.now()), or null. */
  drawnUpTo(now) {
    const edge = this.#playout.edge(now)
    return edge === null ? null : Math.min(edge, this.#ring.newest)
  }

  /** Takes [t, value] pairs that came in at `now`; gives how many were new, or -1 when the stream's clock began anew. */
  take(pairs, now) {
    const anew = pairs.length > 0 && this.#ring.restarted(pairs.at(-1)[0])
    if (anew) this.#clear()
    let taken = 0
    for (const [t, value] of pairs) {
      if (!Number.isFinite(value) || (this.#ring.size && t <= this.#ring.newest)) continue
      if (this.#ring.push(t, this.#baseline.next(t, value))) taken++
    }
    if (taken) this.#playout.arrived(this.#ring.newest, now)
    if (taken) this.#changed()
    return anew ? -1 : taken
  }

  /** Doubtful spans of the window that ends at `end`, as [from, to] pairs. */
  doubt(pairs, end) {
    this.#spans.update(pairs, end)
    if (this.#ring.oldest !== null) this.#spans.forgetBefore(this.#ring.oldest)
    this.#changed()
  }

  /** Draw once a frame from now on; once a second for a person who asked for less motion. */
  run() {
    this.#running = true
    const frame = () => {
      if (!this.#running) return
      const now = performance.now()
      if (!prefersStill() || now - this.#drawnAt >= STILL_FRAME_MS) this.draw(now)
      requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  }

  stop() {
    this.#running = false
  }

  togglePause() {
    const now = performance.now()
    const edge = this.#playout.edge(now)
    this.#paused = this.#paused || edge === null ? null : { edge, ring: this.#ring.copy() }
    this.#changed()
    this.draw(now)
  }

  draw(now) {
    const edge = this.#paused?.edge ?? this.#playout.edge(now) ?? Date.now()
    if (this.#ring.size && !this.#paused) this.#scale.look(this.#ring, edge, now, (t) => this.#spans.covers(t))
    this.#half = easeTo(this.#half, this.#scale.half, now - this.#drawnAt)
    this.#drawnAt = now
    const pen = this.#shown.last(edge)
    const from = edge - this.windowMs
    this.#chart.draw(from, edge, this.#half, pen && pen[0] > from ? pen : null)
  }

  /** What the drawing shows, in words: scale, doubtful and missing parts ('' where there are none). */
  legend(unit) {
    const { from, to } = this.#chart.view
    const inView = ([a, b]) => b > from && a < to
    const gaps = this.#chart.gaps.filter(inView)
    const missing = gaps.reduce((sum, [a, b]) => sum + b - a, 0)
    return {
      across: `${this.windowMs / 1000} s across · in ${unit}, ${stepWords(this.#scale.half / LINES)} between lines`,
      doubt: this.#spans.list.some(inView) ? 'movement: not counted' : '',
      gap: gaps.length ? `${count(gaps.length, 'gap')}: ${duration(missing)} not received` : '',
    }
  }

  get #shown() {
    return this.#paused?.ring ?? this.#ring
  }

  #changed() {
    this.#chart.changed(this.#shown, this.#spans.list)
  }

  #clear() {
    this.#ring.clear()
    this.#spans.clear()
    this.#playout.reset()
    this.#baseline = new Baseline()
  }
}

/** Part of the way from one half-height to the next, so that a change of scale can be followed by eye. */
function easeTo(from, to, sinceMs) {
  if (from === null || prefersStill() || Math.abs(Math.log(to / from)) < 0.01) return to
  return from * (to / from) ** Math.min(1, sinceMs / EASE_MS)
}
