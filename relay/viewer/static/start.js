// The start page: sessions being measured now, and three ways in: a session of the list, a link, or this phone as a
// sensor.

import { listSessions, placeOf, withToken } from './api.js'
import { clockTime, count, dayTime, sessionIdIn } from './formats.js'
import { Refused } from './requests.js'
import { $, element, pillOf, write } from './write.js'

const EVERY_MS = 5000
const MOST_EARLIER = 20

/** What a line of the list says of a session: {name, detail, pill, tone}. */
export function lineOf(session, now) {
  const { startedAt, endedAt, live, patientConnected, viewerCount, source } = session
  const began = Date.parse(startedAt)
  const name = source.startsWith('kit ') ? `Kit ${source.slice(4)}` : 'A phone or computer'
  const watching = viewerCount ? ` · ${count(viewerCount, 'person watching', 'people watching')}` : ''
  if (endedAt)
    return {
      name,
      detail: `${dayTime(began, now)} to ${clockTime(Date.parse(endedAt)).slice(0, 5)}`,
      pill: 'Recorded',
      tone: 'off',
    }
  const detail = `began ${dayTime(began, now)}${watching}`
  if (live && patientConnected) return { name, detail, pill: 'Live', tone: 'live' }
  return { name, detail, pill: 'Waiting', tone: 'doubt' }
}

function item(session, token, now) {
  const { name, detail, pill, tone } = lineOf(session, now)
  const href = withToken(`/view/${session.sessionId}`, token)
  const parts = [element('b', { textContent: name }), pillOf(pill, tone), element('span', { className: 'xs', textContent: detail })]
  return element('li', {}, element('a', { href }, ...parts))
}

/** Puts `lines` in place of what `list` holds, unless nothing changed: focus stays where it is. */
function fill(list, lines) {
  const held = list.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null
  if (list.innerHTML === lines.map((line) => line.outerHTML).join('')) return
  list.replaceChildren(...lines)
  if (held) [...list.querySelectorAll('a')].find((a) => a.getAttribute('href') === held)?.focus()
}

function show(sessions, token) {
  const now = Date.now()
  const isLive = (s) => s.live && s.patientConnected && !s.endedAt
  const live = sessions.filter(isLive)
  const others = sessions.filter((s) => !isLive(s)).slice(0, MOST_EARLIER)
  fill(
    $('live'),
    live.map((s) => item(s, token, now)),
  )
  fill(
    $('earlier'),
    others.map((s) => item(s, token, now)),
  )
  $('earlier-part').hidden = !others.length
  state(live.length ? 'live' : 'off', live.length ? `${live.length} live` : 'Nobody is measured now')
  say(live.length ? '' : 'No sensor is sending at this moment. A session appears here by itself when one begins.')
}

function state(tone, words) {
  $('state').dataset.tone = tone
  write({ state: words })
}

function say(words) {
  $('message').hidden = !words
  write({ message: words })
}

function failed(error) {
  for (const list of [$('live'), $('earlier')]) list.replaceChildren()
  $('earlier-part').hidden = true
  if (error instanceof Refused && [401, 403].includes(error.status)) {
    state('off', 'Not allowed')
    say(`The list of sessions is for staff. Open the link you were given. ${error.message}`)
  } else {
    state('doubt', 'Relay not reached')
    say('The relay does not answer. This page keeps asking.')
  }
}

async function refresh(token) {
  try {
    show((await listSessions(token)).sessions, token)
  } catch (error) {
    failed(error)
  }
}

/** A link to a timer, a camera or a signing session, as an address of this relay; null for anything else. */
export function otherPageIn(typed) {
  const found = /^https?:\/\/[^/]+(\/(?:timer|watch|signing)\/[^\s#]+)$/.exec(typed.trim())
  return found && found[1]
}

function open(event, token) {
  event.preventDefault()
  const typed = $('open-id').value
  const page = otherPageIn(typed)
  if (page) {
    location.href = page
    return
  }
  const id = sessionIdIn(typed)
  if (id === null) {
    $('open-help').textContent = 'That is no session id: 36 letters, digits and dashes, at the end of the link.'
    $('open-id').setAttribute('aria-invalid', 'true')
    return
  }
  const given = /[?&]token=([^&#\s]+)/.exec(typed)
  location.href = withToken(`/view/${id}`, given ? decodeURIComponent(given[1]) : token)
}

const { token } = placeOf(location)
if (token) for (const id of ['measure', 'cameras', 'signing']) $(id).href = withToken($(id).getAttribute('href'), token)
$('open').addEventListener('submit', (event) => open(event, token))
refresh(token)
setInterval(() => document.visibilityState === 'visible' && refresh(token), EVERY_MS)
