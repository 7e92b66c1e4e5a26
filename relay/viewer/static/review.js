// An ended session: its stored recording, drawn at any zoom, moved by hand, wheel, keys or slider.

import { storedSession } from './api.js'
import { WaveChart } from './chart.js'
import { clockTime, count, duration, fixed, stepWords, unitWords } from './formats.js'
import { readSession, Recording } from './recording.js'
import { Refused } from './requests.js'
import { LINES, niceStep, usualPeak } from './scale.js'

const SMALLEST_MS = 2000
const FIRST_MS = 10000
const ZOOM = 2
const PAGE = 0.5

class Review {
  #root
  #recording = new Recording()
  #wave = null
  #from = 0
  #width = FIRST_MS
  #half = 0.15
  #unit = 'm/s²'
  #leaving = new AbortController()

  constructor(root) {
    this.#root = root
  }

  /** Lets go of the controls and of a load under way, for another review of the same `root`. */
  leave() {
    this.#leaving.abort()
  }

  #get = (name) => this.#root.querySelector(`[data-review="${name}"]`)

  #say(words) {
    this.#get('message').hidden = !words
    this.#get('message').textContent = words
  }

  async load(place) {
    this.#root.hidden = false
    this.#get('again').hidden = this.#get('panel').hidden = true
    this.#say('Loading the recording.')
    try {
      const answer = await storedSession(place.session, place.token, this.#leaving.signal)
      const head = await readSession(answer, this.#recording, (n) =>
        this.#say(`Loading the recording: ${count(n, 'sample')} so far.`),
      )
      this.#show(head)
    } catch (error) {
      if (this.#leaving.signal.aborted) return
      this.#say(failure(error))
      this.#get('again').hidden = false
    }
  }

  #show(head) {
    const recording = this.#recording
    const gaps = recording.finish()
    this.#unit = unitWords(head.unit ?? 'm/s2')
    this.#facts(head, gaps)
    this.#say(recording.size ? '' : 'Nothing was stored in this session: the sensor sent no sample.')
    if (!recording.size) return
    this.#get('panel').hidden = false
    this.#get('wave').replaceChildren()
    this.#wave = new WaveChart(this.#get('wave'), { onResize: () => this.#draw() })
    this.#wave.changed(recording, [])
    this.#half = niceStep(((usualPeak(recording, recording.from, recording.to) ?? 0) * 1.2) / LINES) * LINES
    this.#bind()
    this.#look(recording.from, FIRST_MS)
  }

  #facts(head, gaps) {
    const { size, from, to, left } = this.#recording
    const missing = gaps.reduce((sum, [a, b]) => sum + b - a, 0)
    const texts = {
      length: size ? duration(to - from) : '–',
      rate: size ? `${fixed(head.samplingRateHz, 1)}` : '–',
      gaps: gaps.length ? `${gaps.length}` : size ? 'None' : '–',
      missing: gaps.length ? `${duration(missing)} missing` : '',
      began: `Session began ${clockTime(Date.parse(head.startedAt))}${head.endedAt ? `, ended ${clockTime(Date.parse(head.endedAt))}` : ''}`,
      left: left
        ? `Only the first ${count(size, 'sample')} are shown; ${count(left, 'more is', 'more are')} stored.`
        : '',
    }
    for (const [name, text] of Object.entries(texts)) this.#get(name).textContent = text
  }

  /** Move the view to begin at `from`, `width` ms wide, inside the recording. */
  #look(from, width) {
    const { from: first, to: last } = this.#recording
    const whole = Math.max(last - first, 1000)
    this.#width = Math.min(Math.max(width, Math.min(SMALLEST_MS, whole)), whole)
    this.#from = Math.min(Math.max(from, first), Math.max(first, last - this.#width))
    this.#draw()
    const slider = this.#get('slider')
    slider.max = Math.max(0, Math.round(last - first - this.#width))
    slider.value = Math.round(this.#from - first)
    const words = `${clockTime(this.#from)} to ${clockTime(this.#from + this.#width)}`
    slider.setAttribute('aria-valuetext', words)
    this.#get('shown').textContent =
      `${words} · ${duration(this.#width)} across · in ${this.#unit}, ${stepWords(this.#half / LINES)} between lines`
    this.#get('closer').disabled = this.#width <= SMALLEST_MS
    this.#get('wider').disabled = this.#width >= whole
  }

  #draw() {
    this.#wave?.draw(this.#from, this.#from + this.#width, this.#half)
  }

  #zoom(factor, at = this.#from + this.#width / 2) {
    const share = (at - this.#from) / this.#width
    const width = this.#width * factor
    this.#look(at - share * width, width)
  }

  #bind() {
    const on = (target, kind, act) =>
      target.addEventListener(kind, act, { signal: this.#leaving.signal, passive: false })
    const slider = this.#get('slider')
    on(slider, 'input', () => this.#look(this.#recording.from + Number(slider.value), this.#width))
    on(this.#get('closer'), 'click', () => this.#zoom(1 / ZOOM))
    on(this.#get('wider'), 'click', () => this.#zoom(ZOOM))
    on(this.#get('all'), 'click', () => this.#look(this.#recording.from, Infinity))
    const wave = this.#get('wave')
    on(wave, 'keydown', (event) => this.#key(event))
    on(wave, 'wheel', (event) => this.#wheel(event))
    this.#bindDrag(wave, on)
  }

  #key(event) {
    const { from: first, to: last } = this.#recording
    const step = this.#width * (event.shiftKey ? 1 : PAGE / 2)
    const moves = {
      ArrowLeft: () => this.#look(this.#from - step, this.#width),
      ArrowRight: () => this.#look(this.#from + step, this.#width),
      Home: () => this.#look(first, this.#width),
      End: () => this.#look(last, this.#width),
      '+': () => this.#zoom(1 / ZOOM),
      '-': () => this.#zoom(ZOOM),
    }
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in moves)) return
    moves[event.key]()
    event.preventDefault()
  }

  #wheel(event) {
    if (!event.ctrlKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY) && !event.shiftKey) return
    event.preventDefault()
    if (event.ctrlKey) this.#zoom(2 ** (event.deltaY / 200), this.#timeAt(event.clientX))
    else
      this.#look(
        this.#from + ((event.deltaX || event.deltaY) / this.#get('wave').clientWidth) * this.#width,
        this.#width,
      )
  }

  #timeAt(clientX) {
    const box = this.#get('wave').querySelector('.u-over').getBoundingClientRect()
    return this.#from + ((clientX - box.left) / box.width) * this.#width
  }

  #bindDrag(wave, on) {
    let held = null
    on(wave, 'pointerdown', (event) => {
      held = { x: event.clientX, from: this.#from }
      wave.setPointerCapture(event.pointerId)
    })
    on(wave, 'pointermove', (event) => {
      if (held) this.#look(held.from - ((event.clientX - held.x) / wave.clientWidth) * this.#width, this.#width)
    })
    for (const end of ['pointerup', 'pointercancel']) on(wave, end, () => (held = null))
  }
}

function failure(error) {
  if (error instanceof Refused && error.status === 404) return 'The relay has no recording of this session.'
  if (error instanceof Refused) return `The recording was not given: ${error.message}`
  return `The recording could not be read (${error.message}). The connection may have broken; try again.`
}

const reviews = new WeakMap()

/** Fills `root` with the stored recording of `place.session`, in place of what it showed before. */
export function showRecording(root, place) {
  reviews.get(root)?.leave()
  const review = new Review(root)
  reviews.set(root, review)
  root.querySelector('[data-review="again"]').onclick = () => showRecording(root, place)
  review.load(place)
}
