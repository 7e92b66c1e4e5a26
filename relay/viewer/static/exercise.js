// One session on one axis of time: curves, repetitions, findings, the pose, the video, and the review.

import { $, element, page, request, state } from './care.js'
import { exerciseWords, whenWords } from './carelines.js'
import { Curve } from './curve.js'
import { FrameStore } from './framestore.js'
import { DASH, dayTime, fixed } from './formats.js'
import { aspectOf, drawSkeleton } from './skeleton.js'
import { Watch } from './exerciselive.js'

const id = decodeURIComponent(location.pathname.split('/')[3] ?? '')

/** Everything known of the session being looked at, and the moment that is chosen. */
const shown = { timeline: null, frames: null, curve: null, at: 0, remarks: [] }

const fact = (name, value) => [element('dt', { textContent: name }), element('dd', { textContent: value })]
const offset = (ms) => `${((ms - shown.timeline.t[0]) / 1000).toFixed(1)} s`

function facts({ session, pose_data }, summary) {
  const tempo = summary?.tempo_ms ? `${fixed(summary.tempo_ms.there / 1000, 1)} s there, ${fixed(summary.tempo_ms.back / 1000, 1)} s back` : DASH
  const lines = [
    ['When', whenWords(session, Date.now())],
    ['Repetitions', !summary ? DASH : summary.rules ? String(summary.repetitions) : 'not counted for this exercise'],
    ['Form', summary?.form_score == null ? DASH : `${Math.round(summary.form_score * 100)} of 100`],
    ['Tempo', tempo],
    ['Range of motion', summary ? balanceWords(summary.balance_percent) : DASH],
    ['Frames', `${pose_data.frame_count}, ${fixed(pose_data.sampling_rate, 1)} a second`],
  ]
  if (summary?.held_seconds != null) lines.push(['Held', `${summary.held_seconds} s`])
  $('facts').replaceChildren(...lines.map((line) => element('div', {}, ...fact(...line))))
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
  curve.at(at)
  $('seek').value = String(k)
  $('seek').setAttribute('aria-valuetext', offset(at))
  const frame = frames.at(k)
  drawSkeleton($('skeleton'), frame?.landmarks ?? [], { aspect: (frame && aspectOf(frame)) ?? videoAspect() })
  const joint = $('joint').value
  const angles = ['left', 'right'].map((side) => [side, timeline.angles[`${joint}_${side}`]?.[k]]).filter(([, value]) => value != null)
  $('moment').textContent = `${fixed((shown.at - timeline.t[0]) / 1000, 2)} s: ${joint} ${angles.map(([side, value]) => `${side} ${fixed(value, 0)}°`).join(', ') || 'not seen'}${frame ? '' : ', the pose is on its way'}`
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

function draw() {
  shown.curve = new Curve($('curve'), shown.timeline, $('joint').value, choose)
  choose(shown.at || shown.timeline.t[0])
}

function showTimeline(session) {
  const { timeline } = shown
  $('timeline').hidden = $('replay').hidden = false
  $('joint').replaceChildren(...jointsByRange(timeline.angles, timeline.summary.joint).map((joint) => element('option', { value: joint, textContent: joint })))
  $('joint').addEventListener('change', draw)
  $('seek').max = String(timeline.t.length - 1)
  $('seek').addEventListener('input', (event) => choose(timeline.t[Number(event.target.value)]))
  const lines = timeline.issues.map((issue) => {
    const button = element('button', { type: 'button', textContent: `${offset(issue.timestamp)}: ${issue.message}` })
    button.addEventListener('click', () => choose(issue.timestamp))
    return element('li', {}, button)
  })
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

function showReview(review, remarkAt) {
  $('review').hidden = false
  const remarks = review.form_feedback.map((remark) =>
    element('li', { textContent: `${remarkAt(remark.timestamp)}: ${remarkWords(remark)}` }))
  $('given').replaceChildren(
    element('p', { textContent: `${capital(review.overall_assessment)}, by ${review.physiotherapist_name}, ${dayTime(Date.parse(review.reviewed_at), Date.now())}` }),
    element('p', { className: 'small', textContent: review.notes ?? '' }),
    element('ol', { className: 'lines' }, ...remarks),
  )
  const next = nextWords(review.next_steps ?? {})
  if (next) $('given').append(element('p', { className: 'small', textContent: `Next: ${next}` }))
}

const capital = (word) => word[0] + word.slice(1).toLowerCase()

function nextWords({ recommended_exercises, frequency, follow_up_date }) {
  const again = follow_up_date && `seen again ${dayTime(Date.parse(follow_up_date), Date.now())}`
  return [(recommended_exercises ?? []).map(exerciseWords).join(', '), frequency, again].filter(Boolean).join('; ')
}

function nextSteps({ next, frequency, follow_up }) {
  const steps = { recommended_exercises: [...next].filter((one) => one.checked).map((one) => one.value) }
  if (frequency.value) steps.frequency = frequency.value
  if (follow_up.value) steps.follow_up_date = new Date(follow_up.value).toISOString()
  return steps.recommended_exercises.length || frequency.value || follow_up.value ? steps : null
}

function addRemark() {
  const issue = $('issue').value.trim()
  if (!issue) return
  shown.remarks.push({ timestamp: shown.at, issue, recommendation: $('recommendation').value.trim() || null })
  listRemarks()
  $('issue').value = $('recommendation').value = ''
  $('issue').focus()
}

const remarkWords = ({ issue, recommendation }) => [issue, recommendation].filter(Boolean).join('. ')

function listRemarks() {
  $('remarks').replaceChildren(...shown.remarks.map((remark) => {
    const away = element('button', { type: 'button', textContent: 'Remove', ariaLabel: `Remove the remark at ${offset(remark.timestamp)}` })
    away.addEventListener('click', () => {
      shown.remarks = shown.remarks.filter((one) => one !== remark)
      listRemarks()
    })
    return element('li', { className: 'row' }, `${offset(remark.timestamp)}: ${remarkWords(remark)}`, away)
  }))
}

async function send(event) {
  event.preventDefault()
  const { overall_assessment, notes } = event.target.elements
  try {
    const review = await request('/physio/reviews', {
      method: 'POST',
      body: {
        session_id: id, overall_assessment: overall_assessment.value, notes: notes.value || null,
        form_feedback: shown.remarks, next_steps: nextSteps(event.target.elements),
      },
    })
    showReview(review, offset)
    $('form').hidden = true
    state('off', 'Review sent')
  } catch (error) {
    $('sent').textContent = error.message
  }
}

page(async (user) => {
  const details = await request(`/sessions/${encodeURIComponent(id)}`)
  const { session, review } = details
  $('name').textContent = `${session.patient_name}: ${exerciseWords(session.exercise_type)}`
  document.title = `${exerciseWords(session.exercise_type)} · Homeside`
  const recorded = details.pose_data.frame_count > 0
  const told = session.instructions?.trim().replace(/[^.!?]$/, '$&.') ?? ''
  const say = (words) => { $('message').textContent = `${told} ${words}`.trim() }
  const onFirst = () => { if (!recorded) say('It is being recorded now: load this page again to see it as curves.') }
  if (!['reviewed', 'completed'].includes(session.status)) new Watch(id, user, onFirst).start()
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
  if (review) showReview(review, shown.timeline ? offset : String)
  if (user.role !== 'patient') $('progress').href = `/app/progress/${session.patient_id}`
  $('progress').hidden = user.role === 'patient'
  if (user.role === 'physiotherapist' && shown.timeline) {
    $('review').hidden = $('form').hidden = false
    $('form').addEventListener('submit', send)
    $('add').addEventListener('click', addRemark)
  }
})
