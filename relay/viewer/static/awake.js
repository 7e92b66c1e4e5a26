// Keeps the screen on while measuring, since a sleeping phone measures nothing. Where that is impossible the page must
// say so.

export class Awake {
  #lock = null
  #wanted = false
  #onChange
  #again = () => document.visibilityState === 'visible' && this.#take()

  /** `onChange(held)`: whether the screen is kept on. */
  constructor(onChange) {
    this.#onChange = onChange
  }

  async start() {
    this.#wanted = true
    document.addEventListener('visibilitychange', this.#again)
    await this.#take()
  }

  stop() {
    this.#wanted = false
    document.removeEventListener('visibilitychange', this.#again)
    this.#lock?.release()
    this.#lock = null
  }

  async #take() {
    if (!this.#wanted || this.#lock) return
    try {
      this.#lock = await navigator.wakeLock.request('screen')
      this.#lock.addEventListener('release', () => this.#released())
    } catch {
      this.#lock = null
    }
    this.#onChange(this.#lock !== null)
  }

  #released() {
    this.#lock = null
    if (this.#wanted) this.#onChange(false)
  }
}
