// One request to the relay that serves this page: with the token, never from a cache, failing with the relay's own
// message.

/** An answer that was no success: its status, its code where it has one, and what the relay said. */
export class Refused extends Error {
  constructor(status, { message = '', code = '' } = {}) {
    super(message || `The relay answered ${status}.`)
    this.status = status
    this.code = code
  }
}

/** `fetch`, with the token where there is one, and with `json` as the body where that is given. */
export function send(path, token, { json, headers = {}, ...options } = {}) {
  const more = token ? { Authorization: `Bearer ${token}` } : {}
  if (json !== undefined) Object.assign(more, { 'Content-Type': 'application/json' })
  const body = json === undefined ? options.body : JSON.stringify(json)
  return fetch(path, { ...options, body, headers: { ...more, ...headers }, cache: 'no-store' })
}

/** What went wrong with a request, for whoever pressed the button. */
export const failureWords = (error) => (error instanceof TypeError ? 'The relay does not answer. Try again.' : error.message)
