// A stored recording, read while it streams in, held as two columns, drawable at any zoom. Bounded: samples beyond the
// limit are not shown, and the page says so.

import { Baseline } from './baseline.js'

const MOST_SAMPLES = 12_000_000
const GROW_FROM = 8192
const EXACT_UP_TO = 6000

/** A growing pair of columns with the manners of a ring (forEach), and never more than `most` samples. */
export class Recording {
  #t = new Float64Array(GROW_FROM)
  #v = new Float32Array(GROW_FROM)
  #baseline = new Baseline()
  #most
  size = 0
  left = 0
  gapMs = 100

  constructor(most = MOST_SAMPLES) {
    this.#most = most
  }

  get from() {
    return this.size ? this.#t[0] : 0
  }

  get to() {
    return this.size ? this.#t[this.size - 1] : 0
  }

  push(t, value) {
    if (!Number.isFinite(t) || !Number.isFinite(value) || (this.size && t <= this.#t[this.size - 1])) return
    if (this.size >= this.#most) {
      this.left++
      return
    }
    if (this.size === this.#t.length) this.#grow()
    this.#t[this.size] = t
    this.#v[this.size++] = this.#baseline.next(t, value)
  }

  /** Settles what counts as a gap (three usual steps, at least 100 ms) and gives the gaps as [from, to]. */
  finish() {
    const steps = []
    for (let i = 1; i < this.size; i += Math.max(1, Math.floor(this.size / 5000)))
      steps.push(this.#t[i] - this.#t[i - 1])
    steps.sort((a, b) => a - b)
    this.gapMs = Math.max(100, 3 * (steps[Math.floor(steps.length / 2)] ?? 0))
    const gaps = []
    for (let i = 1; i < this.size; i++) if (this.#gapBefore(i)) gaps.push([this.#t[i - 1], this.#t[i]])
    return gaps
  }

  /** As in ring.js; a wide view is thinned to the highest and lowest sample of each of some thousand stretches. */
  forEach(from, to, visit) {
    const first = Math.max(0, this.#after(from) - 1)
    const last = Math.min(this.size, this.#after(to) + 1)
    if (last - first <= EXACT_UP_TO)
      for (let i = first; i < last; i++) visit(this.#t[i], this.#v[i], i > first && this.#gapBefore(i))
    else this.#thinned(first, last, visit)
  }

  #thinned(first, last, visit) {
    const stretch = Math.ceil((last - first) / (EXACT_UP_TO / 2))
    let told = first - 1
    const tell = (i, gap = false) => {
      if (i > told) visit(this.#t[i], this.#v[i], gap)
      told = Math.max(told, i)
    }
    for (let start = first; start < last; start += stretch) {
      let low = start
      let high = start
      const tellBoth = () => (low < high ? (tell(low), tell(high)) : (tell(high), tell(low)))
      for (let i = start; i < Math.min(start + stretch, last); i++) {
        if (i > first && this.#gapBefore(i)) {
          if (i > start) tellBoth()
          tell(i - 1)
          tell(i, true)
          low = high = i
        } else if (this.#v[i] < this.#v[low]) low = i
        else if (this.#v[i] > this.#v[high]) high = i
      }
      tellBoth()
    }
  }

  #gapBefore = (i) => this.#t[i] - this.#t[i - 1] > this.gapMs

  #after(t) {
    let low = 0
    let high = this.size
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#t[middle] < t) low = middle + 1
      else high = middle
    }
    return low
  }

  #grow() {
    const length = Math.min(this.#t.length * 2, this.#most)
    const t = new Float64Array(length)
    const v = new Float32Array(length)
    t.set(this.#t)
    v.set(this.#v)
    this.#t = t
    this.#v = v
  }
}

/**
 * Reads a Full Session Object in format 0.2 from `response` into `recording`. Gives everything beside the samples.
 * `onProgress(samples)` is called for each piece. The samples must be the last key, as the relay writes it.
 */
export async function readSession(response, recording, onProgress = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  let head = null
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    text += value
    if (head === null) [head, text] = splitHead(text)
    if (head !== null) text = takeRows(text, recording)
    onProgress(recording.size)
  }
  if (head === null) throw new SyntaxError('the recording is not in the expected form')
  return head
}

const OPENING = /"samples"\s*:\s*\[/

function splitHead(text) {
  const found = OPENING.exec(text)
  if (!found) return [null, text]
  const head = JSON.parse(`${text.slice(0, found.index)}"samples":null}`)
  return [head, text.slice(found.index + found[0].length)]
}

/** Takes all whole rows [t, ax, ay, az] off the front of `text`; gives the rest. */
function takeRows(text, recording) {
  let end = text.lastIndexOf(']')
  while (text[end - 1] === ']') end--
  const start = text.indexOf('[')
  if (start < 0 || end < start) return text
  for (const [t, , , az] of JSON.parse(`[${text.slice(start, end + 1)}]`)) recording.push(t, az ?? NaN)
  return text.slice(end + 1)
}
