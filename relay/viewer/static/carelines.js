// Entries of lists: a session or a patient, in words.

import { request } from './care.js'
import { count, dayTime, duration } from './formats.js'
import { failureWords } from './requests.js'
import { element, pillOf } from './write.js'

const NAMES = { squat_front: 'front squat' }

export const exerciseWords = (name) => NAMES[name] ?? (name ?? 'exercise').replaceAll('_', ' ')

export const capital = (words) => words[0].toUpperCase() + words.slice(1)

const STATES = {
  pending: ['Planned', 'off'],
  missed: ['Not done', 'off'],
  recording: ['Recording', 'live'],
  processing: ['Processing', 'off'],
  review_pending: ['To review', 'doubt'],
  reviewed: ['Reviewed', 'off'],
  completed: ['Completed', 'off'],
}

export function statePill(status, own = false) {
  const [words, tone] = own && status === 'review_pending' ? ['Waiting for review', 'off'] : STATES[status] ?? [status, 'off']
  return pillOf(words, tone)
}

/** What a session's pill says: one that was due and has nothing in it was not done. */
function stateOf(session, now) {
  const missed = session.status === 'pending' && !session.frame_count && Date.parse(session.scheduled_datetime ?? '') < now
  return missed ? 'missed' : session.status
}

/** When a session was, will be, or was planned. */
export function whenWords(session, now) {
  if (session.start_time) return `${dayTime(Date.parse(session.start_time), now)}, ${duration(session.duration_seconds * 1000)}`
  if (session.scheduled_datetime) return `planned for ${dayTime(Date.parse(session.scheduled_datetime), now)}`
  return `planned ${dayTime(Date.parse(session.created_at), now)}`
}

export function sessionLine(session, named) {
  const name = named ? `${session.patient_name}: ${exerciseWords(session.exercise_type)}` : exerciseWords(session.exercise_type)
  const link = element('a', { href: `/app/session/${session.id}` }, element('b', { textContent: name }))
  link.append(statePill(stateOf(session, Date.now()), !named), element('span', { className: 'xs', textContent: whenWords(session, Date.now()) }))
  return element('li', {}, link)
}

export function patientLine(patient) {
  const last = patient.last_session_at ? `, last ${dayTime(Date.parse(patient.last_session_at), Date.now())}` : ''
  const many = patient.session_count ? `${count(patient.session_count, 'session')}${last}` : 'no session yet'
  const said = `${many}${patient.consent_given ? '' : ' · has not agreed to being recorded'}`
  const link = element('a', { href: `/app/progress/${patient.patient_id}` }, element('b', { textContent: patient.name }))
  link.append(element('span', { className: 'xs', textContent: said }))
  return element('li', {}, link)
}

/** Fills a list from `path`, page after page as they are asked for; `none` says that there is nothing. */
export async function list(host, path, lineOf, none) {
  const more = element('button', { type: 'button' })
  const next = element('li', {}, more)
  const load = async (number) => {
    const { data, pagination } = await request(`${path}?per_page=50&page=${number}`)
    next.remove()
    host.append(...data.map(lineOf))
    const left = pagination.total_items - host.childElementCount
    if (!host.childElementCount) host.append(nothing(none))
    if (left <= 0 || !data.length) return
    more.textContent = `Show more: ${left.toLocaleString('en-GB')} left`
    more.onclick = () => load(number + 1).catch((error) => { more.textContent = failureWords(error) })
    host.append(next)
  }
  host.replaceChildren()
  await load(1)
}

const nothing = (words) => element('li', { className: 'muted', textContent: words })
