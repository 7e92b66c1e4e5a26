// The last seconds of a stream in a fixed block of memory: times strictly increasing, none twice, the oldest
// overwritten. Samples sent again after a reconnection may overlap stored ones; they are recognised by their time
// alone.

const CLOCK_RESTARTED_MS = 60000

export class Ring {
  #t
  #v
  #first = 0
  #size = 0

  /** Holds at most `capacity` samples. Two neighbours further apart than `gapMs` have a gap between them. */
  constructor(capacity, gapMs) {
    this.#t = new Float64Array(capacity)
    this.#v = new Float64Array(capacity)
    this.gapMs = gapMs
  }

  get size() {
    return this.#size
  }

  get capacity() {
    return this.#t.length
  }

  get newest() {
    return this.#size ? this.#t[this.#at(this.#size - 1)] : null
  }

  get oldest() {
    return this.#size ? this.#t[this.#first] : null
  }

  /** Whether `t` lies so far before the newest that the sender's clock must have begun anew. */
  restarted(t) {
    return this.#size > 0 && t < this.newest - CLOCK_RESTARTED_MS
  }

  clear() {
    this.#first = this.#size = 0
  }

  /** Keep a sample; false when its time is not after the newest one's, or either number is not finite. */
  push(t, v) {
    if (!Number.isFinite(t) || !Number.isFinite(v) || (this.#size && t <= this.newest)) return false
    if (this.#size === this.#t.length) this.#first = (this.#first + 1) % this.#t.length
    else this.#size++
    const last = this.#at(this.#size - 1)
    this.#t[last] = t
    this.#v[last] = v
    return true
  }

  copy() {
    const other = new Ring(this.#t.length, this.gapMs)
    this.forEach(-Infinity, Infinity, (t, v) => other.push(t, v))
    return other
  }

  /**
   * Calls `visit(t, v, gap)` for samples from `from` to `to` inclusive, and one more on either side where there is one;
   * `gap`: time is missing between the sample visited before and this one.
   */
  forEach(from, to, visit) {
    let before = Infinity
    for (let i = Math.max(0, this.#after(from) - 1); i < this.#size; i++) {
      const at = this.#at(i)
      const t = this.#t[at]
      visit(t, this.#v[at], t - before > this.gapMs)
      if (t > to) return
      before = t
    }
  }

  /** The newest sample at or before `t`, as [t, v], or null. */
  last(t) {
    let i = this.#after(t)
    if (i === this.#size || this.#t[this.#at(i)] > t) i--
    return i < 0 ? null : [this.#t[this.#at(i)], this.#v[this.#at(i)]]
  }

  #at(i) {
    return (this.#first + i) % this.#t.length
  }

  /** Index of the first sample at or after `t`. */
  #after(t) {
    let low = 0
    let high = this.#size
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#t[this.#at(middle)] < t) low = middle + 1
      else high = middle
    }
    return low
  }
}
