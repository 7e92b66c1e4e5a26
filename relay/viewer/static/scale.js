// A steady vertical scale: zero in the middle, three lines on either side, a round step. It follows typical beats, not
// single jolts; it grows at once when beats would be cut off and shrinks only after a while. A line that has stopped
// keeps its scale.

export const LINES = 3
const BLOCK_MS = 1500
const LOOK_BACK_MS = 12000
const HEADROOM = 1.2
const SHRINK_BELOW = 0.42
const PATIENCE_MS = 6000
const ROUND = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]
const SMALLEST_STEP = 0.001

/** The smallest round number (`ROUND` × 10ⁿ) that is not below `value`. */
export function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, SMALLEST_STEP)))
  const factor = ROUND.find((f) => f * power >= value * (1 - 1e-9))
  return Number((factor * power).toPrecision(2))
}

/** The height of a usual beat: three quarters of the blocks of 1.5 s stay below it. `ring` as in ring.js. */
export function usualPeak(ring, from, to, doubtful = () => false) {
  const peaks = new Map()
  ring.forEach(from, to, (t, v) => {
    if (doubtful(t)) return
    const block = Math.floor(t / BLOCK_MS)
    peaks.set(block, Math.max(peaks.get(block) ?? 0, Math.abs(v)))
  })
  const sorted = [...peaks.values()].sort((a, b) => a - b)
  return sorted.length ? sorted[Math.floor((sorted.length - 1) * 0.75)] : null
}

export class SteadyScale {
  #smallSince = null
  step = null

  /** The value of the outermost line. */
  get half() {
    return (this.step ?? 0.05) * LINES
  }

  /** Looks at the last seconds of `ring` up to `to` and, when need be, changes `step`. `now` in ms. */
  look(ring, to, now, doubtful) {
    const peak = usualPeak(ring, to - LOOK_BACK_MS, to, doubtful)
    if (peak === null) return
    const flowing = to - ring.newest < BLOCK_MS
    const wanted = niceStep((peak * HEADROOM) / LINES)
    if (this.step === null || peak > this.half * 0.95) {
      this.step = Math.max(wanted, this.step ?? 0)
      this.#smallSince = null
    } else if (flowing && peak * HEADROOM < this.half * SHRINK_BELOW) {
      this.#smallSince ??= now
      if (now - this.#smallSince < PATIENCE_MS) return
      this.step = wanted
      this.#smallSince = null
    } else this.#smallSince = null
  }
}
