// Poses that arrived beside the video, matched to the frame they belong to. Pure: times are arguments.

const KEPT = 64
const CLOCK_KHZ = 90
/** A pose this much older than the frame is still shown, faintly; one older says nothing about it. */
export const NEAR_MS = 250

/** Milliseconds from one RTP timestamp to another, over the wrap of 32 bits. */
export const between = (from, to) => ((to - from) << 0) / CLOCK_KHZ

export class Poses {
  #kept = []

  /** `pose`: {rtp (null while no frames go out), landmarks, level}. */
  add(pose) {
    this.#kept.push(pose)
    if (this.#kept.length > KEPT) this.#kept.shift()
  }

  get newest() {
    return this.#kept.at(-1) ?? null
  }

  /** What belongs to the frame with this timestamp: {pose, lateMs}; lateMs 0 is the frame's own. Null when nothing is near. */
  of(rtp) {
    let best = null
    for (const pose of this.#kept) {
      if (typeof pose.rtp !== 'number' || !pose.landmarks) continue
      const lateMs = between(pose.rtp, rtp)
      if (lateMs >= 0 && lateMs <= NEAR_MS && (!best || lateMs < best.lateMs)) best = { pose, lateMs }
    }
    return best
  }
}
