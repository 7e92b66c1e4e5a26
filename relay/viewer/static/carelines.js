// Lines of lists: a session and a patient, in words.

import { element } from './care.js'
import { count, dayTime, duration } from './formats.js'

export const exerciseWords = (name) => (name ?? 'exercise').replaceAll('_', ' ')

const STATES = {
  pending: ['Planned', 'off'],
  missed: ['Not done', 'off'],
  recording: ['Recording', 'live'],
  processing: ['Processing', 'off'],
  review_pending: ['To review', 'doubt'],
  reviewed: ['Reviewed', 'off'],
  completed: ['Completed', 'off'],
}

export function statePill(status) {
  const [words, tone] = STATES[status] ?? [status, 'off']
  const pill = element('span', { className: 'pill', textContent: words })
  pill.dataset.tone = tone
  return pill
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
  link.append(statePill(stateOf(session, Date.now())), element('span', { className: 'xs', textContent: whenWords(session, Date.now()) }))
  return element('li', {}, link)
}

export function patientLine(patient) {
  const last = patient.last_session_at ? `last ${dayTime(Date.parse(patient.last_session_at), Date.now())}` : 'no session yet'
  const said = `${count(patient.session_count, 'session')}, ${last}${patient.consent_given ? '' : ' · has not agreed to being recorded'}`
  const link = element('a', { href: `/app/progress/${patient.patient_id}` }, element('b', { textContent: patient.name }))
  link.append(element('span', { className: 'xs', textContent: said }))
  return element('li', {}, link)
}

export const nothing = (words) => element('li', { className: 'muted', textContent: words })
