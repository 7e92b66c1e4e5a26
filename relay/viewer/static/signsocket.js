// The sign detection WebSocket, which reconnects by itself. It uses only the documented messages.

import { backOff } from './socket.js'

/** `onMessage({type, payload})` hears everything; `onPhase(phase)` hears open and lost; `begin()` is sent on each opening. */
export class SignSocket {
  #url
  #onMessage
  #onPhase
  #begin
  #socket = null
  #attempt = 0
  #timer = 0

  constructor(token, { onMessage, onPhase, begin }) {
    const url = new URL('/signs/ws/sign-detection', location.href)
    url.protocol = url.protocol.replace('http', 'ws')
    if (token) url.searchParams.set('token', token)
    this.#url = url.href
    this.#onMessage = onMessage
    this.#onPhase = onPhase
    this.#begin = begin
  }

  connect() {
    this.stop()
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    socket.onopen = () => {
      this.#attempt = 0
      this.send(this.#begin())
      this.#onPhase('open')
    }
    socket.onmessage = (event) => this.#onMessage(JSON.parse(event.data))
    socket.onclose = (event) => this.#lost(event)
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  send(message) {
    if (this.open) this.#socket.send(JSON.stringify(message))
  }

  stop() {
    clearTimeout(this.#timer)
    if (!this.#socket) return
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null
    this.#socket.close()
    this.#socket = null
  }

  #lost({ code, reason }) {
    this.stop()
    if (code === 4401 || code === 4403) {
      this.#onPhase('refused', reason)
      return
    }
    this.#attempt++
    this.#timer = setTimeout(() => this.connect(), backOff(this.#attempt))
    this.#onPhase('lost')
  }
}
