// Numbers, times and counts in readable form. Pure: the result depends only on the arguments. Stream times are epoch ms
// where possible; a page-relative stream counts from its own zero.

export const DASH = '–'
const EPOCH_FROM = 1e11

const two = (n) => String(n).padStart(2, '0')

export const isEpoch = (t) => t >= EPOCH_FROM

/** 14:33:41 of this browser's own time zone, or 1:05 (minutes and seconds) in a stream that is not epoch time. */
export function clockTime(t) {
  if (!isEpoch(t)) return `${Math.floor(t / 60000)}:${two(Math.floor((t / 1000) % 60))}`
  const at = new Date(t)
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

/** "today 14:30", "yesterday 14:30" or "21 November 14:30"; with its year, unless it is this one. */
export function dayTime(t, now) {
  const at = new Date(t)
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(t).setHours(0, 0, 0, 0)) / 86400000)
  const hour = `${two(at.getHours())}:${two(at.getMinutes())}`
  if (days === 0) return `today ${hour}`
  if (days === 1) return `yesterday ${hour}`
  const year = at.getFullYear() === new Date(now).getFullYear() ? undefined : 'numeric'
  return `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year })} ${hour}`
}

/** "0.6 s", "12 s", "3 min 05 s", "2 h 07 min". */
export function duration(ms) {
  const s = Math.max(0, ms) / 1000
  if (s < 9.95) return `${s.toFixed(1)} s`
  const whole = Math.round(s)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`
}

/** A stopwatch: 0:07, 12:30, 1:02:09. */
export function stopwatch(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000)
  const rest = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
  return s < 3600 ? rest.replace(/^0/, '') : `${Math.floor(s / 3600)}:${rest}`
}

/** A moment of a recording: "12.1 s", "7:27.9". */
export function moment(ms, digits = 1) {
  const s = Math.max(0, ms) / 1000
  if (s < 60) return `${s.toFixed(digits)} s`
  const rest = (Math.floor((s % 60) * 10 ** digits) / 10 ** digits).toFixed(digits)
  return `${Math.floor(s / 60)}:${rest.padStart(digits ? digits + 3 : 2, '0')}`
}

/** How far behind the heart the drawing is. A negative delay is a clock that is wrong, and is said so. */
export function behind(ms) {
  if (ms === null || !Number.isFinite(ms)) return 'delay unknown'
  if (ms < -250) return `sensor's clock ${duration(-ms)} ahead`
  return `${duration(ms)} behind`
}

export const fixed = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : DASH)

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString('en-GB')} ${n === 1 ? one : many}`

export const unitWords = (unit) => (unit === 'm/s2' ? 'm/s²' : unit)

/** A scale's step without needless zeros: 0.05, 2, 10. */
export const stepWords = (step) => String(Number(step.toPrecision(2)))

/** Trust in a signal (0 to 1) as one word. */
export function qualityWord(quality) {
  if (!Number.isFinite(quality)) return DASH
  if (quality >= 0.75) return 'Good'
  if (quality >= 0.5) return 'Fair'
  return quality >= 0.25 ? 'Weak' : 'Poor'
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The session's id in a text somebody typed or pasted (an id or a whole link), or null. */
export function sessionIdIn(text) {
  const parts = text.trim().split(/[/?#\s]+/)
  return parts.find((part) => UUID.test(part))?.toLowerCase() ?? null
}
