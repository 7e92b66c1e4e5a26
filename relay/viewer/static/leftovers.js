// Delivers what earlier measurements left on this phone, in the background: each session over its own connection, and
// ended if the person had pressed Finish. The person need not do anything.

import { endSession } from './api.js'
import { Outbox } from './outbox.js'
import { SteadyClock } from './steadyclock.js'
import { Uplink } from './uplink.js'

const LOOK_MS = 1000

/**
 * Delivers what `row` ({session, token, ending}) still has on `shelf`. Resolves when the relay has it all, or at once
 * when a page is measuring it now.
 */
export async function deliver(row, shelf) {
  if (!navigator.locks) return take(row, shelf)
  return navigator.locks.request(lockOf(row.session), { ifAvailable: true }, (free) => free && take(row, shelf))
}

/** The name of the lock a page holds while it measures a session: what is being measured is nobody's leftover. */
export const lockOf = (session) => `homeside ${session}`

async function take(row, shelf) {
  const outbox = new Outbox(shelf)
  await outbox.restore(row.session)
  if (outbox.size || row.ending) await delivered(row, outbox)
  await shelf.dropSession(row.session)
}

function delivered(row, outbox) {
  const uplink = new Uplink(row.session, row.token, outbox, new SteadyClock(), () => {})
  uplink.start()
  return new Promise((resolve) => {
    const look = async () => {
      if (uplink.settled && (await ended(row))) {
        uplink.stop()
        resolve()
      } else setTimeout(look, LOOK_MS)
    }
    look()
  })
}

async function ended(row) {
  if (!row.ending) return true
  return endSession(row.session, row.token).then(
    () => true,
    (error) => error.status === 404,
  )
}
