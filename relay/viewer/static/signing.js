// Signing: the hand in the camera read into letters and sentences, or, with a session in the address, somebody else's
// signing watched.

import { placeOf } from './api.js'
import { drawOver } from './hand.js'
import { send } from './requests.js'
import { cameraTrouble, SignCamera } from './signcamera.js'
import { School, Teaching } from './signschool.js'
import { SignSocket } from './signsocket.js'
import { nowOf, saidOf, spelled, stateOf } from './signwords.js'
import { $, write } from './write.js'

const TAGS = { en: 'en-US', ru: 'ru-RU', kz: 'kk-KZ' }
const KEPT = 'homeside.signing.calibration'

class Page {
  #token
  #watched
  #session
  #socket
  #camera
  #school = new School()
  #teaching
  #aloud = false
  #sentence = ''

  constructor({ session, token }) {
    this.#token = token
    this.#watched = session
    this.#session = session ?? crypto.randomUUID?.() ?? `s${Date.now()}-${Math.random()}`
    this.#camera = new SignCamera($('video'), (image) => this.#show(image))
    this.#teaching = new Teaching(this.#school, (body) => this.#keep(body))
    this.#socket = new SignSocket(token, {
      onMessage: (message) => this.#heard(message),
      onPhase: (phase, reason) => this.#phase(phase, reason),
      begin: () => this.#begin(),
    })
    document.body.dataset.part = session ? 'watch' : 'sign'
  }

  open() {
    $('camera').addEventListener('click', () => (this.#camera.on ? this.#off() : this.#on()))
    $('language').addEventListener('change', () => this.#socket.send(this.#begin()))
    $('finish').addEventListener('click', () => this.#finish())
    $('clear').addEventListener('click', () => this.#command('clear'))
    $('speak').addEventListener('click', () => this.#speak())
    $('aloud').addEventListener('click', () => this.#toggleAloud())
    $('teach').addEventListener('click', () => this.#teach())
    $('unteach').addEventListener('click', () => this.#forget())
    $('unteach').hidden = !localStorage.getItem(KEPT)
    if (this.#watched) this.#socket.connect()
    else this.#school.open(this.#token).catch(() => this.#notice('The letters could not be fetched', 'The relay does not answer.'))
    this.#state(this.#watched ? 'connecting' : 'idle')
  }

  async #on() {
    this.#notice()
    try {
      await this.#camera.start()
    } catch (error) {
      this.#notice('No camera', cameraTrouble(error))
      return
    }
    write({ camera: 'Switch the camera off' })
    for (const id of ['finish', 'clear', 'teach']) $(id).disabled = false
    this.#state('connecting')
    this.#socket.connect()
  }

  #off() {
    this.#command('stop')
    this.#camera.stop()
    drawOver($('overlay'))
    $('letter').dataset.sure = 'no'
    write({ camera: 'Switch the camera on', letter: '', sure: 'The camera is off' })
    for (const id of ['finish', 'clear', 'teach']) $(id).disabled = true
    this.#state('idle')
  }

  #begin() {
    const payload = { action: this.#watched ? 'watch' : 'start', session_id: this.#session }
    if (this.#watched) return { type: 'command', payload }
    const calibration = localStorage.getItem(KEPT) ?? ''
    return { type: 'command', payload: { ...payload, language: $('language').value, extras: true, calibration } }
  }

  #command(action) {
    this.#socket.send({ type: 'command', payload: { action, session_id: this.#session } })
    if (action === 'clear') write({ sequence: '–' })
  }

  #finish() {
    this.#command('stop')
    this.#socket.send(this.#begin())
  }

  #show(image) {
    this.#socket.send({ type: 'frame', payload: { image, timestamp: Date.now(), session_id: this.#session } })
  }

  #phase(phase, reason) {
    if (phase === 'open') this.#state(this.#watched ? 'watching' : 'connecting')
    else this.#state(phase)
    if (phase === 'refused') this.#notice('Not allowed here', reason || 'Ask for a link to this page.')
    else if (phase === 'lost') this.#notice('The relay is out of reach', 'This page comes back by itself.')
    else this.#notice()
  }

  #heard({ type, payload }) {
    if (type === 'detection') this.#detected(payload)
    else if (type === 'translation') this.#said(payload)
    else if (type === 'sequence') write({ sequence: spelled(payload.letters) })
    else if (type === 'error') this.#trouble(payload)
  }

  #detected(payload) {
    this.#camera.answered()
    if (!this.#camera.on) return
    this.#notice()
    this.#state('live')
    const { letter, sure, words } = nowOf(payload)
    $('letter').dataset.sure = sure
    write({ letter, sure: words, sequence: spelled(payload.sequence ?? []) })
    drawOver($('overlay'), payload.landmarks)
    this.#school.seen(payload.sign)
    this.#teaching.take(payload)
  }

  #said(payload) {
    const { sentence, doubt, others } = saidOf(payload)
    this.#sentence = sentence
    write({ sentence, doubt, others, sequence: '–' })
    $('others').hidden = !others
    $('speak').disabled = !('speechSynthesis' in window)
    if (this.#aloud) this.#speak()
  }

  #trouble({ code, message }) {
    this.#camera.answered()
    if (code === 'NOT_FOUND') {
      localStorage.removeItem(KEPT)
      return
    }
    if (code === 'SERVICE_UNAVAILABLE') this.#state('unavailable')
    this.#notice('This did not work', message)
  }

  #speak() {
    const words = new SpeechSynthesisUtterance(this.#sentence)
    words.lang = TAGS[$('language').value]
    speechSynthesis.cancel()
    speechSynthesis.speak(words)
  }

  #toggleAloud() {
    this.#aloud = !this.#aloud
    $('aloud').setAttribute('aria-pressed', String(this.#aloud))
    write({ aloud: `Read each aloud: ${this.#aloud ? 'on' : 'off'}` })
  }

  #teach() {
    if (this.#teaching.on) {
      this.#teaching.cancel()
      write({ teach: 'Begin', 'own-text': 'Stopped. Nothing was kept.' })
    } else {
      this.#teaching.begin()
      write({ teach: 'Stop' })
    }
  }

  async #keep(body) {
    const name = localStorage.getItem(KEPT) ?? `hand-${this.#session}`
    const answer = await this.#calibration(name, { method: 'PUT', json: body }).catch(() => null)
    write({ teach: 'Begin again', 'own-text': answer?.ok ? 'It reads with your hand from now on.' : 'It could not be kept.' })
    if (!answer?.ok) return
    localStorage.setItem(KEPT, name)
    $('unteach').hidden = false
    this.#socket.send(this.#begin())
  }

  async #forget() {
    await this.#calibration(localStorage.getItem(KEPT), { method: 'DELETE' }).catch(() => null)
    localStorage.removeItem(KEPT)
    $('unteach').hidden = true
    write({ 'own-text': 'Forgotten.' })
    this.#socket.send(this.#begin())
  }

  #calibration(name, options) {
    return send(`/signs/api/v1/calibration/${encodeURIComponent(name)}`, this.#token, options)
  }

  #notice(head = '', text = '') {
    $('notice').hidden = !head
    write({ 'notice-head': head, 'notice-text': text })
  }

  #state(state) {
    const { text, tone } = stateOf(state)
    document.body.dataset.state = state
    $('state').dataset.tone = tone
    write({ state: text })
  }
}

new Page(placeOf(location)).open()
