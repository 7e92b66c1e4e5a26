// A patient's progress: how many of the scheduled sessions were done, and the range of motion over time per exercise.

import { page, request, where } from './care.js'
import { capital, exerciseWords } from './carelines.js'
import { count, DASH, fixed } from './formats.js'
import { timePlot, weekPlot } from './plot.js'
import { $, element } from './write.js'

const MOST_WEEKS = 26
const SIDES = ['left', 'right']
const patient = decodeURIComponent(location.pathname.split('/')[3] ?? '')

const day = (t) => {
  const year = new Date(t).getFullYear() === new Date().getFullYear() ? undefined : 'numeric'
  return new Date(t).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year })
}
const degrees = (value) => (Number.isFinite(value) ? `${fixed(value, 0)}°` : DASH)
const part = (name, ...children) => element('section', { className: 'card' }, element('h2', { textContent: name }), ...children)
const key = (kind, text) => [element('span', { className: `key ${kind}` }), text, ' ']

function adherenceCard({ planned, done, percent, weeks }) {
  if (!planned) return []
  const words = `${done} of ${count(planned, 'planned session')} done, ${percent} %`
  return [part('Sessions kept', element('p', { textContent: words }), weekPlot(weeks.slice(-MOST_WEEKS), `${words}, by week`, day),
    element('p', { className: 'xs' }, 'By week: ', ...key('filled', 'done'), ...key('outline', 'planned')))]
}

/** The joints of an exercise without their sides, the one that moves most first. */
export function jointsOf(joints) {
  const names = [...new Set(Object.keys(joints).map((name) => name.replace(/_(left|right)$/, '')))]
  const widest = (name) => Math.max(...SIDES.map((side) => joints[`${name}_${side}`]?.at(-1).range_of_motion ?? 0))
  return names.sort((a, b) => widest(b) - widest(a))
}

function sideWords(exercise, joint, side) {
  const lines = exercise.joints[`${joint}_${side}`]
  if (!lines) return ''
  const change = exercise.range_of_motion_change[`${joint}_${side}`]
  const sign = Math.abs(change) < 0.5 ? '±' : change < 0 ? '−' : '+'
  const since = lines.length > 1 ? ` (${sign}${fixed(Math.abs(change), 0)}°)` : ''
  return `${side} ${degrees(lines.at(-1).range_of_motion)}${since}`
}

function rangePlot(exercise, joint) {
  const lines = SIDES.filter((side) => exercise.joints[`${joint}_${side}`]).map((side) => ({
    kind: side, points: exercise.joints[`${joint}_${side}`].map((line) => [Date.parse(line.at), line.range_of_motion]),
  }))
  const said = SIDES.map((side) => sideWords(exercise, joint, side)).filter(Boolean).join(', ')
  const words = `${capital(joint)}, range of motion: ${said}`
  return [element('h3', { className: 'small', textContent: words }),
    timePlot({ lines, high: 180, step: 45, unit: '°', words: `${words}, over ${count(exercise.session_count, 'session')}`, dayOf: day })]
}

function table(exercise, joints) {
  const head = ['Day', 'Repetitions', 'Form', ...joints.flatMap((joint) => SIDES.map((side) => `${capital(joint)} ${side}`))]
  const rows = exercise.sessions.map((session) => {
    const ranges = joints.flatMap((joint) => SIDES.map((side) => {
      const line = exercise.joints[`${joint}_${side}`]?.find(({ session_id }) => session_id === session.session_id)
      return degrees(line?.range_of_motion)
    }))
    const form = session.form_score === null ? DASH : fixed(session.form_score * 100, 0)
    const link = element('a', { href: `/app/session/${session.session_id}`, textContent: day(session.at) })
    const cells = [session.repetitions ?? DASH, form, ...ranges].map((text) => element('td', { textContent: text }))
    return element('tr', {}, element('td', {}, link), ...cells)
  })
  const heads = head.map((text) => element('th', { scope: 'col', textContent: text }))
  return element('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: `Sessions of ${exerciseWords(exercise.exercise_type)}` },
    element('table', {}, element('thead', {}, element('tr', {}, ...heads)), element('tbody', {}, ...rows)))
}

function exerciseCard(exercise) {
  const joints = jointsOf(exercise.joints).slice(0, 2)
  return part(`${capital(exerciseWords(exercise.exercise_type))}, ${count(exercise.session_count, 'session')}`,
    ...joints.flatMap((joint) => rangePlot(exercise, joint)),
    element('p', { className: 'xs' }, ...key('solid', 'left'), ...key('dashed', 'right'), exercise.session_count > 1 ? '· in brackets: since the first session' : ''),
    table(exercise, joints))
}

page(async () => {
  const [found] = (await request(`/physio/analytics?patient_id=${encodeURIComponent(patient)}`)).data
  if (!found) {
    $('message').textContent = 'No session yet.'
    return
  }
  where(['Patients', '/app/patients'], [found.patient_name])
  $('name').textContent = `Progress of ${found.patient_name}`
  document.title = `${found.patient_name} · Homeside`
  $('message').textContent = found.exercises.length ? '' : 'No recorded session yet.'
  $('exercises').replaceChildren(...adherenceCard(found.adherence), ...found.exercises.map(exerciseCard))
})
