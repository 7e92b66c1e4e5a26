// Poses of a stored session, loaded around the position in view and a little ahead, and discarded again: a long session
// has more of them than a browser should hold.

const CHUNK = 500
const HELD = 8

export class FrameStore {
  #times
  #fetch
  #came
  #chunks = new Map()

  /** `times` are those of all frames; `fetch(after, limit)` gives frames later than a time; `came()` is told of more. */
  constructor(times, fetch, came) {
    this.#times = times
    this.#fetch = fetch
    this.#came = came
  }

  /** The k-th frame, or null while it is on its way. */
  at(k) {
    const chunk = Math.floor(k / CHUNK)
    const found = this.#chunk(chunk)
    if (k % CHUNK > CHUNK / 2) this.#chunk(chunk + 1)
    return found?.[k % CHUNK] ?? null
  }

  /** The frames of a chunk when they are here; asks for them when nobody has. */
  #chunk(number) {
    const held = this.#chunks.get(number)
    this.#chunks.delete(number)
    if (held || number * CHUNK >= this.#times.length) {
      if (held) this.#chunks.set(number, held)
      return held?.frames
    }
    const asked = { frames: null }
    this.#chunks.set(number, asked)
    while (this.#chunks.size > HELD) this.#chunks.delete(this.#chunks.keys().next().value)
    this.#fetch(number ? this.#times[number * CHUNK - 1] : -1, CHUNK).then(
      (frames) => { asked.frames = frames; this.#came() },
      () => this.#chunks.delete(number),
    )
    return null
  }
}
