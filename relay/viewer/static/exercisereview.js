// The review of a session, to read (each remark at its moment) or to write. A typed remark is never lost.

import { request, state } from './care.js'
import { capital, exerciseWords } from './carelines.js'
import { dayTime } from './formats.js'
import { $, element } from './write.js'

const remarkWords = ({ issue, recommendation }) => [issue, recommendation].filter(Boolean).join('. ')

/** `seen` is how to look at the recording, or null without one: {at() in ms, words(ms), choose(ms)}. */
export function showReview(review, seen) {
  $('review').hidden = false
  $('given').replaceChildren(
    element('p', { textContent: `${capital(review.overall_assessment.toLowerCase())}, by ${review.physiotherapist_name}, ${dayTime(Date.parse(review.reviewed_at), Date.now())}` }),
    element('p', { className: 'small', textContent: review.notes ?? '' }),
    element('ol', { className: 'lines' }, ...review.form_feedback.map((remark) => remarkLine(remark, seen))),
  )
  const next = nextWords(review.next_steps ?? {})
  if (next) $('given').append(element('p', { className: 'small', textContent: `Next: ${next}` }))
}

function remarkLine(remark, seen) {
  if (!seen) return element('li', { textContent: remarkWords(remark) })
  const button = element('button', { type: 'button', textContent: `${seen.words(remark.timestamp)}: ${remarkWords(remark)}` })
  button.addEventListener('click', () => seen.choose(remark.timestamp))
  return element('li', {}, button)
}

function nextWords({ recommended_exercises, frequency, follow_up_date }) {
  const again = follow_up_date && `seen again ${dayTime(Date.parse(follow_up_date), Date.now())}`
  return [(recommended_exercises ?? []).map(exerciseWords).join(', '), frequency, again].filter(Boolean).join('; ')
}

function nextSteps({ next, frequency, follow_up }) {
  const steps = { recommended_exercises: [...next].filter((one) => one.checked).map((one) => one.value) }
  if (frequency.value) steps.frequency = frequency.value
  if (follow_up.value) steps.follow_up_date = new Date(follow_up.value).toISOString()
  return steps.recommended_exercises.length || frequency.value || follow_up.value ? steps : null
}

/** The form, for who may review; a session that was reviewed can be again. */
export function openReview(session, review, seen) {
  const form = new Form(session, seen)
  $('review').hidden = false
  $('again').hidden = !review
  $('form').hidden = Boolean(review)
  $('again').addEventListener('click', () => {
    $('again').hidden = true
    $('form').hidden = false
    $('form').querySelector('input').focus()
  })
  form.open()
}

class Form {
  #session
  #seen
  #remarks = []

  constructor(session, seen) {
    this.#session = session
    this.#seen = seen
  }

  open() {
    $('form').addEventListener('submit', (event) => this.#send(event))
    $('add').addEventListener('click', () => this.#add())
    for (const id of ['issue', 'recommendation']) $(id).addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.isComposing) return
      event.preventDefault()
      this.#add()
    })
  }

  #add() {
    const issue = $('issue').value.trim()
    if (issue) {
      this.#remarks.push({ timestamp: this.#seen.at(), issue, recommendation: $('recommendation').value.trim() || null })
      this.#list()
      $('issue').value = $('recommendation').value = ''
    }
    $('issue').focus()
  }

  #list() {
    $('remarks').replaceChildren(...this.#remarks.map((remark) => {
      const at = this.#seen.words(remark.timestamp)
      const away = element('button', { type: 'button', textContent: 'Remove', ariaLabel: `Remove the remark at ${at}` })
      away.addEventListener('click', () => {
        this.#remarks = this.#remarks.filter((one) => one !== remark)
        this.#list()
      })
      return element('li', { className: 'row' }, `${at}: ${remarkWords(remark)}`, away)
    }))
  }

  async #send(event) {
    event.preventDefault()
    if ($('issue').value.trim()) this.#add()
    const { overall_assessment, notes } = event.target.elements
    $('sent').textContent = ''
    try {
      const review = await request('/physio/reviews', {
        method: 'POST',
        body: {
          session_id: this.#session, overall_assessment: overall_assessment.value, notes: notes.value || null,
          form_feedback: this.#remarks, next_steps: nextSteps(event.target.elements),
        },
      })
      showReview(review, this.#seen)
      $('form').hidden = true
      state('off', 'Review sent')
      $('review').focus()
    } catch (error) {
      $('sent').textContent = error instanceof TypeError ? 'The relay does not answer. Nothing is lost here: send it again.' : error.message
    }
  }
}
