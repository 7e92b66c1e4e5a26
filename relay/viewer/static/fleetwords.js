// The fleet page's texts about a kit, made from plain facts. Pure: the result depends only on the arguments.

import { count, DASH, dayTime, duration, fixed } from './formats.js'

const STANDINGS = { live: ['Live', 'live'], away: ['Away', 'off'], new: ['Never connected', 'off'] }
export const NUMBERS = [['', 'in all'], ['live', 'live'], ['attention', 'need you'], ['away', 'away'], ['new', 'never connected']]
const MESSAGE_MS = 100
export const BATTERY_LOW = 15

/** Words and tone of a kit's state: what is the matter first. */
export const standingOf = (kit) =>
  kit.standing === 'attention' ? [kit.problems[0] ?? 'Needs you', 'doubt'] : (STANDINGS[kit.standing] ?? [kit.standing, 'off'])

const heard = (kit) => kit.standing === 'live' || kit.standing === 'attention'

export const sensorWords = (kit) =>
  [kit.sensor, kit.rateHz ? `${fixed(kit.rateHz)} Hz` : ''].filter(Boolean).join(' · ') || DASH

/** A tenth of a second a message. What a kit that is away keeps, nobody can know. */
export function backlogWords(kit) {
  if (!heard(kit)) return kit.standing === 'away' ? 'kept on the kit' : DASH
  return kit.backlog ? duration(kit.backlog * MESSAGE_MS) : '0'
}

export const clockWords = (kit) => (heard(kit) && Number.isFinite(kit.clockErrorMs) ? `± ${fixed(kit.clockErrorMs, kit.clockErrorMs < 10 ? 1 : 0)} ms` : DASH)
export const batteryWords = (kit) => (heard(kit) && Number.isFinite(kit.battery) ? `${fixed(kit.battery)} %` : DASH)
export const warmthWords = (kit) => (heard(kit) && Number.isFinite(kit.temperature) ? `${fixed(kit.temperature)} °C` : DASH)
export const seenWords = (kit, now) => (heard(kit) ? 'now' : kit.seenMs ? dayTime(kit.seenMs, now) : 'never')

/** "holds until 19 February 2027", or since when it does not. */
export function certificateWords(kit, now) {
  const ends = kit.certificate?.endsMs
  if (!ends) return DASH
  const day = new Date(ends).toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' })
  return ends > now ? `holds until ${day}` : `ended ${day}`
}

/** "Version 0.1.0 on 119 kits · 0.2.0 on 5 kits". */
export const versionsWords = (versions) =>
  Object.entries(versions).map(([version, kits], n) => `${n ? '' : 'Version '}${version} on ${count(kits, 'kit')}`).join(' · ')

export function rolloutWords(rollout) {
  const { members, done, failed, waiting } = rollout.progress
  const to = `${Number(rollout.percent)} % of ${rollout.tag ? `the kits tagged ${rollout.tag}` : 'all kits'}`
  const state = rollout.state === 'running' ? '' : `, ${rollout.state}${rollout.reason ? `: ${rollout.reason}` : ''}`
  if (!members) return `${rollout.version} to ${to}: no kit is met yet${state}`
  return `${rollout.version} to ${to}: ${done} of ${count(members, 'kit')} done, ${waiting} waiting, ${failed} failed${state}`
}

/** Shares of a fleet by which a rollout is widened, in percent. */
export const SHARES = [1, 5, 10, 25, 50, 100]
export const nextStep = (percent) => SHARES.find((share) => share > percent)

export const megabytes = (bytes) => `${fixed(bytes / 2 ** 20)} MB`

/** "0.2.0, 40 MB: mends the camera". */
export const releaseWords = ({ version, size, notes }) => `${version}, ${megabytes(size)}${notes ? `: ${notes}` : ''}`

/** Whom a rollout would meet. */
export function foreseenWords({ members, done, failed, waiting }) {
  if (!members) return 'No kit is met by this. Of a few kits a small share is none: choose a larger one.'
  const others = [done && `${done} have it or a newer one already`, failed && `${failed} went back from it before`].filter(Boolean)
  return `${count(members, 'kit')} met; ${waiting} will be asked${others.length ? `, ${others.join(', ')}` : ''}.`
}

/** Settings as lines, and back. A value is JSON where it can be read as that, else text. */
export const settingsLines = (settings) =>
  Object.entries(settings).map(([key, value]) => `${key} = ${typeof value === 'string' ? value : JSON.stringify(value)}`).join('\n')

export function settingsOf(text) {
  const found = {}
  for (const line of text.split('\n').map((each) => each.trim()).filter(Boolean)) {
    const at = line.indexOf('=')
    if (at < 1) throw new Error(`“${line}” is no key = value`)
    const said = line.slice(at + 1).trim()
    try {
      found[line.slice(0, at).trim()] = JSON.parse(said)
    } catch {
      found[line.slice(0, at).trim()] = said
    }
  }
  return found
}

const DEEDS = { add: 'made it known', tag: 'tags', configure: 'settings', diagnose: 'asked for a report' }

/** What somebody asked of a kit. A report's number says nothing to a person. */
export const deedWords = ({ action, detail }) =>
  action === 'diagnose' ? DEEDS.diagnose : [DEEDS[action] ?? action, detail || (action === 'tag' ? 'none' : '')].filter(Boolean).join(' ')

const TOLD = { taken: 'has taken', trying: 'is trying', applied: 'uses', refused: 'refused', rolled_back: 'went back from' }

/** What became of the settings on the kit. */
export function toldWords(kit) {
  if (!kit.desired) return 'None were given yet; the kit uses its own file.'
  const told = kit.configuration
  if (!told || told.version < kit.desired) return `Version ${kit.desired} waits until the kit hears of it.`
  return `The kit ${TOLD[told.state] ?? told.state} version ${told.version}${told.problem ? `: ${told.problem}` : ''}.`
}
