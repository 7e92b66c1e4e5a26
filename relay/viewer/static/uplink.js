// Sends a phone's samples to the relay: numbered batches, in order, kept until acknowledged, sent again after a broken
// connection. The relay stores each (session, boot, seq) once, however often it arrives.

import { socketUrl } from './api.js'
import { SessionSocket } from './socket.js'

const BATCH_MS = 200
const MOST_IN_FLIGHT_BYTES = 262144
const AGAIN_AFTER_MS = 4000
const MOST_WAITING_SAMPLES = 2000

const random = () =>
  [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
const round = (value, places) => Number(value.toFixed(places))

export class Uplink {
  boot = random()
  viewers = 0
  problem = null
  ended = false
  #session
  #outbox
  #socket
  #seq = 0
  #begun = Date.now()
  #clock
  #waiting = []
  #batching = null
  #onChange

  /** `outbox`: of this session; `clock`: as in steadyclock.js. `onChange(uplink)` when what a person is told may change. */
  constructor(session, token, outbox, clock, onChange) {
    this.#clock = clock
    this.#session = session
    this.#outbox = outbox
    this.#onChange = () => onChange(this)
    const url = socketUrl(session, { role: 'patient' }, token)
    this.#socket = new SessionSocket(url, { onMessage: (m) => this.#receive(m), onPhase: () => this.#phase() })
  }

  get phase() {
    return this.#socket.phase
  }

  get socket() {
    return this.#socket
  }

  /** Nothing is left to be sent or acknowledged. */
  get settled() {
    return !this.#waiting.length && !this.#outbox.size
  }

  start() {
    this.#socket.start()
    this.#batching = setInterval(() => this.#beat(), BATCH_MS)
  }

  stop() {
    clearInterval(this.#batching)
    this.#pack()
    this.#socket.stop()
  }

  /** One sample: epoch ms, m/s². */
  take(t, x, y, z) {
    this.#waiting.push({ t: round(t, 3), ax: round(x, 6), ay: round(y, 6), az: round(z, 6) })
    if (this.#waiting.length >= MOST_WAITING_SAMPLES) this.#pack()
  }

  #beat() {
    this.#pack()
    this.#send()
  }

  #pack() {
    if (!this.#waiting.length) return
    const samples = this.#waiting
    this.#waiting = []
    const seq = ++this.#seq
    const payload = { samples, ...this.#clockNote() }
    const body = JSON.stringify({ type: 'samples_batch', boot: this.boot, seq, payload })
    this.#outbox.add({
      session: this.#session,
      boot: this.boot,
      seq,
      begun: this.#begun,
      samples: samples.length,
      body,
    })
  }

  /** How far this phone's clock is from the relay's, once that is known. */
  #clockNote() {
    const { best } = this.#socket.clock
    if (!best) return {}
    const apart = Math.abs(best.offset - this.#clock.base)
    return { clock: { errorMs: round(apart + best.error, 1) } }
  }

  #send() {
    if (this.phase !== 'open') return
    const now = performance.now()
    for (const batch of this.#outbox) {
      if (this.#socket.waitingBytes > MOST_IN_FLIGHT_BYTES) return
      if (batch.sentAt !== null && now - batch.sentAt < AGAIN_AFTER_MS) continue
      if (!this.#socket.send(batch.body)) return
      batch.sentAt = now
    }
  }

  #phase() {
    if (this.phase === 'open') {
      for (const batch of this.#outbox) batch.sentAt = null
      this.#introduce()
      this.#send()
    }
    this.#onChange()
  }

  #introduce() {
    const platform = navigator.userAgentData?.platform || navigator.platform || ''
    const payload = { userAgent: navigator.userAgent, platform, unit: 'm/s2' }
    this.#socket.send(JSON.stringify({ type: 'device', payload }))
  }

  #receive({ type, payload }) {
    if (type === 'ack') {
      this.problem = null
      this.#outbox.acknowledge(payload.boot, payload.seq)
    } else if (type === 'error') this.problem = payload
    else if (type === 'status_update') {
      this.viewers = payload.viewerCount ?? this.viewers
      this.ended ||= payload.status === 'session_ended'
    }
    this.#onChange()
  }
}
