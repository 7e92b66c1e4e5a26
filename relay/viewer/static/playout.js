// Positions the right edge of the drawing: samples arrive in bursts, the drawing moves smoothly. The edge stays behind
// the newest sample by just as much as keeps the line unbroken between bursts. All times in ms.

const REMEMBER_MS = 3000
const MOST_MS = 1000
const JUMP_MS = 1500
const SLEW = 0.15

export class Playout {
  #seen = []
  #newest = null
  #lag = null
  #last = null

  /** Samples up to `newest` (stream time) came in at `now` (any steady clock). */
  arrived(newest, now) {
    const before = now - (this.#newest ?? newest)
    this.#newest = newest
    this.#seen.push({ at: now, before, after: now - newest })
    while (this.#seen[0].at < now - REMEMBER_MS) this.#seen.shift()
  }

  /** The stream time at the right edge at `now`, or null before anything came. Never runs backwards but for a jump. */
  edge(now) {
    if (this.#newest === null) return null
    const target = this.#target()
    if (this.#lag === null || Math.abs(target - this.#lag) > JUMP_MS) this.#lag = target
    else {
      const most = SLEW * (now - this.#last)
      this.#lag += Math.max(-most, Math.min(most, target - this.#lag))
    }
    this.#last = now
    return now - this.#lag
  }

  reset() {
    this.#seen = []
    this.#newest = this.#lag = this.#last = null
  }

  #target() {
    let worst = -Infinity
    let best = Infinity
    for (const { before, after } of this.#seen) {
      worst = Math.max(worst, before)
      best = Math.min(best, after)
    }
    return Math.min(worst, best + MOST_MS)
  }
}
