// One session's WebSocket, which reconnects by itself: back-off with jitter, a heartbeat against half-open connections,
// and clock comparison with the relay. It decides what each close code means and reports it as a phase. After
// reconnecting, perhaps to another relay, it sends the last time seen, so that the stream continues from there.

const FIRST_WAIT_MS = 500
const MOST_WAIT_MS = 8000
const PING_EVERY_MS = 4000
const SILENT_MS = 11000
const OPEN_WITHIN_MS = 8000
const PINGS_KEPT = 8

/** Codes after which asking again would be answered the same. */
export const REFUSALS = { 1008: 'not-an-id', 4401: 'not-allowed', 4403: 'not-allowed', 4404: 'unknown' }

/** How long to wait before attempt `n` (1, 2, …): doubling, bounded, between half and all of it by `random`. */
export function backOff(n, random = Math.random) {
  const whole = Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** (n - 1))
  return whole / 2 + (random() * whole) / 2
}

/** How far the relay's clock is from this page's: of the last answers, the one that travelled least is believed. */
export class ClockComparison {
  #answers = []

  take(sent, serverTime, now) {
    this.#answers.push({ trip: now - sent, offset: serverTime - (sent + now) / 2 })
    if (this.#answers.length > PINGS_KEPT) this.#answers.shift()
  }

  /** {offset, error} in ms: relay's epoch time minus performance.now(), and half the trip. Null before an answer. */
  get best() {
    if (!this.#answers.length) return null
    const { trip, offset } = this.#answers.reduce((a, b) => (b.trip < a.trip ? b : a))
    return { offset, error: trip / 2 }
  }
}

/** The socket's address, asking for what follows the time `after`, if there is one. */
export function resumed(address, after) {
  if (after === null) return address
  const url = new URL(address)
  url.searchParams.set('after', after)
  return url.href
}

/**
 * Phases: `connecting`, `open`, `waiting` (for the next attempt, at `retryAt`; `justLost` after an open
 * connection broke, at `lostAt`), `refused` (with `refusal` and `reason`), `stopped`. Times here are Date.now().
 * `onPhase(socket)` follows each change; `onMessage({type, payload})` each well-formed message but pongs. `lastSeen()`
 * gives the time of the newest sample here, or null: what came before it is not asked for again.
 */
export class SessionSocket {
  phase = 'stopped'
  attempt = 0
  retryAt = null
  refusal = null
  reason = ''
  lostAt = null
  justLost = false
  clock = new ClockComparison()
  #url
  #socket = null
  #onMessage
  #onPhase
  #lastSeen
  #timer = null
  #heartbeat = null
  #heardAt = 0
  #wake = () => this.#tryAtOnce()

  constructor(url, { onMessage, onPhase, lastSeen = () => null }) {
    this.#url = url
    this.#onMessage = onMessage
    this.#onPhase = onPhase
    this.#lastSeen = lastSeen
  }

  start() {
    addEventListener('online', this.#wake)
    document.addEventListener('visibilitychange', this.#wake)
    this.#connect()
  }

  /** Ends for good. */
  stop() {
    removeEventListener('online', this.#wake)
    document.removeEventListener('visibilitychange', this.#wake)
    this.#letGo()
    this.#enter('stopped')
  }

  /** Do not wait for the next attempt, nor for a change of mind of the relay. */
  tryNow() {
    if (this.phase !== 'waiting' && this.phase !== 'refused') return
    this.#letGo()
    this.#connect()
  }

  get waitingBytes() {
    return this.#socket?.bufferedAmount ?? 0
  }

  /** Sends text; false when there is no connection to send it by. */
  send(text) {
    if (this.phase !== 'open') return false
    this.#socket.send(text)
    return true
  }

  #tryAtOnce() {
    if (this.phase === 'waiting' && document.visibilityState === 'visible') this.tryNow()
  }

  #connect() {
    const socket = new WebSocket(resumed(this.#url, this.#lastSeen()))
    this.#socket = socket
    this.#enter('connecting')
    this.#timer = setTimeout(() => this.#lost(1006, ''), OPEN_WITHIN_MS)
    socket.onopen = () => this.#ping()
    socket.onmessage = (event) => this.#heard(event.data)
    socket.onclose = (event) => this.#lost(event.code, event.reason)
  }

  #ping() {
    this.#socket.send(JSON.stringify({ type: 'ping', payload: { sent: performance.now() } }))
  }

  #beat() {
    if (performance.now() - this.#heardAt > SILENT_MS) this.#lost(1006, '')
    else this.#ping()
  }

  /** Only what answers is open: a proxy with nothing behind it accepts as well. */
  #opened() {
    clearTimeout(this.#timer)
    this.#heartbeat = setInterval(() => this.#beat(), PING_EVERY_MS)
    this.attempt = 0
    this.#enter('open')
  }

  #heard(data) {
    this.#heardAt = performance.now()
    if (this.phase === 'connecting') this.#opened()
    let message
    try {
      message = JSON.parse(data)
    } catch {
      return
    }
    const { type, payload } = message ?? {}
    if (typeof type !== 'string' || typeof payload !== 'object' || payload === null) return
    if (type === 'pong') this.clock.take(payload.sent, payload.serverTime, this.#heardAt)
    else this.#onMessage({ type, payload })
  }

  #lost(code, reason) {
    this.#letGo()
    this.justLost = this.phase === 'open'
    if (this.justLost) this.lostAt = Date.now()
    this.reason = reason
    if (code in REFUSALS) {
      this.refusal = REFUSALS[code]
      this.#enter('refused')
      return
    }
    this.attempt++
    const wait = backOff(code === 1013 ? this.attempt + 2 : this.attempt)
    this.retryAt = Date.now() + wait
    this.#timer = setTimeout(() => this.#connect(), wait)
    this.#enter('waiting')
  }

  #letGo() {
    clearTimeout(this.#timer)
    clearInterval(this.#heartbeat)
    if (!this.#socket) return
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null
    this.#socket.close()
    this.#socket = null
  }

  #enter(phase) {
    this.phase = phase
    this.#onPhase(this)
  }
}
