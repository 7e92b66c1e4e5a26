// Removes gravity, posture and breathing from chest acceleration for display, by subtracting a slow mean. One pole,
// causal: a drawn sample never moves again. The mean starts as the plain mean of the samples so far.

const RESTART_AFTER_MS = 10000
const MOST_STEP_MS = 50

export class Baseline {
  #tauMs
  #mean = 0
  #since = 0
  #last = null

  /** `tauMs`: time constant; slower changes than about 2π·tau are taken off. */
  constructor(tauMs = 500) {
    this.#tauMs = tauMs
  }

  /** The value at `t` (ms, increasing) without its slow part. A gap counts for little; after ten seconds it begins anew. */
  next(t, value) {
    const step = this.#last === null ? Infinity : t - this.#last
    this.#last = t
    if (step > RESTART_AFTER_MS) {
      this.#mean = value
      this.#since = 0
    } else this.#follow(Math.min(step, MOST_STEP_MS), value)
    return value - this.#mean
  }

  #follow(step, value) {
    this.#since += step
    const share = -Math.expm1(-step / this.#tauMs)
    this.#mean += (value - this.#mean) * Math.max(share, step / (this.#since + step))
  }
}
