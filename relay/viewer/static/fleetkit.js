// One kit on the fleet page: its problems, tags, settings, diagnostic report, and who requested what.

import { request } from './care.js'
import { backlogWords, batteryWords, certificateWords, clockWords, deedWords, seenWords, sensorWords, settingsLines, settingsOf, toldWords, warmthWords } from './fleetwords.js'
import { dayTime } from './formats.js'
import { failureWords, Refused } from './requests.js'
import { $, element } from './write.js'

const REPORT_WITHIN_MS = 30000
const LOOK_EVERY_MS = 500
const STATES = { live: 'live', attention: 'needs you', away: 'away', new: 'never connected' }
let open = null

const base = (name) => `/fleet/api/v1/kits/${encodeURIComponent(name)}`

function say(words) {
  $('one-said').textContent = words
}

/** Runs one of the operator's wishes; a refusal is told in the relay's own words. */
async function wish(work) {
  try {
    await work()
  } catch (error) {
    say(failureWords(error))
    if (!(error instanceof Refused) && !(error instanceof TypeError) && error.constructor !== Error) throw error
  }
}

function facts(kit, now) {
  const listed = {
    State: STATES[kit.standing] ?? kit.standing, Sensor: sensorWords(kit), Battery: batteryWords(kit), Clock: clockWords(kit), Backlog: backlogWords(kit),
    Temperature: warmthWords(kit), Version: kit.version || '–', Platform: kit.platform || '–', Certificate: certificateWords(kit, now),
    'Last heard': seenWords(kit, now),
  }
  $('one-facts').replaceChildren(...Object.entries(listed).map(([name, words]) =>
    element('div', {}, element('dt', { textContent: name }), element('dd', { textContent: words }))))
}

function show(found) {
  const { kit } = found
  $('one-name').textContent = kit.name
  $('one-problems').replaceChildren(...kit.problems.map((text) => element('li', { textContent: text })))
  facts(kit, found.nowMs)
  $('settings-told').textContent = toldWords(kit)
  const lines = found.deeds.map((deed) => element('li', { textContent: `${dayTime(deed.at_ms, found.nowMs)}, ${deed.who}: ${deedWords(deed)}` }))
  $('one-deeds').replaceChildren(...(lines.length ? lines : [element('li', { className: 'muted', textContent: 'Nothing yet.' })]))
  open = { name: kit.name, tags: kit.tags, desired: kit.desired ?? 0 }
}

const load = async (name) => {
  const found = await request(base(name))
  show(found)
  return found
}

/** Shows a kit; `changed` is called when something was done to it. */
export async function openKit(name, changed) {
  await wish(async () => {
    say('')
    $('report').hidden = true
    const found = await load(name)
    $('tags-text').value = found.kit.tags.join(', ')
    $('settings-text').value = settingsLines(found.settings)
    $('one').hidden = false
    $('one').focus()
    $('one').scrollIntoView({ block: 'nearest' })
    wire(changed)
  })
}

function wire(changed) {
  $('close').onclick = () => {
    $('one').hidden = true
    const row = [...document.querySelectorAll('#kits button')].find((each) => each.textContent === open.name)
    ;(row ?? $('find')).focus()
  }
  $('tags').onsubmit = (event) => {
    event.preventDefault()
    wish(async () => {
      const tags = $('tags-text').value.split(',').map((tag) => tag.trim()).filter(Boolean)
      const gone = open.tags.filter((tag) => !tags.includes(tag))
      await request(`${base(open.name)}/tags`, { method: 'POST', body: { add: tags, remove: gone } })
      await load(open.name)
      say('Saved.')
      changed()
    })
  }
  $('settings').onsubmit = (event) => {
    event.preventDefault()
    wish(async () => {
      const body = { settings: settingsOf($('settings-text').value), expected_version: open.desired }
      await request(`${base(open.name)}/configuration`, { method: 'PUT', body })
      await load(open.name)
      say('Given. The kit tries them, and goes back by itself if it loses the relay by them.')
      changed()
    })
  }
  $('diagnose').onclick = () => wish(report)
}

async function report() {
  const { name } = open
  const asked = await request(`${base(name)}/diagnostics`, { method: 'POST' })
  say('Asked. The report comes when the kit has made it.')
  const until = Date.now() + REPORT_WITHIN_MS
  while (Date.now() < until && open.name === name) {
    await new Promise((go) => setTimeout(go, LOOK_EVERY_MS))
    const found = await request(`${base(name)}/diagnostics?request=${asked.request}`).catch((error) => {
      if (error.status !== 404) throw error
    })
    if (found) {
      const link = $('report')
      URL.revokeObjectURL(link.href)
      link.href = URL.createObjectURL(new Blob([JSON.stringify(found.report, null, 1)], { type: 'application/json' }))
      link.download = `${name}.json`
      link.hidden = false
      say('The report is here. No sample and no session is in it.')
      return
    }
  }
  say(`${name} has sent no report yet. It sends it when it can; ask again later.`)
}
