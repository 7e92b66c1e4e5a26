// What a screen reader announces: changes of state at once, the heart rate at most every ten seconds, nothing twice.

const RATE_EVERY_MS = 10000

export class Announcer {
  #region
  #lastState = ''
  #lastRate = ''
  #rateAt = -Infinity

  /** `region`: an element with aria-live="polite". */
  constructor(region) {
    this.#region = region
  }

  state(words) {
    if (words === this.#lastState) return
    this.#lastState = words
    this.#region.textContent = words
  }

  rate(words, now) {
    if (now - this.#rateAt < RATE_EVERY_MS || words === this.#lastRate) return
    this.#rateAt = now
    this.#lastRate = words
    this.#region.textContent = words
  }
}
