// The operator's page: finds the kits that need attention, and opens a kit's details on a click.

import { page, request, state } from './care.js'
import { openKit } from './fleetkit.js'
import { openUpdates, showUpdates } from './fleetupdates.js'
import { count } from './formats.js'
import {
  backlogWords, BATTERY_LOW, batteryWords, clockWords, NUMBERS, seenWords, sensorWords, standingOf, versionsWords, warmthWords,
} from './fleetwords.js'
import { Refused } from './requests.js'
import { $, element, pillOf } from './write.js'

const API = '/fleet/api/v1'
const STEP = 100
const EVERY_MS = 5000
const AFTER_TYPING_MS = 200
const view = { query: '', standing: '', limit: STEP }
let asked = 0

function cell(words, name, className = '') {
  const made = element('td', { textContent: words, className: `${className}${words === '–' ? ' none' : ''}`.trim() })
  made.dataset.name = name
  return made
}

function rowOf(kit, now) {
  const name = element('button', { type: 'button', textContent: kit.name })
  name.addEventListener('click', () => openKit(kit.name, refresh))
  const tags = element('span', { className: 'xs muted', textContent: kit.tags.length ? ` ${kit.tags.join(', ')}` : '' })
  const [words, tone] = standingOf(kit)
  const pill = pillOf(words, tone)
  if (kit.problems.length > 1) pill.title = kit.problems.join('\n')
  const battery = cell(batteryWords(kit), 'Battery', Number.isFinite(kit.battery) && kit.battery < BATTERY_LOW ? 'n low' : 'n')
  const version = cell(kit.version || '–', 'Version')
  if (kit.release) version.append(element('span', { className: 'xs muted', textContent: ` → ${kit.release}` }))
  const row = element('tr', {}, element('td', {}, name, tags), element('td', {}, pill), cell(sensorWords(kit), 'Sensor'),
    cell(backlogWords(kit), 'Backlog', 'n'), cell(clockWords(kit), 'Clock', 'n'), battery,
    cell(warmthWords(kit), 'Temp.', 'n'), version, cell(seenWords(kit, now), 'Heard'))
  row.className = kit.standing === 'away' || kit.standing === 'new' ? 'stale' : ''
  return row
}

function showNumbers(summary) {
  for (const [key] of NUMBERS) {
    $('numbers').querySelector(`[data-of="${key}"] b`).textContent = (key ? summary[key] : summary.kits).toLocaleString('en-GB')
  }
  $('versions').textContent = versionsWords(summary.versions)
}

/** The row that has the focus keeps it: a list that renews itself must not take it away from the keyboard. */
function showKits(found) {
  const focused = document.activeElement?.closest('#kits button')?.textContent
  $('kits').replaceChildren(...found.kits.map((kit) => rowOf(kit, found.summary.nowMs)))
  if (focused) [...$('kits').querySelectorAll('button')].find((each) => each.textContent === focused)?.focus()
  const all = found.kits.length === found.total
  $('count').textContent = found.total ? (all ? count(found.total, 'kit') : `${found.kits.length} of ${count(found.total, 'kit')}`)
    : found.summary.kits ? 'No kit matches.' : 'No kit is known yet. They come by themselves once they are enrolled.'
  $('more').hidden = all
}

async function refresh() {
  const turn = ++asked
  const query = new URLSearchParams({ q: view.query, limit: view.limit, ...(view.standing ? { standing: view.standing } : {}) })
  const [found, { rollouts }] = await Promise.all([request(`${API}/kits?${query}`), request(`${API}/rollouts`)])
  if (turn !== asked) return
  showNumbers(found.summary)
  showKits(found)
  showUpdates(rollouts, found.summary.tags)
  state('live', 'Live')
}

const shown = () => refresh().catch((error) => {
  state('doubt', error instanceof Refused ? 'Not shown' : 'Relay not reached, retrying')
  if (error instanceof Refused) $('message').textContent = error.message
  else if (!(error instanceof TypeError)) throw error
})

function filters() {
  for (const [key, words] of NUMBERS) {
    const button = element('button', { type: 'button' }, element('b', { textContent: '–' }), element('span', { className: 'xs', textContent: words }))
    button.dataset.of = key
    button.ariaPressed = String(key === view.standing)
    button.addEventListener('click', () => {
      Object.assign(view, { standing: key, limit: STEP })
      for (const each of $('numbers').children) each.ariaPressed = String(each === button)
      shown()
    })
    $('numbers').append(button)
  }
}

function finding() {
  let waiting = null
  $('find').addEventListener('input', () => {
    clearTimeout(waiting)
    waiting = setTimeout(() => {
      Object.assign(view, { query: $('find').value.trim(), limit: STEP })
      shown()
    }, AFTER_TYPING_MS)
  })
  $('more').addEventListener('click', () => {
    view.limit += STEP
    shown()
  })
}

page(async () => {
  filters()
  finding()
  openUpdates(shown)
  await refresh()
  setInterval(() => document.hidden || shown(), EVERY_MS)
})
