// The browser's camera as JPEG frames: the next is taken once the last was answered, so that a slow line lowers the
// frame rate and adds no delay.

const WIDTH = 640
const HEIGHT = 480
const QUALITY = 0.8
const EVERY_MS = 66
const GIVEN_UP_MS = 1500

/** `onFrame(base64)` gets pictures while the camera is on; call `answered()` for the next. */
export class SignCamera {
  #video
  #onFrame
  #canvas = document.createElement('canvas')
  #timer = 0
  #stream = null

  constructor(video, onFrame) {
    this.#video = video
    this.#onFrame = onFrame
  }

  get on() {
    return this.#stream !== null
  }

  /** Throws what getUserMedia throws: NotAllowedError, NotFoundError. */
  async start() {
    const video = { width: { ideal: WIDTH }, height: { ideal: HEIGHT }, facingMode: 'user' }
    this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false })
    this.#video.srcObject = this.#stream
    await this.#video.play()
    this.#soon(0)
  }

  stop() {
    clearTimeout(this.#timer)
    for (const track of this.#stream?.getTracks() ?? []) track.stop()
    this.#stream = this.#video.srcObject = null
  }

  answered() {
    if (this.on) this.#soon(EVERY_MS)
  }

  #soon(ms) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#take(), ms)
  }

  #take() {
    const { videoWidth, videoHeight } = this.#video
    if (!videoWidth || document.hidden) {
      this.#soon(200)
      return
    }
    const scale = Math.min(1, WIDTH / videoWidth)
    this.#canvas.width = Math.round(videoWidth * scale)
    this.#canvas.height = Math.round(videoHeight * scale)
    this.#canvas.getContext('2d').drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height)
    this.#onFrame(this.#canvas.toDataURL('image/jpeg', QUALITY).split(',')[1])
    this.#soon(GIVEN_UP_MS)
  }
}

/** What to tell somebody whose camera cannot be had. */
export function cameraTrouble(error) {
  if (!window.isSecureContext) return 'Browsers give a page the camera only on a secure address. Open this relay by https.'
  if (error.name === 'NotAllowedError') return 'The browser was told not to give this page the camera. Allow it beside the address.'
  if (error.name === 'NotFoundError') return 'There is no camera here.'
  return 'The camera cannot be used. Perhaps another program has it.'
}
