// A client of the documented OpenSCG API of the relay that serves this page: addresses, tokens, error messages.

import { Refused, send } from './requests.js'

const BASE = '/scg'

/** Where and who we are: from the page's address. The token of a link goes with every request. */
export function placeOf(location) {
  const [, page, session] = location.pathname.split('/')
  return { page, session: session ? decodeURIComponent(session).toLowerCase() : null, token: tokenIn(location.href) }
}

export const tokenIn = (url) => new URL(url, location.href).searchParams.get('token')

export const withToken = (path, token) => (token ? `${path}?token=${encodeURIComponent(token)}` : path)

/** A session's socket, with `query` such as {role: 'viewer'}. */
export function socketUrl(session, query, token) {
  const url = new URL(`${BASE}/ws/${encodeURIComponent(session)}`, location.href)
  url.protocol = url.protocol.replace('http', 'ws')
  for (const [key, value] of Object.entries({ ...query, ...(token ? { token } : {}) })) url.searchParams.set(key, value)
  return url.href
}

async function request(path, { token, ...options } = {}) {
  const answer = await send(`${BASE}/api/v1/sessions${path}`, token, options)
  if (answer.ok) return answer
  const body = await answer.json().catch(() => ({}))
  throw new Refused(answer.status, { message: typeof body.detail === 'string' ? body.detail : '' })
}

const json = async (answer) => (await answer).json()

export const listSessions = (token) => json(request('', { token }))
export const createSession = (token) => json(request('', { token, method: 'POST' }))
export const endSession = (session, token) => json(request(`/${session}/end`, { token, method: 'POST' }))

/** The stored session with its samples as tuples: a Response whose body is still to be read. */
export const storedSession = (session, token, signal) => request(`/${session}?format=0.2`, { token, signal })
