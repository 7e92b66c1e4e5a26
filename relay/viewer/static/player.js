// One camera over WebRTC, by the documented offer: connects, notices silence, reconnects with pauses, reports what it
// sees.

import { Poses } from './poses.js'
import { send } from './requests.js'
import { STALE_AFTER_MS } from './watchwords.js'

const BASE = '/video/api'
const LOOK_MS = 500
const STATS_MS = 2000
const RECONNECT_SILENT_MS = 8000
const PAUSES_MS = [300, 1000, 2000, 3000]
/** With the skeleton on, the browser holds pictures this long, so that each finds its own pose. */
const HOLD_MS = 90

export class Player {
  phase = 'connecting'
  status = 0
  level = ''
  lastAt = null
  heardAt = null
  posedAt = null
  retryAt = 0
  delayMs = null
  quality = null
  poses = new Poses()
  #peer = null
  #session = null
  #attempt = 0
  #openedAt = 0
  #timer = 0
  #before = null
  #ended = false
  #hold = true

  /** `source`: {kit} or {} for whatever is live; `onFrame(rtpTimestamp)`, `onPose()`, `onChange()` are told as they come. */
  constructor(video, source, token, { onFrame, onPose, onChange }) {
    this.video = video
    this.source = source
    this.token = token
    this.tell = { onFrame, onPose, onChange }
    this.#watchFrames()
    this.#ticking = setInterval(() => this.#look(), LOOK_MS)
    this.#counting = setInterval(() => this.#count(), STATS_MS)
    this.#connect()
  }

  #ticking
  #counting

  /** Whether pictures wait a moment for their poses. */
  hold(wanted) {
    this.#hold = wanted
    const receiver = this.#peer?.getReceivers()[0]
    if (receiver && 'jitterBufferTarget' in receiver) receiver.jitterBufferTarget = wanted ? HOLD_MS : 0
  }

