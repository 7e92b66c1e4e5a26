// Recording a camera, for those who may: asks who wants it and why, tells everybody who watches, and saves it when it
// has ended.

import { ask } from './player.js'
import { save } from './write.js'

const REFUSED = {
  401: 'The sign-in has ended. Sign in again.',
  403: 'Only staff record.',
  404: 'Nothing is being recorded: this camera is gone, or the recording had ended.',
  409: 'This camera is being recorded already.',
}

export class Taping {
  #running = false
  #last = null
  #busy = false

  /** `parts`: record, asking (a form), by (its field), cancel, recorded (words) of a camera's tile. */
  constructor(parts, kit, token) {
    this.parts = parts
    this.kit = kit
    this.token = token
    const { record, asking, cancel } = parts
    record.addEventListener('click', () => (this.#running ? this.#end() : this.#last ? this.#save() : this.#open(asking.hidden)))
    cancel.addEventListener('click', () => this.#open(false))
    asking.addEventListener('keydown', (event) => event.key === 'Escape' && this.#open(false))
    asking.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#begin()
    })
  }

  /** `line`: the camera as the relay lists it, or undefined when it is not listed. */
  show(line) {
    if (this.#busy) return
    this.#running = Boolean(line?.recorded)
    if (this.#running) {
      this.#last = null
      this.#say(`Being recorded. Wanted by: ${line.recorded_by}`)
    } else if (this.parts.recorded.textContent.startsWith('Being recorded')) this.#say('')
    const { record, asking } = this.parts
    record.hidden = !line?.may_record && !this.#last
    record.disabled = Boolean(line && !line.live && !this.#running && !this.#last)
    record.textContent = this.#running ? 'Stop recording' : this.#last ? 'Save recording' : 'Record'
    if (record.hidden || this.#running) asking.hidden = true
    record.setAttribute('aria-expanded', String(!asking.hidden))
  }

  #open(wanted) {
    const { asking, record, by } = this.parts
    asking.hidden = !wanted
    record.setAttribute('aria-expanded', String(wanted))
    if (wanted) by.focus()
    else record.focus()
  }

  async #begin() {
    const by = this.parts.by.value.trim()
    if (!by) return this.parts.by.focus()
    if (!(await this.#ask('POST', { by }))) return
    this.#open(false)
    this.show({ recorded: true, recorded_by: by, may_record: true, live: true })
  }

  async #end() {
    const answer = await this.#ask('DELETE')
    if (!answer) return
    const about = await answer.json()
    this.#last = about.frames ? about.id : null
    const seconds = Math.round((about.ended_ms - about.started_ms) / 1000)
    this.show({ recorded: false, may_record: true, live: true })
    this.#say(about.frames ? `Recorded: ${seconds} s, kept on the relay.` : 'The recording ended without a picture.')
  }

  async #save() {
    const answer = await ask(`/recordings/${this.#last}`, this.token).catch(() => null)
    if (!answer?.ok) return this.#say(REFUSED[answer?.status] ?? 'The relay does not answer. Try again.')
    const kind = answer.headers.get('content-type').includes('webm') ? 'webm' : 'mp4'
    save(await answer.blob(), `${this.#last}.${kind}`)
    this.#last = null
    this.show({ recorded: false, may_record: true, live: true })
  }

  async #ask(method, json) {
    this.#busy = true
    const answer = await ask(`/cameras/${encodeURIComponent(this.kit)}/recording`, this.token, { method, json }).catch(() => null)
    this.#busy = false
    if (answer?.ok) return answer
    this.#say(REFUSED[answer?.status] ?? 'The relay does not answer. Try again.')
    return null
  }

  #say(words) {
    const { recorded } = this.parts
    if (recorded.textContent !== words) recorded.textContent = words
    recorded.hidden = !words
    recorded.classList.toggle('calm', !this.#running)
  }
}
