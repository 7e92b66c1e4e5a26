// One exercise session on one time axis: curves, repetitions, findings, pose, video. The review is beside it.

import { page, request, where } from './care.js'
import { capital, exerciseWords, whenWords } from './carelines.js'
import { Curve, pageOf } from './curve.js'
import { Watch } from './exerciselive.js'
import { openReview, showReview } from './exercisereview.js'
import { DASH, fixed, moment } from './formats.js'
import { FrameStore } from './framestore.js'
import { aspectOf, drawSkeleton } from './skeleton.js'
import { $, element } from './write.js'

const id = decodeURIComponent(location.pathname.split('/')[3] ?? '')

/** Everything known of the session being looked at, and the moment that is chosen. */
const shown = { timeline: null, frames: null, curve: null, at: 0, span: 0 }
const LONG_MS = 120_000
const MOST_MOMENTS = 8

const fact = (name, value) => [element('dt', { textContent: name }), element('dd', { textContent: value })]
const offset = (ms, digits) => moment(ms - shown.timeline.t[0], digits)

function facts({ session, pose_data }, summary) {
  const lines = [['When', whenWords(session, Date.now())]]
  if (summary && !summary.rules) lines.push(['Repetitions', 'not counted for this exercise'])
  if (summary?.rules) lines.push(...measured(summary))
  if (summary) lines.push(['Poses seen', `${pose_data.frame_count.toLocaleString('en-GB')}, ${fixed(pose_data.sampling_rate, 1)} a second`])
  $('facts').replaceChildren(...lines.map((line) => element('div', {}, ...fact(...line))))
}

function measured({ repetitions, form_score, tempo_ms, balance_percent, held_seconds }) {
  const tempo = tempo_ms ? `${fixed(tempo_ms.there / 1000, 1)} s there, ${fixed(tempo_ms.back / 1000, 1)} s back` : DASH
  const lines = [
    ['Repetitions', String(repetitions)],
    ['Form', form_score == null ? DASH : `${Math.round(form_score * 100)} of 100`],
    ['Tempo', tempo],
    ['Range of motion', balanceWords(balance_percent)],
  ]
  return held_seconds == null ? lines : [...lines, ['Held', `${held_seconds} s`]]
}

/** `percent`: left less right, of the larger. */
export function balanceWords(percent) {
  if (percent == null) return 'one side seen'
  const more = fixed(Math.abs(percent), 0)
  return more === '0' ? 'left and right alike' : `${percent > 0 ? 'left' : 'right'} ${more} % more`
}

/** The joint that is counted first, then those that move most. */
export function jointsByRange(angles, counted) {
  const range = (joint) => Math.max(...['left', 'right'].map((side) => {
    const seen = (angles[`${joint}_${side}`] ?? []).filter((value) => value !== null)
    return seen.length ? Math.max(...seen) - Math.min(...seen) : 0
  }))
  const joints = [...new Set(Object.keys(angles).map((key) => key.replace(/_(left|right)$/, '')))]
  return joints.sort((a, b) => (b === counted) - (a === counted) || range(b) - range(a))
}

/** The index of the frame at or before a moment. */
export function frameAt(times, ms) {
  let low = 0
  let high = times.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (times[middle] <= ms) low = middle
    else high = middle - 1
  }
  return low
}

function choose(ms, { fromVideo = false } = {}) {
  const { timeline, frames, curve } = shown
  const at = Math.min(Math.max(ms, timeline.t[0]), timeline.t.at(-1))
  const k = frameAt(timeline.t, at)
  shown.at = timeline.t[k]
  if (curve.from === pageOf(timeline.t, at, shown.span)[0]) curve.at(at)
  else drawCurve(at)
  $('seek').value = String(k)
  $('seek').setAttribute('aria-valuetext', offset(at))
  const frame = frames.at(k)
  drawSkeleton($('skeleton'), frame?.landmarks ?? [], { aspect: (frame && aspectOf(frame)) ?? videoAspect() })
  const joint = $('joint').value
  const angles = ['left', 'right'].map((side) => [side, timeline.angles[`${joint}_${side}`]?.[k]]).filter(([, value]) => value != null)
  $('moment').textContent = `${offset(shown.at, 2)}: ${joint} ${angles.map(([side, value]) => `${side} ${fixed(value, 0)}°`).join(', ') || 'not seen'}${frame ? '' : ', the pose is on its way'}`
  $('remark-at').textContent = offset(shown.at)
  if (!fromVideo && !$('video').hidden) $('video').currentTime = (at - timeline.t[0]) / 1000
}

/** Where a pose does not say in what picture it was seen, the video of it does; without one, a square is as good as any. */
const videoAspect = () => $('video').videoWidth / $('video').videoHeight || 1

/** Plays the poses at the speed they were moved at, where there is no video to do it. */
function play() {
  const { timeline } = shown
  const playing = $('play').getAttribute('aria-pressed') !== 'true'
  $('play').setAttribute('aria-pressed', String(playing))
  $('play').textContent = playing ? 'Stop' : 'Play'
  if (!playing) return
  const from = shown.at < timeline.t.at(-1) ? shown.at : timeline.t[0]
  const began = performance.now()
  const step = () => {
    if ($('play').getAttribute('aria-pressed') !== 'true') return
    const at = from + performance.now() - began
    choose(at)
    if (at < timeline.t.at(-1)) requestAnimationFrame(step)
    else play()
  }
  step()
}

