// The numbers beside the waveform: each with its unit and age, and words instead of a number nobody should trust.

import { clockTime, count, DASH, duration, fixed, qualityWord } from './formats.js'
import { reasonWords } from './state.js'
import { put } from './write.js'

const OLD_MS = 4000

/** What to show of an analysis that came in `ageMs` ago, as texts by name; `heartRate.bpm` null when too old. */
export function readingTexts(analysis, ageMs, silentWords) {
  const tooOld = analysis === null || ageMs > OLD_MS
  const rate = analysis?.heartRate ?? {}
  const bpm = tooOld ? null : (rate.bpm ?? null)
  const known = bpm !== null
  return {
    known,
    held: known && rate.reason === 'held',
    rate: known ? fixed(bpm) : 'No reading',
    why: known && rate.reason !== 'held' ? ageWords(analysis, ageMs) : tooOld ? silentWords : reasonWords(rate.reason),
    beat: known ? fixed(rate.beatMs) : DASH,
    beatSpread: known && Number.isFinite(rate.beatSdMs) ? `ms ± ${fixed(rate.beatSdMs)}` : 'ms',
    breathing: tooOld ? DASH : fixed(analysis.breathing?.perMinute ?? NaN),
    breathingUnit: tooOld || Number.isFinite(analysis.breathing?.perMinute) ? 'per minute' : 'not clear now',
    quality: tooOld ? NaN : (rate.quality ?? NaN),
    clock: tooOld ? DASH : clockError(analysis.clockErrorMs),
  }
}

const clockError = (ms) => (Number.isFinite(ms) ? `± ${fixed(ms, ms < 9.95 ? 1 : 0)}` : DASH)

function ageWords(analysis, ageMs) {
  const age = ageMs < 2500 ? 'now' : `${duration(ageMs)} ago`
  return Number.isFinite(analysis.t) ? `measured ${age}, up to ${clockTime(analysis.t)}` : `measured ${age}`
}

/** The panel. `root` holds elements with data-reading="…"; every text is written there and nowhere else. */
export class Readings {
  #at = {}
  #root

  constructor(root) {
    this.#root = root
    for (const element of root.querySelectorAll('[data-reading]')) this.#at[element.dataset.reading] = element
  }

  show(texts) {
    const { known, held, rate, why, beat, beatSpread, breathing, breathingUnit, quality, clock } = texts
    this.#root.querySelector('.rate').classList.toggle('none', !known)
    this.#root.querySelector('.rate').classList.toggle('held', held)
    this.#at.unit.hidden = !known
    for (const [name, text] of Object.entries({ rate, why, beat, beatSpread, breathing, breathingUnit, clock }))
      put(this.#at[name], text)
    put(this.#at.quality, qualityWord(quality))
    this.#at.meter.hidden = !Number.isFinite(quality)
    if (Number.isFinite(quality)) this.#at.meter.value = quality
  }

  /** Who measures, and since when. `info`: the relay's session_info. */
  about(info, viewers) {
    const { startedAt, kit, sensor, device } = info
    const began = startedAt ? `Session began ${clockTime(Date.parse(startedAt))}` : ''
    const rate = sensor?.rateHz ? `${fixed(sensor.rateHz)} Hz` : ''
    const source = kit ? `Kit ${kit}` : device?.platform ? `Phone or computer, ${device.platform}` : ''
    put(this.#at.began, began)
    put(this.#at.source, [source, sensor?.name, rate].filter(Boolean).join(' · '))
    put(this.#at.viewers, viewers === null ? '' : count(viewers, 'person watching', 'people watching'))
  }
}
