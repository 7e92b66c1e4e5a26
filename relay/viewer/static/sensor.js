// The phone's accelerometer through whichever API this browser has: including gravity, in m/s², with the sensor's own
// timestamps converted to epoch time by a steady clock (steadyclock.js).

const WANTED_HZ = 200
const FIRST_WITHIN_MS = 2000

/** Why there is no sensor: `insecure`, `denied`, `absent`, `silent`. */
export class NoSensor extends Error {
  constructor(kind) {
    super(kind)
    this.kind = kind
  }
}

/** Asks where the browser wants to be asked. Must be called by a press of a button, before anything is awaited. */
export async function askPermission() {
  if (!isSecureContext) throw new NoSensor('insecure')
  const ask = globalThis.DeviceMotionEvent?.requestPermission
  if (typeof ask !== 'function') return
  const answer = await ask.call(DeviceMotionEvent).catch(() => 'denied')
  if (answer !== 'granted') throw new NoSensor('denied')
}

/** Browsers on iPhone and iPad give acceleration with the opposite sign of the W3C's Device Orientation draft. */
export function axisSign(userAgent, touchPoints) {
  return /iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && touchPoints > 1) ? -1 : 1
}

/**
 * Opens the accelerometer; `onSample(t, x, y, z)` for each reading from then on: epoch ms by `clock`, strictly increasing.
 * Gives {door, stop}. Raises NoSensor when no reading comes.
 */
export async function openSensor(clock, onSample) {
  for (const open of [openGeneric, openMotion]) {
    let last = -Infinity
    let first
    const came = new Promise((resolve) => (first = resolve))
    const opened = open(
      (steady, x, y, z) => {
        const t = clock.epoch(steady)
        if (t <= last) return
        last = t
        first(true)
        onSample(t, x, y, z)
      },
      () => first(false),
    )
    if (opened && (await Promise.race([came, wait(FIRST_WITHIN_MS)]))) return opened
    opened?.stop()
  }
  throw new NoSensor('DeviceMotionEvent' in globalThis || 'Accelerometer' in globalThis ? 'silent' : 'absent')
}

const wait = (ms) => new Promise((resolve) => setTimeout(() => resolve(false), ms))

function openGeneric(onSample, onFault) {
  if (!('Accelerometer' in globalThis)) return null
  let sensor
  try {
    sensor = new Accelerometer({ frequency: WANTED_HZ, referenceFrame: 'device' })
  } catch {
    return null
  }
  sensor.onreading = () => {
    if (Number.isFinite(sensor.z)) onSample(sensor.timestamp, sensor.x, sensor.y, sensor.z)
  }
  sensor.onerror = onFault
  sensor.start()
  return { door: 'Accelerometer', stop: () => sensor.stop() }
}

function openMotion(onSample) {
  if (!('DeviceMotionEvent' in globalThis)) return null
  const sign = axisSign(navigator.userAgent, navigator.maxTouchPoints)
  const take = (event) => {
    const { x, y, z } = event.accelerationIncludingGravity ?? {}
    if ([x, y, z].every(Number.isFinite)) onSample(event.timeStamp, x * sign, y * sign, z * sign)
  }
  addEventListener('devicemotion', take)
  return { door: 'devicemotion', stop: () => removeEventListener('devicemotion', take) }
}
