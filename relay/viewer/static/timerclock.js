// What a timer shows at a given moment, computed from the last state the relay sent. Pure.

const two = (n) => String(n).padStart(2, '0')

/** 9:59, 1:02:09; a countdown's last ten seconds with tenths. A second is shown until it is over. */
export function face(ms, { up = false } = {}) {
  if (!up && ms > 0 && ms < 10000) return (Math.ceil(ms / 100) / 10).toFixed(1)
  const s = up ? Math.floor(ms / 1000) : Math.ceil(ms / 1000)
  const rest = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
  return s < 3600 ? rest.replace(/^0/, '') : `${Math.floor(s / 3600)}:${rest}`
}

/** What is left (or gone, of a stopwatch) for a participant at `now`, in the relay's ms. Null when nobody knows. */
export function shown(state, seat, now) {
  const up = state.sync_mode === 'count_up'
  const one = up || state.sync_mode === 'global' || !seat
  const total = one ? state.total_time_ms : seat.total_time_ms
  if (!Number.isFinite(total)) return null
  const runs = state.status === 'running' && (one || sharesTheClock(state, seat))
  const passed = runs ? Math.max(0, now - state.server_time_ms) : 0
  return up ? Math.min(state.max_time_ms ?? Infinity, total + passed) : Math.max(0, total - passed)
}

/** The active one's clock runs; in per_group it is its whole group's. */
function sharesTheClock(state, seat) {
  if (seat.participant_id === state.active_participant_id) return true
  const active = state.participants.find((one) => one.participant_id === state.active_participant_id)
  return state.sync_mode === 'per_group' && active !== undefined && active.group_id === seat.group_id
}

/** How urgent it is: none, still (not running), fine, low, critical, over. */
export function level(state, ms) {
  if (state.status === 'expired') return 'over'
  if (state.status !== 'running') return 'still'
  const left = state.sync_mode === 'count_up' ? (state.max_time_ms ?? Infinity) - ms : ms
  const { low = 0, critical = 0 } = state.warning_thresholds_ms ?? {}
  if (left <= 0) return 'over'
  if (left <= critical) return 'critical'
  return left <= low ? 'low' : 'fine'
}

const WORDS = { low: 'Time is running low', critical: 'Almost over', over: 'Time is up', fine: '' }
const STILL = { pending: 'Not started', paused: 'Paused', completed: 'Completed' }

/** The state in words, for those who cannot see the colour. */
export const words = (state, urgent) => (urgent === 'still' ? STILL[state.status] ?? state.status : WORDS[urgent] ?? '')
