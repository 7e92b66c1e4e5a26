// The state of a viewer's page in words, made from plain facts. Pure, so that tests can show every state.

import { behind, clockTime, duration } from './formats.js'

export const STALE_AFTER_MS = 2000

/** What each of the relay's codes for a reading, or for none, means to a physician. */
export const REASONS = {
  good: 'Beats are regular and alike, and two ways of counting agree.',
  held: 'The rate of a few seconds ago: at this moment beats cannot be counted with certainty.',
  unconfirmed: 'A rate was seen, but not yet for long enough to be sure of it.',
  too_short: 'Not enough unbroken signal yet: a rate needs eight seconds.',
  flat: 'The sensor says the same all the time: it is not measuring.',
  weak: 'The signal is weaker than any heartbeat: the sensor seems not to be on the chest.',
  motion: 'The patient or the sensor is moving, and that hides the heartbeat.',
  no_rhythm: 'Nothing in the signal repeats like a heartbeat.',
  out_of_range: 'The signal repeats faster or slower than can be counted (40 to 180 a minute).',
  half_or_double: 'Half or twice the rate would fit as well, so neither is shown.',
  disagreement: 'Two ways of counting the beats do not agree.',
}

/** A reason as a sentence. One this page does not know is shown as the relay gave it. */
export function reasonWords(reason) {
  if (!reason) return 'The relay gave no reason.'
  if (reason in REASONS) return REASONS[reason]
  const text = String(reason).replaceAll('_', ' ')
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}

const REFUSED = {
  'not-allowed': [
    'Not allowed',
    'This link does not open this session',
    'Ask the person who sent it, or the staff who run this relay, for a new link.',
  ],
  'not-an-id': [
    'No such session',
    'This address names no session',
    'A session’s link ends in 36 letters, digits and dashes. Part of it may be missing.',
  ],
  unknown: [
    'No such session',
    'This relay does not know this session',
    'The link may be mistyped, or the kit that began it has not been heard here yet.',
  ],
}

/** What a refusal of the relay means for a person; `refusal` and `reason` as in socket.js. */
export function refused({ refusal, reason }) {
  const [pill, head, text] = REFUSED[refusal]
  const said = refusal === 'not-allowed' && reason ? `The relay says: ${reason}` : ''
  return {
    kind: 'refused',
    tone: 'off',
    pill,
    head,
    text: [text, said].filter(Boolean).join(' '),
    action: refusal === 'not-an-id' ? null : 'Try again',
  }
}

function lost(socket, now) {
  const wait = Math.max(0, socket.retryAt - now)
  const soon = wait < 950 ? 'Trying again now.' : `Trying again in ${Math.ceil(wait / 1000)} s.`
  const since = socket.lostAt ? ` since ${clockTime(socket.lostAt)}` : ''
  const head = socket.lostAt ? 'The connection to the relay is lost' : 'The relay does not answer'
  const full = socket.reason ? ` The relay said: ${socket.reason}` : ''
  return {
    kind: 'lost',
    tone: 'doubt',
    pill: `Not connected${since}`,
    head,
    action: 'Try now',
    text: `${soon} What is measured meanwhile is not lost: the kit or phone keeps it.${full}`,
  }
}

function silent(facts) {
  const { lastAt, silentMs, patient } = facts
  if (lastAt === null) {
    const text = patient
      ? 'The kit or phone is connected but has sent nothing yet. The line begins by itself.'
      : 'The session is open, and nothing measures yet. The line begins by itself when the sensor does.'
    return {
      kind: 'waiting',
      tone: 'doubt',
      pill: 'Waiting for the sensor',
      head: 'Waiting for the sensor',
      text,
      action: 'Show what is stored',
    }
  }
  const text =
    patient === false
      ? 'The kit or phone is not connected. It keeps what it measures meanwhile, and the recording gets it later.'
      : 'The kit or phone is connected but sends nothing. Is the sensor switched on and on the chest?'
  return {
    kind: 'stale',
    tone: 'doubt',
    pill: `No signal since ${clockTime(lastAt)}`,
    head: `No signal for ${duration(silentMs)}`,
    text,
  }
}

/**
 * `facts`: socket {phase, refusal, reason, lostAt, retryAt}; endedAt, lastAt (epoch ms or null); patient (true, false,
 * null: not known); silentMs since samples came; delayMs or null; now (epoch ms).
 * Gives kind, tone (live, doubt, off), pill, and head, text, action of a notice where one is needed.
 */
export function describe(facts) {
  const { socket, endedAt, lastAt, silentMs, delayMs, now } = facts
  if (endedAt !== null) return { kind: 'ended', tone: 'off', pill: `Ended ${clockTime(endedAt)}` }
  if (socket.phase === 'refused') return refused(socket)
  if (socket.phase === 'waiting' || (socket.phase === 'connecting' && socket.attempt)) return lost(socket, now)
  if (socket.phase !== 'open') return { kind: 'connecting', tone: 'off', pill: 'Connecting' }
  if (lastAt === null || silentMs > STALE_AFTER_MS) return silent(facts)
  return { kind: 'live', tone: 'live', pill: `Live · ${behind(delayMs)}` }
}
