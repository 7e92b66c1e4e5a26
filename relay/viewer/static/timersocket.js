// A timer session's WebSocket, which reconnects by itself, and the session's requests. It uses only the documented
// interface.

import { Refused, send } from './requests.js'
import { backOff, ClockComparison } from './socket.js'

const BASE = '/timers'
const QUICK_PINGS = 5
const QUICK_MS = 200
const PING_EVERY_MS = 5000
const SILENT_MS = 12000

export async function ask(session, what, token, method = 'POST') {
  const path = `${BASE}/v1/sessions/${encodeURIComponent(session)}${what ? `/${what}` : ''}`
  const answer = await send(path, token, { method })
  const body = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Refused(answer.status, body.error)
  return body
}

/** `onMessage({type, payload})` hears every event but PONG; `onPhase(phase)` hears open and lost. */
export class TimerSocket {
  clock = new ClockComparison()
  #url
  #socket = null
  #onMessage
  #onPhase
  #attempt = 0
  #timers = []
  #heardAt = 0

  constructor(session, token, { onMessage, onPhase }) {
    const url = new URL(`${BASE}/sessions/${encodeURIComponent(session)}`, location.href)
    url.protocol = url.protocol.replace('http', 'ws')
    if (token) url.searchParams.set('token', token)
    this.#url = url.href
    this.#onMessage = onMessage
    this.#onPhase = onPhase
  }

  connect() {
    this.stop()
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    socket.onopen = () => this.#opened()
    socket.onmessage = (event) => this.#heard(event.data)
    socket.onclose = () => this.#lost()
  }

  stop() {
    this.#timers.forEach(clearTimeout)
    this.#timers = []
    if (!this.#socket) return
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null
    this.#socket.close()
    this.#socket = null
  }

  #opened() {
    this.#heardAt = performance.now()
    this.#attempt = 0
    for (let k = 0; k < QUICK_PINGS; k++) this.#timers.push(setTimeout(() => this.#ping(), k * QUICK_MS))
    this.#timers.push(setInterval(() => this.#beat(), PING_EVERY_MS))
    this.#send({ type: 'RECONNECT', last_known_version: 0 })
    this.#onPhase('open')
  }

  #beat() {
    if (performance.now() - this.#heardAt > SILENT_MS) this.#lost()
    else this.#ping()
  }

  #ping() {
    this.#send({ type: 'PING', timestamp: performance.now() })
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  #heard(data) {
    this.#heardAt = performance.now()
    const message = JSON.parse(data)
    if (message.type === 'PONG') this.clock.take(message.client_timestamp, message.server_timestamp, this.#heardAt)
    else this.#onMessage(message)
  }

  #lost() {
    this.stop()
    this.#attempt++
    this.#timers.push(setTimeout(() => this.connect(), backOff(this.#attempt)))
    this.#onPhase('lost')
  }
}
