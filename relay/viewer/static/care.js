// The documented physiotherapy interface, as this page's own relay serves it: signing in, staying so, errors in words.
// The access token lives in this tab; the refresh token in a cookie no script can read.

const BASE = '/physio/api'
const OTHERS = '/fleet/'
const KEY = 'homeside.access'

/** An answer that was no success: its status, the relay's words, and what was wrong with which field. */
export class Refused extends Error {
  constructor(status, error) {
    const fields = (error?.details ?? []).map(({ field, message }) => `${field}: ${message}`).join('; ')
    super([error?.message ?? `The relay answered ${status}.`, fields].filter(Boolean).join(' '))
    this.status = status
  }
}

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
  const headers = token ? { Authorization: `Bearer ${token}` } : {}
  const whole = body instanceof Blob
  if (body !== undefined) headers['Content-Type'] = whole ? 'application/octet-stream' : 'application/json'
  const sent = body === undefined || whole ? body : JSON.stringify(body)
  const answer = await fetch(path.startsWith(OTHERS) ? path : BASE + path, { method, headers, body: sent, cache: 'no-store' })
  if (answer.ok && file) return answer.blob()
  const said = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Refused(answer.status, said.error)
  return said
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

export const $ = (id) => document.getElementById(id)

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

/** An element with properties and children; text is text, never markup. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}
