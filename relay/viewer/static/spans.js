// Spans of doubtful signal (movement) on the stream's time axis. Each analysis replaces the spans within its window;
// before that window the earlier result stays.

const WINDOW_MS = 30000
const TOUCH_MS = 500

export class Spans {
  #list = []

  /** [from, to] pairs in order, not overlapping. */
  get list() {
    return this.#list
  }

  covers(t) {
    return this.#list.some(([from, to]) => from <= t && t <= to)
  }

  /** Take an analysis' spans for the window that ends at `end`. Gives those that were not there before. */
  update(pairs, end) {
    const begin = end - WINDOW_MS
    const before = this.#list
    const kept = before.filter(([from]) => from < begin).map(([from, to]) => [from, Math.min(to, begin)])
    this.#list = []
    for (const pair of [...kept, ...pairs].sort((a, b) => a[0] - b[0])) this.#join(pair)
    return this.#list.filter(([from, to]) => !before.some(([a, b]) => a <= to + TOUCH_MS && from <= b + TOUCH_MS))
  }

  /** Let go of what ended before `t`. */
  forgetBefore(t) {
    this.#list = this.#list.filter(([, to]) => to >= t)
  }

  clear() {
    this.#list = []
  }

  #join([from, to]) {
    const last = this.#list.at(-1)
    if (last && from <= last[1] + TOUCH_MS) last[1] = Math.max(last[1], to)
    else this.#list.push([from, to])
  }
}
