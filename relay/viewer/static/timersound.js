// The timer's sounds: short, synthesised here, distinct enough to be told apart without looking. Off until switched on.

const SOUNDS = { low: [[660, 0.25]], critical: [[880, 0.15], [880, 0.15]], over: [[523, 0.2], [440, 0.2], [349, 0.7]] }
const PAUSE_S = 0.1

export class Sounds {
  #audio = null

  get on() {
    return this.#audio !== null
  }

  /** Browsers let a page sound only after somebody touched it: call this from a click. */
  async toggle() {
    const before = this.#audio
    this.#audio = before ? null : new AudioContext()
    await (before ? before.close() : this.#audio.resume())
    if (this.on) this.play('low')
  }

  play(level) {
    if (!this.#audio || !SOUNDS[level]) return
    let at = this.#audio.currentTime
    for (const [hertz, seconds] of SOUNDS[level]) {
      const tone = this.#audio.createOscillator()
      const volume = this.#audio.createGain()
      tone.frequency.value = hertz
      volume.gain.setValueAtTime(0.4, at)
      volume.gain.exponentialRampToValueAtTime(0.001, at + seconds)
      tone.connect(volume).connect(this.#audio.destination)
      tone.start(at)
      tone.stop(at + seconds)
      at += seconds + PAUSE_S
    }
  }
}