  end() {
    this.#ended = true
    clearInterval(this.#ticking)
    clearInterval(this.#counting)
    this.#leave()
  }

  async #connect() {
    this.#leave()
    this.phase = 'connecting'
    this.tell.onChange()
    const peer = (this.#peer = new RTCPeerConnection({ iceServers: await iceServers(this.token) }))
    try {
      peer.addTransceiver('video', { direction: 'recvonly' })
      const channel = peer.createDataChannel('pose', { ordered: false, maxRetransmits: 0 })
      channel.onmessage = (event) => this.#posed(JSON.parse(event.data))
      peer.ontrack = (event) => this.#show(event.streams[0] ?? new MediaStream([event.track]))
      peer.onconnectionstatechange = () => peer === this.#peer && this.#state(peer.connectionState)
      await peer.setLocalDescription()
      const body = { sdp: peer.localDescription.sdp, type: 'offer', ...this.source }
      const answer = await ask('/offer', this.token, { method: 'POST', json: body })
      if (peer !== this.#peer) return
      if (!answer.ok) return this.#refused(answer.status)
      const found = await answer.json()
      this.#session = found.session_id
      await peer.setRemoteDescription({ type: found.type, sdp: found.sdp })
    } catch {
      if (peer === this.#peer) this.#lost()
    }
  }

  #show(stream) {
    this.video.srcObject = stream
    this.video.play().catch(() => {})
    this.hold(this.#hold)
  }

  #state(state) {
    if (state === 'connected') {
      this.phase = 'open'
      this.#attempt = 0
      this.#openedAt = Date.now()
      this.tell.onChange()
    } else if (state === 'failed' || state === 'closed') this.#lost()
  }

  #refused(status) {
    this.phase = 'refused'
    this.status = status
    this.tell.onChange()
    if (status !== 401 && status !== 403) this.#again(4000)
  }

  #lost() {
    this.phase = 'lost'
    this.#again(PAUSES_MS[Math.min(this.#attempt++, PAUSES_MS.length - 1)] * (0.75 + Math.random() / 2))
    this.tell.onChange()
  }

  #again(pauseMs) {
    clearTimeout(this.#timer)
    this.retryAt = Date.now() + pauseMs
    if (!this.#ended) this.#timer = setTimeout(() => this.#connect(), pauseMs)
  }

  #leave() {
    clearTimeout(this.#timer)
    this.#peer?.close()
    this.#peer = null
    if (this.#session) ask(`/session/${this.#session}`, this.token, { method: 'DELETE', keepalive: true }).catch(() => {})
    this.#session = null
  }

  #posed(pose) {
    this.heardAt = Date.now()
    if (pose.level !== undefined) this.level = pose.level
    if (pose.landmarks) {
      this.posedAt = this.heardAt
      this.poses.add(pose)
    }
    this.tell.onPose()
  }

  #watchFrames() {
    const seen = (_, frame) => {
      this.lastAt = Date.now()
      this.tell.onFrame(frame.rtpTimestamp)
      this.video.requestVideoFrameCallback(seen)
    }
    this.video.requestVideoFrameCallback(seen)
  }

  /** When pictures, or words of a kit that sends none, have stopped: is the session still the relay's, and does the kit send? */
  async #look() {
    this.tell.onChange()
    if (this.phase !== 'open' || document.visibilityState !== 'visible') return
    const came = this.level === 'skeleton' ? this.heardAt : this.lastAt
    const silent = Date.now() - Math.max(came ?? 0, this.#openedAt)
    if (silent < STALE_AFTER_MS || this.#asking) return
    this.#asking = true
    const answer = await ask(`/session/${this.#session}`, this.token).catch(() => null)
    this.#asking = false
    if (answer === null || answer.status === 404) this.#lost()
    else if (silent > RECONNECT_SILENT_MS && (await this.#sends())) this.#lost()
  }

  #asking = false

  async #sends() {
    const answer = await ask('/cameras', this.token).catch(() => null)
    if (!answer?.ok) return true
    const { cameras } = await answer.json()
    return cameras.some((one) => one.live && (one.level !== 'skeleton' || this.level === 'skeleton') && (!this.source.kit || one.kit === this.source.kit))
  }

  async #count() {
    if (this.phase !== 'open' || !this.#peer) return
    const report = [...(await this.#peer.getStats()).values()]
    const inbound = report.find((one) => one.type === 'inbound-rtp' && one.kind === 'video')
    const pair = report.find((one) => one.type === 'candidate-pair' && one.nominated)
    if (!inbound) return
    const before = this.#before
    this.#before = inbound
    if (!before || before.id !== inbound.id || inbound.framesDecoded <= before.framesDecoded) return
    const emitted = inbound.jitterBufferEmittedCount - before.jitterBufferEmittedCount
    const frames = inbound.framesDecoded - before.framesDecoded
    const held = emitted > 0 ? (inbound.jitterBufferDelay - before.jitterBufferDelay) / emitted : 0
    const decoding = (inbound.totalDecodeTime - before.totalDecodeTime) / frames
    this.delayMs = 1000 * ((pair?.currentRoundTripTime ?? 0) / 2 + held + decoding)
    const got = inbound.packetsReceived - before.packetsReceived
    const lost = Math.max(0, inbound.packetsLost - before.packetsLost)
    this.quality = {
      width: inbound.frameWidth,
      height: inbound.frameHeight,
      fps: (1000 * frames) / (inbound.timestamp - before.timestamp),
      lostShare: got + lost ? lost / (got + lost) : 0,
    }
  }
}

let servers = null

/** STUN and TURN as the relay's operator set them; asked for once a page. */
async function iceServers(token) {
  servers ??= ask('/ice-servers', token)
    .then((answer) => (answer.ok ? answer.json() : { iceServers: [] }))
    .catch(() => ({ iceServers: [] }))
  return (await servers).iceServers
}

export function ask(path, token, options = {}) {
  return send(BASE + path, token, options)
}