function drawCurve(at) {
  shown.curve = new Curve($('curve'), shown.timeline, $('joint').value, pageOf(shown.timeline.t, at, shown.span), choose)
  shown.curve.at(at)
}

function draw() {
  drawCurve(shown.at || shown.timeline.t[0])
  choose(shown.at || shown.timeline.t[0])
}

/** A long session is shown a minute at a time, unless all of it is asked for. */
function zooming({ t }) {
  const spans = $('spans').querySelectorAll('input')
  $('spans').hidden = t.at(-1) - t[0] <= LONG_MS
  for (const span of spans) {
    span.checked = Number(span.value) === ($('spans').hidden ? 0 : 60_000)
    span.addEventListener('change', () => {
      shown.span = Number(span.value)
      draw()
    })
    if (span.checked) shown.span = Number(span.value)
  }
}

/** Findings that say the same, as one with its moments: [[message, [ms]]]. */
export function grouped(issues) {
  const found = new Map()
  for (const { message, timestamp } of issues) found.set(message, [...(found.get(message) ?? []), timestamp])
  return [...found]
}

function toMoment(ms, words, said) {
  const button = element('button', { type: 'button', textContent: words })
  if (said) button.setAttribute('aria-label', `${words}: ${said}`)
  button.addEventListener('click', () => choose(ms))
  return button
}

function findingLine([message, moments]) {
  if (moments.length === 1) return element('li', {}, toMoment(moments[0], `${offset(moments[0])}: ${message}`))
  const buttons = moments.map((ms) => toMoment(ms, offset(ms), message))
  const row = element('div', { className: 'moments' }, ...buttons.slice(0, MOST_MOMENTS))
  const line = element('li', {}, element('p', { textContent: `${message} ${moments.length} times:` }), row)
  const rest = buttons.slice(MOST_MOMENTS)
  if (rest.length) line.append(element('details', {}, element('summary', { textContent: `${rest.length} more` }), element('div', { className: 'moments' }, ...rest)))
  return line
}

function showTimeline(session) {
  const { timeline } = shown
  $('timeline').hidden = $('replay').hidden = false
  $('joint').replaceChildren(...jointsByRange(timeline.angles, timeline.summary.joint).map((joint) => element('option', { value: joint, textContent: capital(joint) })))
  $('joint').addEventListener('change', draw)
  zooming(timeline)
  $('seek').max = String(timeline.t.length - 1)
  $('seek').addEventListener('input', (event) => choose(timeline.t[Number(event.target.value)]))
  const lines = grouped(timeline.issues).map(findingLine)
  $('findings').replaceChildren(...(lines.length ? lines : [element('li', { className: 'muted', textContent: 'None.' })]))
  $('play').addEventListener('click', play)
  if (session.video_url) {
    $('play').hidden = true
    $('video').src = session.video_url
    $('video').hidden = false
    $('video').addEventListener('loadedmetadata', () => choose(shown.at))
    $('video').addEventListener('timeupdate', () => choose(timeline.t[0] + $('video').currentTime * 1000, { fromVideo: true }))
  }
  draw()
}

page(async (user) => {
  const details = await request(`/sessions/${encodeURIComponent(id)}`)
  const { session, review } = details
  $('name').textContent = `${session.patient_name}: ${exerciseWords(session.exercise_type)}`
  document.title = `${exerciseWords(session.exercise_type)} · Homeside`
  const own = [['My exercises', '/app/me']]
  const theirs = [['Patients', '/app/patients'], [session.patient_name, `/app/progress/${session.patient_id}`]]
  where(...(user.role === 'patient' ? own : theirs), [capital(exerciseWords(session.exercise_type))])
  const recorded = details.pose_data.frame_count > 0
  const told = session.instructions?.trim().replace(/[^.!?]$/, '$&.') ?? ''
  const say = (words) => { $('message').textContent = `${told} ${words}`.trim() }
  const onFirst = () => { if (!recorded) say('It is being recorded now: load this page again to see it as curves.') }
  new Watch(id, user, onFirst, ['reviewed', 'completed'].includes(session.status)).start()
  if (recorded) {
    say('')
    shown.timeline = (await request(`/sessions/${id}/timeline`)).data
    const fetch = async (after, limit) => (await request(`/sessions/${id}/frames?after=${after}&limit=${limit}`)).data
    shown.frames = new FrameStore(shown.timeline.t, fetch, () => choose(shown.at, { fromVideo: true }))
    facts(details, shown.timeline.summary)
    showTimeline(session)
  } else {
    facts(details, null)
    say('Nothing is recorded yet.')
  }
  const seen = shown.timeline && { at: () => shown.at, words: offset, choose }
  if (review) showReview(review, seen)
  if (review && user.role === 'patient') $('summary').after($('review'))
  if (user.role !== 'patient') $('progress').href = `/app/progress/${session.patient_id}`
  $('progress').hidden = user.role === 'patient'
  if (user.role === 'physiotherapist' && seen) openReview(id, review, seen)
})
