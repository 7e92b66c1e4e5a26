// The timer page: one number for the whole room, computed from the last state and the compared clocks, so that it
// continues without the relay (and says so).

import { placeOf } from './api.js'
import { Awake } from './awake.js'
import { clockTime } from './formats.js'
import { Refused } from './requests.js'
import { face, level, shown, words } from './timerclock.js'
import { ask, TimerSocket } from './timersocket.js'
import { Sounds } from './timersound.js'
import { $, element } from './write.js'

const MOST_SEATS = 12
const ASK_AGAIN_MS = 3000

const session = decodeURIComponent(location.pathname.split('/')[2] ?? '')
const { token } = placeOf(location)
const sounds = new Sounds()
let state = null
let heardAt = 0
let lostAt = null
let lastLevel = null

const socket = new TimerSocket(session, token, { onMessage: take, onPhase: phase })

/** The relay's time now: by the compared clock, until then by when its last message came. */
function relayNow() {
  const best = socket.clock.best
  return best ? performance.now() + best.offset : state.server_time_ms + performance.now() - heardAt
}

function take({ type, payload }) {
  if (type === 'SESSION_DELETED') {
    socket.stop()
    state = null
    tell('gone', 'off', 'Deleted', 'This timer was deleted', 'Ask whoever made it for another.')
  } else if (type === 'STATE_SYNC' || type === 'SESSION_UPDATE') hold(payload)
}

/** A state newer than ours, or as new: answers to requests may be overtaken by the socket. */
function hold(payload) {
  if (state && payload.version < state.version) return
  const over = { paused_at: undefined, expired_at: undefined, expired_participant_id: undefined }
  state = { ...state, ...over, ...payload }
  heardAt = performance.now()
  seats()
  buttons()
}

function phase(name) {
  if (name === 'open') {
    lostAt = null
    tell('live', 'live', 'Live')
  } else if (state) {
    lostAt ??= Date.now()
    tell('offline', 'doubt', 'Offline', 'No connection to the relay',
      `Counting on from the state of ${clockTime(lostAt)}. What others do since then is not seen here.`)
    check()
  }
}

function tell(name, tone, pill, head = '', text = '') {
  document.body.dataset.state = name
  $('state').dataset.tone = tone
  $('state').textContent = pill
  $('notice').hidden = !head
  $('notice-head').textContent = head
  $('notice-text').textContent = text
}

/** Why there is no connection: a socket that is refused does not say it, a request does. */
async function check() {
  try {
    hold(await ask(session, '', token, 'GET'))
    return true
  } catch (error) {
    if (error instanceof Refused && [401, 403, 404].includes(error.status)) refused(error)
    return false
  }
}

function refused(error) {
  socket.stop()
  state = null
  const known = error.status === 404
  tell(known ? 'unknown' : 'refused', 'off', known ? 'No such timer' : 'Not allowed',
    known ? 'There is no such timer' : 'This link does not open the timer', error.message)
}

function draw() {
  requestAnimationFrame(draw)
  if (!state) return
  const seat = state.participants.find((one) => one.is_active) ?? expiredSeat()
  const ms = shown(state, seat, relayNow())
  const up = state.sync_mode === 'count_up'
  const urgent = ms === null ? 'none' : level(state, ms)
  put($('left'), ms === null ? '–:––' : face(ms, { up }))
  $('left').toggleAttribute('data-long', $('left').textContent.length > 5)
  $('left').dataset.ms = ms ?? ''
  $('left').dataset.at = performance.timeOrigin + performance.now()
  put($('whose'), seat ? seat.participant_id : up ? 'Stopwatch' : 'Everybody')
  put($('words'), words(state, urgent) || '\u00a0')
  document.body.dataset.level = urgent
  if (urgent !== lastLevel) changed(urgent)
  for (const row of $('others').children) {
    const one = state.participants[row.dataset.index]
    put(row.lastChild, face(shown(state, one, relayNow()) ?? 0, { up }))
  }
  const best = socket.clock.best
  put($('clock'), best ? `Clock compared with the relay's to ± ${Math.max(1, Math.ceil(best.error))} ms` : 'Clock not compared yet')
}

/** Whose clock to show when nobody's runs: the one it ran out for, else the first. */
const expiredSeat = () => state.participants.find((one) => one.participant_id === state.expired_participant_id) ?? state.participants[0]

function changed(urgent) {
  if (lastLevel !== null && ['low', 'critical', 'over'].includes(urgent)) {
    sounds.play(urgent)
    $('announcements').textContent = words(state, urgent)
  }
  lastLevel = urgent
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function seats() {
  const many = state.participants
  $('others').hidden = many.length < 2
  const from = Math.max(0, Math.min(many.findIndex((one) => one.is_active) - 1, many.length - MOST_SEATS))
  $('others').replaceChildren(...many.slice(from, from + MOST_SEATS).map((one, k) => {
    const row = element('li', {}, element('span', { textContent: one.participant_id }), element('b'))
    row.dataset.index = from + k
    if (one.is_active) row.setAttribute('aria-current', 'true')
    return row
  }))
}

function buttons() {
  const { status } = state
  const may = state.may !== false
  $('go').hidden = !may || !(status === 'pending' || (status === 'running' && state.participants.length))
  put($('go'), status === 'pending' ? 'Start' : 'Next')
  $('pause').hidden = !may || !['running', 'paused'].includes(status)
  put($('pause'), status === 'paused' ? 'Resume' : 'Pause')
}

async function act(what) {
  try {
    await ask(session, what, token)
  } catch (error) {
    if (!(error instanceof Refused)) return
    if (error.status === 403) state.may = false
    $('announcements').textContent = error.message
    put($('words'), error.message)
    buttons()
  }
}

async function toggleSound() {
  await sounds.toggle()
  $('sound').setAttribute('aria-pressed', String(sounds.on))
  put($('sound'), sounds.on ? 'Sound is on' : 'Sound is off')
}

async function begin() {
  if (await check()) socket.connect()
  else if (document.body.dataset.state === 'connecting') {
    tell('connecting', 'doubt', 'Relay not reached', 'The relay does not answer', 'This page keeps asking.')
    setTimeout(begin, ASK_AGAIN_MS)
  }
}

$('go').addEventListener('click', () => act(state.status === 'pending' ? 'start' : 'switch'))
$('pause').addEventListener('click', () => act(state.status === 'paused' ? 'resume' : 'pause'))
$('sound').addEventListener('click', toggleSound)
new Awake(() => {}).start()
draw()
begin()
