// The measuring page's texts, made from plain facts. Pure, so that tests can show every state.

import { clockTime, count, duration } from './formats.js'
import { Refused } from './requests.js'
import { NoSensor } from './sensor.js'
import { refused } from './state.js'

const NO_SENSOR = {
  insecure: [
    'This page came over an insecure connection',
    'Browsers give the motion sensor to secure pages only. Whoever runs this relay: start it with homeside relay --tls, and open the https link it shows.',
  ],
  denied: [
    'The motion sensor is not allowed',
    'Allow motion for this page in the browser’s settings (on an iPhone: close this tab, open the link again, and choose Allow), then start again.',
  ],
  absent: ['This browser has no motion sensor', 'Open this page on a phone.'],
  silent: [
    'The motion sensor says nothing',
    'This device may have none, or the browser keeps it back. Open this page on a phone, and allow motion for it.',
  ],
}

/** Why measuring could not begin: {head, text}. */
export function startFailure(error) {
  if (error instanceof NoSensor) {
    const [head, text] = NO_SENSOR[error.kind]
    return { head, text }
  }
  if (error instanceof Refused && [401, 403].includes(error.status)) {
    return {
      head: 'Not allowed',
      text: `This link does not let you measure. Ask your physician or the staff for a measuring link. ${error.message}`,
    }
  }
  return {
    head: 'The relay does not answer',
    text: 'Check the phone’s network, then start again. Nothing was measured yet.',
  }
}

const PILLS = {
  intro: ['off', 'Not measuring'],
  checking: ['doubt', 'Getting ready'],
  measuring: ['live', 'Measuring'],
  finishing: ['doubt', 'Finishing'],
  done: ['off', 'Finished'],
}

/** {tone, words} of the pill. */
export function pill(phase, connected) {
  const [tone, words] = PILLS[phase]
  return phase === 'measuring' && !connected ? { tone: 'doubt', words: 'Measuring offline' } : { tone, words }
}

export function watching(viewers, connected) {
  if (!connected) return 'Nobody can watch until the connection is back'
  return viewers ? `${count(viewers, 'person is', 'people are')} watching` : 'Nobody is watching yet'
}

/** How much is still on this phone only. */
export function kept(keptMs, connected, onDisk) {
  if (keptMs < 1500) return 'All sent'
  const where = onDisk ? 'safe on this phone' : 'kept while this page stays open'
  return `${duration(keptMs)} ${where}, ${connected ? 'being sent' : 'sent when the connection is back'}`
}

/**
 * The one thing a person must know now, as {tone, head, text, action}, or null. `facts`: phase, socket, problem
 * ({code, message} or null), droppedMs, silentMs (since the sensor's last sample), awayMs, rateHz, awake (or null).
 */
export function notice(facts) {
  const { phase, socket, problem, droppedMs, silentMs, awayMs } = facts
  if (!['checking', 'measuring', 'finishing'].includes(phase)) return null
  if (socket?.phase === 'refused') return { ...refused(socket), tone: 'doubt' }
  if (phase !== 'finishing' && silentMs > 2500) {
    return {
      tone: 'doubt',
      head: 'The motion sensor has stopped',
      text: 'Keep this page in front and the screen on.',
      action: 'Start the sensor again',
    }
  }
  if (socket && socket.phase !== 'open' && socket.attempt > 1) return notConnected(facts)
  if (problem) return { tone: 'doubt', ...problemWords(problem) }
  if (droppedMs > 0)
    return {
      tone: 'doubt',
      head: `${duration(droppedMs)} could not be kept`,
      text: 'The phone was full: the oldest readings had to go. What is here now is being kept.',
    }
  if (awayMs > 0)
    return {
      tone: 'doubt',
      head: `Nothing was measured for ${duration(awayMs)}`,
      text: 'This page was not in front. Leave it open with the screen on.',
    }
  return null
}

function notConnected({ phase, socket, onDisk }) {
  const since = socket.lostAt ? ` since ${clockTime(socket.lostAt)}` : ''
  const stay = onDisk ? 'nothing is lost' : 'nothing is lost while this page stays open'
  const text =
    phase === 'measuring'
      ? `Go on lying still: the phone goes on measuring, and ${stay}.`
      : `Leave this page open: ${stay}.`
  return { tone: 'doubt', head: `No connection to the relay${since}`, text, action: 'Try now' }
}

function problemWords({ code, message }) {
  if (code === 'SESSION_TAKEN') {
    return {
      head: 'Another device still holds this session',
      text: 'It may be this phone’s own earlier connection: it is let go after a moment. What is measured is kept.',
    }
  }
  return { head: 'The relay did not take a message', text: `It says: ${message ?? code}` }
}

export const SCREEN_MAY_SLEEP =
  'This browser cannot keep the screen on. Set the phone’s screen to stay on (on an iPhone: Settings, Display, Auto-Lock, Never), or touch it now and then: a dark phone measures nothing.'
