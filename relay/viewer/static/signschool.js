// Learning the alphabet: a letter's hand drawn beside the camera, and a tick once it was shown; and calibrating the
// reader to one's own hand.

import { drawShape } from './hand.js'
import { send } from './requests.js'
import { $, element, write } from './write.js'

const MOVING = { J: 'J is drawn: the little finger goes down and hooks to the side.', Z: 'Z is drawn in the air by the index finger.' }
/** Letters in which people differ most: calibrating these is enough. */
const HARD = [...'GHKMNPQRSTUVX']
const FRAMES = 10
const FIRST_LEFT_OUT = 5
const SHOW_FROM_MS = 1500

/** The letters to learn. `seen(sign)` ticks the chosen one off. */
export class School {
  #shapes = {}
  #wanted = null

  async open(token) {
    const answer = await send('/signs/api/v1/alphabet', token)
    if (!answer.ok) return
    this.#shapes = await answer.json()
    const isDigit = (sign) => /\d/.test(sign)
    const signs = Object.keys(this.#shapes).sort((a, b) => isDigit(a) - isDigit(b) || a.localeCompare(b))
    const buttons = signs.map((sign) => {
      const button = element('button', { type: 'button', textContent: sign })
      button.setAttribute('aria-pressed', 'false')
      button.addEventListener('click', () => this.choose(sign))
      return button
    })
    $('alphabet').replaceChildren(...buttons)
    this.choose('A')
  }

  choose(sign) {
    this.#wanted = sign
    for (const button of $('alphabet').children) button.setAttribute('aria-pressed', String(button.textContent === sign))
    drawShape($('shape'), this.#shapes[sign], sign)
    write({ wanted: sign, lesson: MOVING[sign] ?? 'Show it to the camera. The drawing is what a mirror shows of a right hand.' })
  }

  seen(sign) {
    if (sign === null || sign !== this.#wanted) return
    const button = [...$('alphabet').children].find((one) => one.textContent === sign)
    if (button?.dataset.done === 'yes') return
    if (button) button.dataset.done = 'yes'
    write({ lesson: `That is ${sign}. Well done.` })
  }

  shape(sign) {
    return this.#shapes[sign]
  }
}

/** Shows thirteen letters one after the other and collects their landmarks; `done(body)` gets the calibration. */
export class Teaching {
  #left = []
  #letters = {}
  #skip = 0
  #since = 0
  #aspect = 4 / 3
  #right = true
  #school
  #done

  constructor(school, done) {
    this.#school = school
    this.#done = done
  }

  get on() {
    return this.#left.length > 0
  }

  begin() {
    this.#left = [...HARD]
    this.#letters = {}
    this.#next()
  }

  cancel() {
    this.#left = []
  }

  /** A detection while teaching. */
  take({ hand_detected: hand, landmarks, aspect, right_hand: right }) {
    if (!this.on || !hand || performance.now() - this.#since < SHOW_FROM_MS) return
    if (this.#skip-- > 0) return
    const letter = this.#left[0]
    this.#aspect = aspect
    this.#right = right
    this.#letters[letter] = [...(this.#letters[letter] ?? []), landmarks]
    if (this.#letters[letter].length < FRAMES) return
    this.#left.shift()
    if (this.on) this.#next()
    else this.#done({ letters: this.#letters, aspect: this.#aspect, right: this.#right })
  }

  #next() {
    this.#skip = FIRST_LEFT_OUT
    this.#since = performance.now()
    this.#school.choose(this.#left[0])
    write({ 'own-text': `Hold ${this.#left[0]} still. ${HARD.length - this.#left.length + 1} of ${HARD.length}.` })
  }
}
