// A client of the documented physiotherapy API of the relay that serves this page: sign-in, token refresh, error
// messages. The access token lives in this tab only; the refresh token is in a cookie that scripts cannot read.

import { Refused, send } from './requests.js'
import { $, element } from './write.js'

const BASE = '/physio/api'
const OTHERS = '/fleet/'
const KEY = 'homeside.access'

const stored = () => JSON.parse(sessionStorage.getItem(KEY) ?? 'null')

/** For a socket, which has no headers. */
export const accessToken = () => stored()?.token ?? ''

/** Who is signed in in this tab, or null. */
export const me = () => stored()?.user ?? null

function keep(data) {
  sessionStorage.setItem(KEY, JSON.stringify({ token: data.access_token, user: data.user }))
  return data.user
}

async function ask(path, { method = 'GET', body, token, file = false } = {}) {
  const whole = body instanceof Blob ? { body, headers: { 'Content-Type': 'application/octet-stream' } } : { json: body }
  const answer = await send(path.startsWith(OTHERS) ? path : BASE + path, token, { method, ...whole })
  if (answer.ok && file) return answer.blob()
  const said = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Refused(answer.status, { message: wordsOf(said.error ?? {}) })
  return said
}

/** What the relay says was wrong, and with which field. */
function wordsOf({ message = '', details = [] }) {
  return [message, details.map((one) => `${one.field}: ${one.message}`).join('; ')].filter(Boolean).join(' ')
}

export const signIn = async (email, password) =>
  keep((await ask('/auth/login', { method: 'POST', body: { email, password } })).data)

/** A fresh token by the cookie. One tab at a time: a refresh token used twice counts as stolen and ends the sign-in. */
export const refresh = () => oneTabAtATime(async () => keep((await ask('/auth/refresh')).data))

const oneTabAtATime = (work) => navigator.locks?.request('homeside.refresh', work) ?? work()

/** One request as whoever is signed in; an access token that ran out is refreshed once. */
export async function request(path, options = {}) {
  try {
    return await ask(path, { ...options, token: stored()?.token })
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 401) throw error
    await refresh()
    return ask(path, { ...options, token: stored()?.token })
  }
}

/** A file, as a Blob. */
export const download = (path) => request(path, { file: true })

export async function signOut() {
  await request('/auth/logout', { method: 'POST' }).catch(() => {})
  sessionStorage.removeItem(KEY)
  location.href = '/app/'
}

/** Where somebody belongs after signing in. */
export const homeOf = (user) => ({ patient: '/app/me', admin: '/app/fleet' }[user.role] ?? '/app/patients')

export function state(tone, words) {
  $('state').dataset.tone = tone
  $('state').textContent = words
}

/** Says in the bar where one is: steps of [words, address], the last without an address. */
export function where(...steps) {
  const parts = steps.map(([textContent, href]) => element(href ? 'a' : 'span', href ? { href, textContent } : { textContent }))
  $('where').replaceChildren(...parts.flatMap((part, k) => (k ? [' › ', part] : [part])))
  $('where').hidden = false
}

/** Runs a page's work for whoever is signed in: says who, or sends them to sign in, or says in words what failed. */
export async function page(work) {
  try {
    const user = me() ?? (await refresh())
    $('leave').hidden = false
    $('leave').addEventListener('click', signOut)
    state('off', user.name)
    await work(user)
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      sessionStorage.removeItem(KEY)
      location.replace(`/app/?next=${encodeURIComponent(location.pathname)}`)
      return
    }
    state('doubt', error instanceof Refused ? 'Not shown' : 'Relay not reached')
    document.body.dataset.state = 'refused'
    $('message').textContent = error instanceof Refused ? error.message : 'The relay does not answer. Load the page again.'
    if (error instanceof Refused && me()) $('message').append(' ', element('a', { href: homeOf(me()), textContent: 'To my own page' }))
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error
  }
}
