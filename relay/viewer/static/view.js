// The page of a live heart session: messages in; waveform, numbers and words out. It only connects the other modules.

import { Announcer } from './announce.js'
import { placeOf, socketUrl } from './api.js'
import { clockTime, duration, isEpoch, unitWords } from './formats.js'
import { History } from './history.js'
import { LiveLine } from './liveline.js'
import { readingTexts, Readings } from './readings.js'
import { showRecording } from './review.js'
import { SessionSocket } from './socket.js'
import { describe, STALE_AFTER_MS } from './state.js'
import { TrendChart } from './trend.js'
import { $, write } from './write.js'

const GRID_GAP_MS = 25
const TOLD_GAP_MS = 60
const SAME_MOVEMENT_MS = 500
const WINDOWS_BY_KEY = { 5: 5000, 1: 10000, 3: 30000 }

class LivePage {
  #place = placeOf(location)
  #line = new LiveLine($('wave'), GRID_GAP_MS)
  #trend = new TrendChart($('trend'))
  #history = new History($('log'))
  #readings = new Readings($('readings'))
  #announcer = new Announcer($('announcements'))
  #socket
  #info = {}
  #viewers = null
  #patient = null
  #endedAt = null
  #analysis = null
  #analysisAt = -Infinity
  #samplesAt = null
  #movements = []
  #ticking = null

