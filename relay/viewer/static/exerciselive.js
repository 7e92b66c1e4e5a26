// The exercise as the kit sees it now: skeleton, angles and repetitions, and the control of who may see more than that.

import { accessToken, request } from './care.js'
import { clockTime, DASH, fixed } from './formats.js'
import { drawSkeleton } from './skeleton.js'
import { SessionSocket } from './socket.js'
import { $ } from './write.js'

export const STALE_AFTER_MS = 2000
const LOOK_EVERY_MS = 500
const CLEAR_MINUTES = 30
const DOUBTFUL_BELOW = 0.5
const JOINTS = { squat: 'knee', squat_front: 'knee', wall_sit: 'knee', shoulder_raise: 'shoulder', glute_bridge: 'hip' }
const LEVELS = {
  skeleton: 'Only this skeleton leaves the home, no picture.',
  blurred: 'Blurred video leaves the home, as the patient agreed.',
  clear: 'Clear video leaves the home, as the patient agreed.',
}

export const jointOf = (exercise) => JOINTS[exercise] ?? 'knee'
const uncounted = (exercise) => (exercise in JOINTS ? DASH : 'not counted')

/** What the card says of itself: {tone, pill, text}. `heardMs` is how long ago poses came, null when none did. */
export function words(state, { phase, heardMs, seen }) {
  if (!state || phase === 'connecting') return { tone: 'off', pill: 'Connecting', text: '' }
  if (phase !== 'open') return { tone: 'doubt', pill: 'Connection lost', text: 'Trying again. What the kit sees meanwhile is kept and sent later.' }
  if (!state.watching) return { tone: 'off', pill: 'Not live', text: 'No kit sees this session now.' }
  const problem = state.camera?.problem ?? state.vision?.problem
  if (problem) return { tone: 'doubt', pill: 'No picture', text: `The kit ${state.kit} says: ${problem}` }
  if (heardMs === null) return state.online
    ? { tone: 'off', pill: 'Waiting', text: `The kit ${state.kit} is there and has not seen anything yet.` }
    : { tone: 'off', pill: 'Waiting', text: `Waiting for the kit ${state.kit}. Is it switched on?` }
  if (heardMs > STALE_AFTER_MS) return { tone: 'doubt', pill: `Nothing for ${Math.round(heardMs / 1000)} s`, text: `Nothing came from the kit ${state.kit}.` }
  if (!seen) return { tone: 'doubt', pill: 'Nobody seen', text: 'Nobody is in front of the camera.' }
  return { tone: 'live', pill: 'Live', text: '' }
}

/** Follows one session in the card `#live`. */
export class Watch {
  #session
  #user
  #socket
  #state = null
  #frame = null
  #live = {}
  #heardAt = null
  #drawn = 0
  #onFirst
  #over

  /** `onFirst` is called with the first pose that comes. Of a session that is `over` the card is shown only while a kit still sees it. */
  constructor(session, user, onFirst, over) {
    this.#onFirst = onFirst
    this.#over = over
    this.#session = session
    this.#user = user
    const url = new URL(`/physio/api/sessions/${session}/live`, location.href)
    url.protocol = url.protocol.replace('http', 'ws')
    url.searchParams.set('token', accessToken())
    this.#socket = new SessionSocket(url.href, {
      onMessage: (message) => this.#take(message),
      onPhase: () => this.#say(),
    })
  }

  start() {
    $('live').hidden = this.#over
    $('live-assign').addEventListener('submit', (event) => this.#assign(event))
    $('live-stop').addEventListener('click', () => this.#ask('kit', { method: 'DELETE' }))
    $('live-show').addEventListener('click', () => this.#privacy('clear', CLEAR_MINUTES))
    $('live-hide').addEventListener('click', () => this.#privacy('skeleton', 0))
    this.#socket.start()
    setInterval(() => this.#say(), LOOK_EVERY_MS)
  }

  #take({ type, payload }) {
    if (type === 'state') {
      this.#state = payload
      if (!payload.watching) this.#frame = this.#heardAt = null
    }
    if (type === 'pose') {
      this.#onFirst?.()
      this.#onFirst = null
      this.#heardAt = performance.now()
      this.#live = payload.live
      this.#frame = payload.frames.at(-1) ?? null
      if (!this.#drawn) this.#drawn = requestAnimationFrame(() => this.#draw())
    }
    this.#say()
  }

  #say() {
    $('live').hidden = this.#over && !this.#state?.watching
    const heardMs = this.#heardAt === null ? null : performance.now() - this.#heardAt
    const { tone, pill, text } = words(this.#state, { phase: this.#socket.phase, heardMs, seen: this.#frame !== null })
    $('live-state').dataset.tone = tone
    if ($('live-state').textContent !== pill) $('live-state').textContent = pill
    if ($('live-words').textContent !== text) $('live-words').textContent = text
    $('live-now').hidden = this.#frame === null
    $('live-now').dataset.stale = String(tone !== 'live')
    this.#controls()
  }

  #controls() {
    const watching = this.#state?.watching ?? false
    const level = this.#state?.privacy?.level
    $('live-assign').hidden = watching || this.#state === null
    $('live-stop').hidden = !watching
    $('live-show').hidden = !watching || this.#user.role !== 'patient' || level === 'clear'
    $('live-hide').hidden = !watching || !level || level === 'skeleton'
    const until = this.#state?.privacy?.until
    const words = watching ? LEVELS[level ?? 'skeleton'] + (until ? ` That ends by itself at ${clockTime(new Date(until).getTime()).slice(0, 5)}.` : '') : ''
    if ($('live-privacy').textContent !== words) $('live-privacy').textContent = words
  }

  #draw() {
    this.#drawn = 0
    if (!this.#frame) return
    const [width, height] = this.#live.size ?? [1, 1]
    drawSkeleton($('live-skeleton'), this.#frame.landmarks, { aspect: width / height, label: 'The pose now' })
    const joint = jointOf(this.#state?.exercise)
    for (const side of ['left', 'right']) {
      const angle = this.#frame.angles?.[`${joint}_${side}`]
      $(`live-${side}-name`).textContent = `${joint[0].toUpperCase()}${joint.slice(1)} ${side}`
      $(`live-${side}`).textContent = angle == null ? 'not seen' : `${fixed(angle, 0)}°`
    }
    $('live-repetitions').textContent = this.#live.repetitions == null ? uncounted(this.#state?.exercise) : String(this.#live.repetitions)
    if ($('live-advice').textContent !== (this.#live.advice ?? '')) $('live-advice').textContent = this.#live.advice ?? ''
    const doubt = (this.#frame.quality_score ?? 1) < DOUBTFUL_BELOW
    $('live-now').dataset.doubt = String(doubt)
    const two = this.#live.people > 1 ? `${this.#live.people} people are in view; one is followed. ` : ''
    $('live-doubt').textContent = two + (doubt ? 'The joint is not seen well: read these degrees with doubt.' : '')
    $('live-rate').textContent = `${fixed(this.#live.fps ?? 0, 0)} poses a second, each ${fixed(this.#live.ageMs ?? 0, 0)} ms old when it left the kit`
  }

  #assign(event) {
    event.preventDefault()
    this.#ask('kit', { method: 'PUT', body: { kit: $('live-kit').value.trim() } })
  }

  #privacy(level, minutes) {
    this.#ask('privacy', { method: 'PUT', body: { level, minutes } })
  }

  async #ask(what, options) {
    $('live-said').textContent = ''
    try {
      await request(`/sessions/${this.#session}/${what}`, options)
    } catch (error) {
      $('live-said').textContent = error.message
    }
  }
}
