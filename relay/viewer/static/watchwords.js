// The texts of a camera's tile, made from plain facts. Pure, so that tests can show every state.

import { clockTime } from './formats.js'

export const STALE_AFTER_MS = 2500
/** A kit that sends no picture tells its level every two seconds, by a channel that may lose some. */
const TOLD_WITHIN_MS = 3500
const SILENT_AFTER_MS = 7000

const REFUSED = {
  401: ['Not allowed', 'This page needs a link or a sign-in. Open the full link you were given.'],
  403: ['Not allowed', 'This link is not for this camera. Ask the patient or the staff for one that is.'],
  404: ['No camera', 'This kit sends no picture now. It may be off; this page keeps looking.'],
  503: ['Full', 'The relay shows as many pictures as it may. This page keeps asking.'],
}

const BACK = 'It goes on by itself when the kit is back.'
const SILENT = `Nothing comes from the kit. ${BACK}`

/** Whether what came then (epoch ms, or null for never) says nothing of now. */
export const old = (at, now, after = STALE_AFTER_MS) => at === null || now - at > after

/**
 * `facts`: phase (connecting, open, lost, refused), status (of a refusal), level (skeleton, blurred, clear, or ''),
 * lastAt, heardAt, posedAt (epoch ms of the last picture, word and pose, or null), now, delayMs (or null), retryAt.
 * Gives tone (live, doubt, off), pill, words ('' when the picture speaks for itself), stale.
 */
export function describe(facts) {
  const { phase, status, level, lastAt, heardAt, posedAt, now, delayMs, retryAt } = facts
  if (phase === 'refused') {
    const [pill, words] = REFUSED[status] ?? ['Not shown', 'The relay refuses to show this camera.']
    return { tone: status === 404 ? 'doubt' : 'off', pill, words, stale: true }
  }
  if (phase === 'lost') {
    const wait = Math.ceil((retryAt - now) / 1000)
    const words = `The connection to the relay is lost. ${wait > 0 ? `Trying again in ${wait} s.` : 'Trying again now.'}`
    return { tone: 'doubt', pill: lastAt ? `Lost since ${clockTime(lastAt)}` : 'Not connected', words, stale: true }
  }
  if (phase !== 'open') return { tone: 'off', pill: 'Connecting', words: 'Connecting to the relay.', stale: false }
  if (level === 'skeleton') {
    if (old(heardAt, now, SILENT_AFTER_MS)) return { tone: 'doubt', pill: `Nothing since ${clockTime(heardAt)}`, words: SILENT, stale: true }
    const nobody = old(posedAt, now) && !old(heardAt, now, TOLD_WITHIN_MS) ? 'Nobody is seen now. ' : ''
    return { tone: 'live', pill: 'Movement only', words: `${nobody}The patient shows movement only: no picture leaves the home.`, stale: true }
  }
  if (lastAt === null) return { tone: 'off', pill: 'Waiting', words: 'Connected. Waiting for the first picture.', stale: false }
  if (old(lastAt, now)) return { tone: 'doubt', pill: `No picture since ${clockTime(lastAt)}`, words: `No picture comes from the kit. ${BACK}`, stale: true }
  const behind = delayMs === null ? '' : ` · ${Math.round(delayMs)} ms behind`
  const words = level === 'blurred' ? 'Blurred by the patient’s wish.' : ''
  return { tone: 'live', pill: `Live${behind}`, words, stale: false }
}

/** `seen`: {width, height, fps, lostShare} of the last seconds, or null. */
export function qualityWords(seen) {
  if (!seen || !seen.width) return ''
  const lost = seen.lostShare * 100
  const grade = seen.fps >= 24 && lost < 2 ? 'Good' : seen.fps >= 12 && lost < 8 ? 'Fair' : 'Poor'
  return `${grade}: ${seen.width} × ${seen.height}, ${Math.round(seen.fps)} pictures a second, ${lost < 0.05 ? 'nothing' : `${lost.toFixed(1)} %`} lost`
}
