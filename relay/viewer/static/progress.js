// A patient's progress: by exercise, each session's range of motion, repetitions and form, oldest first.

import { $, element, page, request } from './care.js'
import { exerciseWords } from './carelines.js'
import { count, DASH, fixed } from './formats.js'

const SVG = 'http://www.w3.org/2000/svg'
const patient = decodeURIComponent(location.pathname.split('/')[3] ?? '')

const day = (at) => new Date(at).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })

/** A line of values over sessions, scaled to 0..most. */
function trend(values, most, words) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 1000 180')
  svg.setAttribute('preserveAspectRatio', 'none')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', words)
  const path = document.createElementNS(SVG, 'path')
  const x = (k) => (values.length > 1 ? (k / (values.length - 1)) * 1000 : 500)
  path.setAttribute('d', values.map((value, k) => `${k ? 'L' : 'M'}${x(k).toFixed(1)} ${(180 - (value / most) * 180).toFixed(1)}`).join(''))
  svg.append(path)
  return element('div', { className: 'curve' }, svg)
}

function table(exercise, joint) {
  const head = ['Day', 'Repetitions', 'Form', 'Least', 'Most', 'Range']
  const rows = exercise.joints[joint].map((line) => {
    const session = exercise.sessions.find(({ session_id }) => session_id === line.session_id)
    const form = session.form_score === null ? DASH : fixed(session.form_score * 100, 0)
    const cells = [session.repetitions ?? DASH, form, `${fixed(line.min, 0)}°`, `${fixed(line.max, 0)}°`, `${fixed(line.range_of_motion, 0)}°`]
    const link = element('a', { href: `/app/session/${line.session_id}`, textContent: day(line.at) })
    return element('tr', {}, element('td', {}, link), ...cells.map((text) => element('td', { textContent: text })))
  })
  const heads = head.map((text) => element('th', { scope: 'col', textContent: text }))
  return element('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: `Sessions by ${joint}` },
    element('table', {}, element('thead', {}, element('tr', {}, ...heads)), element('tbody', {}, ...rows)))
}

function card(exercise) {
  const joints = Object.keys(exercise.joints).sort((a, b) => range(exercise, b) - range(exercise, a))
  const made = element('section', { className: 'card' }, element('h2', { textContent: `${exerciseWords(exercise.exercise_type)}, ${count(exercise.session_count, 'session')}` }))
  for (const joint of joints.slice(0, 2)) {
    const values = exercise.joints[joint].map((line) => line.range_of_motion)
    const change = exercise.range_of_motion_change[joint]
    const since = values.length > 1 ? `, ${change >= 0 ? '+' : '−'}${fixed(Math.abs(change), 0)}° since the first session` : ''
    const words = `${joint.replaceAll('_', ' ')}: range of motion ${fixed(values.at(-1), 0)}°${since}`
    made.append(element('h3', { className: 'small', textContent: words }))
    if (values.length > 1) made.append(trend(values, 180, words), element('p', { className: 'xs', textContent: 'First session to last, 0 to 180°.' }))
    made.append(table(exercise, joint))
  }
  return made
}

const range = (exercise, joint) => exercise.joints[joint].at(-1).range_of_motion

page(async () => {
  const found = (await request(`/physio/analytics?patient_id=${encodeURIComponent(patient)}`)).data
  if (!found.length) {
    $('message').textContent = 'No recorded session yet.'
    return
  }
  $('name').textContent = `Progress of ${found[0].patient_name}`
  $('message').textContent = ''
  $('exercises').replaceChildren(...found[0].exercises.map(card))
})
