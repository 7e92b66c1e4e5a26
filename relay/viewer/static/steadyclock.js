// Epoch times from the browser's steady clock: unaffected by wall clock corrections, never going backwards. While a
// phone sleeps, its steady clock stops; on waking, the missing time is added once.

const SLEPT_MS = 1000

export class SteadyClock {
  /** Epoch ms at performance.now() = 0. */
  base = performance.timeOrigin

  /** Epoch ms of a steady time such as an event's timeStamp. */
  epoch(steady) {
    return this.base + steady
  }

  /** To be called when the page comes to the front; `now` and `steady` as Date.now() and performance.now() give them. */
  woke(now = Date.now(), steady = performance.now()) {
    if (now - steady - this.base > SLEPT_MS) this.base = now - steady
  }
}
