// A list of events, newest first, of bounded length. An event with a key appears once and is corrected in place.

import { clockTime } from './formats.js'
import { element } from './write.js'

const MOST = 60

export class History {
  #list
  #byKey = new Map()

  /** `list`: an <ol> to fill. */
  constructor(list) {
    this.#list = list
  }

  /** Say that `words` happened at `at` (epoch or stream ms). With a known `key` the words of that event change. */
  note(at, words, key = null) {
    const known = key === null ? null : this.#byKey.get(key)
    if (known) {
      known.lastChild.textContent = words
      return
    }
    const item = element('li', {}, element('time', { textContent: clockTime(at) }), element('span', { textContent: words }))
    item.dataset.at = at
    this.#place(item, at)
    if (key !== null) this.#byKey.set(key, item)
    while (this.#list.childElementCount > MOST) this.#forget(this.#list.lastElementChild)
  }

  #place(item, at) {
    const later = [...this.#list.children].find((other) => Number(other.dataset.at) <= at)
    this.#list.insertBefore(item, later ?? null)
  }

  #forget(item) {
    for (const [key, known] of this.#byKey) if (known === item) this.#byKey.delete(key)
    item.remove()
  }
}
