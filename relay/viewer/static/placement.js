// Checks whether the phone, as it lies, can measure: sampling rate, resolution, flat, still. Judged on the last seconds
// of samples.

const LOOK_MS = 2000
const SLOW_BELOW_HZ = 40
const STILL_BELOW = 0.25
const FLAT_FROM = 0.8
const COARSE_STEP = 0.1
const MOST = 1000

/** Feed it samples; `verdict` says what is so. All accelerations in m/s² with gravity, times in ms. */
export class Placement {
  #samples = []
  #fineSeen = false
  #count = 0

  take(t, x, y, z) {
    this.#count++
    this.#fineSeen ||= [x, y, z].some(isFine)
    this.#samples.push([t, x, y, z])
    while (this.#samples.length > MOST || this.#samples[0][0] < t - LOOK_MS) this.#samples.shift()
  }

  /** {enough, rateHz, fast, coarse, flat, still}; all but `enough` are meant only when it is true. */
  get verdict() {
    const list = this.#samples
    const spanMs = list.length > 1 ? list.at(-1)[0] - list[0][0] : 0
    if (spanMs < LOOK_MS * 0.8) return { enough: false }
    const rateHz = ((list.length - 1) * 1000) / spanMs
    const [x, y, z] = [1, 2, 3].map((axis) => middle(list.map((sample) => sample[axis])))
    const all = Math.hypot(x, y, z)
    const swing = Math.max(...list.map((s) => Math.hypot(s[1] - x, s[2] - y, s[3] - z)))
    return {
      enough: true,
      rateHz,
      fast: rateHz >= SLOW_BELOW_HZ,
      flat: z / Math.max(all, 1e-9) >= FLAT_FROM,
      still: swing < Math.max(STILL_BELOW, this.coarse ? 2.5 * COARSE_STEP : 0),
      coarse: this.coarse,
    }
  }

  /** True when every reading so far was a multiple of 0.1 m/s²: some browsers round that far. */
  get coarse() {
    return this.#count > 50 && !this.#fineSeen
  }
}

const isFine = (value) => Math.abs(value / COARSE_STEP - Math.round(value / COARSE_STEP)) > 1e-4

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}

/** The verdict as lines for the person: [{ok, words}]. */
export function advice(verdict) {
  if (!verdict.enough) return [{ ok: null, words: 'Feeling for the sensor.' }]
  const { rateHz, fast, flat, still, coarse } = verdict
  return [
    {
      ok: fast,
      words: fast
        ? `${Math.round(rateHz)} readings a second`
        : `Only ${Math.round(rateHz)} readings a second: too few. Close other apps, or use another browser.`,
    },
    { ok: flat, words: flat ? 'Lies flat, screen up' : 'Lay it flat, with the screen up.' },
    { ok: still, words: still ? 'Still' : 'Not still yet: rest your hands beside you.' },
    ...(coarse
      ? [
          {
            ok: false,
            words:
              'This browser rounds what the sensor says to 0.1 m/s². A heartbeat may be too small to be seen; another browser on this phone may do better.',
          },
        ]
      : []),
  ]
}