  start() {
    const { session, token } = this.#place
    const url = socketUrl(session ?? '', { role: 'viewer', with: 'analysis' }, token)
    this.#socket = new SessionSocket(url, {
      onMessage: (m) => this.#receive(m),
      onPhase: (s) => this.#phase(s),
      lastSeen: () => this.#line.newest,
    })
    this.#bindControls()
    this.#socket.start()
    this.#line.run()
    this.#trend.draw(Date.now())
    this.#ticking = setInterval(() => this.#tick(), 250)
  }

  // -- what comes in ---------------------------------------------------------------------------------------------

  #receive({ type, payload }) {
    if (type === 'interpolated_batch') this.#samples(payload.interpolatedSamples ?? [])
    else if (type === 'gap') this.#gap(payload)
    else if (type === 'analysis') this.#analysed(payload)
    else if (type === 'session_info') this.#informed(payload)
    else if (type === 'status_update') this.#status(payload)
  }

  #samples(samples) {
    const now = performance.now()
    const taken = this.#line.take(
      samples.map(({ t, az }) => [t, az]),
      now,
    )
    if (taken < 0) this.#history.note(this.#now(), 'The sensor’s clock began anew')
    if (!taken) return
    if (this.#samplesAt !== null && now - this.#samplesAt > STALE_AFTER_MS)
      this.#history.note(this.#now(), 'Signal is back')
    this.#samplesAt = now
  }

  #gap({ from, to }) {
    if (to - from >= TOLD_GAP_MS) this.#history.note(to, `Gap of ${duration(to - from)}: not received`, `gap ${from}`)
  }

  #analysed(analysis) {
    this.#analysis = analysis
    this.#analysisAt = performance.now()
    if (!Number.isFinite(analysis.t)) return
    this.#line.doubt(analysis.motion ?? [], analysis.t)
    for (const span of this.#line.spans) this.#moved(span)
    this.#trend.data.take(analysis.t, analysis.heartRate?.bpm ?? null)
    this.#trend.draw(analysis.t)
  }

  /** One movement keeps one line in the list while its borders are still being found. */
  #moved([from, to]) {
    let known = this.#movements.find((m) => from <= m.to + SAME_MOVEMENT_MS && to >= m.from - SAME_MOVEMENT_MS)
    if (!known) {
      known = { from, to }
      this.#movements = [...this.#movements.slice(-20), known]
    }
    known.to = Math.max(known.to, to)
    this.#history.note(
      known.from,
      `Movement, ${duration(known.to - known.from)}: not counted`,
      `movement ${known.from}`,
    )
  }

  #informed(info) {
    const first = !this.#info.sessionId
    this.#info = info
    this.#patient = info.patientConnected ?? this.#patient
    if (first && info.startedAt) this.#history.note(Date.parse(info.startedAt), 'Session began')
    if (first && !info.endedAt) this.#history.note(this.#now(), 'You began watching')
    if (info.endedAt) this.#end(Date.parse(info.endedAt))
    this.#readings.about(info, this.#viewers)
  }

  #status({ status, viewerCount }) {
    this.#viewers = viewerCount ?? this.#viewers
    if (status === 'patient_connected') {
      if (this.#patient === false) this.#history.note(this.#now(), 'Kit or phone connected')
      this.#patient = true
    } else if (status === 'patient_disconnected') {
      this.#patient = false
      this.#history.note(this.#now(), 'Kit or phone disconnected')
    } else if (status === 'session_ended') this.#end(this.#now())
    this.#readings.about(this.#info, this.#viewers)
  }

  #phase(socket) {
    if (socket.phase === 'waiting' && socket.justLost) this.#history.note(socket.lostAt, 'Connection to the relay lost')
    if (socket.phase === 'open' && socket.lostAt) this.#history.note(Date.now(), 'Connected to the relay again')
    this.#tick()
  }

  #end(at) {
    if (this.#endedAt !== null) return
    this.#endedAt = at
    this.#history.note(at, 'Session ended')
    this.#line.stop()
    this.#socket.stop()
    clearInterval(this.#ticking)
    $('live').hidden = true
    $('past').hidden = !this.#trend.data.list.length
    this.#trend.end()
    $('trend-name').textContent = 'Heart rate per minute, while you watched'
    showRecording($('recorded'), this.#place)
  }

  // -- what is shown ---------------------------------------------------------------------------------------------

  /** Epoch ms by the relay's clock where it is known, else by this browser's. */
  #now() {
    const { best } = this.#socket.clock
    return best ? performance.now() + best.offset : Date.now()
  }

  #facts(now) {
    const silentMs = this.#samplesAt === null ? Infinity : now - this.#samplesAt
    const drawn = this.#line.drawnUpTo(now)
    const epoch = drawn !== null && isEpoch(drawn)
    const lastAt = drawn === null ? null : epoch ? this.#line.newest : Date.now() - silentMs
    return {
      socket: this.#socket,
      endedAt: this.#endedAt,
      patient: this.#patient,
      now: Date.now(),
      silentMs,
      lastAt,
      delayMs: epoch ? this.#now() - drawn : null,
    }
  }

  #tick() {
    const now = performance.now()
    const state = describe(this.#facts(now))
    this.#showState(state)
    const live = state.kind === 'live'
    const waiting = live ? 'Waiting for the first beats to be counted.' : `${state.head ?? state.pill}.`
    const texts = readingTexts(this.#analysis, live ? now - this.#analysisAt : Infinity, waiting)
    this.#readings.show(texts)
    if (live)
      this.#announcer.rate(texts.known ? `Heart rate ${texts.rate} per minute` : `No reading. ${texts.why}`, now)
    this.#showLegend()
  }

  #showState({ kind, tone, pill, head = '', text = '', action = '' }) {
    document.body.dataset.state = kind
    $('state').dataset.tone = $('notice').dataset.tone = tone
    $('notice').hidden = !head
    $('notice-action').hidden = !action
    write({ state: pill, 'notice-head': head, 'notice-text': text, 'notice-action': action })
    this.#announcer.state(kind === 'live' ? 'Live' : pill)
    $('live').hidden = $('past').hidden = kind === 'refused'
  }

  #showLegend() {
    const { across, doubt, gap } = this.#line.legend(unitWords(this.#info.unit ?? 'm/s2'))
    const { pausedAt } = this.#line
    $('legend-doubt').hidden = !doubt
    $('legend-gap').hidden = !gap
    $('paused').hidden = pausedAt === null
    const paused = pausedAt === null ? '' : `Drawing paused at ${clockTime(pausedAt)}. The session goes on.`
    write({
      across,
      'legend-doubt': doubt,
      'legend-gap': gap,
      paused,
      pause: pausedAt === null ? 'Pause drawing' : 'Resume drawing',
    })
  }

  // -- controls --------------------------------------------------------------------------------------------------

  #bindControls() {
    for (const radio of document.querySelectorAll('input[name="window"]')) {
      radio.addEventListener('change', () => this.#setWindow(Number(radio.value)))
    }
    $('pause').addEventListener('click', () => this.#togglePause())
    $('notice-action').addEventListener('click', () => this.#act())
    $('wave').addEventListener('keydown', (event) => this.#key(event))
  }

  #act() {
    if (this.#socket.phase === 'open') showRecording($('recorded'), this.#place)
    else this.#socket.tryNow()
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return
    if (event.key === ' ') this.#togglePause()
    else if (event.key in WINDOWS_BY_KEY) this.#setWindow(WINDOWS_BY_KEY[event.key])
    else return
    event.preventDefault()
  }

  #setWindow(ms) {
    this.#line.windowMs = ms
    document.querySelector(`input[name="window"][value="${ms}"]`).checked = true
    this.#line.draw(performance.now())
    this.#showLegend()
  }

  #togglePause() {
    this.#line.togglePause()
    this.#showLegend()
  }
}

new LivePage().start()
